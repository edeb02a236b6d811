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
template <class T> struct Partial {
    Variable<T> cotangent;
    std::shared_ptr<const Place> place;
};
template <class T> Partial(Variable<T>, std::shared_ptr<const Place>) -> Partial<T>;

}  // namespace xgrad
