#include <typeinfo>

#include <fmt/format.h>

#include <xgrad/nn/sequential.hpp>

namespace xgrad::nn {

template <class T>
typename Sequential<T>::Held& Sequential<T>::Held::operator=(const Held& other) {
    const Layer<T>&mine = *layer_, &theirs = *other.layer_;
    if (typeid(mine) != typeid(theirs))
        throw Error(fmt::format("Sequential: a {} cannot be assigned to a {}", theirs.description(), mine.description()));
    assign_(*layer_, theirs);
    return *this;
}

template <class T>
Layer<T>& Sequential<T>::operator[](std::size_t place) {
    return const_cast<Layer<T>&>(std::as_const(*this)[place]);
}

template <class T>
const Layer<T>& Sequential<T>::operator[](std::size_t place) const {
    if (place >= layers_.size())
        throw Error(fmt::format("Sequential: there is no layer {}; it has {}", place, layers_.size()));
    return *layers_[place];
}

template <class T>
void Sequential<T>::fields(Fields<T>& f) {
    for (std::size_t i = 0; i < layers_.size(); ++i) f(std::to_string(i), *layers_[i]);
}

template <class T>
Variable<T> Sequential<T>::forward(const Variable<T>& x) {
    Variable<T> h = x;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        Layer<T>& layer = *layers_[i];
        Layer<T>* const next = i + 1 < layers_.size() ? &*layers_[i + 1] : nullptr;
        if (next && next->activation() != Activation::none && layer.applies(next->activation())) {
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
