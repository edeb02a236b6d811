// Parameters: Variables with value semantics, so that modules are values.
#pragma once

#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// What a module trains. A Parameter is a Variable that requires a gradient; where a Variable is a handle, it is a
/// value: copying makes a new parameter with the same numbers, assigning writes numbers into this one, so that an
/// optimizer's handle to it stays right; moving keeps the identity.
template <class T = float> class Parameter : public Variable<T> {
public:
    /// An empty parameter, which the first assignment makes.
    Parameter() noexcept = default;
    /// A parameter with these initial values, copied.
    explicit Parameter(const Variable<T>& values);
    /// A parameter of this shape whose values are not initialised.
    explicit Parameter(const Shape& shape);

    Parameter(const Parameter& other);
    Parameter(Parameter&& other) noexcept = default;
    /// Throws Error when the shapes differ, or the other one is empty and this one is not. The gradient stays as it is.
    Parameter& operator=(const Parameter& other);
    Parameter& operator=(Parameter&& other);
    Parameter& operator=(const Variable<T>& values);
    ~Parameter() = default;

    /// Writes the result into this parameter; nothing is recorded. Throws Error when it has another shape. (Of a
    /// handle, a Variable, they make a handle to the result.)
    Parameter& operator+=(const Variable<T>& other);
    Parameter& operator-=(const Variable<T>& other);
    Parameter& operator*=(const Variable<T>& other);
    Parameter& operator/=(const Variable<T>& other);

private:
    void mark();
};

extern template class Parameter<float>;
extern template class Parameter<double>;

namespace detail {

/// Notes that a module or an optimizer knows this parameter.
template <class T> void mark_listed(const Variable<T>& parameter) {
    if (parameter.defined()) parameter.node()->is_listed = true;
}

}  // namespace detail
}  // namespace xgrad
