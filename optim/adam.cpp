#include <cmath>
#include <limits>

#include <xgrad/autodiff/kernels/update.hpp>
#include <xgrad/optim/adam.hpp>

namespace xgrad::optim {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

std::vector<std::string> state_names(bool amsgrad) {
    std::vector<std::string> names{"first_moment", "second_moment"};
    if (amsgrad) names.emplace_back("largest_second_moment");
    return names;
}

AdamOptions as_adam(const AdamWOptions& options) {
    return {.learning_rate = options.learning_rate,
            .betas = options.betas,
            .epsilon = options.epsilon,
            .weight_decay = options.weight_decay,
            .amsgrad = options.amsgrad,
            .on_non_finite = options.on_non_finite,
            .max_grad_norm = options.max_grad_norm};
}

}  // namespace

template <class T> Adam<T>::Adam(std::vector<Group<T>> groups, const AdamOptions& options, bool decoupled)
    : Optimizer<T>(std::move(groups),
                   {options.learning_rate, options.weight_decay, options.on_non_finite, options.max_grad_norm},
                   state_names(options.amsgrad)),
      betas_(options.betas),
      epsilon_(options.epsilon),
      amsgrad_(options.amsgrad),
      decoupled_(decoupled) {
    const char* name = decoupled ? "AdamW" : "Adam";
    detail::check_option(name, "betas[0]", betas_[0], 0, 1);
    detail::check_option(name, "betas[1]", betas_[1], 0, 1);
    detail::check_option(name, "epsilon", epsilon_, 0, infinity);
}

template <class T> Adam<T>::Adam(std::vector<Variable<T>> parameters, AdamOptions options)
    : Adam(detail::one_group(std::move(parameters)), options, false) {}
template <class T>
Adam<T>::Adam(std::vector<Group<T>> groups, AdamOptions options) : Adam(std::move(groups), options, false) {}

template <class T> void Adam<T>::update(Variable<T>& parameter, const Array<T>& gradient, State<T>& state) {
    if (state.step != corrected_step_) {  // most often all parameters are at the same step
        corrected_step_ = state.step;
        for (std::size_t i = 0; i < 2; ++i)
            bias_corrections_[i] = 1 - std::pow(betas_[i], static_cast<double>(state.step));
    }
    const kernels::AdamOptions options{.learning_rate = state.learning_rate,
                                       .beta1 = betas_[0],
                                       .beta2 = betas_[1],
                                       .epsilon = epsilon_,
                                       .weight_decay = state.weight_decay,
                                       .decoupled = decoupled_,
                                       .bias_correction1 = bias_corrections_[0],
                                       .bias_correction2 = bias_corrections_[1]};
    parameter.update([&](Array<T>& value) {
        kernels::adam_update(options, gradient.data(), value.data(), state[0].data(), state[1].data(),
                             amsgrad_ ? state[2].data() : nullptr, value.size());
    });
}

template <class T> AdamW<T>::AdamW(std::vector<Variable<T>> parameters, AdamWOptions options)
    : Adam<T>(detail::one_group(std::move(parameters)), as_adam(options), true) {}
template <class T> AdamW<T>::AdamW(std::vector<Group<T>> groups, AdamWOptions options)
    : Adam<T>(std::move(groups), as_adam(options), true) {}

template class Adam<float>;
template class Adam<double>;
template class AdamW<float>;
template class AdamW<double>;

}  // namespace xgrad::optim
