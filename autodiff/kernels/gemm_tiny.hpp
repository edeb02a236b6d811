// Batches of tiny products, such as of 3×3 matrices: a whole matrix fits into a register or two, several of them where
// they are smaller. Each step of the depth multiplies a permutation of A's numbers with one of B's. Only gemm.simd.cpp
// includes it.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/permute.hpp>
#include <xgrad/autodiff/kernels/vector.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

#if defined(XGRAD_PERMUTES)

constexpr size_t tiny_depth = 8;
template <class T> constexpr size_t tiny_size = 2 * lanes<T>;

// The first `count` numbers from here on, and zeros.
template <class T, size_t Vectors>
[[gnu::always_inline]] inline void load_matrices(Words (&x)[Vectors], const T* from, size_t count) {
#pragma GCC unroll 2
    for (size_t v = 0; v < Vectors; ++v) {
        const size_t before = min(count, v * lanes<T>);
        x[v] = reinterpret_cast<Words>(load(from + before, min(count - before, lanes<T>)));
    }
}

// Products one after the other in memory, or with one A, or one B, for all of them. A and B fit into so many vectors,
// and C into so many.
template <class T, size_t Vectors, size_t VectorsOfC> class TinyProducts {
public:
    TinyProducts(const Gemm<T>& g, bool one_a, bool one_b)
        : g_(g),
          a_size_(g.rows * g.depth),
          b_size_(g.depth * g.columns),
          c_size_(g.rows * g.columns),
          a_step_(one_a ? 0 : a_size_),
          b_step_(one_b ? 0 : b_size_) {
        together_ = VectorsOfC * lanes<T> / c_size_;
        if (const size_t step = max(a_step_, b_step_)) together_ = min(together_, Vectors * lanes<T> / step);
        for (size_t word = 0; word < VectorsOfC * words; ++word) {
            const size_t lane = word / words_of_one<T>, part = word % words_of_one<T>;
            const size_t product = min(lane / c_size_, together_ - 1), entry = lane % c_size_;
            const size_t i = entry / g.columns, j = entry % g.columns;
            size_t a = product * a_step_ + (g.transpose_a ? i : i * g.depth);
            size_t b = product * b_step_ + (g.transpose_b ? j * g.depth : j);
            for (size_t k = 0; k < g.depth; ++k) {
                from_a_[k][word / words][word % words] = static_cast<int>(a * words_of_one<T> + part);
                from_b_[k][word / words][word % words] = static_cast<int>(b * words_of_one<T> + part);
                a += g.transpose_a ? g.rows : 1;
                b += g.transpose_b ? 1 : g.columns;
            }
        }
    }

    void multiply(size_t count) const {
        const T *a = g_.a, *b = g_.b;
        T* c = g_.c;
        for (; count >= together_; count -= together_) {
            multiply_some(together_, a, b, c);
            a += together_ * a_step_, b += together_ * b_step_, c += together_ * c_size_;
        }
        if (count > 0) multiply_some(count, a, b, c);
    }

private:
    [[gnu::always_inline]] void multiply_some(size_t count, const T* a, const T* b, T* c) const {
        const auto each_vector_of_c = [&](auto run) __attribute__((always_inline)) {
#pragma GCC unroll 2
            for (size_t v = 0; v < VectorsOfC; ++v)
                if (const size_t before = v * lanes<T>, size = count * c_size_; v == 0 || before < size)
                    run(v, c + before, min(size - before, lanes<T>));
        };
        Words x[Vectors], y[Vectors];
        load_matrices<T>(x, a, a_step_ ? count * a_size_ : a_size_);
        load_matrices<T>(y, b, b_step_ ? count * b_size_ : b_size_);
        Vector<T> sums[VectorsOfC] = {};
        if (g_.accumulate) each_vector_of_c([&](size_t v, const T* at, size_t size) { sums[v] = load(at, size); });
        for (size_t k = 0; k < g_.depth; ++k)
#pragma GCC unroll 2
            for (size_t v = 0; v < VectorsOfC; ++v)
                sums[v] += reinterpret_cast<Vector<T>>(pick(x, from_a_[k][v])) *
                           reinterpret_cast<Vector<T>>(pick(y, from_b_[k][v]));
        each_vector_of_c([&](size_t v, T* at, size_t size) { store(at, sums[v], size); });
    }

    const Gemm<T> g_;
    const size_t a_size_, b_size_, c_size_, a_step_, b_step_;
    size_t together_;
    Places from_a_[tiny_depth][VectorsOfC], from_b_[tiny_depth][VectorsOfC];
};

template <class T> void multiply_tiny(const Gemm<T>& first, size_t count, bool one_a, bool one_b) {
    const size_t largest = first.depth * max(first.rows, first.columns), c_size = first.rows * first.columns;
    if (max(largest, c_size) <= lanes<T>)
        TinyProducts<T, 1, 1>(first, one_a, one_b).multiply(count);
    else if (c_size <= lanes<T>)
        TinyProducts<T, 2, 1>(first, one_a, one_b).multiply(count);
    else
        TinyProducts<T, 2, 2>(first, one_a, one_b).multiply(count);
}

#else

constexpr size_t tiny_depth = 0;
template <class T> constexpr size_t tiny_size = 0;  // without permutations, none
template <class T> constexpr auto multiply_tiny = nullptr;

#endif

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
