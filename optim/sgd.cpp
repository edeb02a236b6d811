#include <limits>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/update.hpp>
#include <xgrad/optim/sgd.hpp>

namespace xgrad::optim {

template <class T> SGD<T>::SGD(std::vector<Variable<T>> parameters, SGDOptions options)
    : SGD(detail::one_group(std::move(parameters)), std::move(options)) {}

template <class T> SGD<T>::SGD(std::vector<Group<T>> groups, SGDOptions options)
    : Optimizer<T>(std::move(groups),
                   {options.learning_rate, options.weight_decay, options.on_non_finite, options.max_grad_norm},
                   options.momentum != 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{}),
      momentum_(options.momentum),
      dampening_(options.dampening),
      nesterov_(options.nesterov) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    detail::check_option("SGD", "momentum", momentum_, 0, infinity);
    detail::check_option("SGD", "dampening", dampening_, -infinity, infinity);
    if (nesterov_ && (momentum_ == 0 || dampening_ != 0))
        throw Error(fmt::format("SGD: nesterov needs a momentum, which is {}, and no dampening, which is {}", momentum_,
                                dampening_));
}

template <class T> void SGD<T>::update(Variable<T>& parameter, const Array<T>& gradient, State<T>& state) {
    const kernels::SgdOptions options{.learning_rate = state.learning_rate,
                                      .momentum = momentum_,
                                      .dampening = dampening_,
                                      .weight_decay = state.weight_decay,
                                      .nesterov = nesterov_,
                                      .first_step = state.step == 1};
    parameter.update([&](Array<T>& value) {
        kernels::sgd_update(options, gradient.data(), value.data(), momentum_ != 0 ? state[0].data() : nullptr,
                            value.size());
    });
}

template class SGD<float>;
template class SGD<double>;

}  // namespace xgrad::optim
