// Short rows whose numbers are put in another order, and matrices of 2 to 4 rows or columns: a vector of the result is
// picked from a few vectors. Only move.simd.cpp includes it.
#pragma once

#include <cstddef>
#include <type_traits>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/permute.hpp>
#include <xgrad/autodiff/kernels/sizes.hpp>
#include <xgrad/autodiff/kernels/vector.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

#if defined(XGRAD_PERMUTES)

// The first Count of some vectors, which are `step` apart.
template <class T, size_t Count, size_t Vectors>
[[gnu::always_inline]] inline void load_words(Words (&x)[Vectors], const T* from, size_t step) {
#pragma GCC unroll 4
    for (size_t v = 0; v < Count; ++v) x[v] = reinterpret_cast<Words>(load(from + v * step));
}

// After how many numbers of rows their places in vectors recur.
template <class T> size_t recurring(size_t width) {
    const size_t common_divisor = min(width & (~width + 1), lanes<T>);
    return width / common_divisor * lanes<T>;
}

template <class T> bool prepare(const RowPattern& rows, Rearrangement& places) {
    const size_t step = recurring<T>(rows.width), vectors = step / lanes<T>;
    if (vectors > Rearrangement::most_vectors) return false;
    places.step = step;
    places.furthest = places.reach = 0;
    size_t row = 0, place = 0;
    for (size_t v = 0; v < vectors; ++v) {
        constexpr int none = -1, most = 0x7fffffff;
        int at[lanes<T>], first = most, last = none;
        for (size_t lane = 0; lane < lanes<T>; ++lane) {
            const int source = rows.source[place];
            at[lane] = source < 0 ? none : static_cast<int>(row * rows.x_width) + source;
            if (++place == rows.width) place = 0, ++row;
        }
        for (size_t lane = 0; lane < lanes<T>; ++lane) {
            last = at[lane] > last ? at[lane] : last;
            first = at[lane] != none && at[lane] < first ? at[lane] : first;
        }
        if (last == none) first = 0;
        places.begin[v] = static_cast<size_t>(first);
        places.furthest = max(places.furthest, places.begin[v]);
        places.reach = max(places.reach, static_cast<size_t>(last - first + 1));
        constexpr int parts = words_of_one<T>;
        for (size_t word = 0; word < words; ++word) {
            const int from = at[word / parts];
            places.from[v][word] = from == none ? none : (from - first) * parts + static_cast<int>(word % parts);
        }
    }
    places.x_step = row * rows.x_width;
    return places.reach <= 4 * lanes<T>;
}

template <class T, size_t Vectors, bool Adds>
size_t pick_from(const Rearrangement& places, const T* x, size_t x_size, T* y, size_t n) {
    const auto places_of = [&](size_t v) __attribute__((always_inline)) {
        Places from;
        __builtin_memcpy(&from, places.from[v], sizeof(from));
        return from;
    };
    const auto run = [&](auto single) {
        // Of a single vector that recurs, all is read once.
        const size_t vectors = single() ? 1 : places.step / lanes<T>, begin = places.begin[0];
        const size_t needed = places.furthest + Vectors * lanes<T>;
        const size_t step = single() ? lanes<T> : places.step, x_step = places.x_step;
        const Places first = places_of(0);
        size_t i = 0, x_begin = 0;
        for (; i + step <= n && x_begin + needed <= x_size; i += step, x_begin += x_step)
            for (size_t v = 0; v < vectors; ++v) {
                Words from[Vectors];
                load_words<T, Vectors>(from, x + x_begin + (single() ? begin : places.begin[v]), lanes<T>);
                const Places at = single() ? first : places_of(v);
                const Vector<T> picked = (Vector<T>)pick(from, at);
                T* const to = y + i + v * lanes<T>;
                if constexpr (Adds)
                    store(to, load(to) + (Vector<T>)((Places)picked & ~(at >> 31)));  // 0 where there is no source
                else
                    store(to, picked);
            }
        return i;
    };
    return places.step == lanes<T> ? run(std::true_type()) : run(std::false_type());
}

template <class T, bool Adds> size_t pick_all(const Rearrangement& places, const T* x, size_t x_size, T* y, size_t n) {
    if (places.reach <= lanes<T>) return pick_from<T, 1, Adds>(places, x, x_size, y, n);
    if (places.reach <= 2 * lanes<T>) return pick_from<T, 2, Adds>(places, x, x_size, y, n);
    return pick_from<T, 4, Adds>(places, x, x_size, y, n);
}

// From Count numbers of each column, side by side, to rows, or the other way round: where the words of Count vectors
// come from.
template <class T, size_t Count> struct Interleaved {
    int to_rows[Count][words], to_columns[Count][words];

    constexpr Interleaved() : to_rows(), to_columns() {
        for (size_t v = 0; v < Count; ++v)
            for (size_t word = 0; word < words; ++word) {
                const size_t lane = word / words_of_one<T>, part = word % words_of_one<T>;
                const size_t number = v * lanes<T> + lane;
                to_columns[v][word] =
                    static_cast<int>((number % Count * lanes<T> + number / Count) * words_of_one<T> + part);
                to_rows[v][word] = static_cast<int>((lane * Count + v) * words_of_one<T> + part);
            }
    }
};

// Picks Count vectors, y_step apart in y, from as many in x, x_step apart.
template <class T, size_t Count>
[[gnu::always_inline]] inline void mix(const T* x, size_t x_step, const int (&places)[Count][words], T* y,
                                       size_t y_step) {
    Words from[Count == 2 ? 2 : 4] = {};
    load_words<T, Count>(from, x, x_step);
#pragma GCC unroll 4
    for (size_t v = 0; v < Count; ++v) {
        Places at;
        __builtin_memcpy(&at, places[v], sizeof(at));
        store(y + v * y_step, (Vector<T>)pick(from, at));
    }
}

// y has Count rows, and x has as many numbers side by side for each column. Returns how many columns are done.
template <class T, size_t Count> size_t separate(const T* x, size_t columns, T* y, size_t y_stride) {
    static constexpr Interleaved<T, Count> places;
    size_t c = 0;
    for (; c + lanes<T> <= columns; c += lanes<T>, x += Count * lanes<T>)
        mix<T, Count>(x, lanes<T>, places.to_rows, y + c, y_stride);
    return c;
}

// The other way round: y has Count numbers side by side for each row, x as many columns. Returns how many rows are
// done.
template <class T, size_t Count> size_t interleave(const T* x, size_t x_stride, size_t rows, T* y) {
    static constexpr Interleaved<T, Count> places;
    size_t r = 0;
    for (; r + lanes<T> <= rows; r += lanes<T>, y += Count * lanes<T>)
        mix<T, Count>(x + r, x_stride, places.to_columns, y, lanes<T>);
    return r;
}

template <class T> size_t pick_numbers(const Rearrangement& places, const T* x, size_t x_size, T* y, size_t n) {
    return pick_all<T, false>(places, x, x_size, y, n);
}

#else

template <class T> bool prepare(const RowPattern&, Rearrangement&) { return false; }
template <class T> size_t pick_numbers(const Rearrangement&, const T*, size_t, T*, size_t) { return 0; }

#endif

// Number by number, one place of many rows after the other.
template <class T, bool Adds> void rearrange_scalars(const RowPattern& rows, const T* x, T* y, size_t n) {
    constexpr size_t together = 256;
    const size_t width = rows.width, x_width = rows.x_width;
    for (; n > 0; n -= min(n, together * width), y += together * width, x += together * x_width)
        for (size_t place = 0; place < width && place < n; ++place) {
            const size_t count = min(together, ceil_divide(n - place, width));
            const int source = rows.source[place];
            if (source < 0) continue;
            for (size_t row = 0; row < count; ++row) {
                const T number = x[row * x_width + static_cast<size_t>(source)];
                y[row * width + place] = Adds ? y[row * width + place] + number : number;
            }
        }
}

template <class T, bool Adds> void rearrange_with(const RowPattern& rows, const T* x, T* y, size_t n) {
    size_t done = 0;
#if defined(XGRAD_PERMUTES)
    // (For fewer, finding the places takes as long as it saves.)
    Rearrangement places;
    if (n >= 128 + 4 * recurring<T>(rows.width) && prepare<T>(rows, places)) {
        size_t x_size = 0;
        for (size_t place = 0; place < rows.width; ++place)
            if (const int source = rows.source[place]; source >= 0)
                x_size = max(x_size, ((n - 1 - place) / rows.width) * rows.x_width + static_cast<size_t>(source) + 1);
        done = pick_all<T, Adds>(places, x, x_size, y, n);
    }
#endif
    rearrange_scalars<T, Adds>(rows, x + done / rows.width * rows.x_width, y + done, n - done);
}

template <class T> void rearrange(const RowPattern& rows, const T* x, T* y, size_t n, bool adds) {
    (adds ? rearrange_with<T, true> : rearrange_with<T, false>)(rows, x, y, n);
}

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
