// Operations that rearrange elements without computing anything: NumPy's names and meanings. All throw Error for axes
// that are out of range and for shapes that do not fit.
#pragma once

#include <concepts>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// One or several axes, or none; negative ones count from the last. Made from a number or braces: `sum(x, {0, -1})`.
class Axes {
public:
    Axes() = default;
    template <std::integral I>
        requires(!std::same_as<I, bool>)  // sum(x, keep_dims) is no sum over axis 1
    Axes(I axis) : axes_{static_cast<std::ptrdiff_t>(axis)} {}
    Axes(std::initializer_list<std::ptrdiff_t> axes) : axes_(axes.begin(), axes.end()) {}
    Axes(const std::vector<std::ptrdiff_t>& axes) : axes_(axes.begin(), axes.end()) {}
    explicit Axes(const Shape& axes) : axes_(axes.begin(), axes.end()) {}

    /// Adds an axis.
    void push_back(std::integral auto axis) { axes_.push_back(static_cast<std::ptrdiff_t>(axis)); }

    bool empty() const noexcept { return axes_.empty(); }
    std::size_t size() const noexcept { return axes_.size(); }
    auto begin() const noexcept { return axes_.begin(); }
    auto end() const noexcept { return axes_.end(); }

    /// The axes of an array with `dimension` dimensions, counted from the first, in the order given.
    /// Throws Error, naming the operation, when one is out of range or is named twice.
    xt::svector<std::size_t, 4> resolve(const char* operation, std::size_t dimension) const;

private:
    xt::svector<std::ptrdiff_t, 4> axes_;
};

/// The sizes of a new shape in braces, `{x.shape(0), -1}`: of any integral type, and one of them may be -1.
class Sizes {
public:
    /// One of them. Throws Error for a number that no size can be.
    struct Size {
        std::ptrdiff_t number;
        template <std::integral I>
            requires(!std::same_as<I, bool>)
        Size(I size) : number(static_cast<std::ptrdiff_t>(size)) {
            if (std::unsigned_integral<I> && number < 0) throw Error("reshape: a size is too large");
        }
    };

    Sizes(std::initializer_list<Size> sizes) {
        for (const Size& size : sizes) sizes_.push_back(size.number);
    }
    explicit Sizes(std::span<const std::ptrdiff_t> sizes) : sizes_(sizes.begin(), sizes.end()) {}
    auto begin() const noexcept { return sizes_.begin(); }
    auto end() const noexcept { return sizes_.end(); }

private:
    xt::svector<std::ptrdiff_t, 4> sizes_;
};

/// One axis of an array with `dimension` dimensions, counted from the first. Throws Error when it is out of range.
std::size_t resolve_axis(const char* operation, std::ptrdiff_t axis, std::size_t dimension);

/// The shape that operands broadcast to by NumPy's rule: their dimensions, the last ones first, are equal or 1. Nothing
/// when they are not.
std::optional<Shape> common_shape(const Shape& a, const Shape& b);

/// Whether an array of shape `from` can be broadcast to shape `to`.
bool can_broadcast(const Shape& from, const Shape& to);

/// The shape that operands broadcast to. Throws Error, naming the operation, when they do not.
Shape broadcast_shape(const char* operation, const Shape& a, const Shape& b);

/// x repeated along dimensions of size 1, and along new ones in front, to fill the shape; x itself where it has that
/// shape.
template <class T> Variable<T> broadcast_to(const Variable<T>& x, const Shape& shape);

/// x summed back to a shape from which it could have been broadcast, the transpose of broadcast_to; x itself where it
/// has that shape.
template <class T> Variable<T> sum_to(const Variable<T>& x, const Shape& shape);

/// The same elements in another shape; one size may be -1 and is then computed. Shares x's memory.
template <class T> Variable<T> reshape(const Variable<T>& x, const Sizes& sizes);
template <class T, std::same_as<Shape> S>  // a template, so that braces mean the other one
Variable<T> reshape(const Variable<T>& x, const S& shape);

/// Dimensions from `first` to `last` made one.
template <class T> Variable<T> flatten(const Variable<T>& x, std::ptrdiff_t first = 0, std::ptrdiff_t last = -1);

/// Without the given axes, which must have size 1; without all such axes when none are given.
template <class T> Variable<T> squeeze(const Variable<T>& x, const Axes& axes = {});

/// With a new axis of size 1 at the given place of the result.
template <class T> Variable<T> expand_dims(const Variable<T>& x, std::ptrdiff_t axis);

/// Axes in another order, the result's axis i being x's axis axes[i]; reversed when none are given.
template <class T> Variable<T> transpose(const Variable<T>& x, const Axes& axes = {});

/// Arrays that differ in size along one axis only, one after the other along it.
template <class T> Variable<T> concatenate(std::span<const Variable<T>> parts, std::ptrdiff_t axis = 0);
/// The same for parts in a vector or in braces.
template <class T> Variable<T> concatenate(const std::vector<Variable<T>>& parts, std::ptrdiff_t axis = 0) {
    return concatenate(std::span(parts), axis);
}
template <class T> Variable<T> concatenate(std::initializer_list<Variable<T>> parts, std::ptrdiff_t axis = 0) {
    return concatenate(std::span(parts.begin(), parts.size()), axis);
}

/// Arrays of one shape along a new axis.
template <class T> Variable<T> stack(std::span<const Variable<T>> parts, std::ptrdiff_t axis = 0);
/// The same for parts in a vector or in braces.
template <class T> Variable<T> stack(const std::vector<Variable<T>>& parts, std::ptrdiff_t axis = 0) {
    return stack(std::span(parts), axis);
}
template <class T> Variable<T> stack(std::initializer_list<Variable<T>> parts, std::ptrdiff_t axis = 0) {
    return stack(std::span(parts.begin(), parts.size()), axis);
}

/// x in `count` equal parts along an axis. Throws Error when the size is not a multiple of it.
template <class T> std::vector<Variable<T>> split(const Variable<T>& x, std::size_t count, std::ptrdiff_t axis = 0);

/// The order of elements reversed along the given axes; along all when none are given.
template <class T> Variable<T> flip(const Variable<T>& x, const Axes& axes = {});

}  // namespace xgrad
