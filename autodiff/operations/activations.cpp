#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/operations/activations.hpp>

namespace xgrad {

template <class T> Variable<T> relu(Variable<T> x) {
    return detail::operation_from_result<formulas::ReluVjp>("relu", formulas::Relu{}, std::move(x));
}

template <class T> Variable<T> prelu(Variable<T> x, const std::type_identity_t<Variable<T>>& slope) {
    if (slope.size() == 1)
        return detail::elementwise_operation("prelu", formulas::Prelu{}, std::move(x), reshape(slope, Shape{}));
    if (slope.dimension() != 1 || x.dimension() < 2 || slope.size() != x.shape()[1])
        throw Error(
            fmt::format("prelu: slopes of shape {} do not fit an input of shape {}; expected one slope, or one for "
                        "each channel (axis 1)",
                        describe(slope.shape()), describe(x.shape())));
    Shape per_channel(x.dimension() - 1, 1);
    per_channel[0] = slope.size();
    return detail::elementwise_operation("prelu", formulas::Prelu{}, std::move(x), reshape(slope, per_channel));
}

template <class T> Variable<T> hardtanh(Variable<T> x, double minimum, double maximum) {
    if (minimum > maximum)
        throw Error(fmt::format("hardtanh: the minimum {} is above the maximum {}", minimum, maximum));
    return detail::elementwise_operation("hardtanh", formulas::Hardtanh{minimum, maximum}, std::move(x));
}

// Instantiates a function for both precisions.
#define XGRAD_INSTANTIATE(function, ...) \
    template Variable<float> function(Variable<float> __VA_OPT__(, ) __VA_ARGS__); \
    template Variable<double> function(Variable<double> __VA_OPT__(, ) __VA_ARGS__);

// An activation that is a formula and nothing else.
#define XGRAD_FORMULA(function, Formula) \
    template <class T> \
    Variable<T> function(Variable<T> x) { \
        return detail::elementwise_operation(#function, formulas::Formula{}, std::move(x)); \
    } \
    XGRAD_INSTANTIATE(function)
#define XGRAD_FORMULA_WITH_NUMBER(function, Formula) \
    template <class T> \
    Variable<T> function(Variable<T> x, double number) { \
        return detail::elementwise_operation(#function, formulas::Formula{number}, std::move(x)); \
    } \
    XGRAD_INSTANTIATE(function, double)

XGRAD_FORMULA(selu, Selu)
XGRAD_FORMULA(gelu, Gelu)
XGRAD_FORMULA(gelu_tanh, GeluTanh)
XGRAD_FORMULA(silu, Silu)
XGRAD_FORMULA(mish, Mish)
XGRAD_FORMULA(softsign, Softsign)
XGRAD_FORMULA(hardsigmoid, Hardsigmoid)
XGRAD_FORMULA(hardswish, Hardswish)
XGRAD_FORMULA(log_sigmoid, LogSigmoid)
XGRAD_FORMULA_WITH_NUMBER(leaky_relu, LeakyRelu)
XGRAD_FORMULA_WITH_NUMBER(elu, Elu)
XGRAD_FORMULA_WITH_NUMBER(celu, Celu)

template <class T> Variable<T> softplus(Variable<T> x, double beta, double threshold) {
    return detail::elementwise_operation("softplus", formulas::Softplus{beta, threshold}, std::move(x));
}

XGRAD_INSTANTIATE(relu)
XGRAD_INSTANTIATE(hardtanh, double, double)
XGRAD_INSTANTIATE(softplus, double, double)
template Variable<float> prelu(Variable<float>, const Variable<float>&);
template Variable<double> prelu(Variable<double>, const Variable<double>&);

}  // namespace xgrad
