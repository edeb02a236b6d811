// Reductions over raw memory and their way back. An array is seen as (outer, count, inner), row-major, and reduced over
// count: with inner == 1 along rows, with outer == 1 down columns, with both 1 in full.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::kernels {

/// A contiguous row-major array seen as (outer, count, inner), of which count goes away: the result is (outer, inner).
struct Slices {
    std::size_t outer = 1;
    std::size_t count = 1;
    std::size_t inner = 1;

    std::size_t size() const { return outer * count * inner; }
    std::size_t results() const { return outer * inner; }
};

/// An array of this shape, of which `axis` goes away.
inline Slices slices_along(std::span<const std::size_t> shape, std::size_t axis) {
    Slices slices{1, shape[axis], 1};
    for (std::size_t i = 0; i < axis; ++i) slices.outer *= shape[i];
    for (std::size_t i = axis + 1; i < shape.size(); ++i) slices.inner *= shape[i];
    return slices;
}

// Every function takes the level to run at, for tests; everyone else leaves it out. Large inputs are shared among
// threads in pieces that depend on the sizes alone: the result is bitwise the same for any number of threads.

/// The sum of each slice, added up pairwise: float sums of a million numbers are right to a few ulp. Empty slices: 0.
template <class T> void sum(const T* x, const Slices& slices, T* y);

/// The product of each slice. Empty slices: 1.
template <class T> void prod(const T* x, const Slices& slices, T* y);

/// For each element the product of all others of its slice, without a division: zeros do no harm.
template <class T> void products_of_others(const T* x, const Slices& slices, T* y);

/// The largest element of each slice, NaN where there is one. Empty slices: -infinity.
template <class T> void max(const T* x, const Slices& slices, T* y);

/// The smallest element of each slice, NaN where there is one. Empty slices: infinity.
template <class T> void min(const T* x, const Slices& slices, T* y);

/// The mean and the variance of each slice, in two passes: sum of (x - mean)² / (count - correction), with correction 0
/// for the biased and 1 for the unbiased variance. `mean` is needed, `variance` may be null. Empty slices: NaN.
template <class T>
void mean_and_variance(const T* x, const Slices& slices, std::size_t correction, T* mean, T* variance);

/// log(sum(exp(x))) of each slice, without overflow. Empty slices: -infinity.
template <class T> void logsumexp(const T* x, const Slices& slices, T* y);

/// Where the largest element of each slice is: the first of equals; the first NaN if there is one. Slices are not
/// empty.
template <class T> void argmax(const T* x, const Slices& slices, std::int64_t* y);

/// Where the smallest element of each slice is, as argmax does it.
template <class T> void argmin(const T* x, const Slices& slices, std::int64_t* y);

/// The cotangent of max or min: `y` is their result, `g` its cotangent, which the elements of x equal to y (both NaN
/// counts as equal) share evenly; the others get 0. All of dx is written.
template <class T> void extremum_backward(const T* x, const Slices& slices, const T* y, const T* g, T* dx);

/// sum, prod, max or min: a reduction of which one more reduction of its results is the whole's.
template <class T> using Reduce = void (*)(const T* x, const Slices& slices, T* y);

/// Reduces along any axes: `from` is the full shape, and `to` has size 1 where they are reduced.
template <class T>
void reduce_to(Reduce<T> reduce, const T* x, std::span<const std::size_t> from, T* y, std::span<const std::size_t> to);

/// Sums the cotangent of a broadcast back to what was broadcast: `from` is the full shape, `to` has size 1 or lacks
/// leading dimensions where it was repeated. Equal shapes copy.
template <class T> void sum_to(const T* x, std::span<const std::size_t> from, T* y, std::span<const std::size_t> to);

/// Repeats x, of shape `from`, to fill y, of shape `to`: the reverse of sum_to, by the same rule.
template <class T>
void broadcast_to(const T* x, std::span<const std::size_t> from, T* y, std::span<const std::size_t> to);

/// The sum of a[i]·b[i], added up pairwise.
template <class T> T dot(const T* a, const T* b, std::size_t n);

/// The sum of a[i]², added up pairwise.
template <class T> T squared_norm(const T* a, std::size_t n);

/// target += source.
template <class T> void add_in_place(T* target, const T* source, std::size_t n);

/// target /= divisor.
template <class T> void divide_in_place(T* target, T divisor, std::size_t n);

/// Whether no element is NaN or infinite.
template <class T> bool all_finite(const T* x, std::size_t n);

/// The level's share of the work: one thread's piece.
template <class T> struct ReduceKernels {
    /// Folds the first `columns` columns of each outer slice; x and y keep the strides of the full array. `about` has
    /// y's layout: what the squared deviations are taken from; others ignore it.
    using Fold = void (*)(const T* x, const T* about, const Slices& slices, std::size_t columns, T* y);
    Fold sum, prod, max, min, squared_deviations, logsumexp;

    /// Of the first `columns` columns of each outer slice, as Fold.
    using Find = void (*)(const T* x, const Slices& slices, std::size_t columns, std::int64_t* y);
    Find argmax, argmin;
    void (*extremum_backward)(const T* x, const Slices& slices, std::size_t columns, const T* y, const T* g, T* dx);
    T (*dot)(const T* a, const T* b, std::size_t n);
    void (*add_in_place)(T* target, const T* source, std::size_t n);
    void (*divide_in_place)(T* target, T divisor, std::size_t n);
    bool (*all_finite)(const T* x, std::size_t n);
};

XGRAD_AT_EVERY_LEVEL(template <class T> const ReduceKernels<T>& reduce_kernels();)

/// The table of the level in use.
template <class T> const ReduceKernels<T>& reduce_kernels() { XGRAD_SELECT(reduce_kernels<T>()) }

}  // namespace xgrad::kernels
