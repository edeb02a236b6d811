// Kernels that move numbers without computing with them.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::kernels {

// Every function takes the level to run at, for tests; everyone else leaves it out. What is shared among threads says
// so.

/// y[i] = x[i] for i below n. (memcpy copies a row of a kilobyte to another place in its page backwards, which the
/// processor does not read ahead: 2 to 4 times as slow from memory.)
template <class T> void copy(const T* x, std::size_t n, T* y, Level at = level());

/// y[i] = number for i below n.
template <class T> void fill(T* y, T number, std::size_t n, Level at = level());

/// y[r·y_stride + c] = x[c·x_stride + r] for r below `rows` and c below `columns`.
template <class T>
void transpose(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y, std::size_t y_stride,
               Level at = level());

/// What is chosen from: an array, or one number in all places.
template <class T> struct Choice {
    const T* numbers;
    bool is_one;
};

/// y[i] = condition[i] ? a[i] : b[i] for i below n. Large inputs are shared among threads.
template <class T>
void select(const bool* condition, Choice<T> a, Choice<T> b, T* y, std::size_t n, Level at = level());

/// The level's share of the work: one thread's piece.
template <class T> struct MoveKernels {
    void (*copy)(const T* x, std::size_t n, T* y);
    void (*fill)(T* y, T number, std::size_t n);
    void (*transpose)(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y,
                      std::size_t y_stride);
    void (*select)(const bool* condition, Choice<T> a, Choice<T> b, T* y, std::size_t n);
};

XGRAD_AT_EVERY_LEVEL(template <class T> const MoveKernels<T>& move_kernels();)

/// The table of a level.
template <class T> const MoveKernels<T>& move_kernels(Level at) { XGRAD_SELECT(at, move_kernels<T>()) }

}  // namespace xgrad::kernels
