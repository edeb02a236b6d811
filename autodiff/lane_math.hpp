// Elementary functions of batches. xsimd has these, too, but some are slow, stop short of the range's end, lose digits,
// or use code that is no template and would be shared by the instruction-set levels.
//
// Each function reduces its argument to a small interval, where a minimax polynomial (fitted with mpmath, the error in
// relative terms well below the last place) takes over, and puts the exponent together from bits. Denormal results of
// exponentials are 0.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>

#include <xgrad/autodiff/lane_arithmetic.hpp>

namespace xgrad {
inline namespace XGRAD_LEVEL {
namespace lanes {

// The format of float and double.
template <class B> struct Format {
    static constexpr int mantissa = is_float<B> ? 23 : 52, bias = is_float<B> ? 127 : 1023;
    // Adding this, which ends in the bias, rounds a small number to a whole one, and leaves it in the lowest bits.
    static constexpr double rounder = (is_float<B> ? 0x1.8p23 : 0x1.8p52) + bias;
    // log 2 in two parts, the first short enough for exact multiples.
    static constexpr double log2_high = is_float<B> ? 0.693359375 : 0x1.62e42feep-1;
    static constexpr double log2_low = is_float<B> ? -0.00021219444005469058277 : 0x1.a39ef35793c76p-33;
};

// x = n·log 2 + r with 0 ≤ r ≤ log 2, so that 2ⁿ stays representable up to the largest result, for x within the bounds
// of the exponential; there `scale` is 0 at the lower end and infinity at the upper one.
template <class B> struct Reduced {
    B r, scale;

    explicit Reduced(const B& x) {
        using F = Format<B>;
        const B rounder = constant<B>(F::rounder);
        const B shifted = fused(x, constant<B>(std::numbers::log2e), constant<B>(-0.5)) + rounder;
        const B n = shifted - rounder;
        r = fused(n, constant<B>(-F::log2_low), fused(n, constant<B>(-F::log2_high), x));
        scale = from_bits<B>(bits_of(shifted) << F::mantissa);
    }
};

template <class B> B exp_bounded(const B& x) {  // in this order NaN comes through
    return max(constant<B>(is_float<B> ? -88 : -709), min(constant<B>(is_float<B> ? 89 : 710), x));
}

// 2ⁿ·eʳ
template <class B> B exp_reduced(const B& r, const B& scale) {
    B q;  // (eʳ − 1 − r) / r²
    if constexpr (is_float<B>)
        q = polynomial(r, {0.500002293584200554, 0.16663180875736982, 0.0418554214194306351, 0.00786767963320009717,
                           0.00191293241309840951});
    else
        q = polynomial(r, {0.499999999999973624, 0.166666666667913568, 0.0416666666436794964, 0.00833333355809028688,
                           0.0013888875699962962, 0.000198417625537926649, 0.00002478959431571265,
                           2.77463697885642263e-6, 2.57076714480281871e-7, 3.50769506790432548e-8});
    return (fused(r * r, q, r) + 1) * scale;
}

template <class B> B exp_within(const B& x) {
    const Reduced<B> reduced(x);
    return exp_reduced(reduced.r, reduced.scale);
}

template <class B> B exp_batch(const B& x) { return exp_within(exp_bounded(x)); }

// eˣ − 1 for x up to the largest that has a finite result; what is too low for an effect counts as the lowest.
template <class B> B expm1_below(const B& x) {
    using F = Format<B>;
    const B bounded = max(constant<B>(is_float<B> ? -18 : -40), x);
    // x = n·log 2 + r with |r| ≤ ½ log 2, so that small x have n = 0 and lose nothing. Half of 2ⁿ is representable.
    const B rounder = constant<B>(F::rounder - 1);
    const B shifted = fused(bounded, constant<B>(std::numbers::log2e), rounder);
    const B n = shifted - rounder;
    const B r = fused(n, constant<B>(-F::log2_low), fused(n, constant<B>(-F::log2_high), bounded));
    B q;  // (eʳ − 1 − r) / r²
    if constexpr (is_float<B>)
        q = polynomial(r, {0.49999998141230539, 0.166665434281135761, 0.0416672042044484846, 0.00836654595219757846,
                           0.00138822774868996133});
    else
        q = polynomial(r, {0.500000000000000521, 0.166666666666665896, 0.0416666666665763662, 0.00833333333338948614,
                           0.00138888889316898449, 0.000198412697191578265, 0.0000248015051227267932,
                           2.75574072661834754e-6, 2.76260987755124683e-7, 2.50539272143471939e-8});
    const B half = from_bits<B>(bits_of(shifted) << F::mantissa);  // 2ⁿ / 2
    const B result = fused(half, fused(r * r, q, r), half - 0.5);
    return result + result;
}

template <class B> B expm1_batch(const B& x) { return expm1_below(min(constant<B>(is_float<B> ? 89 : 710), x)); }

// |magnitude| with the sign of x.
template <class B> B with_sign_of(const B& x, const B& magnitude) {
    const Bits<B> sign = bits<B>(is_float<B> ? 0x80000000u : 0x8000000000000000u);
    return from_bits<B>((bits_of(x) & sign) | bits_of(magnitude));
}

// Where the processor looks up floats in a register, odd functions of floats are piecewise polynomials: [0, last] in as
// many parts as a register has floats, each with a polynomial about its middle, the best one for the relative error. At
// `last` the result is exactly 1.
#if defined(XGRAD_LANES_AVX512) || defined(XGRAD_LANES_AVX2)
using Table = float[Batch<float>::size];

// The table's numbers at the places that the lowest bits of each lane name.
inline Batch<float> lookup(const Table& table, const Batch<float>& places) {
#if defined(XGRAD_LANES_AVX512)
    return _mm512_permutexvar_ps(_mm512_castps_si512(places), _mm512_loadu_ps(table));
#else
    return _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), _mm256_castps_si256(places));
#endif
}

// sign(x)·f(|x|), where f goes to 1 and `rows` are the coefficients of f(t)/t, from the constant one up.
template <std::size_t Count>
Batch<float> piecewise_odd(const Batch<float>& x, const Table (&rows)[Count], double parts_per_unit, double last) {
    using B = Batch<float>;
    const B rounder = constant<B>(0x1.8p23), scale = constant<B>(parts_per_unit), t = min(constant<B>(last), abs(x));
    const B place = fused(t, scale, rounder),
            r = fused(t, scale, rounder - place);  // the part, −1/2 ≤ r ≤ 1/2 within it
    B result = lookup(rows[Count - 1], place);
    for (std::size_t i = Count - 1; i-- > 0;) result = fused(result, r, lookup(rows[i], place));
    return with_sign_of(x, min(B(1), t * result));
}
#endif

#if defined(XGRAD_LANES_AVX512)
inline constexpr Table tanh_parts[] = {
    {1.0f, 0.900600374f, 0.706596553f, 0.539032102f, 0.421584874f, 0.341712117f, 0.285926819f, 0.245393321f,
     0.214804828f, 0.190961421f, 0.17187196f, 0.156249136f, 0.143228918f, 0.132211462f, 0.122767836f, 0.114583328f},
    {-9.03973714e-8f, -0.175161093f, -0.191322505f, -0.141414002f, -0.0960566103f, -0.0659780949f, -0.0470365398f,
     -0.0348905399f, -0.0268053133f, -0.0212053582f, -0.0171836615f, -0.0142034627f, -0.0119354557f, -0.0101700304f,
     -0.00876910705f, -0.00763888145f},
    {-0.11283467f, -0.045999974f, 0.0181745887f, 0.0261924155f, 0.0186826754f, 0.0118281664f, 0.00748056872f,
     0.00488804234f, 0.00332431821f, 0.00234883442f, 0.00171630911f, 0.00129063986f, 0.000994454138f,
     0.000782261777f, 0.000626350811f, 0.000509254693f},
    {-3.20710969e-5f, 0.0315584652f, 0.00971091073f, -0.00158319983f, -0.0026814742f, -0.00184160727f,
     -0.00110809447f, -0.000660971971f, -0.000405322091f, -0.000258142565f, -0.000170832354f, -0.000117103955f,
     -8.2806102e-5f, -6.01551692e-5f, -4.47338571e-5f, -3.39486942e-5f},
    {0.0154507291f, -0.00219709217f, -0.00509989308f, -0.00102243712f, 0.000136145027f, 0.000219499212f,
     0.000144644058f, 8.35949177e-5f, 4.76960086e-5f, 2.7857297e-5f, 1.68511851e-5f, 1.05799163e-5f, 6.88163982e-6f,
     4.62188063e-6f, 3.19369769e-6f, 2.26278644e-6f},
    {-0.000450973806f, -0.00319897104f, 0.000904230867f, 0.000485062221f, 7.34455461e-5f, -1.02891172e-5f,
     -1.48628505e-5f, -9.45251486e-6f, -5.29096769e-6f, -2.91446304e-6f, -1.63704772e-6f, -9.49569198e-7f,
     -5.70718555e-7f, -3.55156118e-7f, -2.28256042e-7f, -1.51036915e-7f},
    {-0.0015952728f, 0.000971874397f, 0.000126264873f, -0.000112736983f, -3.08198287e-5f, -3.72219984e-6f,
     7.313933e-7f, 8.62117929e-7f, 5.26132055e-7f, 2.86124362e-7f, 1.53091634e-7f, 8.33096081e-8f, 4.66965524e-8f,
     2.70707723e-8f, 1.62318035e-8f, 1.00480797e-8f}};

inline Batch<float> tanh_batch(const Batch<float>& x) { return piecewise_odd(x, tanh_parts, 1.71875, 9.01); }
#endif

template <class B> B tanh_batch(const B& x) {
    const B e = expm1_below(abs(x) * constant<B>(-2));
    return with_sign_of(x, divide<B>(-e, e + 2));
}

// x = 2ᵏ·(1 + f) with √½ ≤ 1 + f < √2, for normal x.
template <class B> struct Logarithm {
    B k, f;
    Bits<B> biased;  // k as an exponent's bits

    explicit Logarithm(const B& x) {
        using F = Format<B>;
        const Bits<B> root_half = bits<B>(is_float<B> ? 0x3f3504f3u : 0x3fe6a09e667f3bcdu);
        const Bits<B> one = bits<B>(std::uint64_t{F::bias} << F::mantissa);
        const Bits<B> shifted = bits_of(x) - root_half + one;
        biased = shifted >> F::mantissa;
        const Bits<B> fraction = bits<B>((std::uint64_t{1} << F::mantissa) - 1);
        f = from_bits<B>((shifted & fraction) + root_half) - 1;
        constexpr double whole = is_float<B> ? 0x1p23 : 0x1p52;  // a whole number goes into its lowest bits
        k = from_bits<B>(biased | bits_of(constant<B>(whole))) - constant<B>(whole + F::bias);
    }

    // log x
    B value() const {
        using F = Format<B>;
        const B high = constant<B>(F::log2_high), low = constant<B>(F::log2_low);
        if constexpr (is_float<B>) {  // log(1 + f) = f − f²/2 + f³·P(f)
            const B p = polynomial(
                f, {0.333333319274092833, -0.250008204161669688, 0.200012089242489006, -0.166233673071437058,
                    0.14202129807054952, -0.131604333807562491, 0.12759289028170367, -0.0763116004833860567});
            const B square = f * f;
            const B rest = fused(square, fused(f, p, constant<B>(-0.5)), k * low);
            return fused(k, high, f + rest);
        } else {  // with s = f / (2 + f): log(1 + f) = 2 atanh s = f − (f²/2 − s·(f²/2 + s²·R(s²)))
            const B s = f / (f + 2), z = s * s, half_square = f * f * 0.5;
            const B r =
                polynomial(z, {0.666666666666673418, 0.399999999994160717, 0.285714287421008244, 0.222221986011306614,
                               0.181835629206115574, 0.153140858117845863, 0.147956007189206085});
            const B rest = fused(s, fused(z, r, half_square), k * low);
            return fused(k, high, f - (half_square - rest));
        }
    }
};

// What log(x) is, given a result for normal x.
template <class B> B log_or_special(const B& x, const B& result) {
    using Limits = std::numeric_limits<typename B::value_type>;
    const B infinity(Limits::infinity()), zero(0), nan(Limits::quiet_NaN());
    return select(x > zero, select(x == infinity, x, result), select(x == zero, -infinity, nan));
}

template <class B> B log_batch(const B& x) {
    using Limits = std::numeric_limits<typename B::value_type>;
    constexpr double up = is_float<B> ? 0x1p24 : 0x1p53, digits = is_float<B> ? 24 : 53;
    const auto denormal = x < B(Limits::min());
    Logarithm<B> log(select(denormal, x * constant<B>(up), x));
    log.k = select(denormal, log.k - constant<B>(digits), log.k);
    return log_or_special(x, log.value());
}

template <class B> B log1p_batch(const B& x) {
    using F = Format<B>;
    const B u = x + 1;
    const B back = u - 1, lost = (1 - (u - back)) + (x - back);  // 1 + x = u + lost exactly
    Logarithm<B> log(u);
    const B scale =
        from_bits<B>(bits_of(constant<B>(F::rounder) - min(log.k, constant<B>(F::bias))) << F::mantissa);  // 2⁻ᵏ
    log.f = fused(lost, scale, log.f);
    return log_or_special(u, log.value());
}

#if defined(XGRAD_LANES_AVX512)
inline constexpr double erf_parts_per_unit = 3.875;
inline constexpr Table erf_parts[] = {
    {1.12837923f, 1.10382283f, 1.03570783f, 0.93830359f, 0.828924596f, 0.72227484f, 0.627399743f, 0.547688246f,
     0.482677728f, 0.430115879f, 0.387398213f, 0.352251738f, 0.322912812f, 0.298076302f, 0.276785612f, 0.258333325f},
    {-8.53802185e-9f, -0.0481429659f, -0.0856051967f, -0.106216408f, -0.110039346f, -0.101756319f, -0.0874632522f,
     -0.0720732659f, -0.0583472326f, -0.047221195f, -0.0385952219f, -0.0319904238f, -0.0269029699f, -0.0229278225f,
     -0.0197702292f, -0.0172221977f},
    {-0.0250487998f, -0.0221622679f, -0.0147706019f, -0.00586199295f, 0.00161881861f, 0.00613310235f,
     0.00774297817f, 0.0074208593f, 0.0062345569f, 0.00490550371f, 0.00376323122f, 0.00288443989f, 0.00223677233f,
     0.00176270457f, 0.00141199701f, 0.00114812248f},
    {-1.70622513e-6f, 0.0018487043f, 0.00290199835f, 0.00286522578f, 0.00203569909f, 0.000981789548f,
     0.00015040618f, -0.000303401379f, -0.000447331317f, -0.000421311124f, -0.000336778961f, -0.000251328951f,
     -0.000183802171f, -0.000135056398f, -0.000100760699f, -7.65264776e-5f},
    {0.000507059274f, 0.00038641342f, 0.000125748047f, -0.00012833302f, -0.000257399108f, -0.000247454824f,
     -0.000161209682f, -6.96391799e-5f, -9.45011379e-6f, 1.70443291e-5f, 2.25458643e-5f, 1.93683209e-5f,
     1.44051783e-5f, 1.01937449e-5f, 7.1679151e-6f, 5.10294785e-6f},
    {-1.17909167e-5f, -4.18146847e-5f, -5.68444084e-5f, -4.05697901e-5f, -1.05766094e-5f, 1.23387063e-5f,
     1.97164245e-5f, 1.57007817e-5f, 8.33885679e-6f, 2.70570581e-6f, -9.66477174e-8f, -9.56239091e-7f,
     -9.53573988e-7f, -7.20639548e-7f, -4.98154577e-7f, -3.37622168e-7f}};
#elif defined(XGRAD_LANES_AVX2)
inline constexpr double erf_parts_per_unit = 1.875;
inline constexpr Table erf_parts[] = {
    {1.12837923f, 1.02993608f, 0.814286232f, 0.61021775f, 0.467553288f, 0.374939084f, 0.312498122f, 0.267857105f},
    {-1.18417827e-8f, -0.180907056f, -0.226303205f, -0.174329624f, -0.11391066f, -0.0748036578f, -0.0520763025f,
     -0.0382651575f},
    {-0.106986694f, -0.0605942234f, 0.0102735776f, 0.0332980379f, 0.0250897948f, 0.0146988314f, 0.00866791978f,
     0.00546616735f},
    {-4.15804516e-6f, 0.0258828085f, 0.0167363137f, 0.000261028734f, -0.00398552977f, -0.00270922715f,
     -0.00143226492f, -0.00078050443f},
    {0.00915171206f, 0.00194426463f, -0.00483191898f, -0.00258038635f, 1.58821331e-5f, 0.000402512058f,
     0.000229231489f, 0.000111167908f},
    {-5.7581794e-5f, -0.00209505623f, -0.00027049132f, 0.000725314487f, 0.000251222373f, -1.83570919e-5f,
     -3.26480149e-5f, -1.57505219e-5f},
    {-0.000555471692f, 5.39559151e-5f, 0.000355659286f, -2.09526643e-5f, -8.12870421e-5f, -1.40121392e-5f,
     2.96761823e-6f, 2.10681992e-6f}};
#endif
#if defined(XGRAD_LANES_AVX512) || defined(XGRAD_LANES_AVX2)
inline Batch<float> erf_batch(const Batch<float>& x) { return piecewise_odd(x, erf_parts, erf_parts_per_unit, 3.95); }
#endif

template <class B> B erf_batch(const B& x) {
    const B t = min(constant<B>(is_float<B> ? 3.95 : 5.95), abs(x)), z = t * t;  // beyond, erf is 1 to the last place
    B near, far;  // erf(t)/t − 1, for t < 0.9, and log(1 − erf t)/t
    if constexpr (is_float<B>) {
        near = polynomial(z, {0.128379153792569126, -0.376125232701231412, 0.112821407584448652, -0.026778907051520517,
                              0.00501196028137167989, -0.00060903483433092365});
        far = polynomial(t, {-1.12852450507989753, -0.635683719870463597, -0.105307815009383952, 0.0229196956191422451,
                             -0.00322430815259440083, 0.000215129211999292123});
    } else {
        near = polynomial(
            z, {0.128379167095512573, -0.37612638903183728, 0.112837916709537039, -0.0268661706448066065,
                0.00522397762160295716, -0.000854832675490536022, 0.000120553210417040388, -0.000014925299728581691,
                1.64552137751267276e-6, -1.62754747120432202e-7, 1.40460402095565745e-8, -8.48183448481719395e-10});
        far = polynomial(
            t, {-1.12837916722824129, -0.636619724132121942, -0.102773126326382882, 0.0191311262397795297,
                0.000200646414193780309, -0.00167719761664920351, 0.000558859537714109459, 0.0000135104097966948248,
                -0.000103278503207533233, 0.0000598542863059908768, -0.0000218234192115963452, 5.83006710111734011e-6,
                -1.18212454340003737e-6, 1.81440630035220509e-7, -2.05165559778741121e-8, 1.6154873759615369e-9,
                -7.91603939845917357e-11, 1.81730962195034076e-12});
    }
    const B result = select(t < constant<B>(0.9), fused(t, near, t), 1 - exp_within(t * far));
    return with_sign_of(x, result);
}

// sin and cos of x for |x| up to `limit`: x = n·π/2 + r with π/2 in three parts. Each product is exact in the fma, and
// so is the first difference, so this needs a true fma.
template <class B> struct Angle {
    static constexpr double limit = is_float<B> ? 1e5 : 1e9;
    B sin_r, cos_r;
    Bits<B> quadrant;  // in the lowest two bits

    explicit Angle(const B& x) {
        constexpr double whole = is_float<B> ? 0x1.8p23 : 0x1.8p52;
        const B shifted = fused(x, constant<B>(2 / std::numbers::pi), constant<B>(whole));
        const B n = shifted - constant<B>(whole);
        quadrant = bits_of(shifted);
        B r = fused(n, constant<B>(is_float<B> ? -0x1.921fb6p+0 : -0x1.921fb54442d18p+0), x);
        r = fused(n, constant<B>(is_float<B> ? 0x1.777a5cp-25 : -0x1.1a62633145c07p-54), r);
        r = fused(n, constant<B>(is_float<B> ? 0x1.ee59dap-50 : 0x1.f1976b7ed8fbcp-110), r);
        const B z = r * r;
        B s, c;  // (sin(r)/r − 1)/r² and (cos r − 1 + r²/2)/r⁴
        if constexpr (is_float<B>) {
            s = polynomial(z, {-0.166666545350515098, 0.00833215598549167155, -0.000195146253010044163});
            c = polynomial(z, {0.0416666455611671627, -0.00138873101815681897, 0.0000244324473715193464});
        } else {
            s = polynomial(z, {-0.166666666666666303, 0.00833333333332200976, -0.000198412698294991891,
                               2.75573135888970861e-6, -2.50507425019643706e-8, 1.5895915545636746e-10});
            c = polynomial(z, {0.0416666666666665921, -0.00138888888888729024, 0.000024801587288753453,
                               -2.75573141503085331e-7, 2.08756968174907891e-9, -1.13583237300092448e-11});
        }
        sin_r = fused(r * z, s, r);
        cos_r = fused(z * z, c, fused(z, constant<B>(-0.5), B(1)));
    }

    B sin() const { return turned(quadrant); }
    B cos() const { return turned(quadrant + bits<B>(1)); }
    B tan() const {
        const B quotient = divide(odd(quadrant, cos_r, sin_r), odd(quadrant, sin_r, cos_r));
        return flipped(quotient, quadrant << (sign_place));
    }

private:
    static constexpr int sign_place = is_float<B> ? 31 : 63;

    // a where the number is odd, otherwise b.
    static B odd(const Bits<B>& number, const B& a, const B& b) {
        const Bits<B> all = bits<B>(0) - (number & bits<B>(1));
        return from_bits<B>((bits_of(a) & all) | (bits_of(b) & ~all));
    }
    static B flipped(const B& x, const Bits<B>& sign) {
        const Bits<B> place = bits<B>(std::uint64_t{1} << sign_place);
        return from_bits<B>(bits_of(x) ^ (sign & place));
    }
    B turned(const Bits<B>& q) const { return flipped(odd(q, cos_r, sin_r), q << (sign_place - 1)); }
};

// c − a·b, exactly where it is representable: by a fused product, or by halves of the digits (Veltkamp, Dekker).
template <class B> B exact_rest(const B& c, const B& a, const B& b) {
    if constexpr (has_fma) {
        return fused(-a, b, c);
    } else {
        const auto high_half = [](const B& x) {
            const B scaled = x * constant<B>(is_float<B> ? 0x1.001p12 : 0x1.0000002p27);
            return scaled - (scaled - x);
        };
        const B product = a * b, ah = high_half(a), al = a - ah, bh = high_half(b), bl = b - bh;
        return (c - product) - (((ah * bh - product) + ah * bl + al * bh) + al * bl);
    }
}

// xʸ for positive doubles: log x in two parts, so that multiplying it by y costs no digits.
template <class B> B positive_pow(const B& x, const B& y) {
    using F = Format<B>;
    const auto denormal = x < constant<B>(std::numeric_limits<double>::min());
    Logarithm<B> log(select(denormal, x * constant<B>(0x1p53), x));
    log.k = select(denormal, log.k - 53, log.k);

    // log(1 + f) = 2s + s³·R(s²), with s in two parts, too.
    const B denominator = log.f + 2, s = log.f / denominator, z = s * s;
    const B s_low = (exact_rest(log.f, s, denominator) - s * ((2 - denominator) + log.f)) / denominator;
    const B r = polynomial(z, {0.666666666666673418, 0.399999999994160717, 0.285714287421008244, 0.222221986011306614,
                               0.181835629206115574, 0.153140858117845863, 0.147956007189206085});
    const B whole = log.k * F::log2_high, twice = s + s;  // the first is exact, and the larger one unless 0
    const B head = whole + twice;
    const B tail = (twice - (head - whole)) + fused(log.k, constant<B>(F::log2_low), fused(s * z, r, s_low + s_low));
    const B high = head + tail, low = tail - (high - head);

    const B product = y * high, rest = y * low - exact_rest(product, y, high);
    const Reduced<B> reduced(exp_bounded(product));
    return exp_reduced(reduced.r + select(abs(product) < 750, rest, constant<B>(0)), reduced.scale);
}

// The same to the digits of a float.
template <class B> B positive_pow_for_float(const B& x, const B& y) {
    const Logarithm<B> log(x);
    const B s = log.f / (log.f + 2), z = s * s;
    const B r = polynomial(z, {0.666666656489206373, 0.400003344734727456, 0.285373507488599397, 0.235814025477603779});
    const B log_x = fused(log.k, constant<B>(std::numbers::ln2), fused(s * z, r, s + s));
    const Reduced<B> product(exp_bounded(y * log_x));
    const B& t = product.r;
    const B q = polynomial(t, {0.499999920162343467, 0.16666828701558628, 0.0416545401924734343, 0.00837734712541111924,
                               0.00130603060019744564, 0.000274847224867108692});
    return (fused(t * t, q, t) + 1) * product.scale;
}

// f(x, y) of floats by way of doubles, half a batch at a time.
template <class B, class F> B in_doubles(const B& x, const B& y, F f) {
#if defined(XGRAD_LANES_AVX512)
    const auto lower = [](__m512 a) { return _mm512_cvtps_pd(_mm512_castps512_ps256(a)); };
    const auto upper = [](__m512 a) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)); };
    const __m256 low = _mm512_cvtpd_ps(f(lower(x), lower(y))), high = _mm512_cvtpd_ps(f(upper(x), upper(y)));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
#elif defined(XGRAD_LANES_AVX2)
    const auto lower = [](__m256 a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a)); };
    const auto upper = [](__m256 a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)); };
    const __m128 low = _mm256_cvtpd_ps(f(lower(x), lower(y))), high = _mm256_cvtpd_ps(f(upper(x), upper(y)));
    return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
#else
    using Wide = Batch<double>;
    float xs[B::size], ys[B::size];
    x.store_unaligned(xs);
    y.store_unaligned(ys);
    for (std::size_t i = 0; i < B::size; i += Wide::size) {
        double a[Wide::size], b[Wide::size];
        for (std::size_t k = 0; k < Wide::size; ++k) a[k] = xs[i + k], b[k] = ys[i + k];
        f(Wide::load_unaligned(a), Wide::load_unaligned(b)).store_unaligned(a);
        for (std::size_t k = 0; k < Wide::size; ++k) xs[i + k] = static_cast<float>(a[k]);
    }
    return B::load_unaligned(xs);
#endif
}

// xʸ with the exceptions of C's pow.
template <class B> B pow_batch(const B& x, const B& y) {
    using Limits = std::numeric_limits<typename B::value_type>;
    const B infinity(Limits::infinity()), nan(Limits::quiet_NaN()), zero(0), one(1);
    const B magnitude = abs(x);
    B power;
    if constexpr (is_float<B>)
        power = in_doubles(magnitude, y, [](Batch<double> a, Batch<double> b) -> Batch<double> {
            return positive_pow_for_float(a, b);
        });
    else
        power = positive_pow(magnitude, y);
    power = select(magnitude == zero, select(y > zero, zero, infinity), power);
    power = select(magnitude == infinity, select(y > zero, infinity, zero), power);
    power = select(magnitude == one, one, power);

    // A negative base has the powers with whole exponents, and those with odd ones are negative; so are those of −0.
    const B half = y * constant<B>(0.5);
    const auto odd = floor(y) == y && floor(half) != half;
    const B signed_power = select(odd, with_sign_of(x, power), power);
    const B result = select(x < zero && floor(y) != y, select(magnitude == infinity, power, nan), signed_power);
    return select(y == zero || x == one, one, select(x == x && y == y, result, x + y));
}

// On single numbers, the standard library's.
template <class T> Single<T> exp_batch(const Single<T>& x) { return std::exp(x.value); }
template <class T> Single<T> expm1_batch(const Single<T>& x) { return std::expm1(x.value); }
template <class T> Single<T> log_batch(const Single<T>& x) { return std::log(x.value); }
template <class T> Single<T> log1p_batch(const Single<T>& x) { return std::log1p(x.value); }
template <class T> Single<T> tanh_batch(const Single<T>& x) { return std::tanh(x.value); }
template <class T> Single<T> erf_batch(const Single<T>& x) { return std::erf(x.value); }
template <class T> Single<T> pow_batch(const Single<T>& x, const Single<T>& y) { return std::pow(x.value, y.value); }

}  // namespace lanes
}  // namespace XGRAD_LEVEL
}  // namespace xgrad
