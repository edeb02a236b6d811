// Slices that lie badly for lanes are turned: short rows to columns, few long columns to rows.
#pragma once

#include <algorithm>
#include <cstddef>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {

/// Rows of so many numbers, or fewer: merging across a lane, for each of many, takes longer than all the rest.
inline constexpr std::size_t longest_turned_row = 16;

inline bool are_short_rows(const Slices& slices) {
    return slices.inner == 1 && slices.count <= longest_turned_row && slices.outer >= 16;
}

/// Runs kernel(x, slices, first row) for some short rows at a time, turned to columns. Threads share them.
template <class T, class Kernel>
void over_short_rows(const T* x, const Slices& slices, Level at, const Kernel& kernel) {
    constexpr std::size_t most = 256;
    const std::size_t length = slices.count;
    const auto transpose = move_kernels<T>(at).transpose;
    in_pieces(slices.outer, length, [&](std::size_t begin, std::size_t n) {
        T turned[longest_turned_row * most];
        for (const std::size_t end = begin + n; begin < end; begin += most) {
            const std::size_t some = std::min(most, end - begin);
            transpose(x + begin * length, length, length, some, turned, some);
            kernel(turned, Slices{1, length, some}, begin);
        }
    });
}

/// Whether slices are long columns, too few for the places of a lane.
inline bool are_few_columns(const Slices& slices) { return slices.inner > 1 && slices.inner < 8 && slices.count >= 64; }

/// The slices as rows in memory of their own.
template <class T> memory::Scratch<T> turned_to_rows(const T* x, const Slices& slices, Level at) {
    memory::Scratch<T> rows(slices.size());
    transpose_each(x, slices.outer, slices.count, slices.inner, rows.data(), at);
    return rows;
}
inline Slices as_rows(const Slices& slices) { return {slices.outer * slices.inner, slices.count, 1}; }

}  // namespace xgrad::kernels
