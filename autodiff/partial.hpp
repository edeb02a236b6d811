// Cotangents that fill only a part of their input: a slice, some rows. The engine adds them in place.
#pragma once

#include <memory>
#include <variant>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// Elements of a row-major array at a regular distance in each dimension, as a slice takes them.
struct Region {
    Shape shape;                                ///< of the part
    xt::svector<std::ptrdiff_t, 4> strides;     ///< in elements of the whole; may be negative
    std::size_t offset = 0;                     ///< of the part's first element
};

/// Positions along one axis, in any order and with repeats, as `take` takes them.
struct Positions {
    std::size_t axis = 0;
    Array<std::int64_t> indices;  ///< not negative, within the axis; the part has this shape in place of the axis
};

/// Where a part of an array is.
using Place = std::variant<Region, Positions>;

/// A cotangent for a part of an input, with its place. A vjp returns it in place of a Variable; T parts of a sequence
/// then cost what the sequence costs, and not T times as much.
template <class T> class Partial {
public:
    Partial(Variable<T> cotangent, std::shared_ptr<const Place> place)
        : cotangent_(std::move(cotangent)), place_(std::move(place)) {}

    const Variable<T>& cotangent() const noexcept { return cotangent_; }
    const std::shared_ptr<const Place>& place() const noexcept { return place_; }

private:
    Variable<T> cotangent_;
    std::shared_ptr<const Place> place_;
};

/// The part of x at a place. Its cotangent is a Partial. Throws Error when the place goes beyond x.
template <class T> Variable<T> gather(const Variable<T>& x, std::shared_ptr<const Place> place);

/// An array of zeros of the given shape to which `part` was added at a place: the transpose of gather. Throws Error
/// when the place goes beyond that shape, or the part is not of the place's.
template <class T> Variable<T> scatter(const Variable<T>& part, std::shared_ptr<const Place> place, const Shape& shape);

namespace detail {

/// Whether a place lies within an array of this shape.
bool lies_within(const Place& place, const Shape& whole);
/// The shape of a part at a place that lies within an array of this shape.
Shape part_shape(const Place& place, const Shape& whole);

/// gather from a place that is known to lie within x.
template <class T> Variable<T> gather_within(const Variable<T>& x, std::shared_ptr<const Place> place);

/// target += part at its place; elements that the place names twice are added twice.
template <class T> void add_at(Array<T>& target, const Array<T>& part, const Place& place);

}  // namespace detail
}  // namespace xgrad
