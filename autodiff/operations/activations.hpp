// Activation functions ψ: PyTorch's definitions and defaults. On a Variable each is one fused operation; on a lane or a
// dual it just evaluates, so that a user's formula can use it.
#pragma once

#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/formulas.hpp>

namespace xgrad {

/// max(x, 0)
template <class T> Variable<T> relu(Variable<T> x);
/// x where x > 0, otherwise negative_slope·x
template <class T> Variable<T> leaky_relu(Variable<T> x, double negative_slope = 0.01);
/// x where x > 0, otherwise slope·x with a slope that is learned: one for all, or one for each channel (axis 1). Throws
/// Error for another number of slopes.
template <class T> Variable<T> prelu(Variable<T> x, const std::type_identity_t<Variable<T>>& slope);
/// x where x > 0, otherwise α(eˣ − 1)
template <class T> Variable<T> elu(Variable<T> x, double alpha = 1);
/// λ·elu(x, α) with the λ and α that keep mean 0 and variance 1 (Klambauer et al. 2017)
template <class T> Variable<T> selu(Variable<T> x);
/// x where x > 0, otherwise α(e^(x/α) − 1)
template <class T> Variable<T> celu(Variable<T> x, double alpha = 1);
/// x·Φ(x) with the normal distribution function Φ (Hendrycks and Gimpel 2016)
template <class T> Variable<T> gelu(Variable<T> x);
/// The same paper's approximation of it by tanh
template <class T> Variable<T> gelu_tanh(Variable<T> x);
/// x·σ(x)
template <class T> Variable<T> silu(Variable<T> x);
/// x·tanh(softplus(x))
template <class T> Variable<T> mish(Variable<T> x);
/// log(1 + e^(βx))/β, and x where βx > threshold
template <class T> Variable<T> softplus(Variable<T> x, double beta = 1, double threshold = 20);
/// x / (1 + |x|)
template <class T> Variable<T> softsign(Variable<T> x);
/// x kept within [minimum, maximum]; its derivative is 0 at both ends. Throws Error unless minimum ≤ maximum.
template <class T> Variable<T> hardtanh(Variable<T> x, double minimum = -1, double maximum = 1);
/// x/6 + ½ kept within [0, 1]
template <class T> Variable<T> hardsigmoid(Variable<T> x);
/// x·hardsigmoid(x)
template <class T> Variable<T> hardswish(Variable<T> x);
/// log σ(x)
template <class T> Variable<T> log_sigmoid(Variable<T> x);

// The same inside formulas.
template <FormulaValue X> X relu(const X& x) {
    return formulas::Relu{}(x);
}
template <FormulaValue X> X leaky_relu(const X& x, double negative_slope = 0.01) {
    return formulas::LeakyRelu{negative_slope}(x);
}
template <FormulaValue X> X elu(const X& x, double alpha = 1) {
    return formulas::Elu{alpha}(x);
}
template <FormulaValue X> X selu(const X& x) {
    return formulas::Selu{}(x);
}
template <FormulaValue X> X celu(const X& x, double alpha = 1) {
    return formulas::Celu{alpha}(x);
}
template <FormulaValue X> X gelu(const X& x) {
    return formulas::Gelu{}(x);
}
template <FormulaValue X> X gelu_tanh(const X& x) {
    return formulas::GeluTanh{}(x);
}
template <FormulaValue X> X silu(const X& x) {
    return formulas::Silu{}(x);
}
template <FormulaValue X> X mish(const X& x) {
    return formulas::Mish{}(x);
}
template <FormulaValue X> X softplus(const X& x, double beta = 1, double threshold = 20) {
    return formulas::Softplus{beta, threshold}(x);
}
template <FormulaValue X> X softsign(const X& x) {
    return formulas::Softsign{}(x);
}
template <FormulaValue X> X hardtanh(const X& x, double minimum = -1, double maximum = 1) {
    return formulas::Clip{minimum, maximum}(x);
}
template <FormulaValue X> X hardsigmoid(const X& x) {
    return formulas::Hardsigmoid{}(x);
}
template <FormulaValue X> X hardswish(const X& x) {
    return formulas::Hardswish{}(x);
}
template <FormulaValue X> X log_sigmoid(const X& x) {
    return formulas::LogSigmoid{}(x);
}

}  // namespace xgrad
