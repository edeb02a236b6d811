// Operations that take parts of an array: slices, and elements along an axis by their indices.
#pragma once

#include <array>
#include <concepts>
#include <span>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// One argument of `view`: a number, or xtensor's range, all, newaxis or ellipsis.
class Slice {
public:
    enum class Kind { index, range, newaxis, ellipsis };

    /// One element; its axis goes away. Negative ones count from the end.
    template <std::integral I>
        requires(!std::same_as<I, bool>)
    Slice(I index) : kind(Kind::index), start(static_cast<std::ptrdiff_t>(index)) {}
    Slice(xt::xall_tag) : kind(Kind::range), has_start(false), has_stop(false) {}
    Slice(xt::xnewaxis_tag) : kind(Kind::newaxis) {}
    Slice(xt::xellipsis_tag) : kind(Kind::ellipsis) {}
    /// xt::range(start, stop, step), any part of which may be left out (xt::placeholders::_).
    template <class A, class B, class C> Slice(const xt::xrange_adaptor<A, B, C>& range) : kind(Kind::range) {
        has_start = read(range.start(), start);
        has_stop = read(range.stop(), stop);
        if (!read(range.step(), step)) step = 1;
    }
    Slice(const xt::xrange<std::ptrdiff_t>& range)
        : kind(Kind::range), start(range(0)), stop(range(0) + static_cast<std::ptrdiff_t>(range.size())) {}

    Kind kind;
    std::ptrdiff_t start = 0, stop = 0, step = 1;
    bool has_start = true, has_stop = true;

private:
    template <class V> static bool read(const V& value, std::ptrdiff_t& target) {
        if constexpr (std::integral<V>) {
            target = static_cast<std::ptrdiff_t>(value);
            return true;
        } else {
            return false;
        }
    }
};

/// Part of x, as a copy: `view(x, xt::range(0, 2), xt::all(), -1)`. Axes that are not named are taken whole.
/// Ranges are clipped to the axis as in NumPy; an index outside of it throws Error.
template <class T> Variable<T> view(const Variable<T>& x, std::span<const Slice> slices);
// xtensor's view takes anything; this is the same template, constrained.
template <class X, class... Slices>
    requires(AnyVariable<X> && sizeof...(Slices) > 0 && (std::convertible_to<const Slices&, Slice> && ...))
auto view(X&& x, Slices&&... slices) {
    using V = typename detail::CommonVariable<X>::type;
    const std::array<Slice, sizeof...(Slices)> all{Slice(slices)...};
    return view(static_cast<const V&>(x), std::span<const Slice>(all));
}

/// Elements of x along an axis by their indices, of any shape, which may repeat; the indices' shape stands in place of
/// the axis (np.take). Negative indices count from the end. Throws Error when one is out of range.
template <class T> Variable<T> take(const Variable<T>& x, const Array<std::int64_t>& indices, std::ptrdiff_t axis = 0);
/// The same of an Array, which is not copied first: some rows of a data set.
template <Real T> Variable<T> take(const Array<T>& x, const Array<std::int64_t>& indices, std::ptrdiff_t axis = 0) {
    return take(Variable<T>(share(x, x.shape())), indices, axis);
}
// Fractions would be truncated, and of a mask 0 and 1 be taken; `where` is for masks.
template <class T> Variable<T> take(const Variable<T>&, const NoIndices auto&, std::ptrdiff_t = 0) = delete;
template <Real T> Variable<T> take(const Array<T>&, const NoIndices auto&, std::ptrdiff_t = 0) = delete;

/// Of each row along an axis the elements that its own row of indices names (np.take_along_axis, torch.gather): indices
/// have x's shape but for the size of that axis. Negative ones count from the end. Throws Error when shapes do not fit,
/// or one is out of range.
template <class T>
Variable<T> take_along_axis(const Variable<T>& x, const Array<std::int64_t>& indices, std::ptrdiff_t axis);
template <class T> Variable<T> take_along_axis(const Variable<T>&, const NoIndices auto&, std::ptrdiff_t) = delete;

}  // namespace xgrad
