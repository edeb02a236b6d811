// What lanes are made of: xsimd's batches of the instruction-set level, or single numbers where there is none, and how
// a part of one is read and written.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>

#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own intrinsics' deliberately undefined operands for uninitialised variables.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif
#include <xsimd/xsimd.hpp>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad {
inline namespace XGRAD_LEVEL {
namespace lanes {

// The instruction set that lanes use, and whether its fma rounds once.
#if defined(XSIMD_NO_SUPPORTED_ARCHITECTURE)
struct Arch {};
inline constexpr bool has_fma = false;
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define XGRAD_LANES_AVX512
using Arch = xsimd::avx512bw;
inline constexpr bool has_fma = true;
#elif defined(__AVX2__) && defined(__FMA__)
#define XGRAD_LANES_AVX2
using Arch = xsimd::fma3<xsimd::avx2>;
inline constexpr bool has_fma = true;
#elif defined(__SSE2__)
using Arch = xsimd::sse2;
inline constexpr bool has_fma = false;
#elif defined(__aarch64__)
#define XGRAD_LANES_NEON
using Arch = xsimd::neon64;
inline constexpr bool has_fma = true;
#else
using Arch = xsimd::default_arch;
inline constexpr bool has_fma = false;
#endif

// One number with the part of a batch's interface that lanes use: where xsimd has no registers for it.
template <class T> struct Single {
    using value_type = T;
    using batch_bool_type = bool;
    static constexpr std::size_t size = 1;
    T value;

    Single() = default;
    Single(T number) : value(number) {}
    static Single load_unaligned(const T* from) { return *from; }
    void store_unaligned(T* to) const { *to = value; }

    friend Single operator+(Single a, Single b) { return a.value + b.value; }
    friend Single operator-(Single a, Single b) { return a.value - b.value; }
    friend Single operator*(Single a, Single b) { return a.value * b.value; }
    friend Single operator/(Single a, Single b) { return a.value / b.value; }
    friend Single operator-(Single a) { return -a.value; }
    friend bool operator==(Single a, Single b) { return a.value == b.value; }
    friend bool operator!=(Single a, Single b) { return a.value != b.value; }
    friend bool operator<(Single a, Single b) { return a.value < b.value; }
    friend bool operator<=(Single a, Single b) { return a.value <= b.value; }
    friend bool operator>(Single a, Single b) { return a.value > b.value; }
    friend bool operator>=(Single a, Single b) { return a.value >= b.value; }
    friend Single select(bool mask, Single a, Single b) { return mask ? a : b; }
    friend Single fma(Single a, Single b, Single c) { return std::fma(a.value, b.value, c.value); }
    friend Single max(Single a, Single b) { return a.value > b.value ? a : b; }
    friend Single min(Single a, Single b) { return a.value < b.value ? a : b; }
    friend Single abs(Single a) { return std::abs(a.value); }
    friend Single sqrt(Single a) { return std::sqrt(a.value); }
    friend Single floor(Single a) { return std::floor(a.value); }
};

template <class T, class A = Arch> struct BatchOf { using type = Single<T>; };
#if !defined(XSIMD_NO_SUPPORTED_ARCHITECTURE)
template <class T, class A>
requires xsimd::has_simd_register<T, A>::value struct BatchOf<T, A> {
    using type = xsimd::batch<T, A>;
};
#endif
template <class T> using Batch = typename BatchOf<T>::type;

#if defined(XGRAD_LANES_AVX2)
// The bits of the first `count` lanes.
template <class T> __m256i first(std::size_t count) {
    if constexpr (std::same_as<T, float>)
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                                  _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    else
        return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(count)), _mm256_setr_epi64x(0, 1, 2, 3));
}
#endif

// The first `count` numbers, and ones after them.
template <class T> Batch<T> load_partial(const T* from, std::size_t count) {
#if defined(XGRAD_LANES_AVX512)
    const auto first = (1u << count) - 1;
    if constexpr (std::same_as<T, float>)
        return _mm512_mask_loadu_ps(_mm512_set1_ps(1), static_cast<__mmask16>(first), from);
    else
        return _mm512_mask_loadu_pd(_mm512_set1_pd(1), static_cast<__mmask8>(first), from);
#elif defined(XGRAD_LANES_AVX2)
    const __m256i mask = first<T>(count);
    if constexpr (std::same_as<T, float>)
        return _mm256_blendv_ps(_mm256_set1_ps(1), _mm256_maskload_ps(from, mask), _mm256_castsi256_ps(mask));
    else
        return _mm256_blendv_pd(_mm256_set1_pd(1), _mm256_maskload_pd(from, mask), _mm256_castsi256_pd(mask));
#else
    T numbers[Batch<T>::size];
    for (std::size_t i = 0; i < Batch<T>::size; ++i) numbers[i] = i < count ? from[i] : T(1);
    return Batch<T>::load_unaligned(numbers);
#endif
}

template <class T> void store_partial(const Batch<T>& batch, T* to, std::size_t count) {
#if defined(XGRAD_LANES_AVX512)
    const auto first = (1u << count) - 1;
    if constexpr (std::same_as<T, float>)
        _mm512_mask_storeu_ps(to, static_cast<__mmask16>(first), batch);
    else
        _mm512_mask_storeu_pd(to, static_cast<__mmask8>(first), batch);
#elif defined(XGRAD_LANES_AVX2)
    if constexpr (std::same_as<T, float>)
        _mm256_maskstore_ps(to, first<T>(count), batch);
    else
        _mm256_maskstore_pd(to, first<T>(count), batch);
#else
    T numbers[Batch<T>::size];
    batch.store_unaligned(numbers);
    for (std::size_t i = 0; i < count; ++i) to[i] = numbers[i];
#endif
}

}  // namespace lanes
}  // namespace XGRAD_LEVEL
}  // namespace xgrad
