// The affine layer.
#pragma once

#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {

/// The settings of a Linear.
struct LinearOptions {
    bool bias = true;  ///< false where a BatchNorm follows, which makes it redundant
};

/// z = x·Wᵀ + b for x of shape (…, in). Its parameters are `weight` (out, in) and `bias` (out), drawn at first from
/// U(−1/√in, 1/√in), which is PyTorch's default.
template <class T = float> class Linear : public Layer<T> {
public:
    /// Throws Error when `in` or `out` is 0.
    Linear(std::size_t in, std::size_t out, LinearOptions options = {});

    Parameter<T>& weight() noexcept { return weight_; }
    const Parameter<T>& weight() const noexcept { return weight_; }
    /// Empty when the layer was made without one.
    Parameter<T>& bias() noexcept { return bias_; }
    const Parameter<T>& bias() const noexcept { return bias_; }

    void fields(Fields<T>& f) override { f("weight", weight_)("bias", bias_); }
    std::string description() const override;

protected:
    Variable<T> forward(const Variable<T>& x) override { return linear(x, weight_, bias_); }
    Variable<T> forward_with(Activation activation, const Variable<T>& x) override {
        return detail::is_exactly(*this) ? linear(x, weight_, bias_, activation) : Variable<T>();
    }

private:
    Parameter<T> weight_, bias_;
};

extern template class Linear<float>;
extern template class Linear<double>;

}  // namespace xgrad::nn
