// Softmax and its logarithm. The cross-entropy that belongs to them is nn::cross_entropy.
#pragma once

#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// exp(x) / Σ exp(x) along an axis.
template <class T> Variable<T> softmax(const Variable<T>& x, std::ptrdiff_t axis = -1);

/// x − log Σ exp(x) along an axis, stable for any finite x.
template <class T> Variable<T> log_softmax(const Variable<T>& x, std::ptrdiff_t axis = -1);

}  // namespace xgrad
