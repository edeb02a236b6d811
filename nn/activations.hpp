// Activation functions as layers: PyTorch's names, definitions and defaults. The functions themselves are in
// autodiff/operations/activations.hpp.
#pragma once

#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/softmax.hpp>
#include <xgrad/nn/function_layer.hpp>

namespace xgrad::nn {

/// max(x, 0); fused with the layer before it in a Sequential
template <class T = float> struct ReLU : FunctionLayer<T> {
    ReLU() : FunctionLayer<T>("ReLU", relu<T>) {}
    Activation activation() const override { return detail::is_exactly(*this) ? Activation::relu : Activation::none; }
};

/// x where x > 0, otherwise negative_slope·x
template <class T = float> struct LeakyReLU : FunctionLayer<T, double> {
    explicit LeakyReLU(double negative_slope = 0.01)
        : FunctionLayer<T, double>("LeakyReLU", leaky_relu<T>, negative_slope) {}
};

/// x where x > 0, otherwise α(eˣ − 1)
template <class T = float> struct ELU : FunctionLayer<T, double> {
    explicit ELU(double alpha = 1) : FunctionLayer<T, double>("ELU", elu<T>, alpha) {}
};

/// λ·elu(x, α) with the λ and α that keep mean 0 and variance 1; initialise with init::lecun_normal
template <class T = float> struct SELU : FunctionLayer<T> {
    SELU() : FunctionLayer<T>("SELU", selu<T>) {}
};

/// x where x > 0, otherwise α(e^(x/α) − 1)
template <class T = float> struct CELU : FunctionLayer<T, double> {
    explicit CELU(double alpha = 1) : FunctionLayer<T, double>("CELU", celu<T>, alpha) {}
};

/// Which of its two forms a GELU computes.
struct GELUOptions {
    bool approximate = false;  ///< by tanh
};

/// x·Φ(x) with the normal distribution function Φ
template <class T = float> struct GELU : FunctionLayer<T> {
    explicit GELU(GELUOptions options = {})
        : FunctionLayer<T>(options.approximate ? "GELU(tanh)" : "GELU", options.approximate ? gelu_tanh<T> : gelu<T>) {}
};

/// x·σ(x)
template <class T = float> struct SiLU : FunctionLayer<T> {
    SiLU() : FunctionLayer<T>("SiLU", silu<T>) {}
};

/// x·tanh(softplus(x))
template <class T = float> struct Mish : FunctionLayer<T> {
    Mish() : FunctionLayer<T>("Mish", mish<T>) {}
};

/// log(1 + e^(βx))/β, and x where βx > threshold
template <class T = float> struct Softplus : FunctionLayer<T, double, double> {
    /// Throws Error when beta is 0.
    explicit Softplus(double beta = 1, double threshold = 20);
};

/// x / (1 + |x|)
template <class T = float> struct Softsign : FunctionLayer<T> {
    Softsign() : FunctionLayer<T>("Softsign", softsign<T>) {}
};

/// x kept within [minimum, maximum]
template <class T = float> struct Hardtanh : FunctionLayer<T, double, double> {
    /// Throws Error unless minimum ≤ maximum.
    explicit Hardtanh(double minimum = -1, double maximum = 1);
};

/// x/6 + ½ kept within [0, 1]
template <class T = float> struct HardSigmoid : FunctionLayer<T> {
    HardSigmoid() : FunctionLayer<T>("HardSigmoid", hardsigmoid<T>) {}
};

/// x·hardsigmoid(x)
template <class T = float> struct HardSwish : FunctionLayer<T> {
    HardSwish() : FunctionLayer<T>("HardSwish", hardswish<T>) {}
};

/// tanh x
template <class T = float> struct Tanh : FunctionLayer<T> {
    Tanh() : FunctionLayer<T>("Tanh", tanh<T>) {}
};

/// σ(x) = 1 / (1 + e⁻ˣ)
template <class T = float> struct Sigmoid : FunctionLayer<T> {
    Sigmoid() : FunctionLayer<T>("Sigmoid", sigmoid<T>) {}
};

/// log σ(x)
template <class T = float> struct LogSigmoid : FunctionLayer<T> {
    LogSigmoid() : FunctionLayer<T>("LogSigmoid", log_sigmoid<T>) {}
};

/// exp(x) / Σ exp(x) along an axis
template <class T = float> struct Softmax : FunctionLayer<T, std::ptrdiff_t> {
    explicit Softmax(std::ptrdiff_t axis = -1)
        : FunctionLayer<T, std::ptrdiff_t>(
              "Softmax", [](Variable<T> x, std::ptrdiff_t along) { return softmax(x, along); }, axis) {}
};

/// x − log Σ exp(x) along an axis
template <class T = float> struct LogSoftmax : FunctionLayer<T, std::ptrdiff_t> {
    explicit LogSoftmax(std::ptrdiff_t axis = -1)
        : FunctionLayer<T, std::ptrdiff_t>(
              "LogSoftmax", [](Variable<T> x, std::ptrdiff_t along) { return log_softmax(x, along); }, axis) {}
};

/// x where x > 0, otherwise w·x, where the slope w is trained: its parameter `weight` is one slope for all (count = 1),
/// or one for each channel (axis 1).
template <class T = float> class PReLU : public Layer<T> {
public:
    /// Throws Error when count is 0.
    explicit PReLU(std::size_t count = 1, double slope = 0.25);

    Parameter<T>& weight() noexcept { return weight_; }
    const Parameter<T>& weight() const noexcept { return weight_; }

    void fields(Fields<T>& f) override { f("weight", weight_); }
    std::string description() const override;

protected:
    Variable<T> forward(const Variable<T>& x) override { return prelu(x, weight_); }

private:
    Parameter<T> weight_;
};

extern template struct Softplus<float>;
extern template struct Softplus<double>;
extern template struct Hardtanh<float>;
extern template struct Hardtanh<double>;
extern template class PReLU<float>;
extern template class PReLU<double>;

}  // namespace xgrad::nn
