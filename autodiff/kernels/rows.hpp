// What the row kernels (reductions, softmax, normalisation, updates) are written in: lanes along a row or down a
// column, with the last, incomplete lane treated by the same code as the whole ones. Only *.simd.cpp files include it.
#pragma once

#include <cstddef>
#include <limits>
#include <utility>

#include <xgrad/autodiff/kernels/level.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/lane.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {

/// 0, 1, 2, … in the places of a lane.
template <class T> Lane<T> places() {
    T numbers[Lane<T>::width];
    for (std::size_t i = 0; i < Lane<T>::width; ++i) numbers[i] = static_cast<T>(i);
    return Lane<T>::load(numbers);
}

/// All places of a lane.
struct Whole {
    template <class T> Lane<T> load(const T* from) const { return Lane<T>::load(from); }
    template <class T> void store(const Lane<T>& lane, T* to) const { lane.store(to); }
    /// The lane with `others` in the places beyond the array.
    template <class T> Lane<T> fill(const Lane<T>& lane, T) const { return lane; }
};

/// The first `count` places of a lane: the end of a row.
struct Part {
    std::size_t count;

    template <class T> Lane<T> load(const T* from) const { return Lane<T>::load_partial(from, count); }
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

// Ways to merge two numbers, lanes or bare vectors into one, with what leaves the other unchanged.
template <class T> Lane<T> pick(const Mask<T>& mask, const Lane<T>& a, const Lane<T>& b) { return where(mask, a, b); }
template <class M, class V> V pick(const M& mask, const V& a, const V& b) { return mask ? a : b; }

struct Sum {
    template <class T> static T neutral() { return 0; }
    template <class V> static V merge(const V& a, const V& b) { return a + b; }
};

struct Product {
    template <class T> static T neutral() { return 1; }
    template <class V> static V merge(const V& a, const V& b) { return a * b; }
};

// NaN stays: from a because no comparison with it holds, from b because it is asked for. (b != b would not do: xsimd 8
// answers no for NaN with AVX.)
struct Largest {
    template <class T> static T neutral() { return -std::numeric_limits<T>::infinity(); }
    template <class V> static V merge(const V& a, const V& b) { return pick((b > a) | !(b == b), b, a); }
};

struct Smallest {
    template <class T> static T neutral() { return std::numeric_limits<T>::infinity(); }
    template <class V> static V merge(const V& a, const V& b) { return pick((b < a) | !(b == b), b, a); }
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

/// Merges leaf(first, n) of blocks of the range [first, first + n) pairwise, so that rounding errors grow with the
/// logarithm of their number.
template <class Merge, class Leaf>
auto pairwise(std::size_t first, std::size_t n, std::size_t block, const Merge& merge, const Leaf& leaf)
    -> decltype(leaf(first, n)) {
    if (n <= block) return leaf(first, n);
    const std::size_t half = (n / block + 1) / 2 * block;
    return merge(pairwise(first, half, block, merge, leaf), pairwise(first + half, n - half, block, merge, leaf));
}

/// A slice along contiguous memory: its lanes hold neighbours in the slice.
template <class T> struct Row {
    static constexpr std::size_t ways = 4;  // sums that grow side by side, so that none waits for the one before
    static constexpr std::size_t block = 16 * ways * Lane<T>::width;

    std::size_t count;

    /// A number of the slice, in every place.
    static Lane<T> get(const T* from) { return Lane<T>(*from); }
    static void put(const Lane<T>& lane, T* to) { lane.store_partial(to, 1); }

    /// Runs body(offset, part) for every lane of the slice.
    template <class Body> void each(const Body& body) const { each_lane<T>(count, body); }

    /// All of value(offset, part) merged, but for what stands in different places.
    template <class Op, class Value> Lane<T> spread(const Value& value) const {
        return pairwise(
            0, count, block, [](const Lane<T>& a, const Lane<T>& b) { return Op::merge(a, b); },
            [&](std::size_t first, std::size_t n) { return fold_block<Op>(first, n, value); });
    }
    /// All of value(offset, part) merged into one number.
    template <class Op, class Value> T total(const Value& value) const { return across<Op>(spread<Op>(value)); }
    /// That number, in every place.
    template <class Op, class Value> Lane<T> fold(const Value& value) const { return Lane<T>(total<Op>(value)); }

private:
    template <class Op, class Value> static Lane<T> fold_block(std::size_t first, std::size_t n, const Value& value) {
        constexpr std::size_t width = Lane<T>::width;
        const Lane<T> start(Op::template neutral<T>());
        Lane<T> a = start, b = start, c = start, d = start;
        std::size_t i = 0;
        for (; i + ways * width <= n; i += ways * width) {
            a = Op::merge(a, value(first + i, Whole{}));
            b = Op::merge(b, value(first + i + width, Whole{}));
            c = Op::merge(c, value(first + i + 2 * width, Whole{}));
            d = Op::merge(d, value(first + i + 3 * width, Whole{}));
        }
        each_lane<T>(n - i, [&](std::size_t j, auto part) {
            a = Op::merge(a, part.fill(value(first + i + j, part), Op::template neutral<T>()));
        });
        return Op::merge(Op::merge(a, b), Op::merge(c, d));
    }
};

/// A lane's worth of neighbouring slices down a column: each place of the lane is a slice of its own.
template <class T, class Places> struct Column {
    static constexpr std::size_t ways = 4;
    static constexpr std::size_t block = 64;

    std::size_t count;
    std::size_t stride;
    Places places;

    /// A number of each slice.
    Lane<T> get(const T* from) const { return places.load(from); }
    void put(const Lane<T>& lane, T* to) const { places.store(lane, to); }

    template <class Body> void each(const Body& body) const {
        for (std::size_t i = 0; i < count; ++i) body(i * stride, places);
    }

    /// All of value(offset, part) merged, place by place.
    template <class Op, class Value> Lane<T> fold(const Value& value) const {
        return pairwise(
            0, count, block, [](const Lane<T>& a, const Lane<T>& b) { return Op::merge(a, b); },
            [&](std::size_t first, std::size_t n) { return fold_block<Op>(first, n, value); });
    }

private:
    template <class Op, class Value> Lane<T> fold_block(std::size_t first, std::size_t n, const Value& value) const {
        const Lane<T> start(Op::template neutral<T>());
        Lane<T> a = start, b = start, c = start, d = start;
        std::size_t i = first;
        const std::size_t end = first + n;
        for (; i + ways <= end; i += ways) {
            a = Op::merge(a, value(i * stride, places));
            b = Op::merge(b, value((i + 1) * stride, places));
            c = Op::merge(c, value((i + 2) * stride, places));
            d = Op::merge(d, value((i + 3) * stride, places));
        }
        for (; i < end; ++i) a = Op::merge(a, value(i * stride, places));
        return Op::merge(Op::merge(a, b), Op::merge(c, d));
    }
};

/// Runs body(offset, result, slice) for what of an array of (outer, count, inner) is treated at once: a row, or a
/// lane's worth of neighbouring columns of the first `columns`. It starts at `offset` in the array and at `result` in
/// an array of (outer, inner).
template <class T, class Body> void each_slice(const Slices& slices, std::size_t columns, const Body& body) {
    const auto [outer, count, inner] = slices;
    if (inner == 1) {
        for (std::size_t o = 0; o < outer; ++o) body(o * count, o, Row<T>{count});
        return;
    }
    for (std::size_t o = 0; o < outer; ++o) {
        const std::size_t offset = o * count * inner, result = o * inner, length = count, stride = inner;
        each_lane<T>(columns, [&](std::size_t j, auto places) {
            body(offset + j, result + j, Column<T, decltype(places)>{length, stride, places});
        });
    }
}

}  // namespace xgrad::kernels::XGRAD_LEVEL
