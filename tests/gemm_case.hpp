// What the tests of products share: levels, numbers, and a product beside the triple loop.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "levels.hpp"
#include <xgrad/autodiff/kernels/gemm.hpp>

namespace xgrad::products {

using testing::LevelScope;

/// The levels that this processor can run, the matrix unit's too.
inline testing::Levels levels() { return {Level::portable, Level::avx2, Level::avx512, Level::amx}; }

/// The best level, and the best one without a matrix unit.
inline testing::Levels best_levels() {
    if (level() != Level::amx) return {level()};
    return {Level::amx, Level::avx512};
}

/// Numbers in [−1, 1), the same for the same seed.
template <class T> std::vector<T> numbers(std::size_t count, std::uint32_t seed) {
    std::vector<T> result(count);
    for (T& x : result) {
        seed = seed * 1664525u + 1013904223u;
        x = static_cast<T>(seed >> 8) / T(1 << 23) - 1;
    }
    return result;
}

/// A product with its matrices. They end where their memory does, for a sanitizer to see what is read beyond.
template <class T> struct Case {
    Case(std::size_t rows, std::size_t columns, std::size_t depth, bool transpose_a, bool transpose_b,
         std::size_t padding = 0) {
        g.rows = rows, g.columns = columns, g.depth = depth;
        g.transpose_a = transpose_a, g.transpose_b = transpose_b;
        g.a_stride = (transpose_a ? rows : depth) + padding;
        g.b_stride = (transpose_b ? depth : columns) + 2 * padding;
        g.c_stride = columns + 3 * padding;
        a = numbers<T>(size(transpose_a ? depth : rows, transpose_a ? rows : depth, g.a_stride), 1);
        b = numbers<T>(size(transpose_b ? columns : depth, transpose_b ? depth : columns, g.b_stride), 2);
        c = numbers<T>(size(rows, columns, g.c_stride), 3);
        bias = numbers<T>(columns, 4);
        connect();
    }

    static std::size_t size(std::size_t rows, std::size_t columns, std::size_t stride) {
        return rows == 0 ? 0 : (rows - 1) * stride + columns;
    }
    void connect() { g.a = a.data(), g.b = b.data(), g.c = c.data(); }

    std::vector<T> run() const {
        std::vector<T> result = c;
        kernels::Gemm<T> product = g;
        product.c = result.data();
        kernels::gemm(product);
        return result;
    }

    long double entry(std::size_t i, std::size_t j) const {
        long double sum = g.accumulate ? c[i * g.c_stride + j] : T(0);
        for (std::size_t k = 0; k < g.depth; ++k)
            sum += static_cast<long double>(a[g.transpose_a ? k * g.a_stride + i : i * g.a_stride + k]) *
                   b[g.transpose_b ? j * g.b_stride + k : k * g.b_stride + j];
        if (g.bias) sum += g.bias[j];
        return g.activation == Activation::relu && sum < 0 ? 0 : sum;
    }

    // C afterwards; numbers between its rows stay as they were.
    std::vector<long double> expected() const {
        std::vector<long double> result(c.begin(), c.end());
        for (std::size_t i = 0; i < g.rows; ++i)
            for (std::size_t j = 0; j < g.columns; ++j) result[i * g.c_stride + j] = entry(i, j);
        return result;
    }

    // The largest error, in units of what rounding explains: of some terms at first, then of ever larger sums.
    double error(const std::vector<T>& result, const std::vector<long double>& expected) const {
        double worst = 0;
        for (std::size_t place = 0; place < result.size(); ++place) {
            const double unit = std::numeric_limits<T>::epsilon() * (2 + static_cast<double>(g.depth) / 8);
            const double difference = static_cast<double>(std::fabs(result[place] - expected[place])) / unit;
            worst = difference <= worst ? worst : difference;  // a NaN is worst
            if (place % g.c_stride >= g.columns && difference != 0) worst = std::numeric_limits<double>::infinity();
        }
        return worst;
    }

    std::string describe() const {
        return std::string(name(level())) + " " + std::to_string(g.rows) + "x" + std::to_string(g.columns) + "x" +
               std::to_string(g.depth) + (g.transpose_a ? " transpose_a" : "") + (g.transpose_b ? " transpose_b" : "") +
               (g.accumulate ? " accumulate" : "") + (g.bias ? " bias" : "") +
               (g.activation == Activation::relu ? " relu" : "");
    }

    kernels::Gemm<T> g;
    std::vector<T> a, b, c, bias;
};

}  // namespace xgrad::products
