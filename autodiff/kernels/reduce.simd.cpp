#include <cstdint>
#include <limits>

#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/kernels/rows.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// What a fold does to an element before it is merged; `about` belongs to the slice.
struct Plain {
    static constexpr bool needs_about = false;
    template <class T> static Lane<T> map(const Lane<T>& x, const Lane<T>&) { return x; }
};

struct Square {
    static constexpr bool needs_about = false;
    template <class T> static Lane<T> map(const Lane<T>& x, const Lane<T>&) { return x * x; }
};

struct SquaredDeviation {
    static constexpr bool needs_about = true;
    template <class T> static Lane<T> map(const Lane<T>& x, const Lane<T>& about) { return (x - about) * (x - about); }
};

// As many columns as `size` lanes hold, in registers.
template <class T, std::size_t size> struct Tile { Lane<T> lanes[size]; };

template <class Op, class Map, std::size_t size, class T>
XGRAD_FLATTEN void fold_tile(const T* x, const T* about, std::size_t count, std::size_t stride, T* y) {
    constexpr std::size_t width = Lane<T>::width;
    Tile<T, size> centre{};
    if constexpr (Map::needs_about)
        for (std::size_t k = 0; k < size; ++k) centre.lanes[k] = Lane<T>::load(about + k * width);
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
    each_slice<T>(slices, columns, [&](std::size_t offset, std::size_t result, auto slice) {
        const T* from = x + offset;
        const Lane<T> centre = Map::needs_about ? slice.get(about + result) : Lane<T>(0);
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
    // Wide tiles first: whole cache lines of every row they pass.
    constexpr std::size_t wide = 8, tile = wide * lane;
    const std::size_t in_tiles = columns / tile * tile;
    for (std::size_t o = 0; o < outer; ++o)
        for (std::size_t j = 0; j < in_tiles; j += tile)
            fold_tile<Op, Map, wide>(x + o * count * inner + j, Map::needs_about ? about + o * inner + j : nullptr,
                                     count, inner, y + o * inner + j);
    if (in_tiles < columns)
        fold_slices<Op, Map>(x + in_tiles, Map::needs_about ? about + in_tiles : nullptr, slices, columns - in_tiles,
                             y + in_tiles);
}

template <class T> XGRAD_FLATTEN void logsumexp(const T* x, const T*, const Slices& slices, std::size_t columns, T* y) {
    each_slice<T>(slices, columns, [&](std::size_t offset, std::size_t result, auto slice) {
        const T* from = x + offset;
        const Lane<T> largest = slice.template fold<Top>([&](std::size_t i, auto part) { return part.load(from + i); });
        const Lane<T> centre = where(abs(largest) < std::numeric_limits<T>::infinity(), largest, Lane<T>(0));
        const Lane<T> total =
            slice.template fold<Sum>([&](std::size_t i, auto part) { return exp(part.load(from + i) - centre); });
        slice.put(centre + log(total), y + result);
    });
}

// Whether an element is the extremum of its slice: NaN equals NaN here.
template <class T> Mask<T> same(const Lane<T>& x, const Lane<T>& extremum) {
    return (x == extremum) | !((x == x) | (extremum == extremum));
}

template <class T> XGRAD_FLATTEN void find_in_row(const T* x, std::size_t count, T wanted, std::int64_t* found) {
    // Whole blocks are passed over quickly; positions within one are exact in T.
    constexpr std::size_t block = 1024;
    const Lane<T> target(wanted), none(std::numeric_limits<T>::infinity());
    for (std::size_t first = 0; first < count; first += block) {
        const std::size_t n = count - first < block ? count - first : block;
        const T position = Row<T>{n}.template total<Smallest>([&](std::size_t i, auto part) {
            return where(same(part.load(x + first + i), target), places<T>() + static_cast<T>(i), none);
        });
        if (position < static_cast<T>(block)) {
            *found = static_cast<std::int64_t>(first) + static_cast<std::int64_t>(position);
            return;
        }
    }
}

template <class T> XGRAD_FLATTEN void find(const T* x, const Slices& slices, const T* y, std::int64_t* found) {
    const auto [outer, count, inner] = slices;
    for (std::size_t o = 0; o < outer; ++o) {
        const T* slice = x + o * count * inner;
        if (inner == 1) {
            find_in_row(slice, count, y[o], found + o);
            continue;
        }
        // From the last row up, so that the first of equals is written last.
        const T* wanted = y + o * inner;
        std::int64_t* to = found + o * inner;
        for (std::size_t r = count; r-- > 0;) {
            const T* row = slice + r * inner;
            for (std::size_t j = 0; j < inner; ++j)
                to[j] = (row[j] == wanted[j]) | ((row[j] != row[j]) & (wanted[j] != wanted[j]))
                            ? static_cast<std::int64_t>(r)
                            : to[j];
        }
    }
}

template <class T>
XGRAD_FLATTEN void extremum_backward(const T* x, const Slices& slices, const T* y, const T* g, T* dx) {
    each_slice<T>(slices, slices.inner, [&](std::size_t offset, std::size_t result, auto slice) {
        const Lane<T> extremum = slice.get(y + result);
        const T* from = x + offset;
        const Lane<T> ties = slice.template fold<Sum>([&](std::size_t i, auto part) {
            return where(same(part.load(from + i), extremum), Lane<T>(1), Lane<T>(0));
        });
        const Lane<T> share = slice.get(g + result) / ties;
        slice.each([&](std::size_t i, auto part) {
            part.store(where(same(part.load(from + i), extremum), share, Lane<T>(0)), dx + offset + i);
        });
    });
}

template <class T> XGRAD_FLATTEN T dot(const T* a, const T* b, std::size_t n) {
    return Row<T>{n}.template total<Sum>([&](std::size_t i, auto part) { return part.load(a + i) * part.load(b + i); });
}

template <class T> XGRAD_FLATTEN void add_in_place(T* target, const T* source, std::size_t n) {
    each_lane<T>(
        n, [&](std::size_t i, auto part) { part.store(part.load(target + i) + part.load(source + i), target + i); });
}

template <class T> XGRAD_FLATTEN void scale_in_place(T* target, T factor, std::size_t n) {
    each_lane<T>(n, [&](std::size_t i, auto part) { part.store(part.load(target + i) * Lane<T>(factor), target + i); });
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
        .sum_of_squares = fold<Sum, Square, T>,
        .squared_deviations = fold<Sum, SquaredDeviation, T>,
        .logsumexp = logsumexp<T>,
        .find = find<T>,
        .extremum_backward = extremum_backward<T>,
        .dot = dot<T>,
        .add_in_place = add_in_place<T>,
        .scale_in_place = scale_in_place<T>,
        .all_finite = all_finite<T>,
    };
    return table;
}

template const ReduceKernels<float>& reduce_kernels<float>();
template const ReduceKernels<double>& reduce_kernels<double>();

}  // namespace xgrad::kernels::XGRAD_LEVEL
