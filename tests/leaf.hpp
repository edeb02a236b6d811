// What tests of variables and of the tape begin and end with.
#pragma once

#include <xgrad/autodiff/variable.hpp>

namespace xgrad::testing {

/// The variable, which collects a gradient from now on.
inline Variable<> leaf(Variable<> x) { return x.requires_grad(true); }

template <class T>
bool holds(const Variable<T>& x, const Array<T>& expected) {
    return x.defined() && x.value() == expected;
}

}  // namespace xgrad::testing
