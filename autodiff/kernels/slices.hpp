// How slices are shared among threads; and transposed where they would leave most of a lane empty, short rows and
// columns to many columns, few long columns to rows.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {

/// Runs work(first element, first result, slices, columns) over ranges of outer or, where that is 1, of columns.
template <class Work> void slices_in_pieces(const Slices& slices, const Work& work) {
    if (slices.outer == 1)
        return columns_in_pieces(slices.count, slices.inner, [&](std::size_t column, std::size_t columns) {
            work(column, column, slices, columns);
        });
    const std::size_t size = slices.count * slices.inner;
    in_pieces(slices.outer, size, [&](std::size_t first, std::size_t n) {
        work(first * size, first * slices.inner, Slices{n, slices.count, slices.inner}, slices.inner);
    });
}

/// Rows of so many numbers, or fewer: merging across a lane, for each of many, takes longer than all the rest.
inline constexpr std::size_t longest_transposed_row = 16;

/// The same where more is done with each number than merging it, as measured: `longest` where the lanes are wide.
inline std::size_t longest_where_wide(std::size_t longest) {
    return level() == Level::portable ? longest_transposed_row : longest;
}

inline bool are_short_rows(const Slices& slices, std::size_t longest = longest_transposed_row,
                           std::size_t fewest = 16) {
    return slices.inner == 1 && slices.count <= longest && slices.outer >= fewest;
}

/// Fewer columns leave most places of a lane empty.
inline constexpr std::size_t many_columns = 8;

/// Whether slices are few short columns, again and again. To transpose them pays where much is computed for each
/// number, or most of a lane is empty.
inline bool are_short_columns(const Slices& slices) {
    return slices.inner > 1 && slices.inner < many_columns && slices.count * slices.inner <= 128 && slices.outer >= 16;
}

/// Blocks of N arrays with memory for as many results: a short row has become one column, a block of short columns as
/// many as it has.
template <class T, std::size_t N> struct TransposedBlocks {
    // So few, whole lanes where they were rows, that softmax takes them as they stand (see columns_compete).
    static constexpr std::size_t most_columns = 448 / sizeof(T), size = longest_transposed_row * most_columns;
    Slices slices;      // (1, count, a block's columns · blocks)
    std::size_t first;  // block
    std::array<T[size], N> inputs;
    T results[size];
};

/// Calls run(transposed blocks) for some blocks at a time, which threads share, and where y is not null transposes
/// the results back, `results_each` of a block.
template <class T, std::size_t N, class Run>
void over_blocks(const std::array<const T*, N>& inputs, const Slices& slices, std::size_t results_each, T* y,
                 const Run& run) {
    using Transposed = TransposedBlocks<T, N>;
    const std::size_t length = slices.count * slices.inner;
    constexpr std::size_t line = 64 / sizeof(T);
    const std::size_t columns = Transposed::size / std::max(slices.count, longest_transposed_row) / line * line;
    const std::size_t most_blocks = columns / slices.inner;
    const auto transpose = move_kernels<T>().transpose;
    in_pieces(slices.outer, length, [&](std::size_t begin, std::size_t n) {
        Transposed transposed;
        for (std::size_t blocks; n > 0; begin += blocks, n -= blocks) {
            blocks = std::min(n, most_blocks);
            transposed.slices = {1, slices.count, slices.inner * blocks};
            transposed.first = begin;
            for (std::size_t i = 0; i < N; ++i)
                transpose(inputs[i] + begin * length, length, length, blocks, transposed.inputs[i], blocks);
            run(transposed);
            if (y) transpose(transposed.results, blocks, blocks, results_each, y + begin * results_each, results_each);
        }
    });
}

/// Whether slices are long columns, too few for the places of a lane.
inline bool are_few_columns(const Slices& slices) {
    return slices.inner > 1 && slices.inner < many_columns && slices.count >= 64;
}

/// The slices as rows in memory of their own.
template <class T> memory::Scratch<T> transposed_to_rows(const T* x, const Slices& slices) {
    memory::Scratch<T> rows(slices.size());
    transpose_each(x, slices.outer, slices.count, slices.inner, rows.data());
    return rows;
}
inline Slices as_rows(const Slices& slices) { return {slices.outer * slices.inner, slices.count, 1}; }

}  // namespace xgrad::kernels
