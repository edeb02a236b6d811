#include <cmath>

#include "kernel_twins.hpp"
#include <xgrad/autodiff/kernels/update.hpp>

using namespace xgrad;
using namespace xgrad::twins;
using kernels::AdamOptions;
using kernels::SgdOptions;

namespace {

constexpr std::size_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 1001, 70001};

// torch.optim.SGD, one element.
void sgd_twin(const SgdOptions& o, Real g, Real& p, Real& buffer) {
    g += o.weight_decay * p;
    if (o.momentum != 0) {
        buffer = o.first_step ? g : o.momentum * buffer + (1 - Real(o.dampening)) * g;
        g = o.nesterov ? g + o.momentum * buffer : buffer;
    }
    p -= o.learning_rate * g;
}

// torch.optim.Adam and AdamW, one element.
void adam_twin(const AdamOptions& o, bool amsgrad, Real g, Real& p, Real& m, Real& v, Real& largest) {
    if (o.decoupled)
        p *= 1 - Real(o.learning_rate) * o.weight_decay;
    else
        g += o.weight_decay * p;
    m = o.beta1 * m + (1 - Real(o.beta1)) * g;
    v = o.beta2 * v + (1 - Real(o.beta2)) * g * g;
    if (amsgrad) largest = std::max(largest, v);
    const Real denominator = std::sqrt(amsgrad ? largest : v) / std::sqrt(Real(o.bias_correction2)) + o.epsilon;
    p -= o.learning_rate / Real(o.bias_correction1) * m / denominator;
}

}  // namespace

TEMPLATE_TEST_CASE("steps of SGD equal PyTorch's formula", "[update]", float, double) {
    using T = TestType;
    const std::vector<SgdOptions> variants{
        {.learning_rate = 0.1},
        {.learning_rate = 0.1, .weight_decay = 0.01},
        {.learning_rate = 0.1, .momentum = 0.9},
        {.learning_rate = 0.1, .momentum = 0.9, .dampening = 0.5, .weight_decay = 0.01},
        {.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true},
    };
    for (const LevelScope at : levels())
        for (SgdOptions options : variants)
            for (const std::size_t n : sizes) {
                CAPTURE(at.name(), n, options.momentum, options.nesterov);
                auto p = numbers<T>(n, 1);
                std::vector<T> buffer(n, std::numeric_limits<T>::quiet_NaN());  // the first step must not read it
                Reals exact_p = reals(p), exact_buffer(n);
                for (int step = 0; step < 3; ++step) {
                    const auto g = numbers<T>(n, static_cast<std::uint64_t>(10 + step));
                    options.first_step = step == 0;
                    kernels::sgd_update(options, g.data(), p.data(), options.momentum != 0 ? buffer.data() : nullptr,
                                        n);
                    for (std::size_t i = 0; i < n; ++i) sgd_twin(options, g[i], exact_p[i], exact_buffer[i]);
                }
                check_close(p, exact_p);
                if (options.momentum != 0) check_close(buffer, exact_buffer);
            }
}

TEMPLATE_TEST_CASE("steps of Adam, AdamW and AMSGrad equal PyTorch's formula", "[update]", float, double) {
    using T = TestType;
    const std::vector<AdamOptions> variants{
        {.learning_rate = 0.01},
        {.learning_rate = 0.01, .beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-4, .weight_decay = 0.1},
        {.learning_rate = 0.01, .weight_decay = 0.1, .decoupled = true},
    };
    for (const LevelScope at : levels())
        for (AdamOptions options : variants)
            for (const bool amsgrad : {false, true})
                for (const std::size_t n : sizes) {
                    CAPTURE(at.name(), n, options.weight_decay, options.decoupled, amsgrad);
                    auto p = numbers<T>(n, 1);
                    std::vector<T> m(n), v(n), largest(n);
                    Reals exact_p = reals(p), exact_m(n), exact_v(n), exact_largest(n);
                    for (int step = 1; step <= 3; ++step) {
                        // Gradients that shrink, so that the largest second moment differs from the last.
                        const auto g = numbers<T>(n, static_cast<std::uint64_t>(20 + step), -1.0 / step, 1.0 / step);
                        options.bias_correction1 = 1 - std::pow(options.beta1, step);
                        options.bias_correction2 = 1 - std::pow(options.beta2, step);
                        kernels::adam_update(options, g.data(), p.data(), m.data(), v.data(),
                                             amsgrad ? largest.data() : nullptr, n);
                        for (std::size_t i = 0; i < n; ++i)
                            adam_twin(options, amsgrad, g[i], exact_p[i], exact_m[i], exact_v[i], exact_largest[i]);
                    }
                    check_close(p, exact_p);
                    check_close(m, exact_m);
                    check_close(v, exact_v);
                    if (amsgrad) check_close(largest, exact_largest);
                }
}
