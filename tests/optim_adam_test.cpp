#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "random.hpp"
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/optim/adam.hpp>

using namespace xgrad;

namespace {

// torch.optim.Adam and AdamW, one number at a time.
struct ScalarAdam {
    optim::AdamOptions options;
    bool decoupled = false;
    double m = 0, v = 0, largest = 0;
    int t = 0;

    double operator()(double p, double g) {
        const double rate = options.learning_rate(t++), beta1 = options.betas[0], beta2 = options.betas[1];
        if (decoupled)
            p *= 1 - rate * options.weight_decay;
        else
            g += options.weight_decay * p;
        m = beta1 * m + (1 - beta1) * g;
        v = beta2 * v + (1 - beta2) * g * g;
        largest = std::max(largest, v);
        const double root = std::sqrt(options.amsgrad ? largest : v) / std::sqrt(1 - std::pow(beta2, t));
        return p - rate / (1 - std::pow(beta1, t)) * m / (root + options.epsilon);
    }
};

// Runs an optimizer beside its scalar twins, with gradients that grow and shrink.
template <class T, class Optimizer>
void check_against_twins(Optimizer& optimizer, Variable<T>& parameter, const ScalarAdam& twin) {
    std::vector<ScalarAdam> twins(parameter.size(), twin);
    std::vector<double> expected(parameter.value().begin(), parameter.value().end());
    for (std::uint64_t step = 0; step < 8; ++step) {
        const double scale = step < 3 ? 2 : 0.1;
        const Variable<T> gradient = testing::random<T>(parameter.shape(), step, -scale, scale);
        parameter.set_grad(gradient);
        optimizer.step();
        for (std::size_t i = 0; i < expected.size(); ++i)
            expected[i] = twins[i](expected[i], static_cast<double>(gradient.value().data()[i]));
    }
    const double tolerance = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        // Parameters near 0 carry the rounding errors of steps.
        CHECK(static_cast<double>(parameter.value().data()[i]) == Approx(expected[i]).epsilon(tolerance).scale(0.05));
    }
}

template <class T> Variable<T> parameter_of_37() {
    return testing::random<T>({37}, 99).requires_grad(true);
}

}  // namespace

TEMPLATE_TEST_CASE("Adam is its formula, step by step", "[optim]", float, double) {
    for (const bool amsgrad : {false, true})
        for (const double decay : {0.0, 0.1}) {
            const optim::AdamOptions options{.learning_rate = 0.05,
                                             .betas = {0.8, 0.95},
                                             .epsilon = 1e-6,
                                             .weight_decay = decay,
                                             .amsgrad = amsgrad};
            Variable<TestType> parameter = parameter_of_37<TestType>();
            optim::Adam optimizer({parameter}, options);
            check_against_twins(optimizer, parameter, {options});
        }
}

TEMPLATE_TEST_CASE("AdamW is its formula, step by step", "[optim]", float, double) {
    for (const bool amsgrad : {false, true}) {
        Variable<TestType> parameter = parameter_of_37<TestType>();
        optim::AdamW optimizer({parameter}, {.learning_rate = 0.05, .weight_decay = 0.3, .amsgrad = amsgrad});
        const optim::AdamOptions options{.learning_rate = 0.05, .weight_decay = 0.3, .amsgrad = amsgrad};
        check_against_twins(optimizer, parameter, {options, true});
    }
}
