// Layers that compute nothing.
#pragma once

#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/nn/function_layer.hpp>

namespace xgrad::nn {

/// x as it is: the place of a layer that is left out.
template <class T = float> struct Identity : FunctionLayer<T> {
    Identity() : FunctionLayer<T>("Identity", [](Variable<T> x) { return x; }) {}
};

/// The axes from `first` to `last` made one; from the second on when none are given, so that each sample becomes a row.
template <class T = float> struct Flatten : FunctionLayer<T, std::ptrdiff_t, std::ptrdiff_t> {
    explicit Flatten(std::ptrdiff_t first = 1, std::ptrdiff_t last = -1)
        : FunctionLayer<T, std::ptrdiff_t, std::ptrdiff_t>(
              "Flatten", [](Variable<T> x, std::ptrdiff_t from, std::ptrdiff_t to) { return flatten(x, from, to); },
              first, last) {}
};

}  // namespace xgrad::nn
