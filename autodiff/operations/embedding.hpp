// Rows of a matrix by their indices: what stands for words, users or items in a network.
#pragma once

#include <cstdint>
#include <optional>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// The rows of a weight of shape (count, size) that the indices name, of shape (indices…, size). The row of
/// `padding_index`, if there is one of that number, gets no gradient. Throws Error when an index is not one of
/// 0 … count − 1.
template <class T>
Variable<T> embedding(const Variable<T>& weight, const Array<std::int64_t>& indices,
                      std::optional<std::int64_t> padding_index = std::nullopt);
template <class T>
Variable<T> embedding(const Variable<T>&, const NoIndices auto&, std::optional<std::int64_t> = {}) = delete;

}  // namespace xgrad
