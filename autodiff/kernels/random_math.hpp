// How random bits become uniforms and normals: the same numbers at every level, since each step is an operation that is
// exactly specified. What includes this is compiled with -ffp-contract=off (results must not depend on whether the
// processor has fused multiply-add) and -fno-math-errno (so that square roots vectorise): see CMakeLists.txt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numbers>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {

constexpr std::uint64_t join(std::uint32_t low, std::uint32_t high) { return std::uint64_t{high} << 32 | low; }

// Philox 4x32-10: what the words are multiplied by, and what is added to the key in each round.
constexpr int philox_rounds = 10;
constexpr std::uint32_t philox_factor0 = 0xD2511F53, philox_factor1 = 0xCD9E8D57;
constexpr std::uint32_t philox_step0 = 0x9E3779B9, philox_step1 = 0xBB67AE85;

// The standard library's would be symbols that levels share.
template <class To, class From> To bit_cast(From from) { return __builtin_bit_cast(To, from); }
inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }

// 0 … 1 − 2⁻²⁴, exactly.
inline float to_uniform(std::uint32_t x) { return static_cast<float>(static_cast<std::int32_t>(x >> 8)) * 0x1p-24f; }
// 0 … 1 − 2⁻⁵³, exactly: 27 bits of one word and 26 of the other.
inline double to_uniform(std::uint32_t low, std::uint32_t high) {
    const double upper = static_cast<std::int32_t>(high >> 5);
    const double lower = static_cast<std::int32_t>(low >> 6);
    return (upper * 0x1p26 + lower) * 0x1p-53;
}

// Box–Muller: two independent normals are a radius √(−2 log u) and a direction. Logarithm, sine and cosine are Taylor
// series, short because the arguments are small; all steps are exactly specified operations.
template <class T> struct BoxMuller;

template <> struct BoxMuller<float> {
    using Bits = std::uint32_t;
    // (0, 1]
    static float radius_uniform(Bits x) {
        return (static_cast<float>(static_cast<std::int32_t>(x >> 1)) + 0.5f) * 0x1p-31f;
    }
    // [−π/4, π/4) from the bits below the upper two, which choose the quadrant
    static float angle(Bits x) {
        return static_cast<float>(static_cast<std::int32_t>(x << 2)) * (0x1p-33f * std::numbers::pi_v<float>);
    }
    static constexpr int mantissa = 23;
    static constexpr Bits one = 0x3F800000, root_half = 0x3F3504F3;
    static float exponent(Bits biased) { return static_cast<float>(static_cast<std::int32_t>(biased) - 127); }
    static constexpr float log2 = std::numbers::ln2_v<float>;
    // 1/3, 1/5, …; −1/3!, 1/5!, …; −1/2!, 1/4!, …
    static constexpr float atanh[]{1.f / 3, 1.f / 5, 1.f / 7, 1.f / 9};
    static constexpr float sin[]{-1.f / 6, 1.f / 120, -1.f / 5040, 1.f / 362880};
    static constexpr float cos[]{-1.f / 2, 1.f / 24, -1.f / 720, 1.f / 40320, -1.f / 3628800};
};

template <> struct BoxMuller<double> {
    using Bits = std::uint64_t;
    static double unit(Bits x) { return bit_cast<double>(x >> 12 | one) - 1; }
    static double radius_uniform(Bits x) { return 1 - unit(x); }
    static double angle(Bits x) { return (unit(x << 2) - 0.5) * (std::numbers::pi / 2); }
    static constexpr int mantissa = 52;
    static constexpr Bits one = 0x3FF0000000000000, root_half = 0x3FE6A09E667F3BCD;
    static double exponent(Bits biased) {
        return bit_cast<double>(biased | Bits{0x4330000000000000}) - (0x1p52 + 1023);
    }
    static constexpr double log2 = std::numbers::ln2;
    static constexpr double atanh[]{1. / 3,  1. / 5,  1. / 7,  1. / 9,  1. / 11,
                                    1. / 13, 1. / 15, 1. / 17, 1. / 19, 1. / 21};
    static constexpr double sin[]{-1. / 6,        1. / 120,        -1. / 5040,          1. / 362880,
                                  -1. / 39916800, 1. / 6227020800, -1. / 1307674368000, 1. / 355687428096000};
    static constexpr double cos[]{-1. / 2,       1. / 24,        -1. / 720,         1. / 40320,
                                  -1. / 3628800, 1. / 479001600, -1. / 87178291200, 1. / 20922789888000};
};

template <class T, std::size_t N> T polynomial(const T (&coefficients)[N], T x) {
    T sum = coefficients[N - 1];
    for (std::size_t i = N - 1; i-- > 0;) sum = sum * x + coefficients[i];
    return sum;
}

// log u = k log 2 + 2 atanh(s) with u = 2ᵏ m, m in [√½, √2) and s = (m − 1)/(m + 1)
template <class T> T logarithm(T u) {
    using B = BoxMuller<T>;
    using Bits = typename B::Bits;
    const Bits shifted = bit_cast<Bits>(u) + (B::one - B::root_half);
    const T k = B::exponent(shifted >> B::mantissa);
    const T m = bit_cast<T>((shifted & ((Bits{1} << B::mantissa) - 1)) + B::root_half);
    const T s = (m - 1) / (m + 1);
    const T square = s * s;
    return k * B::log2 + 2 * (s + s * square * polynomial(B::atanh, square));
}

template <class T> struct Normals { T first, second; };

template <class T>
[[gnu::always_inline]] inline Normals<T> box_muller(typename BoxMuller<T>::Bits x, typename BoxMuller<T>::Bits y) {
    using B = BoxMuller<T>;
    using Bits = typename B::Bits;
    constexpr int top = 8 * sizeof(Bits) - 1;
    const T radius = square_root(-2 * logarithm(B::radius_uniform(x)));
    const T angle = B::angle(y);
    const T square = angle * angle;
    const T sin = angle + angle * square * polynomial(B::sin, square);
    const T cos = 1 + square * polynomial(B::cos, square);
    // (cos, sin), (−sin, cos), (−cos, −sin), (sin, −cos) in the four quadrants
    const Bits quadrant = y >> (top - 1);
    const Bits swap = -(quadrant & 1);
    const Bits c = bit_cast<Bits>(cos), s = bit_cast<Bits>(sin);
    const Bits first = ((s & swap) | (c & ~swap)) ^ ((quadrant + 1) >> 1 << top);
    const Bits second = ((c & swap) | (s & ~swap)) ^ (quadrant >> 1 << top);
    return {radius * bit_cast<T>(first), radius * bit_cast<T>(second)};
}

}  // namespace xgrad::kernels::XGRAD_LEVEL
