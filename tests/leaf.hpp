// What tests of variables and of the tape begin and end with.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/tape.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad::testing {

/// The variable, which collects a gradient from now on.
inline Variable<> leaf(Variable<> x) { return x.requires_grad(true); }
template <class T> Variable<T> leaf(Variable<T> x) {
    return x.requires_grad(true);
}

template <class T> bool holds(const Variable<T>& x, const Array<T>& expected) {
    return x.defined() && x.value() == expected;
}

/// How many operations this thread's tape has.
inline std::size_t tape_size() { return Tape::current().size(); }

}  // namespace xgrad::testing
