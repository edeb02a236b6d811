#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/places.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace {

[[noreturn, gnu::noinline]] void refuse_index(const char* operation, std::int64_t index, std::size_t axis,
                                              const Shape& shape) {
    throw Error(fmt::format("{}: index {} is out of range for axis {} of {}", operation, index, axis, describe(shape)));
}

// An index along an axis of this shape, counted from its beginning.
inline std::int64_t resolve_index(const char* operation, std::int64_t index, std::size_t axis, const Shape& shape) {
    const auto size = static_cast<std::int64_t>(shape[axis]);
    if (index < -size || index >= size) refuse_index(operation, index, axis, shape);
    return index < 0 ? index + size : index;
}

// What one slice makes of one axis: adds to the region, and to the offset of its first element.
void apply_slice(const Slice& slice, std::size_t axis, std::ptrdiff_t stride, const Shape& shape, Region& region,
                 std::ptrdiff_t& offset) {
    if (slice.kind == Slice::Kind::index) {
        offset += static_cast<std::ptrdiff_t>(resolve_index("view", slice.start, axis, shape)) * stride;
        return;
    }
    const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(shape[axis]), step = slice.step;
    if (step == 0) throw Error("view: the step of a range is 0");
    // NumPy's rule: negative ends count from the end of the axis, then both are clipped to it.
    const std::ptrdiff_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    const auto clipped = [&](std::ptrdiff_t place) { return std::clamp(place < 0 ? place + size : place, low, high); };
    const std::ptrdiff_t start = slice.has_start ? clipped(slice.start) : (step > 0 ? low : high);
    const std::ptrdiff_t stop = slice.has_stop ? clipped(slice.stop) : (step > 0 ? high : low);
    const std::ptrdiff_t distance = step > 0 ? stop - start : start - stop;
    const std::size_t length = step > 0 ? static_cast<std::size_t>(step) : -static_cast<std::size_t>(step);
    const std::size_t count = distance > 0 ? (static_cast<std::size_t>(distance) - 1) / length + 1 : 0;
    region.shape.push_back(count);
    region.strides.push_back(count > 1 ? stride * step : stride);  // (only then is the step within the axis)
    if (count > 0) offset += start * stride;
}

}  // namespace

template <class T> Variable<T> view(const Variable<T>& x, std::span<const Slice> slices) {
    const Shape& shape = x.shape();
    const auto takes_axis = [](const Slice& s) { return s.kind == Slice::Kind::index || s.kind == Slice::Kind::range; };
    const auto named = static_cast<std::size_t>(std::count_if(slices.begin(), slices.end(), takes_axis));
    if (named > shape.size())
        throw Error(fmt::format("view: {} slices for an array of shape {}", named, describe(shape)));
    if (std::count_if(slices.begin(), slices.end(), [](const Slice& s) { return s.kind == Slice::Kind::ellipsis; }) > 1)
        throw Error("view: more than one ellipsis");

    const Region whole = whole_region(shape);
    Region region;
    std::ptrdiff_t offset = 0;
    std::size_t axis = 0;
    const auto take_whole = [&](std::size_t count) {
        for (; count > 0; --count, ++axis) {
            region.shape.push_back(shape[axis]);
            region.strides.push_back(whole.strides[axis]);
        }
    };
    for (const Slice& slice : slices) {
        if (slice.kind == Slice::Kind::newaxis) {
            region.shape.push_back(1);
            region.strides.push_back(1);
        } else if (slice.kind == Slice::Kind::ellipsis) {
            take_whole(shape.size() - named);
        } else {
            apply_slice(slice, axis, whole.strides[axis], shape, region, offset);
            ++axis;
        }
    }
    take_whole(shape.size() - axis);
    region.offset = static_cast<std::size_t>(offset);
    return detail::gather_within(x, make_place(std::move(region)));
}

template <class T> Variable<T> take(const Variable<T>& x, const Array<std::int64_t>& indices, std::ptrdiff_t axis) {
    Positions positions{resolve_axis("take", axis, x.dimension()), empty<std::int64_t>(indices.shape())};
    std::transform(indices.begin(), indices.end(), positions.indices.begin(),
                   [&](std::int64_t index) { return resolve_index("take", index, positions.axis, x.shape()); });
    return detail::gather_within(x, make_place(std::move(positions)));
}

namespace {

// Takes from each of some slices the elements that its own `count` indices name, and notes where they are. Returns the
// first index that is out of range, or null. (Everything by value: the compiler takes what is written for anything.)
template <class T>
const std::int64_t* take_in_slices(const T* x, std::size_t first, std::size_t n, kernels::Slices slices,
                                   const std::int64_t* indices, std::size_t count, std::int64_t* places, T* y) {
    const auto size = static_cast<std::int64_t>(slices.count), inner = static_cast<std::int64_t>(slices.inner);
    for (std::size_t slice = first; slice < first + n; ++slice) {
        const auto begin = static_cast<std::int64_t>(slice * slices.count * slices.inner);
        std::int64_t column = 0;
        for (std::size_t k = slice * count; k < (slice + 1) * count; ++k) {
            const std::int64_t index = indices[k];
            if (index < -size || index >= size) return indices + k;
            const std::int64_t place = begin + (index < 0 ? index + size : index) * inner + column;
            places[k] = place;
            y[k] = x[place];
            if (++column == inner) column = 0;
        }
    }
    return nullptr;
}

}  // namespace

template <class T>
Variable<T> take_along_axis(const Variable<T>& x, const Array<std::int64_t>& indices, std::ptrdiff_t axis) {
    const std::size_t along = resolve_axis("take_along_axis", axis, x.dimension());
    Shape expected = x.shape();
    if (indices.dimension() == expected.size()) expected[along] = indices.shape()[along];
    if (indices.shape() != expected)
        throw Error(
            fmt::format("take_along_axis: indices of shape {} do not fit an array of shape {}; only the size of "
                        "axis {} may differ",
                        describe(indices.shape()), describe(x.shape()), along));
    // Taken from the array as one row, by where they are in it.
    const Variable<T> row = reshape(x, Shape{x.size()});
    Positions places{0, empty<std::int64_t>(indices.shape())};
    Array<T> value = empty<T>(indices.shape());
    const kernels::Slices slices = kernels::slices_along(x.shape(), along);
    const std::size_t count = expected[along] * slices.inner;
    kernels::in_pieces(slices.outer, count, [&](std::size_t first, std::size_t n) {
        if (const std::int64_t* bad = take_in_slices(row.value().data(), first, n, slices, indices.data(), count,
                                                     places.indices.data(), value.data()))
            refuse_index("take_along_axis", *bad, along, x.shape());
    });
    return record("take_along_axis", std::move(value), with("axis", along),
                  wrt(row, [place = make_place(std::move(places))](Variable<T> g) {
                      return Partial<T>{std::move(g), place};
                  }));
}

#define XGRAD_INSTANTIATE(T) \
    template Variable<T> view(const Variable<T>&, std::span<const Slice>); \
    template Variable<T> take(const Variable<T>&, const Array<std::int64_t>&, std::ptrdiff_t); \
    template Variable<T> take_along_axis(const Variable<T>&, const Array<std::int64_t>&, std::ptrdiff_t);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad
