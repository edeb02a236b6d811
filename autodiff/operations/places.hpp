// Parts of an array at a place: taken out of it, and put into one.
#pragma once

#include <memory>

#include <xgrad/autodiff/partial.hpp>

namespace xgrad {

/// The region that is the whole of an array.
Region whole_region(const Shape& shape);
/// A region, or positions along an axis, as the operations share it.
std::shared_ptr<const Place> make_place(Place place);

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

/// target = the part of source at a place.
template <class T> void copy_from(Array<T>& target, const Array<T>& source, const Place& place);
/// target += part at its place; elements that the place names twice are added twice.
template <class T> void add_at(Array<T>& target, const Array<T>& part, const Place& place);

}  // namespace detail
}  // namespace xgrad
