// Kernels that move numbers without computing with them.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::kernels {

// Every function takes the level to run at, for tests; everyone else leaves it out. What is shared among threads says
// so.

/// y[r·y_stride + c] = x[c·x_stride + r] for r below `rows` and c below `columns`.
template <class T>
void transpose(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y, std::size_t y_stride);

/// The same for each of `count` matrices of rows × columns, one after the other: y is (count, columns, rows). Large
/// ones are shared among threads.
template <class T> void transpose_each(const T* x, std::size_t count, std::size_t rows, std::size_t columns, T* y);

/// y[i] = x[i] for i below n. Large arrays are shared among threads.
template <class T> void copy(const T* x, std::size_t n, T* y);

/// y[i] = number for i below n. Large arrays are shared among threads.
template <class T> void fill(T* y, T number, std::size_t n);

/// What is chosen from: an array, or one number in all places.
template <class T> struct Choice {
    const T* numbers;
    bool is_one;
};

/// Rows of up to this many numbers are short: numbers of many rows at a time are moved.
constexpr std::size_t longest_rearranged = 16;

/// What a short row of y is made of: its place j gets number source[j] of a row of x, or nothing where that is
/// negative.
struct RowPattern {
    const int* source;
    std::size_t width;    ///< of a row of y, at least 1; for `rearrange` at most longest_rearranged
    std::size_t x_width;  ///< from one row of x to the next
};

/// y[r·width + j] = x[r·x_width + source[j]] for the first n numbers of y; each has a source. If `adds`, it is added to
/// what y holds, and there may be none: that number stays, but for the sign of a zero.
template <class T> void rearrange(const RowPattern& rows, const T* x, T* y, std::size_t n, bool adds = false);

/// Where the numbers of vectors of y come from, which recurs after some vectors: what a level makes of a RowPattern.
struct Rearrangement {
    static constexpr std::size_t most_vectors = 32;

    std::size_t step, x_step;         ///< from one recurrence to the next, in y and in x
    std::size_t furthest, reach;      ///< where the last vector's sources begin, and how far any vector's extend
    std::size_t begin[most_vectors];  ///< of each vector's sources
    int from[most_vectors][16];       ///< each word's source, from there on; a double is two words
};

/// The level's share of the work: one thread's piece.
template <class T> struct MoveKernels {
    void (*copy)(const T* x, std::size_t n, T* y);
    void (*fill)(T* y, T number, std::size_t n);
    void (*transpose)(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y,
                      std::size_t y_stride);
    /// y[i] = condition[i] ? a[i] : b[i] for i below n.
    void (*select)(const bool* condition, Choice<T> a, Choice<T> b, T* y, std::size_t n);
    void (*rearrange)(const RowPattern& rows, const T* x, T* y, std::size_t n, bool adds);

    /// Rows may be of any width here. False where that takes too many vectors, or the level has no permutations.
    bool (*prepare)(const RowPattern& rows, Rearrangement& places);
    /// Of n numbers of y the first ones, as many as whole vectors are made of that lie within the x_size of x. Returns
    /// how many.
    std::size_t (*pick)(const Rearrangement& places, const T* x, std::size_t x_size, T* y, std::size_t n);
};

XGRAD_AT_EVERY_LEVEL(template <class T> const MoveKernels<T>& move_kernels();)

/// The table of the level in use.
template <class T> const MoveKernels<T>& move_kernels() { XGRAD_SELECT(move_kernels<T>()) }

/// Copies runs of numbers, many of them: what they have in common is looked up once. (Where no near cache holds them,
/// memcpy takes 2 to 4 times as long for runs of a kilobyte; it reads a run's end before the rest.)
template <class T> class Copy {
public:
    Copy() : kernel_(move_kernels<T>().copy) {}

    /// y[i] = x[i] for i below n.
    void operator()(const T* x, std::size_t n, T* y) const {
        if (n > worth_a_call) return kernel_(x, n, y);
        for (std::size_t i = 0; i < n; ++i) y[i] = x[i];
    }

private:
    static constexpr std::size_t worth_a_call = 4;
    void (*kernel_)(const T* x, std::size_t n, T* y);
};

}  // namespace xgrad::kernels
