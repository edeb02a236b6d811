// The arithmetic that elementary functions of batches are made of: bits, fused products, quotients and roots, rounded
// correctly or nearly, and polynomials.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <xgrad/autodiff/lane_batch.hpp>

namespace xgrad {
inline namespace XGRAD_LEVEL {
namespace lanes {

template <class B> inline constexpr bool is_float = std::same_as<typename B::value_type, float>;

// The unsigned integers of the same width.
template <class B>
using Bits = xsimd::batch<std::conditional_t<is_float<B>, std::uint32_t, std::uint64_t>, typename B::arch_type>;

template <class B> Bits<B> bits_of(const B& x) { return std::bit_cast<Bits<B>>(x); }
template <class B> B from_bits(const Bits<B>& bits) { return std::bit_cast<B>(bits); }
template <class B> Bits<B> bits(std::uint64_t number) {
    return Bits<B>(static_cast<typename Bits<B>::value_type>(number));
}

template <class B> B constant(double number) { return B(static_cast<typename B::value_type>(number)); }

// a·b + c, rounded once where the processor can (xsimd 8 leaves that to the compiler on AVX-512, which may not).
template <class B> B fused(const B& a, const B& b, const B& c) {
#if defined(XGRAD_LANES_AVX512)
    if constexpr (is_float<B>)
        return _mm512_fmadd_ps(a, b, c);
    else
        return _mm512_fmadd_pd(a, b, c);
#else
    return fma(a, b, c);
#endif
}

// a / b and √x, rounded correctly: for floats on ARM xsimd 8 has no more than approximations.
template <class B> B divide(const B& a, const B& b) {
#if defined(XGRAD_LANES_NEON)
    if constexpr (is_float<B>) return vdivq_f32(a, b);
#endif
    return a / b;
}
template <class B> B square_root(const B& x) {
#if defined(XGRAD_LANES_NEON)
    if constexpr (is_float<B>) return vsqrtq_f32(x);
#endif
    return sqrt(x);
}

// a / b to 1.6 ulp and √x to one, for floats from the processor's estimates and a step of Newton's method: dividing
// takes some processors as long as ten products. Where 1 / b would be subnormal or overflow, and for the roots of
// subnormal numbers, there are fewer digits.
template <class B> B near_quotient(const B& a, const B& b) {
#if defined(XGRAD_LANES_AVX512)
    if constexpr (is_float<B>) {
        const __m512 one = _mm512_set1_ps(1), estimate = _mm512_rcp14_ps(b), rest = _mm512_fnmadd_ps(b, estimate, one);
        // Beside it is −∞ for an estimate of ∞, or NaN.
        const __mmask16 refinable = _mm512_cmp_ps_mask(rest, _mm512_set1_ps(-1), _CMP_GT_OQ);
        return _mm512_mul_ps(a, _mm512_mask_fmadd_ps(estimate, refinable, rest, estimate));
    }
#endif
    return divide(a, b);
}
template <class B> B refined_square_root(const B& x) {
#if defined(XGRAD_LANES_AVX512)
    if constexpr (is_float<B>) {
        constexpr int zeros_infinity_and_nan = 0x8F;
        const __mmask16 own_root = _mm512_fpclass_ps_mask(x, zeros_infinity_and_nan);
        const __m512 estimate = _mm512_rsqrt14_ps(x), root = _mm512_mul_ps(x, estimate);
        const __m512 half = _mm512_mul_ps(estimate, _mm512_set1_ps(0.5f));
        const __m512 rest = _mm512_fnmadd_ps(root, root, x);
        return _mm512_mask_blend_ps(own_root, _mm512_fmadd_ps(rest, half, root), x);
    }
#endif
    return square_root(x);
}
// The quicker root: AMD's processors take no longer for their own, on a unit that waits while others multiply.
template <class B> B near_square_root(const B& x) {
#if defined(XGRAD_LANES_AVX512)
    if constexpr (is_float<B>)
        if (__builtin_cpu_is("amd")) return square_root(x);
#endif
    return refined_square_root(x);
}

// c[Begin] + c[Begin + 1]·x + …, of Count terms: the upper half times a power of x plus the lower half.
template <std::size_t Begin, std::size_t Count, class B, std::size_t N>
B polynomial_part(const double (&c)[N], const B& x, const B& x2, const B& x4, const B& x8, const B& x16) {
    if constexpr (Count == 1) {
        return constant<B>(c[Begin]);
    } else {
        constexpr std::size_t half = std::bit_ceil(Count) / 2;
        const B& power = half == 1 ? x : half == 2 ? x2 : half == 4 ? x4 : half == 8 ? x8 : x16;
        return fused(polynomial_part<Begin + half, Count - half>(c, x, x2, x4, x8, x16), power,
                     polynomial_part<Begin, half>(c, x, x2, x4, x8, x16));
    }
}

// c[0] + c[1]·x + c[2]·x² + … by Estrin's scheme: a few more products than Horner's, but far less latency, and it is
// latency that fills the processor's queues.
template <class B, std::size_t N> B polynomial(const B& x, const double (&c)[N]) {
    static_assert(N <= 32);
    const B x2 = x * x, x4 = x2 * x2, x8 = x4 * x4;
    return polynomial_part<0, N>(c, x, x2, x4, x8, x8 * x8);
}

}  // namespace lanes
}  // namespace XGRAD_LEVEL
}  // namespace xgrad
