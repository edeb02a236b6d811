#include <fmt/format.h>

#include <xgrad/autodiff/operations/normalization.hpp>
#include <xgrad/nn/layer_norm.hpp>

namespace xgrad::nn {

template <class T> LayerNorm<T>::LayerNorm(const Shape& normalized_shape, LayerNormOptions options)
    : normalized_shape_(normalized_shape), epsilon_(options.epsilon) {
    if (normalized_shape.empty() || element_count(normalized_shape) == 0)
        throw Error(fmt::format("LayerNorm: nothing to normalise over in the shape {}", describe(normalized_shape)));
    if (!(options.epsilon >= 0)) throw Error(fmt::format("LayerNorm: epsilon is {}; expected ≥ 0", options.epsilon));
    if (!options.affine) return;
    weight_ = Variable<T>(full(normalized_shape, T{1}));
    if (options.bias) bias_ = Variable<T>(full(normalized_shape, T{0}));
}

template <class T> std::string LayerNorm<T>::description() const {
    const char* const missing = !weight_.defined() ? ", not affine" : !bias_.defined() ? ", no bias" : "";
    return normalized_shape_.size() == 1 ? fmt::format("LayerNorm({}{})", normalized_shape_[0], missing)
                                         : fmt::format("LayerNorm({}{})", describe(normalized_shape_), missing);
}

template <class T> Variable<T> LayerNorm<T>::forward(const Variable<T>& x) {
    return layer_norm(x, normalized_shape_, weight_, bias_, epsilon_);
}

template class LayerNorm<float>;
template class LayerNorm<double>;

}  // namespace xgrad::nn
