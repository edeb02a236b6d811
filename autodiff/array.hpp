// The arrays of the library: real xtensor containers over pooled memory.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <xgrad/autodiff/buffer.hpp>
#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/level.hpp>
#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/number.hpp>
#include <xgrad/autodiff/xtensor.hpp>

namespace xgrad {

/// Sizes of the dimensions, outermost first.
using Shape = xt::svector<std::size_t, 4>;

/// An n-dimensional array in row-major order: an xtensor container that every xtensor expression can be assigned to and
/// read from. T is float or double for values, std::int64_t for labels and indices, bool for masks.
template <class T = float> using Array = xt::xarray_container<Buffer<T>, xt::layout_type::row_major, Shape>;

/// An xtensor expression: an array, a view of one, or arithmetic that is not evaluated yet.
template <class E> concept ArrayExpression = xt::is_xexpression<std::remove_cvref_t<E>>::value;

/// One of fractions, which as labels would be truncated.
template <class E>
concept FractionalArray = ArrayExpression<E> && std::floating_point<typename std::remove_cvref_t<E>::value_type>;
/// One that is no list of indices: of fractions, or a mask, whose truths would count as 0 and 1.
template <class E>
concept NoIndices =
    FractionalArray<E> || (ArrayExpression<E> && std::same_as<typename std::remove_cvref_t<E>::value_type, bool>);

/// The number of elements of an array of this shape. Throws Error when it cannot be counted.
inline std::size_t element_count(std::span<const std::size_t> shape) {
    std::size_t count = 1;
    bool overflow = false;
    for (std::size_t size : shape) overflow |= __builtin_mul_overflow(count, size, &count);
    if (!overflow) [[likely]]
        return count;
    if (std::find(shape.begin(), shape.end(), std::size_t{0}) != shape.end()) return 0;
    throw Error("the shape " + describe(shape) + " has more elements than can be counted");
}

/// An array of this shape whose elements are not initialised. Throws Error when they cannot be counted.
template <class T> XGRAD_FLATTEN Array<T> empty(const Shape& shape) {  // as every small operation begins with it
    element_count(shape);
    return Array<T>(shape);
}

/// An array of this shape with all elements equal to `value`.
template <class T> Array<T> full(const Shape& shape, T value) {
    Array<T> array = empty<T>(shape);
    constexpr std::size_t few = 32;  // a call would take longer
    if constexpr (Real<T>)
        if (array.size() > few) {
            kernels::fill(array.data(), value, array.size());
            return array;
        }
    std::fill_n(array.data(), array.size(), value);
    return array;
}

namespace detail {

/// The array, moved. (xtensor moves a shape by exchanging it number by number, which takes longer than copying it.)
template <class T> Array<T> moved(Array<T>&& array) {
    Buffer<T> memory = std::move(array.storage());
    Array<T> result(std::as_const(array));
    result.storage() = std::move(memory);
    return result;
}

/// Memory as an array of this shape.
template <class T> Array<T> in_shape(const Shape& shape, Buffer<T>&& memory) {
    Shape sizes = shape;
    typename Array<T>::strides_type strides;
    strides.resize(shape.size());
    xt::compute_strides(sizes, xt::layout_type::row_major, strides);
    return Array<T>(std::move(memory), std::move(sizes), std::move(strides));
}

}  // namespace detail

/// The same memory under another shape, not copied, from element `offset` on. Throws Error when it goes beyond the
/// array.
template <class T> Array<T> share(const Array<T>& array, const Shape& shape, std::size_t offset = 0) {
    const std::size_t count = element_count(shape);
    if (count > array.size() || offset > array.size() - count)
        throw Error("share: the shape " + describe(shape) + " from element " + std::to_string(offset) +
                    " on goes beyond an array of shape " + describe(array.shape()));
    return detail::in_shape(shape, array.storage().share(offset, count));
}

/// A caller's memory as an array of this shape, not copied; `keeper` is held as long as anything looks at it.
/// Throws Error when the sizes differ.
template <class T> Array<T> borrow(std::span<T> data, const Shape& shape, std::shared_ptr<void> keeper = nullptr) {
    if (element_count(shape) != data.size())
        throw Error("borrow: " + std::to_string(data.size()) + " elements do not fill the shape " + describe(shape));
    return detail::in_shape(shape, Buffer<T>::borrow(data.data(), data.size(), std::move(keeper)));
}

}  // namespace xgrad
