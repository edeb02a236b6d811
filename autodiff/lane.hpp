// Lanes: as many numbers as a SIMD register holds, behaving as one. A formula that is written for numbers runs on them
// as it stands, except that it branches with where(mask, a, b).
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>

#include <xgrad/autodiff/kernels/level.hpp>
#include <xgrad/autodiff/lane_math.hpp>
#include <xgrad/autodiff/number.hpp>

namespace xgrad {

inline namespace XGRAD_LEVEL {

template <class T> class Lane;

/// What a comparison of lanes gives: one answer per number. It selects, where(mask, a, b), and combines with & | and !;
/// it is never one bool.
template <class T> class Mask {
public:
    using Bits = typename lanes::Batch<T>::batch_bool_type;

    explicit Mask(const Bits& bits) : bits_(bits) {}

    // A formula tried to branch on a mask, which holds several answers at once: instead of `if`, `?:`, `&&` and `||`,
    explicit operator bool() const = delete;  // write where(mask, a, b), and & and | between masks.

    friend Mask operator&(const Mask& a, const Mask& b) { return Mask(a.bits_ & b.bits_); }
    friend Mask operator|(const Mask& a, const Mask& b) { return Mask(a.bits_ | b.bits_); }
    friend Mask operator!(const Mask& a) { return Mask(!a.bits_); }

    /// a where the mask holds, otherwise b. Both have been computed; the one not taken may be anything, NaN too.
    friend Lane<T> where(const Mask& mask, const Lane<T>& a, const Lane<T>& b) {
        return Lane<T>(select(mask.bits_, a.batch(), b.batch()));
    }

    /// The bare answers.
    const Bits& bits() const { return bits_; }

private:
    Bits bits_;
};

/// `width` numbers of type T that every operation treats at once. Numbers convert to it implicitly.
template <class T> class Lane {
public:
    static_assert(std::same_as<T, float> || std::same_as<T, double>);
    using Batch = lanes::Batch<T>;
    static constexpr std::size_t width = Batch::size;

    Lane() = default;
    explicit Lane(const Batch& batch) : batch_(batch) {}

    /// The same number in every place.
    template <Number A> Lane(A number) : batch_(static_cast<T>(number)) {}

    /// The numbers from[0], …, from[width - 1].
    static Lane load(const T* from) { return Lane(Batch::load_unaligned(from)); }
    void store(T* to) const { batch_.store_unaligned(to); }

    /// The numbers from[0], …, from[count - 1], with ones in the other places; reads nothing beyond.
    static Lane load_partial(const T* from, std::size_t count) { return Lane(lanes::load_partial<T>(from, count)); }
    /// Writes to[0], …, to[count - 1] and nothing beyond.
    void store_partial(T* to, std::size_t count) const { lanes::store_partial<T>(batch_, to, count); }

    const Batch& batch() const { return batch_; }

    friend Lane operator+(const Lane& a, const Lane& b) { return Lane(a.batch_ + b.batch_); }
    friend Lane operator-(const Lane& a, const Lane& b) { return Lane(a.batch_ - b.batch_); }
    friend Lane operator*(const Lane& a, const Lane& b) { return Lane(a.batch_ * b.batch_); }
    friend Lane operator/(const Lane& a, const Lane& b) { return Lane(lanes::divide(a.batch_, b.batch_)); }
    friend Lane operator-(const Lane& a) { return Lane(-a.batch_); }
    friend Lane operator+(const Lane& a) { return a; }
    Lane& operator+=(const Lane& b) { return *this = *this + b; }
    Lane& operator-=(const Lane& b) { return *this = *this - b; }
    Lane& operator*=(const Lane& b) { return *this = *this * b; }
    Lane& operator/=(const Lane& b) { return *this = *this / b; }

    friend Mask<T> operator==(const Lane& a, const Lane& b) { return Mask<T>(a.batch_ == b.batch_); }
    friend Mask<T> operator!=(const Lane& a, const Lane& b) { return !(a == b); }  // true for NaN, unlike xsimd 8's
    friend Mask<T> operator<(const Lane& a, const Lane& b) { return Mask<T>(a.batch_ < b.batch_); }
    friend Mask<T> operator<=(const Lane& a, const Lane& b) { return Mask<T>(a.batch_ <= b.batch_); }
    friend Mask<T> operator>(const Lane& a, const Lane& b) { return Mask<T>(a.batch_ > b.batch_); }
    friend Mask<T> operator>=(const Lane& a, const Lane& b) { return Mask<T>(a.batch_ >= b.batch_); }
    friend Mask<T> isnan(const Lane& x) { return x != x; }

    /// a·b + c, rounded once where the processor can.
    friend Lane fma(const Lane& a, const Lane& b, const Lane& c) {
        return Lane(lanes::fused(a.batch_, b.batch_, c.batch_));
    }

    friend Lane square(const Lane& x) { return x * x; }
    friend Lane reciprocal(const Lane& x) { return 1 / x; }
    friend Lane abs(const Lane& x) { return Lane(abs(x.batch_)); }
    friend Lane floor(const Lane& x) { return Lane(floor(x.batch_)); }
    friend Lane sqrt(const Lane& x) { return Lane(lanes::square_root(x.batch_)); }
    friend Lane rsqrt(const Lane& x) { return 1 / sqrt(x); }
    /// a / b and √x, where that is quicker only to 1.6 and 1 units in the last place: less where 1/b or x is subnormal.
    friend Lane near_quotient(const Lane& a, const Lane& b) { return Lane(lanes::near_quotient(a.batch_, b.batch_)); }
    friend Lane near_sqrt(const Lane& x) { return Lane(lanes::near_square_root(x.batch_)); }
    /// 1, 0 or −1, and NaN for NaN.
    friend Lane sign(const Lane& x) { return where(x > 0, 1, where(x < 0, -1, x)); }

    // Where either is NaN, the result is NaN. min and max of the processor would give the second one.
    friend Lane maximum(const Lane& a, const Lane& b) { return where(isnan(a), a, larger(a, b)); }
    friend Lane minimum(const Lane& a, const Lane& b) { return where(isnan(a), a, smaller(a, b)); }
    template <Number A> friend Lane maximum(const Lane& x, A bound) { return larger(bound, x); }
    template <Number A> friend Lane minimum(const Lane& x, A bound) { return smaller(bound, x); }
    template <Number A> friend Lane maximum(A bound, const Lane& x) { return larger(bound, x); }
    template <Number A> friend Lane minimum(A bound, const Lane& x) { return smaller(bound, x); }
    /// x, but at least `low` and at most `high`.
    template <class Low, class High> friend Lane clip(const Lane& x, const Low& low, const High& high) {
        return minimum(maximum(x, low), high);
    }

    friend Lane exp(const Lane& x) { return Lane(lanes::exp_batch(x.batch_)); }
    friend Lane expm1(const Lane& x) { return Lane(lanes::expm1_batch(x.batch_)); }
    friend Lane log(const Lane& x) { return Lane(lanes::log_batch(x.batch_)); }
    friend Lane log1p(const Lane& x) { return Lane(lanes::log1p_batch(x.batch_)); }
    friend Lane tanh(const Lane& x) { return Lane(lanes::tanh_batch(x.batch_)); }
    friend Lane erf(const Lane& x) { return Lane(lanes::erf_batch(x.batch_)); }
    /// 1 / (1 + e⁻ˣ): the exponential may overflow to infinity, which gives 0 as it should.
    friend Lane sigmoid(const Lane& x) { return 1 / (1 + exp(-x)); }

    friend Lane sin(const Lane& x) {
        if constexpr (lanes::has_fma)
            if (within_turns(x)) return Lane(lanes::Angle<Batch>(x.batch_).sin());
        return each(x, [](T number) { return std::sin(number); });
    }
    friend Lane cos(const Lane& x) {
        if constexpr (lanes::has_fma)
            if (within_turns(x)) return Lane(lanes::Angle<Batch>(x.batch_).cos());
        return each(x, [](T number) { return std::cos(number); });
    }
    friend Lane tan(const Lane& x) {
        if constexpr (lanes::has_fma)
            if (within_turns(x)) return Lane(lanes::Angle<Batch>(x.batch_).tan());
        return each(x, [](T number) { return std::tan(number); });
    }

    friend Lane pow(const Lane& x, const Lane& exponent) { return Lane(lanes::pow_batch(x.batch_, exponent.batch_)); }
    /// Small whole exponents multiply; with a half more they take a root as well.
    template <Number A> friend Lane pow(const Lane& x, A exponent) {
        const double p = static_cast<double>(exponent), size = std::abs(p), whole = std::trunc(size);
        if (size > 8 || (size != whole && size != whole + 0.5)) return pow(x, Lane(exponent));
        const bool half = size != whole;
        const Lane base = half ? x + 0 : x;  // of −0 as of 0
        Lane power = whole_power(base, static_cast<int>(whole));
        if (half) power = whole == 0 ? sqrt(base) : power * sqrt(base);
        return p < 0 ? 1 / power : power;
    }
    template <Number A> friend Lane pow(A base, const Lane& exponent) { return pow(Lane(base), exponent); }

private:
    // The second where either is NaN.
    static Lane larger(const Lane& a, const Lane& b) { return Lane(max(a.batch_, b.batch_)); }
    static Lane smaller(const Lane& a, const Lane& b) { return Lane(min(a.batch_, b.batch_)); }

    static Lane whole_power(Lane x, int n) {
        Lane result = n & 1 ? x : Lane(1);
        while (n >>= 1) {
            x = x * x;
            if (n & 1) result = result * x;
        }
        return result;
    }

    static bool within_turns(const Lane& x) { return !any((abs(x) > lanes::Angle<Batch>::limit).bits()); }

    template <class F> static Lane each(const Lane& x, F f) {
        T numbers[width];
        x.store(numbers);
        for (T& number : numbers) number = f(number);
        return load(numbers);
    }

    Batch batch_;
};

}  // namespace XGRAD_LEVEL
}  // namespace xgrad
