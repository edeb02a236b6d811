#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/operations/places.hpp>
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

// A loop over fewer numbers takes longer to begin than to run: of such short rows so many are walked together, column
// by column.
constexpr std::size_t few = 16, together = 256;

// Calls run(row, place) for each place of each row. Of short rows, one place of many rows after the other.
template <class Run> void each_place(std::size_t rows, std::size_t places, Run run) {
    if (places >= few) {
        for (std::size_t row = 0; row < rows; ++row)
            for (std::size_t place = 0; place < places; ++place) run(row, place);
        return;
    }
    for (std::size_t first = 0; first < rows; first += together)
        for (std::size_t place = 0; place < places; ++place)
            for (std::size_t row = first, end = std::min(rows, first + together); row < end; ++row) run(row, place);
}

// The innermost rows of a region: how many there are, how long, and how far apart in the whole are a row's elements,
// and the rows of one band, which make up the last axis but one. A region of one axis is taken for rows of one element,
// or, where these are neighbours, for parts of a single row.
struct Rows {
    Region region;
    std::size_t count = 0, length = 1;
    std::ptrdiff_t stride = 1, row_stride = 0;

    explicit Rows(const Region& of) : region(simplified(of)), count(element_count(region.shape)) {
        const std::size_t rank = region.shape.size();
        if (count == 0) return;
        if (rank >= 1) stride = row_stride = region.strides[rank - 1];
        if (rank < 2) return;
        length = region.shape[rank - 1];
        count /= length;
        row_stride = region.strides[rank - 2];
    }

    // Where an element of a band is in the whole, from the band's first on.
    std::ptrdiff_t place(std::size_t row, std::size_t column) const {
        return static_cast<std::ptrdiff_t>(row) * row_stride + static_cast<std::ptrdiff_t>(column) * stride;
    }

    // Whether no band reaches into another one.
    bool has_bands_apart() const {
        const std::size_t rank = region.shape.size();
        if (rank <= 2) return true;
        const std::ptrdiff_t reach = row_stride * static_cast<std::ptrdiff_t>(region.shape[rank - 2]);
        return std::all_of(region.strides.begin(), region.strides.end() - 2,
                           [reach](std::ptrdiff_t step) { return std::abs(step) >= reach; });
    }

    // Calls run(part, whole, height, width) for the bands of `n` rows from `first` on: the offsets of a band's first
    // element in the part and in the whole, how many rows it has, and of how many elements.
    template <class Run> void each_band(std::size_t first, std::size_t n, Run run) const {
        const Shape& shape = region.shape;
        const std::size_t rank = shape.size();
        auto whole = static_cast<std::ptrdiff_t>(region.offset);
        if (rank < 2) {
            whole += place(first, 0);
            return std::abs(stride) <= 1 ? run(first, whole, std::size_t{1}, n) : run(first, whole, n, std::size_t{1});
        }
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

// The axis along which the whole is contiguous, where the last one is not; as many as there are axes when there is
// none.
std::size_t contiguous_axis(const Region& region) {
    const std::size_t rank = region.shape.size();
    if (rank < 2 || region.strides[rank - 1] <= 1) return rank;
    for (std::size_t d = 0; d + 1 < rank; ++d)
        if (region.strides[d] == 1 && region.shape[d] > 1) return d;
    return rank;
}

// Matrices whose rows go along that axis in the part, and whose columns go along the last one, cut into bands of rows
// and of columns.
template <class T> void copy_transposed(T* part, const T* whole, const Region& region, std::size_t axis) {
    constexpr std::size_t most_rows = 64, most_columns = 1024;
    const std::size_t last = region.shape.size() - 1, rows = region.shape[axis], columns = region.shape[last];
    const Region in_part = whole_region(region.shape);
    const std::size_t down = kernels::ceil_divide(rows, most_rows),
                      across = kernels::ceil_divide(columns, most_columns);
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
        kernels::transpose(whole + from, static_cast<std::size_t>(region.strides[last]),
                           std::min(most_rows, rows - row), std::min(most_columns, columns - column), part + to,
                           static_cast<std::size_t>(in_part.strides[axis]));
    };
    const std::size_t band_size = std::min(rows, most_rows) * std::min(columns, most_columns);
    kernels::in_pieces(matrices * down * across, band_size, [&](std::size_t first, std::size_t count) {
        for (std::size_t band = first; band < first + count; ++band) transpose_band(band);
    });
}

// A short row of numbers, from how far on in another row each of them comes.
struct ShortRow {
    std::size_t width;
    int source[kernels::longest_rearranged];

    // Nothing comes from anywhere.
    explicit ShortRow(std::size_t size) : width(size) { std::fill_n(source, size, -1); }

    kernels::RowPattern from_rows_of(std::size_t x_width) const { return {source, width, x_width}; }
};

// Beyond this stride a vector would gain nothing: each number is on other lines of the cache.
constexpr std::ptrdiff_t wide = 256;
// Of smaller bands, finding out where numbers come from takes longer than it saves.
constexpr std::size_t enough_to_copy = 128, enough_to_add = 2048;

template <class T>
bool copy_short_rows(const Rows& rows, const T* whole, std::size_t height, std::size_t width, T* part) {
    if (width > kernels::longest_rearranged || height * width < enough_to_copy) return false;
    if (rows.row_stride < 1 || rows.row_stride > wide || std::abs(rows.stride) > wide) return false;
    ShortRow row(width);
    const std::ptrdiff_t lowest = std::min<std::ptrdiff_t>(0, rows.place(0, width - 1));
    for (std::size_t i = 0; i < width; ++i) row.source[i] = static_cast<int>(rows.place(0, i) - lowest);
    const auto whole_width = static_cast<std::size_t>(rows.row_stride);
    kernels::rearrange(row.from_rows_of(whole_width), whole + lowest, part, height * width);
    return true;
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
    else if (!copy_short_rows(rows, whole, height, width, part))
        each_place(height, width, [&](std::size_t row, std::size_t place) {
            part[row * width + place] = whole[rows.place(row, place)];
        });
}

template <class T> void copy_region(T* part, const T* whole, const Region& region) {
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

// Whether rows of `size` numbers, to which `named` ones are added, are short. All are written, which pays where so many
// are named.
template <class T> bool are_worth_rewriting(std::size_t size, std::size_t named, std::size_t rows) {
    return size <= kernels::longest_rearranged && size * sizeof(T) <= 16 * named && rows * size >= enough_to_add;
}

// In short rows, none of whose numbers is named twice, each gets what belongs to it, or nothing.
template <class T>
bool add_short_rows(const Rows& rows, T* whole, const T* part, std::size_t height, std::size_t width) {
    const std::ptrdiff_t last = rows.place(0, width - 1), lowest = std::min<std::ptrdiff_t>(0, last);
    const std::ptrdiff_t reach = std::abs(last) + 1;
    const auto size = static_cast<std::size_t>(rows.row_stride);
    if (rows.row_stride < reach || !are_worth_rewriting<T>(size, width, height)) return false;
    ShortRow row(size);
    for (std::size_t i = 0; i < width; ++i) row.source[rows.place(0, i) - lowest] = static_cast<int>(i);
    const std::size_t n = (height - 1) * size + static_cast<std::size_t>(reach);
    kernels::rearrange(row.from_rows_of(width), part, whole + lowest, n, true);
    return true;
}

// Adds neighbours to neighbours. For few of them a call would take longer than the numbers; very many are shared among
// threads.
template <class T> class AddNeighbours {
public:
    void operator()(T* to, const T* from, std::size_t n) const {
        if (n > kernels::piece_size) return kernels::add_in_place(to, from, n);
        if (n >= few) return add_(to, from, n);
        for (std::size_t i = 0; i < n; ++i) to[i] += from[i];
    }

private:
    void (*add_)(T* to, const T* from, std::size_t n) = kernels::reduce_kernels<T>().add_in_place;
};

// Of short rows, one place of many rows after the other.
template <class T>
void add_rows(const Rows& rows, T* whole, const T* part, std::size_t height, std::size_t width,
              const AddNeighbours<T>& add_neighbours) {
    const auto add = [](T* to, std::ptrdiff_t to_step, const T* from, std::size_t from_step, std::size_t n) {
        for (; n > 0; --n, to += to_step, from += from_step) *to += *from;
    };
    if (width >= few / 2 && rows.stride == 1)
        for (std::size_t row = 0; row < height; ++row)
            add_neighbours(whole + rows.place(row, 0), part + row * width, width);
    else if (width >= few)
        for (std::size_t row = 0; row < height; ++row)
            add(whole + rows.place(row, 0), rows.stride, part + row * width, 1, width);
    else
        for (std::size_t row = 0; row < height; row += together)
            for (std::size_t place = 0; place < width; ++place)
                add(whole + rows.place(row, place), rows.row_stride, part + row * width + place, width,
                    std::min(together, height - row));
}

template <class T> void add_region(T* whole, const T* part, const Region& region) {
    if (element_count(region.shape) == 0) return;
    const Rows rows(region);
    const bool differ = names_each_once(rows.region);
    // What stands between the numbers of short rows is written as well, as it was (but for the sign of a zero).
    const bool may_be_short = differ && rows.has_bands_apart();
    const AddNeighbours<T> add_neighbours;
    const auto add = [&](std::size_t first, std::size_t count) {
        rows.each_band(first, count, [&](std::size_t from, std::ptrdiff_t to, std::size_t height, std::size_t width) {
            if (may_be_short && add_short_rows(rows, whole + to, part + from, height, width)) return;
            add_rows(rows, whole + to, part + from, height, width, add_neighbours);
        });
    };
    if (differ)
        kernels::in_pieces(rows.count, rows.length, add);
    else
        add(0, rows.count);
}

// The contiguous runs that positions name: in each of `outer` parts of the whole one for each index.
struct Runs {
    std::span<const std::int64_t> indices;
    std::size_t outer, extent, length;

    Runs(const Positions& positions, const Shape& whole)
        : indices(positions.indices.data(), positions.indices.size()) {
        const auto [before, along, after] = kernels::slices_along(whole, positions.axis);
        outer = before, extent = along, length = after;
    }
    std::size_t count() const { return outer * indices.size(); }

    // Calls run(part, whole) for `n` runs from `first` on: the offsets of a run in the part and in the whole.
    template <class Run> void each(std::size_t first, std::size_t n, Run run) const {
        for (const std::size_t end = first + n; first < end;) {
            const std::size_t start = first / indices.size() * extent, place = first % indices.size();
            for (const std::int64_t index : indices.subspan(place, std::min(indices.size() - place, end - first)))
                run(first++ * length, (start + static_cast<std::size_t>(index)) * length);
        }
    }
    // The same for all runs of `n` parts from `first` on, where a run is one number.
    template <class Run> void each_number(std::size_t first, std::size_t n, Run run) const {
        each_place(n, indices.size(), [&](std::size_t row, std::size_t place) {
            run((first + row) * indices.size() + place,
                (first + row) * extent + static_cast<std::size_t>(indices[place]));
        });
    }
};

// Single numbers of short rows, none of which is named twice. Returns whether that is so.
template <class T> bool add_numbers(const Runs& runs, const T* from, T* to) {
    const std::size_t width = runs.indices.size();
    if (runs.length != 1 || !are_worth_rewriting<T>(runs.extent, width, runs.outer)) return false;
    ShortRow row(runs.extent);
    for (std::size_t i = 0; i < width; ++i)
        if (std::exchange(row.source[runs.indices[i]], static_cast<int>(i)) >= 0) return false;
    kernels::in_pieces(runs.outer, runs.extent, [&](std::size_t first, std::size_t count) {
        kernels::rearrange(row.from_rows_of(width), from + first * width, to + first * runs.extent, count * runs.extent,
                           true);
    });
    return true;
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

namespace detail {

bool lies_within(const Place& place, const Shape& whole) {
    if (const auto* region = std::get_if<Region>(&place)) {
        if (region->strides.size() != region->shape.size()) return false;
        auto first = static_cast<std::ptrdiff_t>(region->offset), last = first;
        for (std::size_t i = 0; i < region->shape.size(); ++i) {
            if (region->shape[i] == 0) return true;
            std::ptrdiff_t reach = 0;
            if (__builtin_mul_overflow(region->strides[i], region->shape[i] - 1, &reach)) return false;
            std::ptrdiff_t& end = reach < 0 ? first : last;
            if (__builtin_add_overflow(end, reach, &end)) return false;
        }
        return first >= 0 && last < static_cast<std::ptrdiff_t>(element_count(whole));
    }
    const auto& [axis, indices] = std::get<Positions>(place);
    if (axis >= whole.size()) return false;
    const auto size = static_cast<std::int64_t>(whole[axis]);
    return std::all_of(indices.begin(), indices.end(),
                       [size](std::int64_t index) { return index >= 0 && index < size; });
}

Shape part_shape(const Place& place, const Shape& whole) {
    if (const auto* region = std::get_if<Region>(&place)) return region->shape;
    const auto& positions = std::get<Positions>(place);
    Shape shape(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(positions.axis));
    for (std::size_t size : positions.indices.shape()) shape.push_back(size);
    for (std::size_t i = positions.axis + 1; i < whole.size(); ++i) shape.push_back(whole[i]);
    return shape;
}

template <class T> void copy_from(Array<T>& target, const Array<T>& source, const Place& place) {
    if (const auto* region = std::get_if<Region>(&place)) return copy_region(target.data(), source.data(), *region);
    const Runs runs(std::get<Positions>(place), source.shape());
    const T* const from = source.data();
    T* const to = target.data();
    const std::size_t width = runs.indices.size();
    if (runs.length == 1 && width > 0 && width <= kernels::longest_rearranged && runs.extent <= wide) {
        ShortRow row(width);
        std::copy(runs.indices.begin(), runs.indices.end(), row.source);
        return kernels::in_pieces(runs.outer, width, [&](std::size_t first, std::size_t count) {
            const T* const rows = from + first * runs.extent;
            kernels::rearrange(row.from_rows_of(runs.extent), rows, to + first * width, count * width);
        });
    }
    const auto assign = [=](std::size_t part, std::size_t whole) { to[part] = from[whole]; };
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
template <class T> void add_at(Array<T>& target, const Array<T>& part, const Place& place) {
    if (const auto* region = std::get_if<Region>(&place)) return add_region(target.data(), part.data(), *region);
    const Runs runs(std::get<Positions>(place), target.shape());
    const std::size_t positions = runs.indices.size();
    const T* const from = part.data();
    T* const to = target.data();
    const AddNeighbours<T> add_neighbours;
    const auto add = [&](std::size_t first, std::size_t count, std::size_t begin, std::size_t end) {
        if (runs.length == 1)
            runs.each(first, count, [=](std::size_t at, std::size_t whole) { to[whole] += from[at]; });
        else
            runs.each(first, count, [=](std::size_t at, std::size_t whole) {
                add_neighbours(to + whole + begin, from + at + begin, end - begin);
            });
    };
    if (add_numbers(runs, from, to)) return;
    if (runs.outer != 1)
        return kernels::in_pieces(runs.outer, positions * runs.length, [&](std::size_t first, std::size_t count) {
            if (runs.length == 1)
                runs.each_number(first, count, [&](std::size_t at, std::size_t whole) { to[whole] += from[at]; });
            else
                add(first * positions, count * positions, 0, runs.length);
        });
    constexpr std::size_t line = 64 / sizeof(T);
    const std::size_t lines = std::max<std::size_t>(1, kernels::ceil_divide(runs.length, line));
    const std::size_t share = kernels::ceil_divide(lines, threads()) * line;
    kernels::in_pieces(kernels::ceil_divide(runs.length, share), positions * share,
                       [&](std::size_t first, std::size_t count) {
                           add(0, positions, first * share, std::min(runs.length, (first + count) * share));
                       });
}

}  // namespace detail

std::shared_ptr<const Place> make_place(Place place) {
    return std::allocate_shared<const Place>(memory::Allocator<Place>(), std::move(place));
}

namespace {

void check_within(const char* operation, const Place& place, const Shape& whole) {
    if (!detail::lies_within(place, whole))
        throw Error(fmt::format("{}: the place does not lie within an array of shape {}", operation, describe(whole)));
}

}  // namespace

template <class T> Variable<T> detail::gather_within(const Variable<T>& x, std::shared_ptr<const Place> place) {
    Array<T> value = empty<T>(part_shape(*place, x.shape()));
    copy_from(value, x.value(), *place);
    return record("gather", std::move(value),
                  wrt(x, [place](Variable<T> g) { return Partial<T>{std::move(g), place}; }));
}

template <class T> Variable<T> gather(const Variable<T>& x, std::shared_ptr<const Place> place) {
    check_within("gather", *place, x.shape());
    return detail::gather_within(x, std::move(place));
}

template <class T>
Variable<T> scatter(const Variable<T>& part, std::shared_ptr<const Place> place, const Shape& shape) {
    check_within("scatter", *place, shape);
    if (part.shape() != detail::part_shape(*place, shape))
        throw Error(fmt::format("scatter: a part of shape {} does not fit its place in {}", describe(part.shape()),
                                describe(shape)));
    Array<T> value = full(shape, T{0});
    detail::add_at(value, part.value(), *place);
    return record("scatter", std::move(value), with("shape", shape),
                  wrt(part, [place](const Variable<T>& g) { return detail::gather_within(g, place); }));
}

#define XGRAD_INSTANTIATE(T)                                                                              \
    template Variable<T> gather(const Variable<T>&, std::shared_ptr<const Place>);                        \
    template Variable<T> scatter(const Variable<T>&, std::shared_ptr<const Place>, const Shape&);         \
    template Variable<T> detail::gather_within(const Variable<T>&, std::shared_ptr<const Place>);         \
    template void detail::copy_from(Array<T>&, const Array<T>&, const Place&);                            \
    template void detail::add_at(Array<T>&, const Array<T>&, const Place&);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad
