#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace {

// The same region with as few axes as say the same: none of size 1, and neighbours that go on as one.
Region simplified(const Region& region) {
    Region result{{}, {}, region.offset};
    for (std::size_t i = 0; i < region.shape.size(); ++i) {
        const std::size_t size = region.shape[i];
        const std::ptrdiff_t stride = region.strides[i], reach = stride * static_cast<std::ptrdiff_t>(size);
        if (size == 1) continue;
        if (!result.shape.empty() && result.strides.back() == reach) {
            result.shape.back() *= size;
            result.strides.back() = stride;
        } else {
            result.shape.push_back(size);
            result.strides.push_back(stride);
        }
    }
    return result;
}

// A loop over fewer takes longer to begin than to run.
constexpr std::size_t few = 16;

// Calls run(row, place) for each place of each row. Of short rows, one place of many rows after the other.
template <class Run>
void each_place(std::size_t rows, std::size_t places, Run run) {
    constexpr std::size_t together = 256;
    if (places >= few) {
        for (std::size_t row = 0; row < rows; ++row)
            for (std::size_t place = 0; place < places; ++place) run(row, place);
        return;
    }
    for (std::size_t first = 0; first < rows; first += together)
        for (std::size_t place = 0; place < places; ++place)
            for (std::size_t row = first, end = std::min(rows, first + together); row < end; ++row) run(row, place);
}

// The innermost rows of a region: how many there are, how long, and how far apart in the whole are a row's elements, and
// the rows of one band, which make up the last axis but one. A region of one axis is taken for rows of one element.
struct Rows {
    Region region;
    std::size_t count = 0, length = 1;
    std::ptrdiff_t stride = 1, row_stride = 0;

    explicit Rows(const Region& of) : region(simplified(of)), count(element_count(region.shape)) {
        const std::size_t rank = region.shape.size();
        if (count == 0) return;
        if (rank >= 1) stride = region.strides[rank - 1];
        if (rank < 2) return;
        length = region.shape[rank - 1];
        count /= length;
        row_stride = region.strides[rank - 2];
    }

    // Where an element of a band is in the whole, from the band's first on.
    std::ptrdiff_t place(std::size_t row, std::size_t column) const {
        return static_cast<std::ptrdiff_t>(row) * row_stride + static_cast<std::ptrdiff_t>(column) * stride;
    }

    // Calls run(part, whole, height, width) for the bands of `n` rows from `first` on: the offsets of a band's first
    // element in the part and in the whole, how many rows it has, and of how many elements.
    template <class Run>
    void each_band(std::size_t first, std::size_t n, Run run) const {
        const Shape& shape = region.shape;
        const std::size_t rank = shape.size();
        auto whole = static_cast<std::ptrdiff_t>(region.offset);
        if (rank < 2) return run(first, whole + place(0, first), std::size_t{1}, n);
        const std::size_t height = shape[rank - 2];
        Shape index(rank - 2, 0);  // of the band
        std::size_t row = first % height, left = first / height;
        for (std::size_t d = rank - 2; d-- > 0; left /= shape[d]) {
            index[d] = left % shape[d];
            whole += region.strides[d] * static_cast<std::ptrdiff_t>(index[d]);
        }
        for (std::size_t rows; n > 0; first += rows, n -= rows, row = 0) {
            rows = std::min(n, height - row);
            run(first * length, whole + place(row, 0), rows, length);
            for (std::size_t d = rank - 2; d-- > 0;) {
                whole += region.strides[d];
                if (++index[d] < shape[d]) break;
                whole -= region.strides[d] * static_cast<std::ptrdiff_t>(shape[d]);
                index[d] = 0;
            }
        }
    }
};

// Whether no element is named twice: each stride reaches beyond all that the smaller ones reach.
bool names_each_once(const Region& region) {
    memory::Vector<std::pair<std::size_t, std::size_t>> axes;  // stride and size
    for (std::size_t i = 0; i < region.shape.size(); ++i)
        if (region.shape[i] > 1) axes.emplace_back(std::abs(region.strides[i]), region.shape[i]);
    std::sort(axes.begin(), axes.end());
    std::size_t reach = 0;
    for (const auto& [stride, size] : axes) {
        if (stride <= reach) return false;
        reach += stride * (size - 1);
    }
    return true;
}

// The axis along which the whole is contiguous, where the last one is not; as many as there are axes when there is none.
std::size_t contiguous_axis(const Region& region) {
    const std::size_t rank = region.shape.size();
    if (rank < 2 || region.strides[rank - 1] <= 1) return rank;
    for (std::size_t d = 0; d + 1 < rank; ++d)
        if (region.strides[d] == 1 && region.shape[d] > 1) return d;
    return rank;
}

// Matrices whose rows go along that axis in the part, and whose columns go along the last one, cut into bands of rows and
// of columns.
template <class T>
void copy_transposed(T* part, const T* whole, const Region& region, std::size_t axis) {
    constexpr std::size_t most_rows = 64, most_columns = 1024;
    const std::size_t last = region.shape.size() - 1, rows = region.shape[axis], columns = region.shape[last];
    const Region in_part = whole_region(region.shape);
    const std::size_t down = (rows + most_rows - 1) / most_rows, across = (columns + most_columns - 1) / most_columns;
    const std::size_t matrices = element_count(region.shape) / (rows * columns);
    const auto transpose_band = [&](std::size_t band) {
        const std::size_t row = band % down * most_rows, column = band / down % across * most_columns;
        std::ptrdiff_t from = static_cast<std::ptrdiff_t>(region.offset), to = 0;
        const auto move = [&](std::size_t d, std::size_t steps) {
            from += region.strides[d] * static_cast<std::ptrdiff_t>(steps);
            to += in_part.strides[d] * static_cast<std::ptrdiff_t>(steps);
        };
        move(axis, row), move(last, column);
        std::size_t matrix = band / down / across;
        for (std::size_t d = last; d-- > 0;) {
            if (d == axis) continue;
            move(d, matrix % region.shape[d]);
            matrix /= region.shape[d];
        }
        kernels::transpose(whole + from, static_cast<std::size_t>(region.strides[last]), std::min(most_rows, rows - row),
                           std::min(most_columns, columns - column), part + to,
                           static_cast<std::size_t>(in_part.strides[axis]));
    };
    const std::size_t band_size = std::min(rows, most_rows) * std::min(columns, most_columns);
    kernels::in_pieces(matrices * down * across, band_size, [&](std::size_t first, std::size_t count) {
        for (std::size_t band = first; band < first + count; ++band) transpose_band(band);
    });
}

template <class T>
void copy_band(const Rows& rows, const kernels::Copy<T>& copy, const T* whole, std::size_t height, std::size_t width,
               T* part) {
    const auto each_row = [&](const auto& copy_row) {
        for (std::size_t row = 0; row < height; ++row) copy_row(whole + rows.place(row, 0), part + row * width);
    };
    const bool is_long = width >= few;
    if (rows.stride == 1 && width >= few / 2)
        each_row([&](const T* from, T* to) { copy(from, width, to); });
    else if (is_long && rows.stride == -1)
        each_row([&](const T* from, T* to) { std::reverse_copy(from + 1 - width, from + 1, to); });
    else if (is_long && rows.stride == 2)
        each_row([&](const T* from, T* to) {
            for (std::size_t i = 0; i < width; ++i) to[i] = from[2 * i];  // as vectors, where the stride is known
        });
    else
        each_place(height, width, [&](std::size_t row, std::size_t place) {
            part[row * width + place] = whole[rows.place(row, place)];
        });
}

template <class T>
void copy_region(T* part, const T* whole, const Region& region) {
    if (element_count(region.shape) == 0) return;
    const std::size_t axis = contiguous_axis(region);
    if (axis < region.shape.size()) return copy_transposed(part, whole, region, axis);
    const Rows rows(region);
    const kernels::Copy<T> copy;
    kernels::in_pieces(rows.count, rows.length, [&](std::size_t first, std::size_t count) {
        rows.each_band(first, count, [&](std::size_t to, std::ptrdiff_t from, std::size_t height, std::size_t width) {
            copy_band(rows, copy, whole + from, height, width, part + to);
        });
    });
}

template <class T>
void add_region(T* whole, const T* part, const Region& region) {
    const Rows rows(region);
    const auto add = [&](std::size_t first, std::size_t count) {
        rows.each_band(first, count, [&](std::size_t from, std::ptrdiff_t to, std::size_t height, std::size_t width) {
            each_place(height, width, [&](std::size_t row, std::size_t place) {
                whole[to + rows.place(row, place)] += part[from + row * width + place];
            });
        });
    };
    if (names_each_once(rows.region))
        kernels::in_pieces(rows.count, rows.length, add);
    else
        add(0, rows.count);
}

// The contiguous runs that positions name: in each of `outer` parts of the whole one for each index.
struct Runs {
    std::span<const std::int64_t> indices;
    std::size_t outer = 1, length = 1, extent;

    Runs(const Positions& positions, const Shape& whole)
        : indices(positions.indices.data(), positions.indices.size()), extent(whole[positions.axis]) {
        for (std::size_t i = 0; i < positions.axis; ++i) outer *= whole[i];
        for (std::size_t i = positions.axis + 1; i < whole.size(); ++i) length *= whole[i];
    }
    std::size_t count() const { return outer * indices.size(); }

    // Calls run(part, whole) for `n` runs from `first` on: the offsets of a run in the part and in the whole.
    template <class Run>
    void each(std::size_t first, std::size_t n, Run run) const {
        for (const std::size_t end = first + n; first < end;) {
            const std::size_t start = first / indices.size() * extent, place = first % indices.size();
            for (const std::int64_t index : indices.subspan(place, std::min(indices.size() - place, end - first)))
                run(first++ * length, (start + static_cast<std::size_t>(index)) * length);
        }
    }
    // The same for all runs of `n` parts from `first` on, where a run is one number.
    template <class Run>
    void each_number(std::size_t first, std::size_t n, Run run) const {
        each_place(n, indices.size(), [&](std::size_t row, std::size_t place) {
            run((first + row) * indices.size() + place,
                (first + row) * extent + static_cast<std::size_t>(indices[place]));
        });
    }
};

Shape part_shape(const Place& place, const Shape& whole) {
    if (const auto* region = std::get_if<Region>(&place)) return region->shape;
    const auto& positions = std::get<Positions>(place);
    Shape shape(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(positions.axis));
    for (std::size_t size : positions.indices.shape()) shape.push_back(size);
    for (std::size_t i = positions.axis + 1; i < whole.size(); ++i) shape.push_back(whole[i]);
    return shape;
}

template <class P>
std::shared_ptr<const Place> allocate_place(P&& place) {
    return std::allocate_shared<const Place>(memory::Allocator<Place>(), std::forward<P>(place));
}

}  // namespace

Region whole_region(const Shape& shape) {
    Region region{shape, {}, 0};
    region.strides.resize(shape.size());
    std::ptrdiff_t stride = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
        region.strides[i] = stride;
        stride *= static_cast<std::ptrdiff_t>(shape[i]);
    }
    return region;
}

std::shared_ptr<const Place> make_place(Region region) { return allocate_place(std::move(region)); }

namespace detail {

template <class T>
void copy_from(Array<T>& target, const Array<T>& source, const Place& place) {
    if (const auto* region = std::get_if<Region>(&place)) return copy_region(target.data(), source.data(), *region);
    const Runs runs(std::get<Positions>(place), source.shape());
    const T* const from = source.data();
    T* const to = target.data();
    const auto assign = [=](std::size_t part, std::size_t whole) { to[part] = from[whole]; };
    if (runs.length == 1 && runs.indices.size() < few)
        return kernels::in_pieces(runs.outer, runs.indices.size(), [&](std::size_t first, std::size_t count) {
            runs.each_number(first, count, assign);
        });
    const kernels::Copy<T> copy;
    kernels::in_pieces(runs.count(), runs.length, [&](std::size_t first, std::size_t count) {
        if (runs.length == 1)
            runs.each(first, count, assign);
        else
            runs.each(first, count,
                      [&](std::size_t part, std::size_t whole) { copy(from + whole, runs.length, to + part); });
    });
}

// As a position may be named twice, threads share parts of the whole or, where there is one, parts of the runs.
template <class T>
void add_at(Array<T>& target, const Array<T>& part, const Place& place) {
    if (const auto* region = std::get_if<Region>(&place)) return add_region(target.data(), part.data(), *region);
    const Runs runs(std::get<Positions>(place), target.shape());
    const std::size_t positions = runs.indices.size();
    const T* const from = part.data();
    T* const to = target.data();
    const auto add = [&](std::size_t first, std::size_t count, std::size_t begin, std::size_t end) {
        runs.each(first, count, [&](std::size_t at, std::size_t whole) {
            for (std::size_t i = begin; i < end; ++i) to[whole + i] += from[at + i];
        });
    };
    if (runs.outer != 1)
        return kernels::in_pieces(runs.outer, positions * runs.length, [&](std::size_t first, std::size_t count) {
            if (runs.length == 1)
                runs.each_number(first, count, [&](std::size_t at, std::size_t whole) { to[whole] += from[at]; });
            else
                add(first * positions, count * positions, 0, runs.length);
        });
    constexpr std::size_t line = 64 / sizeof(T);
    const std::size_t lines = std::max<std::size_t>(1, (runs.length + line - 1) / line);
    const std::size_t share = (lines + threads() - 1) / threads() * line;
    kernels::in_pieces((runs.length + share - 1) / share, positions * share, [&](std::size_t first, std::size_t count) {
        add(0, positions, first * share, std::min(runs.length, (first + count) * share));
    });
}

}  // namespace detail

template <class T>
Variable<T> gather(const Variable<T>& x, std::shared_ptr<const Place> place) {
    Array<T> value = empty<T>(part_shape(*place, x.shape()));
    detail::copy_from(value, x.value(), *place);
    return record("gather", std::move(value),
                  wrt(x, [place](Variable<T> g) { return Partial<T>(std::move(g), place); }));
}

template <class T>
Variable<T> scatter(const Variable<T>& part, std::shared_ptr<const Place> place, const Shape& shape) {
    if (part.shape() != part_shape(*place, shape))
        throw Error(fmt::format("scatter: a part of shape {} does not fit its place in {}", describe(part.shape()),
                                describe(shape)));
    Array<T> value = empty<T>(shape);
    kernels::fill(value.data(), T{0}, value.size());
    detail::add_at(value, part.value(), *place);
    return record("scatter", std::move(value), with("shape", shape),
                  wrt(part, [place](const Variable<T>& g) { return gather(g, place); }));
}

namespace {

// What one slice makes of one axis: adds to the region, and to the offset of its first element.
void apply_slice(const Slice& slice, std::size_t axis, std::size_t extent, std::ptrdiff_t stride, const Shape& shape,
                 Region& region, std::ptrdiff_t& offset) {
    const auto size = static_cast<std::ptrdiff_t>(extent);
    if (slice.kind == Slice::Kind::index) {
        if (slice.start < -size || slice.start >= size)
            throw Error(fmt::format("view: index {} is out of range for axis {} of {}", slice.start, axis,
                                    describe(shape)));
        offset += (slice.start < 0 ? slice.start + size : slice.start) * stride;
        return;
    }
    const std::ptrdiff_t step = slice.step;
    if (step == 0) throw Error("view: the step of a range is 0");
    // NumPy's rule: negative ends count from the end of the axis, then both are clipped to it.
    const std::ptrdiff_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    const auto clipped = [&](std::ptrdiff_t place) { return std::clamp(place < 0 ? place + size : place, low, high); };
    const std::ptrdiff_t start = slice.has_start ? clipped(slice.start) : (step > 0 ? low : high);
    const std::ptrdiff_t stop = slice.has_stop ? clipped(slice.stop) : (step > 0 ? high : low);
    const std::ptrdiff_t count = step > 0 ? (stop - start + step - 1) / step : (start - stop - step - 1) / -step;
    region.shape.push_back(static_cast<std::size_t>(std::max<std::ptrdiff_t>(count, 0)));
    region.strides.push_back(stride * step);
    if (count > 0) offset += start * stride;
}

}  // namespace

template <class T>
Variable<T> view(const Variable<T>& x, std::span<const Slice> slices) {
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
            apply_slice(slice, axis, shape[axis], whole.strides[axis], shape, region, offset);
            ++axis;
        }
    }
    take_whole(shape.size() - axis);
    region.offset = static_cast<std::size_t>(offset);
    return gather(x, make_place(std::move(region)));
}

template <class T>
Variable<T> take(const Variable<T>& x, const Array<std::int64_t>& indices, std::ptrdiff_t axis) {
    Positions positions{resolve_axis("take", axis, x.dimension()), indices};
    const auto size = static_cast<std::int64_t>(x.shape()[positions.axis]);
    for (std::int64_t& index : positions.indices) {
        if (index < -size || index >= size)
            throw Error(fmt::format("take: index {} is out of range for axis {} of {}", index, positions.axis,
                                    describe(x.shape())));
        if (index < 0) index += size;
    }
    return gather(x, allocate_place(std::move(positions)));
}

#define XGRAD_INSTANTIATE(T) \
    namespace detail { \
    template void copy_from(Array<T>&, const Array<T>&, const Place&); \
    template void add_at(Array<T>&, const Array<T>&, const Place&); \
    } \
    template Variable<T> gather(const Variable<T>&, std::shared_ptr<const Place>); \
    template Variable<T> scatter(const Variable<T>&, std::shared_ptr<const Place>, const Shape&); \
    template Variable<T> view(const Variable<T>&, std::span<const Slice>); \
    template Variable<T> take(const Variable<T>&, const Array<std::int64_t>&, std::ptrdiff_t);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad
