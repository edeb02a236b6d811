#include <fmt/format.h>

#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/define.hpp>

namespace xgrad {

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
    if (!(minimum <= maximum))
        throw Error(
            fmt::format("hardtanh: the bounds are {} and {}; expected a lower and an upper one", minimum, maximum));
    return detail::elementwise_operation("hardtanh", formulas::Clip{minimum, maximum}, std::move(x));
}

XGRAD_FORMULA_FROM_RESULT(relu, Relu, ReluVjp)
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

XGRAD_IN_BOTH_PRECISIONS(hardtanh, double, double)
XGRAD_IN_BOTH_PRECISIONS(softplus, double, double)
template Variable<float> prelu(Variable<float>, const Variable<float>&);
template Variable<double> prelu(Variable<double>, const Variable<double>&);

}  // namespace xgrad
