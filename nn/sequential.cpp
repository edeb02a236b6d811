#include <algorithm>
#include <typeinfo>
#include <utility>

#include <fmt/format.h>

#include <xgrad/nn/sequential.hpp>

namespace xgrad::nn {

template <class T> bool Sequential<T>::Held::matches(const Held& other) const {
    const Layer<T>&mine = *layer_, &theirs = *other.layer_;
    const auto same_shape = [](const Variable<T>& a, const Variable<T>& b) { return a.shape() == b.shape(); };
    return typeid(mine) == typeid(theirs) && std::ranges::equal(mine.parameters(), theirs.parameters(), same_shape);
}

namespace {

// For layers whose descriptions say nothing of their sizes: the first parameter in which they differ.
template <class T> std::string difference(const Layer<T>& from, const Layer<T>& to) {
    const auto theirs = from.named_parameters(), mine = to.named_parameters();
    for (std::size_t i = 0; i < std::min(theirs.size(), mine.size()); ++i)
        if (theirs[i].second.shape() != mine[i].second.shape())
            return fmt::format(": {} has the shape {}, and {} there", theirs[i].first,
                               describe(theirs[i].second.shape()), describe(mine[i].second.shape()));
    return fmt::format(": it has {} parameters, and {} there", theirs.size(), mine.size());
}

}  // namespace

template <class T> typename Sequential<T>::List& Sequential<T>::List::operator=(const List& other) {
    if (this->empty()) return *this = List(other);
    if (this->size() != other.size())
        throw Error(
            fmt::format("Sequential: one of size {} cannot be assigned to one of size {}", other.size(), this->size()));
    for (std::size_t i = 0; i < this->size(); ++i) {
        if ((*this)[i].matches(other[i])) continue;
        const Layer<T>&theirs = *other[i], &mine = *(*this)[i];
        throw Error(fmt::format("Sequential: layer {}, {}, cannot be assigned to {}{}", i, theirs.description(),
                                mine.description(),
                                theirs.description() == mine.description() ? difference(theirs, mine) : ""));
    }
    for (std::size_t i = 0; i < this->size(); ++i) (*this)[i].assign(other[i]);
    return *this;
}

template <class T> typename Sequential<T>::List& Sequential<T>::List::operator=(List&& other) {
    if (!this->empty()) return *this = std::as_const(other);
    this->swap(other);
    return *this;
}

template <class T> Layer<T>& Sequential<T>::operator[](std::size_t place) {
    return const_cast<Layer<T>&>(std::as_const(*this)[place]);
}

template <class T> const Layer<T>& Sequential<T>::operator[](std::size_t place) const {
    if (place >= layers_.size())
        throw Error(fmt::format("Sequential: there is no layer {}; it has {}", place, layers_.size()));
    return *layers_[place];
}

template <class T> void Sequential<T>::fields(Fields<T>& f) {
    for (std::size_t i = 0; i < layers_.size(); ++i) f(std::to_string(i), *layers_[i]);
}

template <class T> Variable<T> Sequential<T>::forward(const Variable<T>& x) {
    Variable<T> h = x;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        Layer<T>& layer = *layers_[i];
        Layer<T>* const next = i + 1 < layers_.size() ? &*layers_[i + 1] : nullptr;
        if (next && next->activation() != Activation::none) {
            h = layer.call_with(*next, h);
            ++i;
        } else {
            h = layer(h);
        }
    }
    return h;
}

template class Sequential<float>;
template class Sequential<double>;

}  // namespace xgrad::nn
