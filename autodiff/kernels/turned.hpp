// Slices that lie badly for lanes are turned: short rows to columns, few long columns to rows.
#pragma once

#include <algorithm>
#include <array>
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

/// Some short rows of N arrays, turned to columns, with memory for as many results.
template <class T, std::size_t N> struct TurnedRows {
    // Whole lanes, and so few that softmax takes them as they stand.
    static constexpr std::size_t most = 448 / sizeof(T);
    Slices slices;      // (1, length of a row, rows)
    std::size_t first;  // row
    std::array<T[longest_turned_row * most], N> inputs;
    T results[longest_turned_row * most];
};

/// Calls run(turned rows) for some short rows at a time, which threads share, and where y is not null turns the results
/// back.
template <class T, std::size_t N, class Run>
void over_short_rows(const std::array<const T*, N>& inputs, const Slices& slices, T* y, Level at, const Run& run) {
    const std::size_t length = slices.count;
    const auto transpose = move_kernels<T>(at).transpose;
    in_pieces(slices.outer, length, [&](std::size_t begin, std::size_t n) {
        TurnedRows<T, N> turned;
        for (std::size_t rows; n > 0; begin += rows, n -= rows) {
            rows = std::min(n, turned.most);
            turned.slices = {1, length, rows};
            turned.first = begin;
            for (std::size_t i = 0; i < N; ++i)
                transpose(inputs[i] + begin * length, length, length, rows, turned.inputs[i], rows);
            run(turned);
            if (y) transpose(turned.results, rows, rows, length, y + begin * length, length);
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
