// Products of few rows or columns, made of scalar products: nothing is packed. Only gemm.simd.cpp includes it.
#pragma once

#include <cstddef>
#include <utility>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/vector.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// --- Few rows or columns: scalar products of a's rows and b's, nothing to pack ---------------------------------------

#if defined(__AVX512F__)
constexpr size_t dot_rows = 4, dot_columns = 5;
constexpr size_t dots_rows = 64, dots_depth = 6;
template <class T> constexpr size_t few_columns = 5 * lanes<T> / 8;
#elif defined(__AVX2__)
constexpr size_t dot_rows = 3, dot_columns = 3;
constexpr size_t dots_rows = 32, dots_depth = 20;
template <class T> constexpr size_t few_columns = 3 * lanes<T> / 8;
#else
constexpr size_t dot_rows = 2, dot_columns = 2;
constexpr size_t dots_rows = 32, dots_depth = 20;
template <class T> constexpr size_t few_columns = 0;
#endif

// A vector whose lane i holds the sum over all lanes of x[i]: a transpose whose rows are added on the way.
template <class T, size_t Distance = 1, size_t Count>
[[gnu::always_inline]] inline Vector<T> sum_each(Vector<T> (&x)[Count]) {
    if constexpr (Distance == lanes<T>) {
        return x[0];
    } else {
        Vector<T> sums[(Count + 1) / 2];
#pragma GCC unroll 8
        for (size_t i = 0; i < (Count + 1) / 2; ++i) {
            Vector<T> even = x[2 * i], odd = x[2 * i + 1 < Count ? 2 * i + 1 : 2 * i];
            deinterleave<Distance>(even, odd);
            sums[i] = even + odd;
        }
        return sum_each<T, 2 * Distance>(sums);
    }
}

// Where it Fetches, `count` rows from `next` on, `stride` apart, are fetched meanwhile.
template <class T, size_t Rows, size_t Columns, bool Fetches>
void multiply_dots_tile(const Gemm<T>& g, size_t row, size_t column, const T* next, size_t stride, size_t count) {
    Vector<T> sums[Rows][Columns] = {};
    const T *a = g.a + row * g.a_stride, *b = g.b + column * g.b_stride;
    const auto step = [&](auto load_part) {
        Vector<T> x[Rows];
#pragma GCC unroll 8
        for (size_t r = 0; r < Rows; ++r) x[r] = load_part(a + r * g.a_stride);
#pragma GCC unroll 8
        for (size_t c = 0; c < Columns; ++c) {
            const Vector<T> y = load_part(b + c * g.b_stride);
#pragma GCC unroll 8
            for (size_t r = 0; r < Rows; ++r) sums[r][c] += x[r] * y;
        }
        a += lanes<T>, b += lanes<T>;
        if constexpr (Fetches) {
            for (size_t i = 0; i < count; ++i) fetch(next + i * stride);
            next += lanes<T>;
        }
    };
    const size_t rest = g.depth % lanes<T>;
    for (size_t k = lanes<T>; k <= g.depth; k += lanes<T>) step([](const T* from) { return load(from); });
    if (rest > 0) step([rest](const T* from) { return load(from, rest); });
    const Vector<T> bias = g.bias ? load(g.bias + column, Columns) : Vector<T>{};
    T* c = g.c + row * g.c_stride + column;
#pragma GCC unroll 8
    for (size_t r = 0; r < Rows; ++r, c += g.c_stride) {
        Vector<T> x = sum_each<T>(sums[r]);
        if (g.accumulate) x += load(c, Columns);
        if (g.bias) x += bias;
        store(c, activate<T>(x, g.activation), Columns);
    }
}

template <class T>
using DotKernel = void (*)(const Gemm<T>&, size_t row, size_t column, const T* next, size_t stride, size_t count);

template <class T> struct DotKernels { DotKernel<T> of[dot_rows * dot_columns]; };

template <class T, bool Fetches, size_t... Size> constexpr DotKernels<T> dot_kernels(std::index_sequence<Size...>) {
    return {{multiply_dots_tile<T, Size / dot_columns + 1, Size % dot_columns + 1, Fetches>...}};
}

template <class T> void multiply_dots(const Gemm<T>& g, bool b_is_longer, bool fetch_next) {
    constexpr auto sizes = std::make_index_sequence<dot_rows * dot_columns>{};
    static constexpr DotKernels<T> all_kernels[] = {dot_kernels<T, false>(sizes), dot_kernels<T, true>(sizes)};
    const DotKernels<T>& kernels = all_kernels[fetch_next];
    const size_t rows = even_part(g.rows, dot_rows), columns = even_part(g.columns, dot_columns);
    // The longer matrix is run through once; the shorter one stays in the cache. All tiles that read the same rows of
    // the longer one fetch a share of those that come next, and then of those behind them.
    const T* const longer = b_is_longer ? g.b : g.a;
    const size_t stride = b_is_longer ? g.b_stride : g.a_stride, step = b_is_longer ? columns : rows;
    const size_t tiles = b_is_longer ? ceil_divide(g.rows, rows) : ceil_divide(g.columns, columns);
    const size_t share = ceil_divide(step, tiles);
    const auto multiply_tile = [&](size_t row, size_t column, size_t tile) {
        const size_t height = min(rows, g.rows - row), width = min(columns, g.columns - column);
        const T* const next = longer + ((b_is_longer ? column : row) + step + tile * share) * stride;
        kernels.of[(height - 1) * dot_columns + width - 1](g, row, column, next, stride, share);
    };
    if (b_is_longer) {
        for (size_t column = 0; column < g.columns; column += columns)
            for (size_t row = 0, tile = 0; row < g.rows; row += rows, ++tile) multiply_tile(row, column, tile);
    } else {
        for (size_t row = 0; row < g.rows; row += rows)
            for (size_t column = 0, tile = 0; column < g.columns; column += columns, ++tile)
                multiply_tile(row, column, tile);
    }
}

// --- A single row of C with long rows of b: nothing that is read of b would be shared --------------------------------

// The scalar product, read in the order of memory, which the processor prefetches.
template <class T> T dot(const T* a, const T* b, size_t size) {
    Vector<T> sums[4] = {};
    size_t i = 0;
    for (; i + 4 * lanes<T> <= size; i += 4 * lanes<T>)
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; ++v) sums[v] += load(a + i + v * lanes<T>) * load(b + i + v * lanes<T>);
    for (; i + lanes<T> <= size; i += lanes<T>) sums[0] += load(a + i) * load(b + i);
    if (i < size) sums[1] += load(a + i, size - i) * load(b + i, size - i);
    Vector<T> sum[1] = {(sums[0] + sums[1]) + (sums[2] + sums[3])};
    return sum_each<T>(sum)[0];
}

template <class T> void multiply_row(const Gemm<T>& product) {
    const Gemm<T> g = product;  // which no store to C changes
    const T* b = g.b;
    for (size_t column = 0; column < g.columns; ++column, b += g.b_stride) {
        T x = dot(b, g.a, g.depth);
        if (g.accumulate) x += g.c[column];
        if (g.bias) x += g.bias[column];
        if (g.activation == Activation::relu && x < 0) x = 0;
        g.c[column] = x;
    }
}

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
