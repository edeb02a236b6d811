// Reductions over no, one or several axes: NumPy's names and meanings. No axes mean all of them; the reduced axes go
// away, or stay with size 1 when asked: `sum(x, {0, -1}, keep_dims)`. Axes that are out of range or named twice throw
// Error, and so do no elements, of which only the sum and the product are known.
#pragma once

#include <concepts>

#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

// `Real`, because xtensor calls functions of some of these names as sum<void>(array), and finds them here as well.

/// Whether reduced axes stay, with size 1: `keep_dims`, or a bool. (A number would be meant for something else.)
class KeepDims {
public:
    template <std::same_as<bool> B> constexpr KeepDims(B keep) noexcept : keep_(keep) {}
    constexpr operator bool() const noexcept { return keep_; }

private:
    bool keep_;
};
/// Reduced axes stay: `sum(x, 1, keep_dims)`.
inline constexpr bool keep_dims = true;

/// The sum. Over no elements it is 0.
template <Real T> Variable<T> sum(const Variable<T>& x, const Axes& axes = {}, KeepDims keep = false);

/// The arithmetic mean.
template <Real T> Variable<T> mean(const Variable<T>& x, const Axes& axes = {}, KeepDims keep = false);

/// Σ (x − mean)² / (n − correction): biased with 0, which is NumPy's default (torch.var's is 1).
/// Throws Error when n ≤ correction.
template <Real T>
Variable<T> variance(const Variable<T>& x, const Axes& axes = {}, KeepDims keep = false, std::size_t correction = 0);

/// The product. Its derivative is right with any number of zeros. Over no elements it is 1.
template <Real T> Variable<T> prod(const Variable<T>& x, const Axes& axes = {}, KeepDims keep = false);

/// The largest element; NaN if there is one; equal ones share the cotangent evenly (torch.amax).
template <Real T> Variable<T> max(const Variable<T>& x, const Axes& axes = {}, KeepDims keep = false);

/// The smallest element; NaN if there is one; equal ones share the cotangent evenly (torch.amin).
template <Real T> Variable<T> min(const Variable<T>& x, const Axes& axes = {}, KeepDims keep = false);

/// log Σ exp(x), without overflow.
template <Real T> Variable<T> logsumexp(const Variable<T>& x, const Axes& axes = {}, KeepDims keep = false);

/// Where the largest element is along an axis: the first of equal ones, the first NaN if there is one.
template <Real T> Array<std::int64_t> argmax(const Variable<T>& x, std::ptrdiff_t axis = -1);

/// Where the smallest element is along an axis.
template <Real T> Array<std::int64_t> argmin(const Variable<T>& x, std::ptrdiff_t axis = -1);

}  // namespace xgrad
