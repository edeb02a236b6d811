// Vectors of one register (GCC's own), for kernels that need no more than + − ·, loads, stores and transposes; Lane is
// for those that need functions. The last vector of a row may be partial. Only *.simd.cpp files and their parts include
// it.
#pragma once

#include <cstddef>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <xgrad/autodiff/activation.hpp>
#include <xgrad/autodiff/kernels/level.hpp>
#include <xgrad/autodiff/kernels/sizes.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {

using std::size_t;

#if defined(__AVX512F__)
constexpr size_t vector_bytes = 64;
#elif defined(__AVX2__)
constexpr size_t vector_bytes = 32;
#else
constexpr size_t vector_bytes = 16;
#endif

template <class T, size_t Bytes> struct VectorOf {
    typedef T type __attribute__((vector_size(Bytes)));  // NOLINT: cannot be written with using
};
template <class T> using Vector = typename VectorOf<T, vector_bytes>::type;
template <class T> using HalfVector = typename VectorOf<T, vector_bytes / 2>::type;
template <class T> constexpr size_t lanes = vector_bytes / sizeof(T);

constexpr size_t min(size_t a, size_t b) { return a < b ? a : b; }
constexpr size_t max(size_t a, size_t b) { return a > b ? a : b; }

// --- What is needed next ---------------------------------------------------------------------------------------------

// How many numbers a line of the cache has.
template <class T> constexpr size_t line_size = 64 / sizeof(T);

// A line, into the second-level cache. (On the way into the first one, those that come from memory hold up other
// reads.)
template <class T> [[gnu::always_inline]] inline void fetch(const T* from) { __builtin_prefetch(from, 0, 2); }
// A line that is at hand, into the first-level cache.
template <class T> [[gnu::always_inline]] inline void fetch_close(const T* from) { __builtin_prefetch(from, 0, 3); }

// --- Vectors ---------------------------------------------------------------------------------------------------------

template <class T> [[gnu::always_inline]] inline Vector<T> load(const T* from) {
    Vector<T> x;
    __builtin_memcpy(&x, from, sizeof x);
    return x;
}

template <class T> [[gnu::always_inline]] inline void store(T* to, Vector<T> x) { __builtin_memcpy(to, &x, sizeof x); }

template <class T> [[gnu::always_inline]] inline Vector<T> broadcast(T x) { return x - Vector<T>{}; }

// x, or `least` where that is larger. NaN stays NaN, as the processor's instruction has it.
#if defined(__AVX512F__)
inline Vector<float> at_least(Vector<float> x, Vector<float> least) { return _mm512_max_ps(least, x); }
inline Vector<double> at_least(Vector<double> x, Vector<double> least) { return _mm512_max_pd(least, x); }
#elif defined(__AVX2__)
inline Vector<float> at_least(Vector<float> x, Vector<float> least) { return _mm256_max_ps(least, x); }
inline Vector<double> at_least(Vector<double> x, Vector<double> least) { return _mm256_max_pd(least, x); }
#else
template <class V> V at_least(V x, V least) { return least > x ? least : x; }
#endif

// The first `count` lanes only; the others are read as 0 and not touched in memory.
#if defined(__AVX512F__)
inline __mmask16 first(size_t count) { return static_cast<__mmask16>((1u << count) - 1u); }
inline Vector<float> load(const float* from, size_t count) { return _mm512_maskz_loadu_ps(first(count), from); }
inline Vector<double> load(const double* from, size_t count) {
    return _mm512_maskz_loadu_pd(static_cast<__mmask8>(first(count)), from);
}
inline void store(float* to, Vector<float> x, size_t count) { _mm512_mask_storeu_ps(to, first(count), x); }
inline void store(double* to, Vector<double> x, size_t count) {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>(first(count)), x);
}
#elif defined(__AVX2__)
inline __m256i first8(size_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first4(size_t count) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(count)), _mm256_setr_epi64x(0, 1, 2, 3));
}
inline Vector<float> load(const float* from, size_t count) { return _mm256_maskload_ps(from, first8(count)); }
inline Vector<double> load(const double* from, size_t count) { return _mm256_maskload_pd(from, first4(count)); }
inline void store(float* to, Vector<float> x, size_t count) { _mm256_maskstore_ps(to, first8(count), x); }
inline void store(double* to, Vector<double> x, size_t count) { _mm256_maskstore_pd(to, first4(count), x); }
#else
template <class T> Vector<T> load(const T* from, size_t count) {
    Vector<T> x{};
    for (size_t i = 0; i < count; ++i) x[i] = from[i];
    return x;
}
template <class T> void store(T* to, Vector<T> x, size_t count) {
    for (size_t i = 0; i < count; ++i) to[i] = x[i];
}
#endif

template <class T> [[gnu::always_inline]] inline Vector<T> activate(Vector<T> x, Activation activation) {
    switch (activation) {
        case Activation::relu:
            return at_least(x, Vector<T>{});
        case Activation::none:
            break;
    }
    return x;
}

// --- Transposes in registers: pairs of rows are deinterleaved, at ever greater distances ----------------------------

// x gets the even units of x and then of y, y the odd ones. A unit is one number within 16 bytes, or 16 bytes within
// the vector: either is one instruction.
template <size_t Unit, size_t Whole, class V, size_t... Lane>
[[gnu::always_inline]] inline void deinterleave(V& x, V& y, std::index_sequence<Lane...>) {
    constexpr auto source = [](size_t lane, size_t odd) {
        const size_t place = 2 * (lane % Whole / Unit) + odd, count = Whole / Unit;
        return lane / Whole * Whole + place % count * Unit + lane % Unit + (place < count ? 0 : sizeof...(Lane));
    };
    const V even = __builtin_shufflevector(x, y, source(Lane, 0)...);
    y = __builtin_shufflevector(x, y, source(Lane, 1)...);
    x = even;
}

template <size_t Distance, class V> [[gnu::always_inline]] inline void deinterleave(V& x, V& y) {
    constexpr size_t size = sizeof(V) / sizeof(x[0]), short_run = min(16 / sizeof(x[0]), size);
    constexpr auto all = std::make_index_sequence<size>{};
    if constexpr (Distance < short_run)
        deinterleave<1, short_run>(x, y, all);
    else
        deinterleave<short_run, size>(x, y, all);
}

template <size_t Distance = 1, class V, size_t Size> [[gnu::always_inline]] inline void transpose(V (&x)[Size]) {
    static_assert(sizeof(V) == Size * sizeof(x[0][0]));
    if constexpr (Distance < Size) {
#pragma GCC unroll 16
        for (size_t i = 0; i < Size; ++i)
            if ((i & Distance) == 0) deinterleave<Distance>(x[i], x[i + Distance]);
        transpose<2 * Distance>(x);
    }
}

// Writes the transpose of lanes × lanes numbers. (A function of its own, or else the compiler keeps some thirty
// addresses up to date on the stack for whoever calls it in a loop.)
template <class T> [[gnu::noinline]] void transpose_square(T* to, size_t to_stride, const T* from, size_t from_stride) {
    Vector<T> x[lanes<T>];
#pragma GCC unroll 16
    for (size_t i = 0; i < lanes<T>; ++i) x[i] = load(from + i * from_stride);
    transpose(x);
#pragma GCC unroll 16
    for (size_t i = 0; i < lanes<T>; ++i) store(to + i * to_stride, x[i]);
}

// The same for an edge: `rows` rows of `columns` numbers, at most the lanes of V each. The rows written are whole ones,
// whose surplus lanes nobody reads. Half a vector's lanes ask for less than half the work.
template <class V, class T>
[[gnu::noinline]] void transpose_part(T* to, size_t to_stride, const T* from, size_t from_stride, size_t rows,
                                      size_t columns) {
    constexpr size_t size = sizeof(V) / sizeof(T);
    V x[size];
#pragma GCC unroll 16
    for (size_t i = 0; i < size; ++i) {
        const Vector<T> row = load(from + min(i, rows - 1) * from_stride, columns);
        __builtin_memcpy(&x[i], &row, sizeof(V));
    }
    transpose(x);
#pragma GCC unroll 16
    for (size_t i = 0; i < size; ++i)
        if (i < columns) __builtin_memcpy(to + i * to_stride, &x[i], sizeof(V));
}

}  // namespace xgrad::kernels::XGRAD_LEVEL
