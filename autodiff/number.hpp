// The kinds of number that the library deals in.
#pragma once

#include <concepts>
#include <type_traits>

namespace xgrad {

/// A plain number, as it may stand beside variables, lanes and duals.
template <class N> concept Number = std::is_arithmetic_v<N>;

/// The precisions that the library is compiled for.
template <class T> concept Real = std::same_as<T, float> || std::same_as<T, double>;

}  // namespace xgrad
