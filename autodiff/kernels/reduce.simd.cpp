#include <cstdint>
#include <limits>

#include <xgrad/autodiff/kernels/packed_columns.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/kernels/rows.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// What a fold does to an element before it is merged; `about` belongs to the slice.
struct Plain {
    static constexpr bool needs_about = false;
    template <class V> static V map(const V& x, const V&) { return x; }
};

struct SquaredDeviation {
    static constexpr bool needs_about = true;
    template <class V> static V map(const V& x, const V& about) { return (x - about) * (x - about); }
};

// As many columns as `size` lanes hold, in registers.
template <class T, std::size_t size> struct Tile { Lane<T> lanes[size]; };

template <class Op, class Map, std::size_t size, class T>
XGRAD_FLATTEN void fold_tile(const T* x, const T* about, std::size_t count, std::size_t stride, T* y) {
    constexpr std::size_t width = Lane<T>::width;
    Tile<T, size> centre;
    for (std::size_t k = 0; k < size; ++k)
        centre.lanes[k] = Map::needs_about ? Lane<T>::load(about + k * width) : Lane<T>(0);
    const Tile<T, size> result = pairwise(
        count, 64,
        [](const Tile<T, size>& a, const Tile<T, size>& b) {
            Tile<T, size> merged;
            for (std::size_t k = 0; k < size; ++k) merged.lanes[k] = Op::merge(a.lanes[k], b.lanes[k]);
            return merged;
        },
        [&](std::size_t first, std::size_t n) {
            Tile<T, size> folded;
            for (Lane<T>& lane : folded.lanes) lane = Lane<T>(Op::template neutral<T>());
            const T* row = x + first * stride;
            for (std::size_t r = 0; r < n; ++r, row += stride)
                for (std::size_t k = 0; k < size; ++k)
                    folded.lanes[k] =
                        Op::merge(folded.lanes[k], Map::map(Lane<T>::load(row + k * width), centre.lanes[k]));
            return folded;
        });
    for (std::size_t k = 0; k < size; ++k) result.lanes[k].store(y + k * width);
}

// Rows and, a lane's width at a time, columns.
template <class Op, class Map, class T>
XGRAD_FLATTEN void fold_slices(const T* x, const T* about, const Slices& slices, std::size_t columns, T* y) {
    each_slice<T, longest_merged, false>(slices, columns, [&](std::size_t offset, std::size_t result, auto slice) {
        const T* from = x + offset;
        const auto centre = slice.spread(Map::needs_about ? slice.get(about + result) : Lane<T>(0));
        slice.put(
            slice.template fold<Op>([&](std::size_t i, auto part) { return Map::map(part.load(from + i), centre); }),
            y + result);
    });
}

// Few columns would leave lanes half empty. As many rows as make up whole lanes are taken for one wide row, of which
// each column then appears several times.
template <class T> std::size_t rows_in_whole_lanes(std::size_t columns) {
    std::size_t rows = Lane<T>::width;
    while (rows % 2 == 0 && rows / 2 * columns % Lane<T>::width == 0) rows /= 2;
    return rows;
}

template <class Op, class Map, class T>
void fold_few_columns(const T* x, const T* about, std::size_t count, std::size_t columns, T* y) {
    constexpr std::size_t most = 2 * Lane<T>::width * Lane<T>::width;
    const std::size_t rows = rows_in_whole_lanes<T>(columns), wide = rows * columns, rest = count % rows;
    T repeated[most], partial[most + 2 * Lane<T>::width];
    if (Map::needs_about)
        for (std::size_t i = 0; i < wide; ++i) repeated[i] = about[i % columns];
    fold_slices<Op, Map>(x, Map::needs_about ? repeated : nullptr, {1, count / rows, wide}, wide, partial);
    if (rest) fold_slices<Op, Map>(x + (count - rest) * columns, about, {1, rest, columns}, columns, partial + wide);
    fold_slices<Op, Plain, T>(partial, nullptr, {1, rows + (rest ? 1 : 0), columns}, columns, y);
}

// As many of the columns [first, last) as fill tiles; returns where the others begin.
template <class Op, class Map, std::size_t size, class T>
std::size_t fold_in_tiles(const T* x, const T* about, const Slices& slices, std::size_t first, std::size_t last, T* y) {
    constexpr std::size_t tile = size * Lane<T>::width;
    const auto [outer, count, inner] = slices;
    const std::size_t end = first + (last - first) / tile * tile;
    for (std::size_t o = 0; o < outer; ++o)
        for (std::size_t j = first; j < end; j += tile)
            fold_tile<Op, Map, size>(x + o * count * inner + j, Map::needs_about ? about + o * inner + j : nullptr,
                                     count, inner, y + o * inner + j);
    return end;
}

template <class Op, class Map, class T>
void fold(const T* x, const T* about, const Slices& slices, std::size_t columns, T* y) {
    constexpr std::size_t lane = Lane<T>::width;
    const auto [outer, count, inner] = slices;
    if (inner > 1 && inner < 2 * lane && inner % lane != 0 && count >= 4 * lane) {
        for (std::size_t o = 0; o < outer; ++o)
            fold_few_columns<Op, Map>(x + o * count * inner, Map::needs_about ? about + o * inner : nullptr, count,
                                      inner, y + o * inner);
        return;
    }
    // Wide tiles first: long runs of every row they pass. (Wider ones where 32 registers hold nothing else.)
    std::size_t done = 0;
    if constexpr (lane * sizeof(T) == 64 && !Map::needs_about)
        done = fold_in_tiles<Op, Map, 16>(x, about, slices, done, columns, y);
    done = fold_in_tiles<Op, Map, 8>(x, about, slices, done, columns, y);
    if (done < columns)
        fold_slices<Op, Map>(x + done, Map::needs_about ? about + done : nullptr, slices, columns - done, y + done);
}

template <class T> XGRAD_FLATTEN void logsumexp(const T* x, const T*, const Slices& slices, std::size_t columns, T* y) {
    each_slice<T, longest_computed, true>(slices, columns, [&](std::size_t offset, std::size_t result, auto slice) {
        const T* from = x + offset;
        const auto centre =
            finite_or_zero(slice.template fold<Top>([&](std::size_t i, auto part) { return part.load(from + i); }));
        const auto centres = slice.spread(centre);
        // (In the order in which softmax adds, which gives this sum as well.)
        const auto total = slice.in_place().template fold<Sum>(
            [&](std::size_t i, auto part) { return exp(part.load(from + i) - centres); });
        slice.put(centre + log(total), y + result);
    });
}

// Whether an element is the extremum of its slice: NaN equals NaN here.
template <class T> Mask<T> same(const Lane<T>& x, const Lane<T>& extremum) {
    return (x == extremum) | !((x == x) | (extremum == extremum));
}

// `share` for the elements that are the extremum of their slice, 0 for the others.
template <class T> Lane<T> where_same(const Lane<T>& x, const Lane<T>& extremum, const Lane<T>& share) {
    return where(same(x, extremum), share, Lane<T>(0));
}
template <class T, std::size_t count>
Lanes<T, count> where_same(const Lanes<T, count>& x, const Lanes<T, count>& extremum, const Lanes<T, count>& share) {
    return Lanes<T, count>::of([&](std::size_t k) { return where_same(x.each[k], extremum.each[k], share.each[k]); });
}

// Indices are lanes of T: so many at a time, that each is exact in a float.
constexpr std::size_t most_indices = std::size_t{1} << 23;

// The best of the numbers so far, place by place, and the index of the first of them.
template <class Op, class T> struct Found {
    Lane<T> best{Op::template neutral<T>()}, index{T(0)};

    // NaN is better than any number, the first of equals better than the others.
    void take(const Lane<T>& x, const Lane<T>& place) {
        const Mask<T> better = (!Op::keeps(best, x)) & (best == best);
        best = where(better, x, best);
        index = where(better, place, index);
    }
};

// The places of a lane where the extremum is, infinity in the others.
template <class T> Lane<T> places_of(const Lane<T>& best, T extremum, const Lane<T>& index) {
    return where(same(best, Lane<T>(extremum)), index + places<T>(), Lane<T>(std::numeric_limits<T>::infinity()));
}

template <class Op, class T> XGRAD_FLATTEN std::int64_t find_in_lane(const T* x, std::size_t count) {
    const Part part{count};
    const Lane<T> lane = part.fill(part.load(x), Op::template neutral<T>());
    return static_cast<std::int64_t>(across<Smallest>(places_of(lane, across<Op>(lane), Lane<T>(0))));
}

template <class Op, class T> XGRAD_FLATTEN std::int64_t find_in_row(const T* x, std::size_t count) {
    if (count < Lane<T>::width) return find_in_lane<Op>(x, count);
    T best = Op::template neutral<T>();
    std::int64_t found = 0;
    for (std::size_t first = 0; first < count; first += most_indices) {
        const std::size_t n = count - first < most_indices ? count - first : most_indices;
        Ways<Found<Op, T>> ways;
        Lane<T> index(0);
        each_lane<T>(n, ways, [&](Found<Op, T>& way, std::size_t i, auto part) {
            way.take(part.fill(part.load(x + first + i), Op::template neutral<T>()), index);
            index += Lane<T>(Lane<T>::width);
        });
        const auto& [a, b, c, d] = ways;
        const T extremum = across<Op>(Op::merge(Op::merge(a.best, b.best), Op::merge(c.best, d.best)));
        if (first > 0 && (Op::keeps(best, extremum) || best != best)) continue;
        best = extremum;
        const auto of = [extremum](const Found<Op, T>& way) { return places_of(way.best, extremum, way.index); };
        const T place = across<Smallest>(smaller(smaller(of(a), of(b)), smaller(of(c), of(d))));
        found = static_cast<std::int64_t>(first) + static_cast<std::int64_t>(place);
    }
    return found;
}

// As many columns as `size` lanes hold.
template <class Op, std::size_t size, class T, class Places>
XGRAD_FLATTEN void find_in_columns(const T* x, std::size_t count, std::size_t stride, Places places,
                                   std::int64_t* found, std::size_t columns) {
    constexpr std::size_t width = Lane<T>::width;
    Found<Op, T> lanes[size];
    for (std::size_t first = 0; first < count; first += most_indices) {
        const std::size_t n = count - first < most_indices ? count - first : most_indices;
        for (std::size_t r = 0; r < n; ++r, x += stride)
            for (std::size_t k = 0; k < size; ++k)
                lanes[k].take(places.load(x + k * width), Lane<T>(static_cast<T>(r)));
        T index[size * width];
        for (std::size_t k = 0; k < size; ++k) {
            lanes[k].index.store(index + k * width);
            lanes[k].index = Lane<T>(-1);  // of those that the next rows do not better
        }
        for (std::size_t j = 0; j < columns; ++j)
            if (index[j] >= 0) found[j] = static_cast<std::int64_t>(first) + static_cast<std::int64_t>(index[j]);
    }
}

template <class Op, class T> void find(const T* x, const Slices& slices, std::size_t columns, std::int64_t* found) {
    constexpr std::size_t width = Lane<T>::width, wide = 4;
    const auto [outer, count, inner] = slices;
    for (std::size_t o = 0; o < outer; ++o, x += count * inner, found += inner) {
        if (inner == 1) {
            *found = find_in_row<Op>(x, count);
            continue;
        }
        const std::size_t length = count, stride = inner;
        std::size_t j = 0;
        for (; j + wide * width <= columns; j += wide * width)
            find_in_columns<Op, wide>(x + j, length, stride, Whole{}, found + j, wide * width);
        each_lane<T>(columns - j, [&](std::size_t i, auto places) {
            const std::size_t left = columns - j - i;
            find_in_columns<Op, 1>(x + j + i, length, stride, places, found + j + i, left < width ? left : width);
        });
    }
}

template <class T>
XGRAD_FLATTEN void extremum_backward_slices(const T* x, const Slices& slices, std::size_t columns, const T* y,
                                            const T* g, T* dx) {
    each_slice<T, 0, true>(slices, columns, [&](std::size_t offset, std::size_t result, auto slice) {
        const auto extremum = slice.get(y + result);
        const decltype(slice.get(y)) one(Lane<T>(1));
        const T* from = x + offset;
        const auto ties = slice.template fold<Sum>(
            [&](std::size_t i, auto part) { return where_same(part.load(from + i), extremum, one); });
        const auto share = slice.get(g + result) / ties;
        slice.each([&](std::size_t i, auto part) {
            part.store(where_same(part.load(from + i), extremum, share), dx + offset + i);
        });
    });
}

template <class T>
void extremum_backward(const T* x, const Slices& slices, std::size_t columns, const T* y, const T* g, T* dx) {
    on_packed_columns(columns_compete<T>(slices), {x}, slices, columns, dx,
                      [=](const T* const* from, const Slices& s, std::size_t its_columns, T* to, std::size_t first) {
                          extremum_backward_slices(from[0], s, its_columns, y + first, g + first, to);
                      });
}

template <class T> XGRAD_FLATTEN T dot(const T* a, const T* b, std::size_t n) {
    return Row<T>{n}.template total<Sum>([&](std::size_t i, auto part) { return part.load(a + i) * part.load(b + i); });
}

template <class T> XGRAD_FLATTEN void add_in_place(T* target, const T* source, std::size_t n) {
    each_lane<T>(
        n, [&](std::size_t i, auto part) { part.store(part.load(target + i) + part.load(source + i), target + i); });
}

template <class T> XGRAD_FLATTEN void divide_in_place(T* target, T divisor, std::size_t n) {
    each_lane<T>(n,
                 [&](std::size_t i, auto part) { part.store(part.load(target + i) / Lane<T>(divisor), target + i); });
}

template <class T> XGRAD_FLATTEN bool all_finite(const T* x, std::size_t n) {
    // x - x is 0 for finite numbers and NaN for the others.
    constexpr std::size_t block = 4096;
    for (std::size_t first = 0; first < n; first += block) {
        const T zero = Row<T>{n - first < block ? n - first : block}.template total<Sum>([&](std::size_t i, auto part) {
            const Lane<T> lane = part.load(x + first + i);
            return lane - lane;
        });
        if (zero != 0) return false;
    }
    return true;
}

}  // namespace

template <class T> const ReduceKernels<T>& reduce_kernels() {
    static constexpr ReduceKernels<T> table{
        .sum = fold<Sum, Plain, T>,
        .prod = fold<Product, Plain, T>,
        .max = fold<Largest, Plain, T>,
        .min = fold<Smallest, Plain, T>,
        .squared_deviations = fold<Sum, SquaredDeviation, T>,
        .logsumexp = logsumexp<T>,
        .argmax = find<Largest, T>,
        .argmin = find<Smallest, T>,
        .extremum_backward = extremum_backward<T>,
        .dot = dot<T>,
        .add_in_place = add_in_place<T>,
        .divide_in_place = divide_in_place<T>,
        .all_finite = all_finite<T>,
    };
    return table;
}

template const ReduceKernels<float>& reduce_kernels<float>();
template const ReduceKernels<double>& reduce_kernels<double>();

}  // namespace xgrad::kernels::XGRAD_LEVEL
