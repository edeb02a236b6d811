#include <algorithm>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/operations/places.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace {

// Where the elements stand when an array of this shape is read with its axes in another order.
std::shared_ptr<const Place> permuted(const Shape& shape, const Shape& axes) {
    Region region = whole_region(shape);
    const Region original = region;
    for (std::size_t i = 0; i < axes.size(); ++i) {
        region.shape[i] = original.shape[axes[i]];
        region.strides[i] = original.strides[axes[i]];
    }
    return make_place(std::move(region));
}

}  // namespace

std::size_t resolve_axis(const char* operation, std::ptrdiff_t axis, std::size_t dimension) {
    const auto count = static_cast<std::ptrdiff_t>(dimension);
    if (axis < -count || axis >= count)
        throw Error(fmt::format("{}: axis {} is out of range for an array with {} dimension{}", operation, axis, count,
                                count == 1 ? "" : "s"));
    return static_cast<std::size_t>(axis < 0 ? axis + count : axis);
}

xt::svector<std::size_t, 4> Axes::resolve(const char* operation, std::size_t dimension) const {
    xt::svector<std::size_t, 4> resolved;
    for (std::ptrdiff_t axis : axes_) {
        const std::size_t place = resolve_axis(operation, axis, dimension);
        if (std::find(resolved.begin(), resolved.end(), place) != resolved.end())
            throw Error(fmt::format("{}: axis {} is named twice", operation, axis));
        resolved.push_back(place);
    }
    return resolved;
}

namespace {

// Whether two shapes broadcast, and to what: `common` has room for it.
bool find_common(const Shape& a, const Shape& b, Shape& common) {
    for (std::size_t i = 0; i < common.size(); ++i) {
        // Counted from the last dimension.
        const std::size_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
        const std::size_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
        if (x != y && x != 1 && y != 1) return false;
        common[common.size() - 1 - i] = x == 1 ? y : x;
    }
    return true;
}

}  // namespace

std::optional<Shape> common_shape(const Shape& a, const Shape& b) {
    Shape common(std::max(a.size(), b.size()));
    return find_common(a, b, common) ? std::optional(std::move(common)) : std::nullopt;
}

bool can_broadcast(const Shape& from, const Shape& to) { return common_shape(from, to) == to; }

Shape broadcast_shape(const char* operation, const Shape& a, const Shape& b) {
    Shape common(std::max(a.size(), b.size()));  // not from an optional: every broadcast begins with it
    if (!find_common(a, b, common))
        throw Error(fmt::format("{}: the shapes {} and {} do not broadcast: dimensions counted from the last must be "
                                "equal or 1",
                                operation, describe(a), describe(b)));
    return common;
}

template <class T> Variable<T> broadcast_to(const Variable<T>& x, const Shape& shape) {
    if (x.shape() == shape) return x;
    if (!can_broadcast(x.shape(), shape))
        throw Error(fmt::format("broadcast_to: the shape {} does not broadcast to {}", describe(x.shape()),
                                describe(shape)));
    Array<T> value = empty<T>(shape);
    kernels::broadcast_to(x.value().data(), x.shape(), value.data(), shape);
    // The engine sums the cotangent back.
    return record("broadcast_to", std::move(value), with("shape", shape), wrt(x, [](Variable<T> g) { return g; }));
}

template <class T> Variable<T> sum_to(const Variable<T>& x, const Shape& shape) {
    if (x.shape() == shape) return x;
    if (!can_broadcast(shape, x.shape()))
        throw Error(fmt::format("sum_to: the shape {} does not broadcast to {}, so that cannot be summed back to it",
                                describe(shape), describe(x.shape())));
    Array<T> value = empty<T>(shape);
    kernels::sum_to(x.value().data(), x.shape(), value.data(), shape);
    return record("sum_to", std::move(value), with("shape", shape),
                  wrt(x, [full = x.shape()](const Variable<T>& g) { return broadcast_to(g, full); }));
}

template <class T, std::same_as<Shape> S> Variable<T> reshape(const Variable<T>& x, const S& shape) {
    if (element_count(shape) != x.size())
        throw Error(fmt::format("reshape: the shape {} has {} elements, {} has {}", describe(x.shape()), x.size(),
                                describe(shape), element_count(shape)));
    return record("reshape", share(x.value(), shape), with("shape", shape),
                  wrt(x, [before = x.shape()](const Variable<T>& g) { return reshape(g, before); }));
}

template <class T> Variable<T> reshape(const Variable<T>& x, const Sizes& sizes) {
    Shape shape;
    std::size_t known = 1, unknown = 0;
    for (std::ptrdiff_t size : sizes) {
        if (size < -1) throw Error(fmt::format("reshape: the size {} is negative", size));
        if (size == -1)
            ++unknown;
        else
            known *= static_cast<std::size_t>(size);
    }
    if (unknown > 1) throw Error("reshape: only one size can be -1");
    if (unknown == 1 && (known == 0 || x.size() % known != 0))
        throw Error(fmt::format("reshape: no size in place of -1 makes ({}) hold the {} elements of {}",
                                fmt::join(sizes, ", "), x.size(), describe(x.shape())));
    for (std::ptrdiff_t size : sizes) shape.push_back(size == -1 ? x.size() / known : static_cast<std::size_t>(size));
    return reshape(x, shape);
}

template <class T> Variable<T> flatten(const Variable<T>& x, std::ptrdiff_t first, std::ptrdiff_t last) {
    if (x.dimension() == 0) return reshape(x, Shape{1});
    const std::size_t begin = resolve_axis("flatten", first, x.dimension());
    const std::size_t end = resolve_axis("flatten", last, x.dimension());
    if (begin > end) throw Error(fmt::format("flatten: the first axis, {}, comes after the last, {}", first, last));
    Shape shape(x.shape().begin(), x.shape().begin() + static_cast<std::ptrdiff_t>(begin));
    std::size_t merged = 1;
    for (std::size_t i = begin; i <= end; ++i) merged *= x.shape()[i];
    shape.push_back(merged);
    for (std::size_t i = end + 1; i < x.dimension(); ++i) shape.push_back(x.shape()[i]);
    return reshape(x, shape);
}

template <class T> Variable<T> squeeze(const Variable<T>& x, const Axes& axes) {
    const Shape chosen = axes.resolve("squeeze", x.dimension());
    for (std::size_t axis : chosen)
        if (x.shape()[axis] != 1)
            throw Error(fmt::format("squeeze: axis {} of {} has size {}, not 1", axis, describe(x.shape()),
                                    x.shape()[axis]));
    Shape shape;
    for (std::size_t i = 0; i < x.dimension(); ++i) {
        const bool drop = axes.empty() ? x.shape()[i] == 1 : std::find(chosen.begin(), chosen.end(), i) != chosen.end();
        if (!drop) shape.push_back(x.shape()[i]);
    }
    return reshape(x, shape);
}

template <class T> Variable<T> expand_dims(const Variable<T>& x, std::ptrdiff_t axis) {
    const std::size_t place = resolve_axis("expand_dims", axis, x.dimension() + 1);
    Shape shape;
    for (std::size_t i = 0; i <= x.dimension(); ++i) {
        if (i == place) shape.push_back(1);
        if (i < x.dimension()) shape.push_back(x.shape()[i]);
    }
    return reshape(x, shape);
}

template <class T> Variable<T> transpose(const Variable<T>& x, const Axes& axes) {
    Shape order = axes.resolve("transpose", x.dimension());
    if (axes.empty()) {
        order.resize(x.dimension());
        std::iota(order.rbegin(), order.rend(), std::size_t{0});
    }
    if (order.size() != x.dimension())
        throw Error(fmt::format("transpose: {} axes for an array of shape {}", order.size(), describe(x.shape())));
    const auto place = permuted(x.shape(), order);
    Array<T> value = empty<T>(std::get<Region>(*place).shape);
    detail::copy_from(value, x.value(), *place);
    Shape inverse(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) inverse[order[i]] = i;
    return record("transpose", std::move(value), with("axes", order),
                  wrt(x, [back = Axes(inverse)](const Variable<T>& g) { return transpose(g, back); }));
}

template <class T> Variable<T> flip(const Variable<T>& x, const Axes& axes) {
    Shape chosen = axes.resolve("flip", x.dimension());
    if (axes.empty()) {
        chosen.resize(x.dimension());
        std::iota(chosen.begin(), chosen.end(), std::size_t{0});
    }
    Region region = whole_region(x.shape());
    for (std::size_t axis : chosen) {
        if (x.shape()[axis] == 0) continue;
        region.offset += (x.shape()[axis] - 1) * static_cast<std::size_t>(region.strides[axis]);
        region.strides[axis] = -region.strides[axis];
    }
    Array<T> value = empty<T>(x.shape());
    detail::copy_from(value, x.value(), *make_place(std::move(region)));
    return record("flip", std::move(value), with("axes", chosen),
                  wrt(x, [axes](const Variable<T>& g) { return flip(g, axes); }));
}

namespace {

// The elements from `begin` on, `size` of them, along one axis.
std::shared_ptr<const Place> stretch(const Shape& shape, std::size_t axis, std::size_t begin, std::size_t size) {
    Region region = whole_region(shape);
    region.offset = begin * static_cast<std::size_t>(region.strides[axis]);
    region.shape[axis] = size;
    return make_place(std::move(region));
}

// Single numbers of each source by turns: target is (length, sources).
template <class T>
void interleave(const memory::Vector<std::pair<const T*, std::size_t>>& sources, std::size_t length, T* target) {
    constexpr std::size_t most = 16, block = 256;
    const std::size_t row = sources.size();
    const kernels::Copy<T> copy;
    kernels::in_pieces(length, row, [&](std::size_t first, std::size_t count) {
        T columns[most * block];
        for (const std::size_t end = first + count; first < end; first += block) {
            const std::size_t some = std::min(block, end - first);
            for (std::size_t source = 0; source < row; source += most) {
                const std::size_t group = std::min(most, row - source);
                for (std::size_t i = 0; i < group; ++i)
                    copy(sources[source + i].first + first, some, columns + i * some);
                kernels::transpose(columns, some, some, group, target + first * row + source, row);
            }
        }
    });
}

// The parts side by side along an axis, on which they have the given sizes, and which they lack when it is a new one.
template <class T>
Variable<T> join(const char* operation, std::span<const Variable<T>> parts, const Shape& shape, std::size_t along,
                 memory::Vector<std::size_t>&& sizes) {
    const kernels::Slices slices = kernels::slices_along(shape, along);
    const std::size_t outer = slices.outer, inner = slices.inner, row = slices.count * inner;
    Array<T> value = empty<T>(shape);
    memory::Vector<std::pair<const T*, std::size_t>> sources;  // with the length of their rows
    T* const target = value.data();
    const kernels::Copy<T> copy;
    for (std::size_t part = 0, offset = 0; part < parts.size(); offset += sizes[part++] * inner) {
        const T* const source = parts[part].value().data();
        const std::size_t run = sizes[part] * inner;
        if (outer == 1)
            kernels::copy(source, run, target + offset);
        else
            sources.push_back({source, run});
    }
    if (outer > 1 && std::all_of(sources.begin(), sources.end(), [](const auto& s) { return s.second == 1; }))
        interleave(sources, outer, target);
    else if (outer > 1)
        kernels::in_pieces(outer, row, [&](std::size_t first, std::size_t count) {
            T* to = target + first * row;
            for (std::size_t i = first; i < first + count; ++i)
                for (const auto& [source, run] : sources) {
                    copy(source + i * run, run, to);
                    to += run;
                }
        });
    const bool is_new = parts[0].dimension() < shape.size();
    return record(operation, std::move(value), with("axis", along),
                  wrt(parts, [sizes = std::move(sizes), along, is_new, lie_apart = outer != 1, inner](
                                 const Variable<T>& g, const Needs& needs) {
                      memory::Vector<Variable<T>> cotangents(sizes.size());
                      for (std::size_t i = 0, begin = 0; i < sizes.size(); begin += sizes[i++]) {
                          if (!needs[i]) continue;
                          if (lie_apart || detail::thread_state.recording) {
                              cotangents[i] = detail::gather_within(g, stretch(g.shape(), along, begin, sizes[i]));
                          } else {
                              Shape part = g.shape();  // which lies in g without a gap
                              part[along] = sizes[i];
                              cotangents[i] = share(g.value(), part, begin * inner);
                          }
                          if (is_new) cotangents[i] = squeeze(cotangents[i], along);
                      }
                      return cotangents;
                  }));
}

}  // namespace

template <class T> Variable<T> concatenate(std::span<const Variable<T>> parts, std::ptrdiff_t axis) {
    if (parts.empty()) throw Error("concatenate: there is nothing to concatenate");
    const std::size_t along = resolve_axis("concatenate", axis, parts[0].dimension());
    Shape shape = parts[0].shape();
    shape[along] = 0;
    memory::Vector<std::size_t> sizes;
    for (const Variable<T>& part : parts) {
        Shape expected = part.shape();
        if (expected.size() == shape.size()) expected[along] = shape[along];
        if (expected != shape)
            throw Error(fmt::format("concatenate: the shapes {} and {} differ in more than axis {}",
                                    describe(parts[0].shape()), describe(part.shape()), along));
        sizes.push_back(part.shape()[along]);
        shape[along] += sizes.back();
    }
    return join("concatenate", parts, shape, along, std::move(sizes));
}

template <class T> Variable<T> stack(std::span<const Variable<T>> parts, std::ptrdiff_t axis) {
    if (parts.empty()) throw Error("stack: there is nothing to stack");
    for (const Variable<T>& part : parts)
        if (part.shape() != parts[0].shape())
            throw Error(fmt::format("stack: the shapes {} and {} differ", describe(parts[0].shape()),
                                    describe(part.shape())));
    Shape shape = parts[0].shape();
    const std::size_t along = resolve_axis("stack", axis, shape.size() + 1);
    shape.push_back(parts.size());
    std::rotate(shape.begin() + static_cast<std::ptrdiff_t>(along), shape.end() - 1, shape.end());
    return join("stack", parts, shape, along, memory::Vector<std::size_t>(parts.size(), 1));
}

template <class T> std::vector<Variable<T>> split(const Variable<T>& x, std::size_t count, std::ptrdiff_t axis) {
    const std::size_t along = resolve_axis("split", axis, x.dimension());
    const std::size_t size = x.shape()[along];
    if (count == 0 || size % count != 0)
        throw Error(fmt::format("split: axis {} of {} does not divide into {} equal parts", along, describe(x.shape()),
                                count));
    std::vector<Variable<T>> parts;
    for (std::size_t i = 0; i < count; ++i)
        parts.push_back(detail::gather_within(x, stretch(x.shape(), along, i * (size / count), size / count)));
    return parts;
}

#define XGRAD_INSTANTIATE(T) \
    template Variable<T> broadcast_to(const Variable<T>&, const Shape&); \
    template Variable<T> sum_to(const Variable<T>&, const Shape&); \
    template Variable<T> reshape(const Variable<T>&, const Sizes&); \
    template Variable<T> reshape(const Variable<T>&, const Shape&); \
    template Variable<T> flatten(const Variable<T>&, std::ptrdiff_t, std::ptrdiff_t); \
    template Variable<T> squeeze(const Variable<T>&, const Axes&); \
    template Variable<T> expand_dims(const Variable<T>&, std::ptrdiff_t); \
    template Variable<T> transpose(const Variable<T>&, const Axes&); \
    template Variable<T> flip(const Variable<T>&, const Axes&); \
    template Variable<T> concatenate(std::span<const Variable<T>>, std::ptrdiff_t); \
    template Variable<T> stack(std::span<const Variable<T>>, std::ptrdiff_t); \
    template std::vector<Variable<T>> split(const Variable<T>&, std::size_t, std::ptrdiff_t);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad
