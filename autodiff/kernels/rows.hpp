// What the row kernels (reductions, softmax, normalisation, updates) are written in: lanes along a row or down a
// column, with the last, incomplete lane treated by the same code as the whole ones. Only *.simd.cpp files and their
// parts include it.
#pragma once

#include <bit>
#include <cstddef>
#include <limits>
#include <utility>

#include <xgrad/autodiff/kernels/level.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/lane.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {

// ---- lanes along memory ---------------------------------------------------------------------------------------------

/// 0, 1, 2, … in the places of a lane.
template <class T> Lane<T> places() {
    T numbers[Lane<T>::width];
    for (std::size_t i = 0; i < Lane<T>::width; ++i) numbers[i] = static_cast<T>(i);
    return Lane<T>::load(numbers);
}

/// All places of a lane.
struct Whole {
    template <class T> Lane<T> load(const T* from) const { return Lane<T>::load(from); }
    /// What is the same for all slices.
    template <class T> Lane<T> load_shared(const T* from) const { return load(from); }
    template <class T> void store(const Lane<T>& lane, T* to) const { lane.store(to); }
    /// The lane with `others` in the places beyond the array.
    template <class T> Lane<T> fill(const Lane<T>& lane, T) const { return lane; }
};

/// The first `count` places of a lane: the end of a row.
struct Part {
    std::size_t count;

    template <class T> Lane<T> load(const T* from) const { return Lane<T>::load_partial(from, count); }
    template <class T> Lane<T> load_shared(const T* from) const { return load(from); }
    template <class T> void store(const Lane<T>& lane, T* to) const { lane.store_partial(to, count); }
    template <class T> Lane<T> fill(const Lane<T>& lane, T others) const {
        return where(places<T>() < static_cast<T>(count), lane, Lane<T>(others));
    }
};

/// Runs body(i, part) for the lanes that start at i = 0, width, … of n numbers.
template <class T, class Body> void each_lane(std::size_t n, const Body& body) {
    constexpr std::size_t width = Lane<T>::width;
    std::size_t i = 0;
    for (; i + width <= n; i += width) body(i, Whole{});
    if (i < n) body(i, Part{n - i});
}

/// Sums that grow side by side, so that none waits for the addition before it.
template <class State> struct Ways { State a, b, c, d; };

/// Runs body(state, i, part) as each_lane does, with the states in turn.
template <class T, class State, class Body> void each_lane(std::size_t n, Ways<State>& ways, const Body& body) {
    constexpr std::size_t width = Lane<T>::width;
    std::size_t i = 0;
    for (; i + 4 * width <= n; i += 4 * width) {
        body(ways.a, i, Whole{});
        body(ways.b, i + width, Whole{});
        body(ways.c, i + 2 * width, Whole{});
        body(ways.d, i + 3 * width, Whole{});
    }
    for (; i + width <= n; i += width) body(ways.a, i, Whole{});
    if (i < n) body(ways.b, i, Part{n - i});
}

// ---- merging two numbers, lanes or bare vectors into one ------------------------------------------------------------

template <class T> Lane<T> pick(const Mask<T>& mask, const Lane<T>& a, const Lane<T>& b) { return where(mask, a, b); }
template <class M, class V> V pick(const M& mask, const V& a, const V& b) { return mask ? a : b; }

// The larger or smaller one, a where either is NaN: what the processor's instruction does.
template <class T> Lane<T> larger(const Lane<T>& a, const Lane<T>& b) { return Lane<T>(max(b.batch(), a.batch())); }
template <class V> V larger(const V& a, const V& b) { return b > a ? b : a; }
template <class T> Lane<T> smaller(const Lane<T>& a, const Lane<T>& b) { return Lane<T>(min(b.batch(), a.batch())); }
template <class V> V smaller(const V& a, const V& b) { return b < a ? b : a; }

// A way to merge has merge(a, b) and a number that leaves the other one unchanged.
struct Sum {
    template <class T> static T neutral() { return 0; }
    template <class V> static V merge(const V& a, const V& b) { return a + b; }
};

struct Product {
    template <class T> static T neutral() { return 1; }
    template <class V> static V merge(const V& a, const V& b) { return a * b; }
};

/// The largest number, or NaN where there is one.
struct Largest {
    template <class T> static T neutral() { return -std::numeric_limits<T>::infinity(); }
    template <class V> static V merge(const V& a, const V& b) { return pick(b == b, larger(a, b), b); }
    /// Whether `best` remains the best beside x; not where either is NaN.
    template <class V> static auto keeps(const V& best, const V& x) { return x <= best; }
};

/// The smallest number, or NaN where there is one.
struct Smallest {
    template <class T> static T neutral() { return std::numeric_limits<T>::infinity(); }
    template <class V> static V merge(const V& a, const V& b) { return pick(b == b, smaller(a, b), b); }
    template <class V> static auto keeps(const V& best, const V& x) { return x >= best; }
};

/// The largest number other than NaN: enough where a later exp and sum carry the NaN on.
struct Top {
    template <class T> static T neutral() { return -std::numeric_limits<T>::infinity(); }
    template <class V> static V merge(const V& a, const V& b) { return larger(a, b); }
};

/// `size` numbers as the compiler's own vector, which it can halve.
template <class T, std::size_t size> struct Bare { typedef T Type __attribute__((vector_size(size * sizeof(T)))); };

template <class Op, class T, std::size_t size, std::size_t... i>
T merge_halves(const typename Bare<T, size>::Type& numbers, std::index_sequence<i...>) {
    if constexpr (size == 2) {
        return Op::template merge<T>(numbers[0], numbers[1]);
    } else {
        const typename Bare<T, size / 2>::Type low = __builtin_shufflevector(numbers, numbers, i...),
                                               high = __builtin_shufflevector(numbers, numbers, (i + size / 2)...);
        return merge_halves<Op, T, size / 2>(Op::merge(low, high), std::make_index_sequence<size / 4>());
    }
}

/// All places of a lane merged into one number.
template <class Op, class T> T across(const Lane<T>& lane) {
    constexpr std::size_t width = Lane<T>::width;
    if constexpr (width == 1) {
        T number;
        lane.store(&number);
        return number;
    } else {
        typename Bare<T, width>::Type numbers;
        lane.store(reinterpret_cast<T*>(&numbers));
        return merge_halves<Op, T, width>(numbers, std::make_index_sequence<width / 2>());
    }
}

// The lanes of `count` rows, merged in pairs until they are one, whose numbers are then merged as well.
template <class Op, class T, std::size_t count, std::size_t steps, std::size_t... i>
void merge_pairs(typename Bare<T, sizeof...(i)>::Type* rows, std::index_sequence<i...> all) {
    if constexpr (steps > 0) {
        for (std::size_t row = 0; row < (count + 1) / 2; ++row) {
            const auto x = rows[2 * row], y = rows[count > 1 ? 2 * row + 1 : 0];
            rows[row] =
                Op::merge(__builtin_shufflevector(x, y, (2 * i)...), __builtin_shufflevector(x, y, (2 * i + 1)...));
        }
        merge_pairs<Op, T, (count + 1) / 2, steps - 1>(rows, all);
    }
}

/// As many lanes as a power of two, each merged into one number: in the first places, one after the other.
template <class Op, class T, std::size_t count> Lane<T> across_each(const Lane<T> (&lanes)[count]) {
    constexpr std::size_t width = Lane<T>::width, steps = std::countr_zero(width);
    static_assert(std::has_single_bit(count) && count <= width);
    typename Bare<T, width>::Type rows[count];
    for (std::size_t r = 0; r < count; ++r) lanes[r].store(reinterpret_cast<T*>(&rows[r]));
    merge_pairs<Op, T, count, steps>(rows, std::make_index_sequence<width>());
    return Lane<T>::load(reinterpret_cast<const T*>(&rows[0]));
}

// The recursion of pairwise, out of line: it is entered where there is much to do.
template <class Merge, class Leaf>
[[gnu::noinline]] auto pairwise_halves(std::size_t first, std::size_t n, std::size_t block, const Merge& merge,
                                       const Leaf& leaf) -> decltype(leaf(first, n)) {
    if (n <= block) return leaf(first, n);
    // One after the other, in the order of memory, in which processors read ahead: a call's arguments may come in any.
    const std::size_t half = (n / block + 1) / 2 * block;
    const auto low = pairwise_halves(first, half, block, merge, leaf);
    return merge(low, pairwise_halves(first + half, n - half, block, merge, leaf));
}

/// Merges leaf(first, n) of blocks of the range [0, n) pairwise, so that rounding errors grow with the logarithm of
/// their number.
template <class Merge, class Leaf>
auto pairwise(std::size_t n, std::size_t block, const Merge& merge, const Leaf& leaf) -> decltype(leaf(n, n)) {
    return n <= block ? leaf(0, n) : pairwise_halves(0, n, block, merge, leaf);
}

// ---- slices: what is treated at once of an array of (outer, count, inner) -------------------------------------------

/// A slice along contiguous memory: its lanes hold neighbours in the slice.
template <class T> struct Row {
    /// Numbers that are added up before pairwise merging begins.
    static constexpr std::size_t block = 256 * Lane<T>::width;
    /// Of slices that are treated at once.
    static constexpr std::size_t size = 1;

    std::size_t count;

    /// See Column.
    Row in_place(bool = true) const { return *this; }
    /// A number that belongs to the slice, as it is combined with lanes of its numbers.
    static const Lane<T>& spread(const Lane<T>& lane) { return lane; }
    /// A number of the slice, in every place.
    static Lane<T> get(const T* from) { return Lane<T>(*from); }
    static void put(const Lane<T>& lane, T* to) { lane.store_partial(to, 1); }

    /// Runs body(offset, part) for every lane of the slice.
    template <class Body> void each(const Body& body) const { each_lane<T>(count, body); }

    /// All of value(offset, part) merged into one number.
    template <class Op, class Value> T total(const Value& value) const {
        return across<Op>(pairwise(
            count, block, [](const Lane<T>& a, const Lane<T>& b) { return Op::merge(a, b); },
            [&](std::size_t first, std::size_t n) { return fold_block<Op>(first, n, value); }));
    }
    /// That number, in every place.
    template <class Op, class Value> Lane<T> fold(const Value& value) const { return Lane<T>(total<Op>(value)); }

private:
    template <class Op, class Value>
    XGRAD_FLATTEN static Lane<T> fold_block(std::size_t first, std::size_t n, const Value& value) {
        const T neutral = Op::template neutral<T>();
        const Lane<T> start(neutral);
        Ways<Lane<T>> ways{start, start, start, start};
        each_lane<T>(n, ways, [&](Lane<T>& merged, std::size_t i, auto part) {
            merged = Op::merge(merged, part.fill(value(first + i, part), neutral));
        });
        return Op::merge(Op::merge(ways.a, ways.b), Op::merge(ways.c, ways.d));
    }
};

/// A lane's worth of neighbouring slices down a column: each place of the lane is a slice of its own.
template <class T, class Places> struct Column {
    static constexpr std::size_t block = 64, size = Lane<T>::width;

    std::size_t count;
    std::size_t stride;
    Places places;
    bool takes_turns = false;

    /// The same slice for numbers that may be changed in place. Where a lane reaches into the next row, reading that one
    /// would wait until this one is written, so that rows which it does not reach take turns.
    Column in_place(bool is_so = true) const { return {count, stride, places, is_so && stride < Lane<T>::width}; }

    static const Lane<T>& spread(const Lane<T>& lane) { return lane; }
    /// A number of each slice.
    Lane<T> get(const T* from) const { return places.load(from); }
    void put(const Lane<T>& lane, T* to) const { places.store(lane, to); }

    template <class Body> void each(const Body& body) const {
        const std::size_t some = takes_turns ? block : count;
        const std::size_t step = takes_turns ? 4 * ((Lane<T>::width + 4 * stride - 1) / (4 * stride)) : 1;
        for (std::size_t first = 0; first < count; first += some) {
            const std::size_t end = first + some < count ? first + some : count;
            for (std::size_t turn = first; turn < first + step; ++turn)
                for (std::size_t i = turn; i < end; i += step) body(i * stride, places);
        }
    }

    /// All of value(offset, part) merged, place by place.
    template <class Op, class Value> Lane<T> fold(const Value& value) const {
        return pairwise(
            count, block, [](const Lane<T>& a, const Lane<T>& b) { return Op::merge(a, b); },
            [&](std::size_t first, std::size_t n) { return fold_block<Op>(first, n, value); });
    }

private:
    template <class Op, class Value>
    XGRAD_FLATTEN Lane<T> fold_block(std::size_t first, std::size_t n, const Value& value) const {
        const Lane<T> start(Op::template neutral<T>());
        Ways<Lane<T>> ways{start, start, start, start};
        const std::size_t fours = n / 4, apart = takes_turns ? fours : 1, step = takes_turns ? 1 : 4;
        std::size_t i = first;
        for (std::size_t k = 0; k < fours; ++k, i += step) {
            ways.a = Op::merge(ways.a, value(i * stride, places));
            ways.b = Op::merge(ways.b, value((i + apart) * stride, places));
            ways.c = Op::merge(ways.c, value((i + 2 * apart) * stride, places));
            ways.d = Op::merge(ways.d, value((i + 3 * apart) * stride, places));
        }
        for (i = first + 4 * fours; i < first + n; ++i) ways.a = Op::merge(ways.a, value(i * stride, places));
        return Op::merge(Op::merge(ways.a, ways.b), Op::merge(ways.c, ways.d));
    }
};

/// The number, or 0 where it is not finite.
template <class T> Lane<T> finite_or_zero(const Lane<T>& x) {
    return where(abs(x) < std::numeric_limits<T>::infinity(), x, Lane<T>(0));
}

/// Some lanes, of a row each or side by side, which behave as one.
template <class T, std::size_t count> struct Lanes {
    Lane<T> each[count];

    Lanes() = default;
    /// The same lane so many times.
    Lanes(const Lane<T>& lane) {
#pragma GCC unroll 8
        for (Lane<T>& one : each) one = lane;
    }
    template <class F> static Lanes of(const F& lane) {
        Lanes result;
#pragma GCC unroll 8
        for (std::size_t k = 0; k < count; ++k) result.each[k] = lane(k);
        return result;
    }
    friend Lanes operator+(const Lanes& a, const Lanes& b) {
        return of([&](std::size_t k) { return a.each[k] + b.each[k]; });
    }
    friend Lanes operator-(const Lanes& a, const Lanes& b) {
        return of([&](std::size_t k) { return a.each[k] - b.each[k]; });
    }
    friend Lanes operator*(const Lanes& a, const Lanes& b) {
        return of([&](std::size_t k) { return a.each[k] * b.each[k]; });
    }
    friend Lanes operator/(const Lanes& a, const Lanes& b) {
        return of([&](std::size_t k) { return a.each[k] / b.each[k]; });
    }
    friend Lanes operator-(const Lanes& x) {
        return of([&](std::size_t k) { return -x.each[k]; });
    }
    friend Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
        return of([&](std::size_t k) { return fma(a.each[k], b.each[k], c.each[k]); });
    }
    friend Lanes exp(const Lanes& x) {
        return of([&](std::size_t k) { return exp(x.each[k]); });
    }
    friend Lanes log(const Lanes& x) {
        return of([&](std::size_t k) { return log(x.each[k]); });
    }
    friend Lanes larger(const Lanes& a, const Lanes& b) {
        return of([&](std::size_t k) { return larger(a.each[k], b.each[k]); });
    }
    friend Lanes finite_or_zero(const Lanes& x) {
        return of([&](std::size_t k) { return finite_or_zero(x.each[k]); });
    }
};

/// Some lanes of columns side by side, so that longer runs are read of each row: one line of a row after the other
/// comes slowly. They are merged in the order in which Column does.
template <class T> struct Columns {
    static constexpr std::size_t lanes = 4, size = lanes * Lane<T>::width;

    std::size_t count;
    std::size_t stride;

    /// See Column, whose lanes may be longer than the rows are apart.
    Columns in_place(bool = true) const { return *this; }
    static const Lanes<T, lanes>& spread(const Lanes<T, lanes>& x) { return x; }
    /// A number of each slice.
    static Lanes<T, lanes> get(const T* from) { return SideBySide{}.load(from); }
    static void put(const Lanes<T, lanes>& x, T* to) { SideBySide{}.store(x, to); }

    template <class Body> void each(const Body& body) const {
        const SideBySide part = places();
        for (std::size_t i = 0; i < count; ++i) body(i * stride, part);
    }

    template <class Op, class Value> Lanes<T, lanes> fold(const Value& value) const {
        return pairwise(
            count, Column<T, Whole>::block,
            [](const Lanes<T, lanes>& a, const Lanes<T, lanes>& b) { return Op::merge(a, b); },
            [&](std::size_t first, std::size_t n) { return fold_block<Op>(first, n, value); });
    }

private:
    // All places of the lanes, which fetch what they load further on.
    struct SideBySide {
        std::size_t further = 0;

        Lanes<T, lanes> load(const T* from) const {
            if (further > 0)
#pragma GCC unroll 8
                for (std::size_t k = 0; k < lanes; ++k) __builtin_prefetch(from + further + k * Lane<T>::width, 0, 2);
            return Lanes<T, lanes>::of([&](std::size_t k) { return Lane<T>::load(from + k * Lane<T>::width); });
        }
        void store(const Lanes<T, lanes>& x, T* to) const {
#pragma GCC unroll 8
            for (std::size_t k = 0; k < lanes; ++k) x.each[k].store(to + k * Lane<T>::width);
        }
    };

    // What no second-level cache holds is fetched 16 rows ahead, as processors do by themselves along rows only.
    SideBySide places() const { return {count * stride * sizeof(T) > (512u << 10) ? 16 * stride : 0}; }

    template <class Op, class Value>
    XGRAD_FLATTEN Lanes<T, lanes> fold_block(std::size_t first, std::size_t n, const Value& value) const {
        const SideBySide part = places();
        const Lanes<T, lanes> start(Lane<T>(Op::template neutral<T>()));
        Ways<Lanes<T, lanes>> ways{start, start, start, start};
        std::size_t i = first;
        for (const std::size_t end = first + n / 4 * 4; i < end; i += 4) {
            ways.a = Op::merge(ways.a, value(i * stride, part));
            ways.b = Op::merge(ways.b, value((i + 1) * stride, part));
            ways.c = Op::merge(ways.c, value((i + 2) * stride, part));
            ways.d = Op::merge(ways.d, value((i + 3) * stride, part));
        }
        for (; i < first + n; ++i) ways.a = Op::merge(ways.a, value(i * stride, part));
        return Op::merge(Op::merge(ways.a, ways.b), Op::merge(ways.c, ways.d));
    }
};

/// Some rows side by side, so that none waits until another one's lanes are merged. What belongs to a row as a whole
/// stands in its place of one lane.
template <class T> struct Rows {
    static constexpr std::size_t size = Lane<T>::width < 4 ? Lane<T>::width : 4;

    std::size_t count;  // of numbers in each

    /// See Column.
    Rows in_place(bool = true) const { return *this; }
    Lanes<T, size> spread(const Lane<T>& lane) const {
        T numbers[Lane<T>::width];
        lane.store(numbers);
        return Lanes<T, size>::of([&](std::size_t r) { return Lane<T>(numbers[r]); });
    }
    /// A number of each row.
    static Lane<T> get(const T* from) { return Lane<T>::load_partial(from, size); }
    static void put(const Lane<T>& lane, T* to) { lane.store_partial(to, size); }

    template <class Body> void each(const Body& body) const {
        each_lane<T>(count, [&](std::size_t i, auto part) { body(i, PartOfEach<decltype(part)>{count, part}); });
    }
    template <class Op, class Value> Lane<T> fold(const Value& value) const {
        const T neutral = Op::template neutral<T>();
        Lanes<T, size> merged(Lane<T>{neutral});
        each([&](std::size_t i, auto part) {
            const Lanes<T, size> x = value(i, part);
            merged = Lanes<T, size>::of(
                [&](std::size_t r) { return Op::merge(merged.each[r], part.places.fill(x.each[r], neutral)); });
        });
        return across_each<Op>(merged.each);
    }

private:
    // Some places of the lanes of all rows.
    template <class Places> struct PartOfEach {
        std::size_t stride;
        Places places;

        Lanes<T, size> load(const T* from) const {
            return Lanes<T, size>::of([&](std::size_t r) { return places.load(from + r * stride); });
        }
        Lane<T> load_shared(const T* from) const { return places.load(from); }
        void store(const Lanes<T, size>& lanes, T* to) const {
#pragma GCC unroll 8
            for (std::size_t r = 0; r < size; ++r) places.store(lanes.each[r], to + r * stride);
        }
    };
};

/// Up to so many bytes rows gain by going side by side: where much is computed for each number, and where it is only
/// merged. (Their numbers are merged one after the other, not pairwise: some thirty for each place of a lane.)
inline constexpr std::size_t longest_computed = 2048, longest_merged = 512;

/// Runs body(offset, row, slice) for every row, several at a time where they have at most so many bytes.
template <class T, std::size_t longest, class Body>
void each_row(std::size_t rows, std::size_t count, const Body& body) {
    std::size_t row = 0;
    if constexpr (longest > 0 && Rows<T>::size > 1)
        if (count * sizeof(T) <= longest)
            for (; row + Rows<T>::size <= rows; row += Rows<T>::size) body(row * count, row, Rows<T>{count});
    for (; row < rows; ++row) body(row * count, row, Row<T>{count});
}

/// Runs body(offset, result, slice) for every lane's worth of the first `columns` columns, or where they go
/// `side_by_side` for several.
template <class T, bool side_by_side, class Body>
void each_column(const Slices& slices, std::size_t columns, const Body& body) {
    const std::size_t count = slices.count, inner = slices.inner;
    for (std::size_t o = 0; o < slices.outer; ++o) {
        const std::size_t offset = o * count * inner, result = o * inner;
        std::size_t first = 0;
        if constexpr (side_by_side)
            for (; first + Columns<T>::size <= columns; first += Columns<T>::size)
                body(offset + first, result + first, Columns<T>{count, inner});
        each_lane<T>(columns - first, [&](std::size_t j, auto places) {
            body(offset + first + j, result + first + j, Column<T, decltype(places)>{count, inner, places});
        });
    }
}

/// Runs body(offset, result, slice) for every row or, where inner is not 1, for every lane's worth of the first
/// `columns` columns. It starts at `offset` in the array and at `result` in an array of (outer, inner). Rows of at most
/// `longest` bytes go several at a time, and so do columns that go `side_by_side`.
template <class T, std::size_t longest, bool side_by_side, class Body>
void each_slice(const Slices& slices, std::size_t columns, const Body& body) {
    if (slices.inner == 1)
        each_row<T, longest>(slices.outer, slices.count, body);
    else
        each_column<T, side_by_side>(slices, columns, body);
}

}  // namespace xgrad::kernels::XGRAD_LEVEL
