// Batches of small products with a vector: of a matrix and a vector, of two vectors, or of a column and a row. Each by
// itself would be over before a kernel for matrices has begun. Only gemm.simd.cpp includes it.
#pragma once

#include <cstddef>
#include <type_traits>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/gemm_dots.hpp>
#include <xgrad/autodiff/kernels/gemm_tile.hpp>
#include <xgrad/autodiff/kernels/vector.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// What is run through has rows of up to so many vectors.
constexpr size_t most_row_vectors = 4;

// A row of as many vectors, of which the last one may be partial.
template <class T, size_t Vectors, bool Partial> struct Row {
    Vector<T> x[Vectors];

    [[gnu::always_inline]] static Row load_from(const T* from, size_t size) {
        Row row;
        load_row<T, Vectors, Partial>(row.x, from, size - (Vectors - 1) * lanes<T>);
        return row;
    }
    [[gnu::always_inline]] void store_to(T* to, size_t size) const {
        store_row<T, Vectors, Partial>(to, x, size - (Vectors - 1) * lanes<T>);
    }
    [[gnu::always_inline]] void add(const Row& other) {
#pragma GCC unroll 4
        for (size_t v = 0; v < Vectors; ++v) x[v] += other.x[v];
    }
    [[gnu::always_inline]] void add_multiple(T factor, const Row& other) {
#pragma GCC unroll 4
        for (size_t v = 0; v < Vectors; ++v) x[v] += broadcast(factor) * other.x[v];
    }
    // The scalar product, whose terms are still to be added up.
    [[gnu::always_inline]] Vector<T> products(const Row& other) const {
        Vector<T> sum = x[0] * other.x[0];
#pragma GCC unroll 4
        for (size_t v = 1; v < Vectors; ++v) sum += x[v] * other.x[v];
        return sum;
    }
};

// y[i] (+)= row i · x, or where they are `Own`, row i · row i of x, for up to Count rows of `size` numbers.
template <class R, size_t Count, bool Own, class T>
[[gnu::always_inline]] inline void some_scalar_products(const T* rows, size_t count, size_t size, const T* x, T* y,
                                                        bool accumulate) {
    Vector<T> sums[Count];
    const R one = R::load_from(x, size);
#pragma GCC unroll 16
    for (size_t i = 0; i < Count; ++i) {
        const size_t place = min(i, count - 1) * size;  // the last one again
        sums[i] = R::load_from(rows + place, size).products(Own ? R::load_from(x + place, size) : one);
    }
    Vector<T> all = sum_each<T>(sums);
    if (accumulate) all += load(y, count);
    store(y, all, count);
}

// The same for any number of rows: some at a time, and fewer for a rest.
template <class R, bool Own, class T>
void scalar_products(const T* rows, size_t count, size_t size, const T* x, T* y, bool accumulate) {
    constexpr size_t most = lanes<T>, fewer = max(1, most / 2), few = max(1, most / 4);
    for (size_t n; count > 0; count -= n, rows += n * size, x += Own ? n * size : 0, y += n) {
        n = min(count, count > fewer ? most : count > few ? fewer : few);
        if (n > fewer)
            some_scalar_products<R, most, Own>(rows, n, size, x, y, accumulate);
        else if (n > few)
            some_scalar_products<R, fewer, Own>(rows, n, size, x, y, accumulate);
        else
            some_scalar_products<R, few, Own>(rows, n, size, x, y, accumulate);
    }
}

// y (+)= the sum of x[i] · row i, of `size` numbers. In several sums, as each addition waits for the one before.
template <class R, class T>
void combine_rows(const T* rows, size_t count, size_t size, const T* x, T* y, bool accumulate) {
    constexpr size_t chains = 4 * sizeof(Vector<T>) / sizeof(R);
    R sums[chains] = {};
    if (accumulate) sums[0] = R::load_from(y, size);
    size_t i = 0;
    for (; i + chains <= count; i += chains)
#pragma GCC unroll 4
        for (size_t c = 0; c < chains; ++c) sums[c].add_multiple(x[i + c], R::load_from(rows + (i + c) * size, size));
    for (; i < count; ++i) sums[0].add_multiple(x[i], R::load_from(rows + i * size, size));
#pragma GCC unroll 4
    for (size_t c = 1; c < chains; ++c) sums[0].add(sums[c]);
    sums[0].store_to(y, size);
}

// Row i of y, of `size` numbers, (+)= x[i] · row.
template <class R, class T>
void multiples_of_row(const T* row, size_t size, const T* x, size_t count, T* y, bool accumulate) {
    const R one = R::load_from(row, size);
    for (size_t i = 0; i < count; ++i, y += size) {
        R sum = {};
        if (accumulate) sum = R::load_from(y, size);
        sum.add_multiple(x[i], one);
        sum.store_to(y, size);
    }
}

// What a batch of products does: along rows of a matrix, or across them, or over rows of C.
template <class T> struct VectorProducts {
    enum { scalar, along, across, multiples } kind;
    const T *matrix, *vector;  // in `scalar` the two vectors, in `multiples` the row and the column
    size_t rows, size;         // of the matrix, or of C, and of its rows

    explicit VectorProducts(const Gemm<T>& g) {
        const bool is_column = g.columns == 1;
        matrix = is_column ? g.a : g.b, vector = is_column ? g.b : g.a;
        const size_t others = is_column ? g.rows : g.columns;
        if (g.depth == 1)
            kind = multiples, rows = is_column ? 1 : g.rows, size = others;
        else if (g.rows == 1 && is_column)
            kind = scalar, rows = 1, size = g.depth;
        else if (is_column ? !g.transpose_a : g.transpose_b)
            kind = along, rows = others, size = g.depth;
        else
            kind = across, rows = g.depth, size = others;
    }
};

template <class R, class T> void multiply_vectors_of(VectorProducts<T> p, const Gemm<T>& g, size_t count) {
    const bool add = g.accumulate;
    const size_t rows = p.rows, size = p.size, c_size = g.rows * g.columns;
    T* c = g.c;
    switch (p.kind) {
        case p.scalar:
            return scalar_products<R, true>(p.matrix, count, size, p.vector, c, add);
        case p.along:
            for (; count > 0; --count, p.matrix += rows * size, p.vector += size, c += c_size)
                scalar_products<R, false>(p.matrix, rows, size, p.vector, c, add);
            return;
        case p.across:
            for (; count > 0; --count, p.matrix += rows * size, p.vector += rows, c += c_size)
                combine_rows<R>(p.matrix, rows, size, p.vector, c, add);
            return;
        case p.multiples:
            for (; count > 0; --count, p.matrix += size, p.vector += rows, c += c_size)
                multiples_of_row<R>(p.matrix, size, p.vector, rows, c, add);
    }
}

// Where this is faster than products one by one, as measured.
template <class T> bool suits_vectors(const Gemm<T>& first, size_t count) {
    const VectorProducts<T> p(first);
    [[maybe_unused]] const bool partial = p.size % lanes<T> != 0;
#if !defined(__AVX2__)
    if (partial) return false;
#elif !defined(__AVX512F__)
    if (partial && p.kind == p.multiples)
        return false;  // some processors take tens of cycles to store part of a vector
#endif
    if (p.size > most_row_vectors * lanes<T>) return false;
    if (p.kind == p.along) return p.rows <= 256;
    return count > 1 && (p.kind == p.multiples ? p.rows * p.size <= 1024 : p.rows <= 64);
}

template <class T> void multiply_vectors(const Gemm<T>& first, size_t count) {
    const VectorProducts<T> products(first);
    const auto run = [&]<size_t Vectors>(std::integral_constant<size_t, Vectors>) {
        if (products.size % lanes<T> == 0)
            multiply_vectors_of<Row<T, Vectors, false>>(products, first, count);
        else
            multiply_vectors_of<Row<T, Vectors, true>>(products, first, count);
    };
    static_assert(most_row_vectors == 4);
    switch (ceil_divide(products.size, lanes<T>)) {
        case 1:
            return run(std::integral_constant<size_t, 1>());
        case 2:
            return run(std::integral_constant<size_t, 2>());
        case 3:
            return run(std::integral_constant<size_t, 3>());
        default:
            return run(std::integral_constant<size_t, 4>());
    }
}

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
