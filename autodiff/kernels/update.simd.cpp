#include <xgrad/autodiff/kernels/rows.hpp>
#include <xgrad/autodiff/kernels/update.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

template <class T>
XGRAD_FLATTEN void sgd(const SgdOptions& options, const T* gradient, T* parameter, T* momentum_buffer, std::size_t n) {
    const Lane<T> decay(options.weight_decay), momentum(options.momentum), fresh(1 - options.dampening),
        step(-options.learning_rate);
    const bool decays = options.weight_decay != 0, has_momentum = options.momentum != 0;
    const bool first_step = options.first_step, nesterov = options.nesterov;
    each_lane<T>(n, [&](std::size_t i, auto part) {
        const Lane<T> p = part.load(parameter + i);
        Lane<T> g = part.load(gradient + i);
        if (decays) g = g + decay * p;
        if (has_momentum) {
            const Lane<T> buffer = first_step ? g : momentum * part.load(momentum_buffer + i) + fresh * g;
            part.store(buffer, momentum_buffer + i);
            g = nesterov ? g + momentum * buffer : buffer;
        }
        part.store(p + step * g, parameter + i);
    });
}

template <class T>
XGRAD_FLATTEN void adam(const AdamOptions& options, const T* gradient, T* parameter, T* first_moment, T* second_moment,
                        T* largest_second_moment, std::size_t n) {
    // With ĉ = √(1 - β₂ᵗ), m / (√v / ĉ + ε) is ĉ · m / (√v + ĉ · ε).
    const double correction = __builtin_sqrt(options.bias_correction2);
    const Lane<T> decay(options.weight_decay), shrink(1 - options.learning_rate * options.weight_decay),
        fresh1(1 - options.beta1), beta2(options.beta2), fresh2(1 - options.beta2),
        epsilon(options.epsilon * correction),
        step(-options.learning_rate * correction / options.bias_correction1);
    const bool decays = options.weight_decay != 0 && !options.decoupled;
    const bool shrinks = options.weight_decay != 0 && options.decoupled;
    each_lane<T>(n, [&](std::size_t i, auto part) {
        Lane<T> p = part.load(parameter + i), g = part.load(gradient + i);
        if (decays) g = g + decay * p;
        const Lane<T> old_m = part.load(first_moment + i);
        const Lane<T> m = old_m + fresh1 * (g - old_m);
        Lane<T> v = beta2 * part.load(second_moment + i) + fresh2 * g * g;
        part.store(m, first_moment + i);
        part.store(v, second_moment + i);
        if (largest_second_moment) {
            v = Largest::merge(part.load(largest_second_moment + i), v);
            part.store(v, largest_second_moment + i);
        }
        if (shrinks) p = p * shrink;
        part.store(p + step * near_quotient(m, near_sqrt(v) + epsilon), parameter + i);
    });
}

}  // namespace

template <class T> const UpdateKernels<T>& update_kernels() {
    static constexpr UpdateKernels<T> table{sgd<T>, adam<T>};
    return table;
}

template const UpdateKernels<float>& update_kernels<float>();
template const UpdateKernels<double>& update_kernels<double>();

}  // namespace xgrad::kernels::XGRAD_LEVEL
