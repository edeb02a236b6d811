// Products of many rows and a depth of a few steps: C is most of what passes through the caches. What stands in some
// columns of B stays in registers while C is written row by row. Only gemm.simd.cpp includes it.
#pragma once

#include <cstddef>
#include <limits>
#include <utility>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/gemm_tile.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// As many vectors of B as leave registers for a row of C.
#if defined(__AVX512F__)
constexpr size_t shallow_vectors = 24, most_steps = 16;
#else
constexpr size_t shallow_vectors = 10, most_steps = 5;
#endif

// The vectors of a row of B that are kept: 8, 4, 2 or 1.
constexpr size_t kept_vectors(size_t depth) {
    size_t vectors = 8;
    while (vectors * depth > shallow_vectors && vectors > 1) vectors /= 2;
    return vectors;
}

// All rows of C with some columns of B; `columns` of its last vector, where that is partial. (Without branches on what
// C goes through last: the compiler would make a loop for each.)
template <class T, size_t Depth, size_t Vectors, bool Partial>
void multiply_kept(const Gemm<T>& g, const T* b, size_t b_step, size_t column, size_t columns) {
    Vector<T> kept[Depth][Vectors], bias[Vectors] = {};
#pragma GCC unroll 16
    for (size_t k = 0; k < Depth; ++k) load_row<T, Vectors, Partial>(kept[k], b + k * b_step, columns);
    if (g.bias) load_row<T, Vectors, Partial>(bias, g.bias + column, columns);
    const Vector<T> least = broadcast(g.activation == Activation::relu ? T(0) : -std::numeric_limits<T>::infinity());
    const size_t to_row = a_stride(g), to_step = a_step(g), c_stride = g.c_stride;
    const T* a = g.a;
    T* c = g.c + column;
    constexpr size_t chains = Depth >= 10 ? 2 : 1;  // additions wait for one another: for half as many in two sums
    for (size_t rows = g.rows; rows > 0; --rows, a += to_row, c += c_stride) {
        Vector<T> sums[2][Vectors] = {};
#pragma GCC unroll 16
        for (size_t v = 0; v < Vectors; ++v) sums[0][v] = bias[v];
#pragma GCC unroll 16
        for (size_t k = 0; k < Depth; ++k)
#pragma GCC unroll 16
            for (size_t v = 0; v < Vectors; ++v) sums[k % chains][v] += broadcast(a[k * to_step]) * kept[k][v];
#pragma GCC unroll 16
        for (size_t v = 0; v < Vectors; ++v) {
            if (chains > 1) sums[0][v] += sums[1][v];
            sums[0][v] = at_least(sums[0][v], least);
        }
        store_row<T, Vectors, Partial>(c, sums[0], columns);
    }
}

template <class T>
using KeptKernel = void (*)(const Gemm<T>& g, const T* b, size_t b_step, size_t column, size_t columns);

// For so many of kept_vectors, of which the last may be partial where there are at most 2.
template <class T, size_t Depth> KeptKernel<T> kept_kernel(size_t vectors, bool partial) {
    constexpr size_t most = kept_vectors(Depth);
    if constexpr (most >= 8)
        if (vectors == 8) return multiply_kept<T, Depth, 8, false>;
    if constexpr (most >= 4)
        if (vectors == 4) return multiply_kept<T, Depth, 4, false>;
    if constexpr (most >= 2)
        if (vectors == 2) return partial ? multiply_kept<T, Depth, 2, true> : multiply_kept<T, Depth, 2, false>;
    return partial ? multiply_kept<T, Depth, 1, true> : multiply_kept<T, Depth, 1, false>;
}

template <class T, size_t... Step>
KeptKernel<T> kept_kernel(size_t depth, size_t vectors, bool partial, std::index_sequence<Step...>) {
    static constexpr KeptKernel<T> (*with_depth[])(size_t, bool) = {kept_kernel<T, Step + 1>...};
    return with_depth[depth - 1](vectors, partial);
}

template <class T> void multiply_shallow(const Gemm<T>& g) {
    alignas(64) T packed[shallow_vectors * lanes<T> + lanes<T>];
    const size_t most = kept_vectors(g.depth);
    for (size_t column = 0, columns; column < g.columns; column += columns) {
        const size_t left = g.columns - column;
        size_t vectors = most;
        while (vectors > 2 && left < vectors * lanes<T>) vectors /= 2;
        if (vectors == 2 && left <= lanes<T>) vectors = 1;
        columns = min(left, vectors * lanes<T>);
        const size_t width = vectors * lanes<T>;
        if (g.transpose_b) pack_columns(packed, width, b_at(g, 0, column), g.b_stride, columns, g.depth);
        const auto multiply = kept_kernel<T>(g.depth, vectors, columns < width, std::make_index_sequence<most_steps>{});
        multiply(g, g.transpose_b ? packed : b_at(g, 0, column), g.transpose_b ? width : g.b_stride, column,
                 columns % lanes<T>);
    }
}

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
