// Initialisers: they write into a parameter, with numbers from the thread's generator (xgrad::seed).
#pragma once

#include <xgrad/autodiff/variable.hpp>

namespace xgrad::nn::init {

/// Numbers from the uniform distribution over [low, high).
template <class T>
void uniform(Variable<T>& parameter, double low, double high);

/// Numbers from the normal distribution.
template <class T>
void normal(Variable<T>& parameter, double mean = 0, double deviation = 1);

}  // namespace xgrad::nn::init
