// How kernels share a large input among threads.
#pragma once

#include <algorithm>
#include <cstddef>

#include <xgrad/autodiff/kernels/sizes.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>

namespace xgrad::kernels {

/// Inputs of fewer elements stay on the calling thread: sharing them costs more than it gives.
constexpr std::size_t worth_sharing = std::size_t{1} << 14;
/// About as many elements make a piece.
constexpr std::size_t piece_size = std::size_t{1} << 12;

/// A loop over fewer is brief, in the sense of parallel.
constexpr std::size_t brief_size = std::size_t{1} << 15;

/// How many things of `each` elements make a piece.
inline std::size_t piece_length(std::size_t each) {
    return std::max<std::size_t>(1, piece_size / std::max<std::size_t>(1, each));
}

/// Runs work(first, count) over the range [0, n) of things of `each` elements: at once, or in pieces of
/// piece_length(each) shared among threads.
template <class Work> void in_pieces(std::size_t n, std::size_t each, const Work& work) {
    if (n == 0) return;
    if (n * each < worth_sharing) return work(std::size_t{0}, n);
    const std::size_t length = piece_length(each), pieces = ceil_divide(n, length);
    parallel(
        pieces, [&](std::size_t piece) { work(piece * length, std::min(length, n - piece * length)); },
        n * each < brief_size);
}

/// Runs work(first, count) over the columns of a matrix, at once or in pieces, each of which takes all rows of some
/// columns: a multiple of 64, whole cache lines.
template <class Work> void columns_in_pieces(std::size_t rows, std::size_t columns, const Work& work) {
    constexpr std::size_t group = 64;
    in_pieces(ceil_divide(columns, group), group * rows, [&](std::size_t begin, std::size_t n) {
        work(begin * group, std::min(columns - begin * group, n * group));
    });
}

}  // namespace xgrad::kernels
