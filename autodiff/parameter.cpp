#include <fmt/format.h>

#include <xgrad/autodiff/parameter.hpp>

namespace xgrad {

template <class T> void Parameter<T>::mark() {
    this->node()->requires_grad = true;
    this->node()->is_parameter = true;
}

template <class T> Parameter<T>::Parameter(const Variable<T>& values) : Variable<T>(Array<T>(values.value())) {
    mark();
}

template <class T> Parameter<T>::Parameter(const Shape& shape) : Variable<T>(empty<T>(shape)) {
    mark();
}

template <class T> Parameter<T>::Parameter(const Parameter& other) : Variable<T>() {
    if (!other.defined()) return;
    Variable<T>::operator=(Variable<T>(Array<T>(other.value())));
    mark();
    this->requires_grad(other.requires_grad());
}

template <class T> Parameter<T>& Parameter<T>::operator=(const Variable<T>& values) {
    if (this->defined()) {
        if (!values.defined())
            throw Error(
                fmt::format("assign: an empty Variable does not fit a parameter of shape {}; a layer made "
                            "without a bias, say, does not fit one with it",
                            describe(this->shape())));
        this->assign(values);
    } else if (values.defined()) {
        Variable<T>::operator=(Variable<T>(Array<T>(values.value())));
        mark();
    }
    return *this;
}

template <class T> Parameter<T>& Parameter<T>::operator=(const Parameter& other) {
    return *this = static_cast<const Variable<T>&>(other);
}

template <class T> Parameter<T>& Parameter<T>::operator=(Parameter&& other) {
    if (this->defined()) return *this = static_cast<const Variable<T>&>(other);
    Variable<T>::operator=(std::move(other));
    return *this;
}

template <class T> Parameter<T>& Parameter<T>::operator+=(const Variable<T>& other) {
    return *this = this->detach() + other.detach();
}
template <class T> Parameter<T>& Parameter<T>::operator-=(const Variable<T>& other) {
    return *this = this->detach() - other.detach();
}
template <class T> Parameter<T>& Parameter<T>::operator*=(const Variable<T>& other) {
    return *this = this->detach() * other.detach();
}
template <class T> Parameter<T>& Parameter<T>::operator/=(const Variable<T>& other) {
    return *this = this->detach() / other.detach();
}

template class Parameter<float>;
template class Parameter<double>;

}  // namespace xgrad
