// Layer normalisation.
#pragma once

#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {

/// The settings of a LayerNorm.
struct LayerNormOptions {
    double epsilon = 1e-5;  ///< added to the variance, inside the root
    bool affine = true;     ///< whether there are a weight γ and a bias ξ (PyTorch's elementwise_affine)
    bool bias = true;       ///< false for a weight only
};

/// γ·(z − μ)/√(σ² + ε) + ξ with the mean and the biased variance over the last axes of each sample (Ba et al. 2016):
/// the same in training and evaluation. Its parameters are `weight` γ = 1 and `bias` ξ = 0.
template <class T = float> class LayerNorm : public Layer<T> {
public:
    /// Over the last axis, of this size. Throws Error when it is 0, or epsilon is negative.
    explicit LayerNorm(std::size_t features, LayerNormOptions options = {}) : LayerNorm(Shape{features}, options) {}
    /// Over the last axes, of these sizes.
    explicit LayerNorm(const Shape& normalized_shape, LayerNormOptions options = {});

    /// Empty when the layer was made without.
    Parameter<T>& weight() noexcept { return weight_; }
    const Parameter<T>& weight() const noexcept { return weight_; }
    Parameter<T>& bias() noexcept { return bias_; }
    const Parameter<T>& bias() const noexcept { return bias_; }

    void fields(Fields<T>& f) override { f("weight", weight_)("bias", bias_); }
    std::string description() const override;

protected:
    Variable<T> forward(const Variable<T>& x) override;

private:
    Parameter<T> weight_, bias_;  // first: when they do not fit, an assignment throws before anything is changed
    Shape normalized_shape_;
    double epsilon_;
};

extern template class LayerNorm<float>;
extern template class LayerNorm<double>;

}  // namespace xgrad::nn
