#include <cstdint>
#include <type_traits>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/rearrange.hpp>
#include <xgrad/autodiff/kernels/vector.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// Runs body(i) for the vectors that begin at i, several to each turn of the loop, and rest(i, count) for what is left.
template <class T, class Body, class Rest> void each_vector(std::size_t n, Body body, Rest rest) {
    std::size_t i = 0;
    for (; i + 4 * lanes<T> <= n; i += 4 * lanes<T>) {
        body(i), body(i + lanes<T>);
        body(i + 2 * lanes<T>), body(i + 3 * lanes<T>);
    }
    for (; i + lanes<T> <= n; i += lanes<T>) body(i);
    if (i < n) rest(i, n - i);
}

template <class T> void copy(const T* x, std::size_t n, T* y) {
    each_vector<T>(
        n, [=](std::size_t i) { store(y + i, load(x + i)); },
        [=](std::size_t i, std::size_t count) { store(y + i, load(x + i, count), count); });
}

template <class T> void fill(T* y, T number, std::size_t n) {
    const Vector<T> all = broadcast(number);
    each_vector<T>(
        n, [=](std::size_t i) { store(y + i, all); },
        [=](std::size_t i, std::size_t count) { store(y + i, all, count); });
}

template <class T>
void transpose_edge(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y,
                    std::size_t y_stride) {
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c) y[r * y_stride + c] = x[c * x_stride + r];
}

// Whether squares pay that are only partly filled.
template <class T> constexpr bool has_large_squares = lanes<T> >= 8;

// A square's worth of columns for fewer rows than it has. Squares of half the size do for half as many.
template <class T>
void transpose_few_rows(const T* x, std::size_t x_stride, std::size_t rows, T* y, std::size_t y_stride) {
    constexpr std::size_t square = lanes<T>, half = square / 2;
    if (!has_large_squares<T>) return transpose_edge(x, x_stride, rows, square, y, y_stride);
    if (rows > half) return transpose_part<Vector<T>>(y, y_stride, x, x_stride, square, rows);
    for (std::size_t c = 0; c < square; c += half)
        transpose_part<HalfVector<T>>(y + c, y_stride, x + c * x_stride, x_stride, half, rows);
}

// All of fewer columns than a square has, where y's rows follow one another: what is written beyond a row is what the
// next ones are written over.
template <class T>
void transpose_few_columns(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y) {
    constexpr std::size_t square = lanes<T>, half = square / 2;
    const std::size_t beyond = (square - 1) / columns;  // rows
    std::size_t r = 0;
    for (; r + square + beyond <= rows; r += square, y += square * columns) {
        if (columns > half) {
            transpose_part<Vector<T>>(y, columns, x + r, x_stride, columns, square);
            continue;
        }
        for (std::size_t part = 0; part < square; part += half)
            transpose_part<HalfVector<T>>(y + part * columns, columns, x + r + part, x_stride, columns, half);
    }
    transpose_edge(x + r, x_stride, rows - r, columns, y, columns);
}

// Square by square, which registers hold. As many rows at a time as make up a line of x, so that each line is read
// once; of short rows two, as the processor fetches the next line too, which does not stay in cache for long where
// columns are a power of two apart.
template <class T>
void transpose_squares(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y,
                       std::size_t y_stride) {
    constexpr std::size_t square = lanes<T>, short_row = 1024 / sizeof(T);
    const std::size_t whole = columns / square * square, together = (y_stride <= short_row ? 2 : 1) * line_size<T>;
    for (std::size_t first = 0; first < rows; first += together) {
        const std::size_t last = first + together < rows ? first + together : rows;
        for (std::size_t c = 0; c < whole; c += square) {
            std::size_t r = first;
            for (; r + square <= last; r += square)
                transpose_square(y + r * y_stride + c, y_stride, x + c * x_stride + r, x_stride);
            if (r < last) transpose_few_rows(x + c * x_stride + r, x_stride, last - r, y + r * y_stride + c, y_stride);
        }
        transpose_edge(x + whole * x_stride + first, x_stride, last - first, columns - whole,
                       y + first * y_stride + whole, y_stride);
    }
}

template <class T>
void transpose_all(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y,
                   std::size_t y_stride) {
#if defined(XGRAD_PERMUTES)
    if (x_stride == rows && rows >= 2 && rows <= 4) {
        const auto run = rows == 2 ? separate<T, 2> : rows == 3 ? separate<T, 3> : separate<T, 4>;
        const std::size_t done = run(x, columns, y, y_stride);
        return transpose_edge(x + done * x_stride, x_stride, rows, columns - done, y + done, y_stride);
    }
    if (y_stride == columns && columns >= 2 && columns <= 4) {
        const auto run = columns == 2 ? interleave<T, 2> : columns == 3 ? interleave<T, 3> : interleave<T, 4>;
        const std::size_t done = run(x, x_stride, rows, y);
        return transpose_edge(x + done, x_stride, rows - done, columns, y + done * y_stride, y_stride);
    }
#endif
    if (has_large_squares<T> && y_stride == columns && columns > 0 && columns < lanes<T>)
        return transpose_few_columns(x, x_stride, rows, columns, y);
    transpose_squares(x, x_stride, rows, columns, y, y_stride);
}

// A number other than 0 for each of some truth values that hold. (GCC 12 converts bytes one by one.)
template <class T> using Whole = Vector<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>;

template <class T> Whole<T> widen(const bool* from) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return (Whole<T>)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    else
        return (Whole<T>)_mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
        return (Whole<T>)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
    else
        return (Whole<T>)_mm256_cvtepu8_epi64(_mm_loadu_si32(from));
#else
    Whole<T> all;
    for (std::size_t i = 0; i < lanes<T>; ++i) all[i] = from[i];
    return all;
#endif
}

template <class T> void select_each(const bool* condition, Choice<T> a, Choice<T> b, T* y, std::size_t n) {
    const auto run = [=](auto first, auto second) {
        each_vector<T>(
            n, [=](std::size_t i) { store(y + i, widen<T>(condition + i) != 0 ? first(i) : second(i)); },
            [=](std::size_t i, std::size_t count) {
                for (; count > 0; --count, ++i)
                    y[i] = condition[i] ? a.numbers[a.is_one ? 0 : i] : b.numbers[b.is_one ? 0 : i];
            });
    };
    const auto each = [](const T* numbers) { return [numbers](std::size_t i) { return load(numbers + i); }; };
    const auto one = [](const T* number) { return [all = broadcast(*number)](std::size_t) { return all; }; };
    if (a.is_one)
        b.is_one ? run(one(a.numbers), one(b.numbers)) : run(one(a.numbers), each(b.numbers));
    else
        b.is_one ? run(each(a.numbers), one(b.numbers)) : run(each(a.numbers), each(b.numbers));
}

}  // namespace

template <class T> const MoveKernels<T>& move_kernels() {
    static constexpr MoveKernels<T> table{.copy = copy<T>,
                                          .fill = fill<T>,
                                          .transpose = transpose_all<T>,
                                          .select = select_each<T>,
                                          .rearrange = rearrange<T>,
                                          .prepare = prepare<T>,
                                          .pick = pick_numbers<T>};
    return table;
}

template const MoveKernels<float>& move_kernels<float>();
template const MoveKernels<double>& move_kernels<double>();

}  // namespace xgrad::kernels::XGRAD_LEVEL
