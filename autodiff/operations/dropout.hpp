// Dropout: random elements are left out, so that a network cannot rely on any one of them.
#pragma once

#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// x with each element multiplied by 0 with this probability and by 1/(1 − probability) otherwise, which keeps the
/// expected value (Srivastava et al. 2014); x itself for a probability of 0. Throws Error when the probability is not
/// in [0, 1].
template <class T>
Variable<T> dropout(const Variable<T>& x, double probability, Generator& generator = current_generator());

}  // namespace xgrad
