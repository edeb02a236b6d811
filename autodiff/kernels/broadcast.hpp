// How shapes broadcast, and how a pass over the result walks through its operands.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>

namespace xgrad::kernels {

/// The most dimensions that an array has, and the most operands of one formula.
inline constexpr std::size_t max_rank = 16, max_operands = 8;

/// A shape that needs no heap.
class Extents {
public:
    Extents() = default;
    explicit Extents(std::span<const std::size_t> shape);

    std::size_t rank() const { return rank_; }
    std::size_t& operator[](std::size_t axis) { return extents_[axis]; }
    operator std::span<const std::size_t>() const { return {extents_, rank_}; }

private:
    std::size_t rank_ = 0;
    std::size_t extents_[max_rank];
};

/// The shape that operands of these shapes broadcast to by NumPy's rule: aligned at the last axis, extents of 1 repeat.
/// Throws Error, naming the operation and the two shapes, where they do not.
Extents broadcast_shapes(std::string_view operation, std::initializer_list<std::span<const std::size_t>> shapes);

/// How a pass over a contiguous result walks through contiguous row-major operands that broadcast to its shape, with as
/// few dimensions as say the same: operands of the result's own shape, or of one element, leave a single one.
struct Broadcast {
    /// Operands that all have the result's shape, of which only the size matters then.
    Broadcast(std::size_t elements, std::size_t operands) : size(elements), rank(1) {
        extent[0] = elements;
        std::fill_n(stride[0], operands, std::size_t{1});
    }
    /// The operands' shapes must broadcast to that of the result.
    Broadcast(std::span<const std::size_t> result, std::span<const std::span<const std::size_t>> operands);
    Broadcast(std::span<const std::size_t> result, std::initializer_list<std::span<const std::size_t>> operands)
        : Broadcast(result, std::span(operands.begin(), operands.size())) {}

    std::size_t size;                            // of the result
    std::size_t rank;                            // at least 1; dimension 0 is the innermost
    std::size_t extent[max_rank];                // of each dimension
    std::size_t stride[max_rank][max_operands];  // of each operand in each dimension; in dimension 0 it is 0 or 1
};

/// A part of a pass along its innermost dimension, without a turn.
template <class T, std::size_t N> struct Stretch {
    std::size_t length;
    const T* at[N];         // where each operand begins
    std::size_t stride[N];  // 0 for an operand that is one number for all of it, otherwise 1
};

/// Cuts the part [begin, end) of a pass into stretches: calls run(begin of the stretch, stretch).
template <std::size_t N, class T, class Run>
void each_stretch(const Broadcast& loop, const T* const* inputs, std::size_t begin, std::size_t end, const Run& run) {
    if (begin == end) return;
    std::size_t index[max_rank], offset[N] = {};
    for (std::size_t d = 0, rest = begin; d < loop.rank; ++d) {
        const bool within = rest < loop.extent[d];  // mostly, and divisions are slow
        index[d] = within ? rest : rest % loop.extent[d];
        rest = within ? 0 : rest / loop.extent[d];
        for (std::size_t k = 0; k < N; ++k) offset[k] += index[d] * loop.stride[d][k];
    }
    Stretch<T, N> stretch;
    for (std::size_t k = 0; k < N; ++k) stretch.stride[k] = loop.stride[0][k];
    while (begin < end) {
        stretch.length = std::min(loop.extent[0] - index[0], end - begin);
        for (std::size_t k = 0; k < N; ++k) stretch.at[k] = inputs[k] + offset[k];
        run(begin, stretch);
        begin += stretch.length;
        index[0] += stretch.length;
        for (std::size_t k = 0; k < N; ++k) offset[k] += stretch.length * loop.stride[0][k];
#pragma GCC unroll 1
        for (std::size_t d = 0; index[d] == loop.extent[d] && d + 1 < loop.rank; ++d) {
            index[d] = 0;
            ++index[d + 1];
            for (std::size_t k = 0; k < N; ++k)
                offset[k] = offset[k] + loop.stride[d + 1][k] - loop.extent[d] * loop.stride[d][k];
        }
    }
}

}  // namespace xgrad::kernels
