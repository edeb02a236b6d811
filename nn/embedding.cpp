#include <algorithm>

#include <fmt/format.h>

#include <xgrad/autodiff/operations/embedding.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/init.hpp>

namespace xgrad::nn {

template <class T> Embedding<T>::Embedding(std::size_t count, std::size_t size, EmbeddingOptions options)
    : padding_index_(options.padding_index) {
    if (count == 0 || size == 0)
        throw Error(fmt::format("Embedding: {} vectors of size {}; expected at least 1", count, size));
    if (padding_index_ && *padding_index_ >= count)
        throw Error(fmt::format("Embedding: padding_index {} is not below the count {}", *padding_index_, count));
    weight_ = Parameter<T>(Shape{count, size});
    init::normal(weight_);
    if (padding_index_)
        weight_.update([&](Array<T>& values) { std::fill_n(values.data() + *padding_index_ * size, size, T{0}); });
}

template <class T> Variable<T> Embedding<T>::operator()(const Array<std::int64_t>& indices) const {
    return embedding(weight_, indices, padding_index_);
}

template <class T> std::string Embedding<T>::description() const {
    return fmt::format("Embedding({}, {})", weight_.shape()[0], weight_.shape()[1]);
}

template class Embedding<float>;
template class Embedding<double>;

}  // namespace xgrad::nn
