// Forward-mode numbers: a value together with its derivatives along N directions. A formula that runs on X runs on
// Dual<X> as it stands, and gives its derivatives along with its value.
#pragma once

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <numbers>
#include <utility>

#include <xgrad/autodiff/lane.hpp>

namespace xgrad {
inline namespace XGRAD_LEVEL {

template <class X, std::size_t N> struct Dual;

/// What counts as a constant beside a D = Dual<X, N>: a number, an X, or whatever else converts to X.
template <class C, class D>
concept ConstantOf = !std::same_as<C, D> && std::convertible_to<const C&, typename D::Value>;

/// A value and its N tangents: derivatives along N directions at once. X is a Lane, a Variable or a Dual again (for
/// second derivatives): anything with the operators and functions below that numbers convert to.
///
/// Constants cost no arithmetic with zero tangents. At kinks the derivative is PyTorch's: half of each side for maximum
/// and minimum at a tie, 0 for abs at 0 and for clip at its bounds.
template <class X, std::size_t N = 1> struct Dual {
    using Value = X;
    using Tangent = std::array<X, N>;

    X value;
    Tangent tangent;

    Dual(const X& value_, const Tangent& tangent_) : value(value_), tangent(tangent_) {}

    /// A constant: all tangents are 0.
    template <ConstantOf<Dual> C> Dual(const C& constant) : value(constant), tangent(zero()) {}

    /// The variable of a direction: its tangent there is 1, the others are 0.
    static Dual variable(const X& value, std::size_t direction = 0) {
        return {value, each([&](std::size_t i) { return X(i == direction ? 1 : 0); })};
    }

    friend Dual operator+(const Dual& x) { return x; }
    friend Dual operator-(const Dual& x) {
        return {-x.value, each([&](std::size_t i) { return -x.tangent[i]; })};
    }

    friend Dual operator+(const Dual& a, const Dual& b) {
        return {a.value + b.value, each([&](std::size_t i) { return a.tangent[i] + b.tangent[i]; })};
    }
    template <ConstantOf<Dual> C> friend Dual operator+(const Dual& x, const C& c) { return {x.value + c, x.tangent}; }
    template <ConstantOf<Dual> C> friend Dual operator+(const C& c, const Dual& x) { return {c + x.value, x.tangent}; }

    friend Dual operator-(const Dual& a, const Dual& b) {
        return {a.value - b.value, each([&](std::size_t i) { return a.tangent[i] - b.tangent[i]; })};
    }
    template <ConstantOf<Dual> C> friend Dual operator-(const Dual& x, const C& c) { return {x.value - c, x.tangent}; }
    template <ConstantOf<Dual> C> friend Dual operator-(const C& c, const Dual& x) {
        return {c - x.value, each([&](std::size_t i) { return -x.tangent[i]; })};
    }

    friend Dual operator*(const Dual& a, const Dual& b) {
        return {a.value * b.value,
                each([&](std::size_t i) { return a.tangent[i] * b.value + a.value * b.tangent[i]; })};
    }
    template <ConstantOf<Dual> C> friend Dual operator*(const Dual& x, const C& c) { return x.chain(x.value * c, c); }
    template <ConstantOf<Dual> C> friend Dual operator*(const C& c, const Dual& x) { return x.chain(c * x.value, c); }

    friend Dual operator/(const Dual& a, const Dual& b) {
        const X inverse = reciprocal(b.value);
        const X quotient = a.value * inverse;
        return {quotient, each([&](std::size_t i) { return (a.tangent[i] - quotient * b.tangent[i]) * inverse; })};
    }
    template <ConstantOf<Dual> C> friend Dual operator/(const Dual& x, const C& c) {
        return {x.value / c, each([&](std::size_t i) { return x.tangent[i] / c; })};
    }
    template <ConstantOf<Dual> C> friend Dual operator/(const C& c, const Dual& x) {
        const X inverse = reciprocal(x.value);
        const X quotient = c * inverse;
        return x.chain(quotient, -quotient * inverse);
    }

    template <class B> friend Dual& operator+=(Dual& a, const B& b) { return a = a + b; }
    template <class B> friend Dual& operator-=(Dual& a, const B& b) { return a = a - b; }
    template <class B> friend Dual& operator*=(Dual& a, const B& b) { return a = a * b; }
    template <class B> friend Dual& operator/=(Dual& a, const B& b) { return a = a / b; }

    // Comparisons are of the values, and give X's mask.
    friend auto operator==(const Dual& a, const Dual& b) { return a.value == b.value; }
    friend auto operator!=(const Dual& a, const Dual& b) { return a.value != b.value; }
    friend auto operator<(const Dual& a, const Dual& b) { return a.value < b.value; }
    friend auto operator<=(const Dual& a, const Dual& b) { return a.value <= b.value; }
    friend auto operator>(const Dual& a, const Dual& b) { return a.value > b.value; }
    friend auto operator>=(const Dual& a, const Dual& b) { return a.value >= b.value; }
    template <ConstantOf<Dual> C> friend auto operator==(const Dual& x, const C& c) { return x.value == c; }
    template <ConstantOf<Dual> C> friend auto operator!=(const Dual& x, const C& c) { return x.value != c; }
    template <ConstantOf<Dual> C> friend auto operator<(const Dual& x, const C& c) { return x.value < c; }
    template <ConstantOf<Dual> C> friend auto operator<=(const Dual& x, const C& c) { return x.value <= c; }
    template <ConstantOf<Dual> C> friend auto operator>(const Dual& x, const C& c) { return x.value > c; }
    template <ConstantOf<Dual> C> friend auto operator>=(const Dual& x, const C& c) { return x.value >= c; }
    template <ConstantOf<Dual> C> friend auto operator==(const C& c, const Dual& x) { return c == x.value; }
    template <ConstantOf<Dual> C> friend auto operator!=(const C& c, const Dual& x) { return c != x.value; }
    template <ConstantOf<Dual> C> friend auto operator<(const C& c, const Dual& x) { return c < x.value; }
    template <ConstantOf<Dual> C> friend auto operator<=(const C& c, const Dual& x) { return c <= x.value; }
    template <ConstantOf<Dual> C> friend auto operator>(const C& c, const Dual& x) { return c > x.value; }
    template <ConstantOf<Dual> C> friend auto operator>=(const C& c, const Dual& x) { return c >= x.value; }
    friend auto isnan(const Dual& x) { return isnan(x.value); }

    /// Selects values and tangents; the branch not taken may hold anything, NaN too.
    template <class M> friend Dual where(const M& mask, const Dual& a, const Dual& b) {
        return {where(mask, a.value, b.value),
                each([&](std::size_t i) { return where(mask, a.tangent[i], b.tangent[i]); })};
    }
    template <class M, ConstantOf<Dual> C> friend Dual where(const M& mask, const Dual& x, const C& c) {
        return where(mask, x, Dual(c));
    }
    template <class M, ConstantOf<Dual> C> friend Dual where(const M& mask, const C& c, const Dual& x) {
        return where(mask, Dual(c), x);
    }

    friend Dual fma(const Dual& a, const Dual& b, const Dual& c) { return a * b + c; }
    friend Dual square(const Dual& x) { return x.chain(square(x.value), 2 * x.value); }
    friend Dual reciprocal(const Dual& x) {
        const X y = reciprocal(x.value);
        return x.chain(y, -square(y));
    }
    friend Dual abs(const Dual& x) { return x.chain(abs(x.value), sign(x.value)); }
    friend Dual sign(const Dual& x) { return {sign(x.value), zero()}; }
    friend Dual floor(const Dual& x) { return {floor(x.value), zero()}; }
    friend Dual sqrt(const Dual& x) {
        const X y = sqrt(x.value);
        return x.chain(y, 0.5 / y);
    }
    friend Dual rsqrt(const Dual& x) {
        const X y = rsqrt(x.value);
        return x.chain(y, -0.5 * y * square(y));
    }

    friend Dual exp(const Dual& x) {
        const X y = exp(x.value);
        return x.chain(y, y);
    }
    friend Dual expm1(const Dual& x) {
        const X y = expm1(x.value);
        return x.chain(y, y + 1);
    }
    friend Dual log(const Dual& x) { return x.chain(log(x.value), reciprocal(x.value)); }
    friend Dual log1p(const Dual& x) { return x.chain(log1p(x.value), reciprocal(x.value + 1)); }
    friend Dual sin(const Dual& x) { return x.chain(sin(x.value), cos(x.value)); }
    friend Dual cos(const Dual& x) { return x.chain(cos(x.value), -sin(x.value)); }
    friend Dual tan(const Dual& x) {
        const X y = tan(x.value);
        return x.chain(y, 1 + square(y));
    }
    friend Dual tanh(const Dual& x) {
        const X y = tanh(x.value);
        return x.chain(y, 1 - square(y));
    }
    friend Dual sigmoid(const Dual& x) {
        const X y = sigmoid(x.value);
        return x.chain(y, y * (1 - y));
    }
    friend Dual erf(const Dual& x) {
        return x.chain(erf(x.value), 2 * std::numbers::inv_sqrtpi * exp(-square(x.value)));
    }

    /// With respect to the base p·x^(p−1), and 0 for an exponent p of 0. With respect to the exponent x^p·log(x): NaN for
    /// a negative base, and 0 for a base of 0 unless the power is infinite. Neither spoils the other.
    friend Dual pow(const Dual& base, const Dual& exponent) {
        const X &x = base.value, &p = exponent.value;
        const X y = pow(x, p);
        const X by_base = p * pow(nonzero_unless(x, p), p - 1);
        const X by_exponent = y * log(where(x < 0, X(1), where(x == 0, where(p >= 0, X(1), x), x)));
        return {y, each([&](std::size_t i) {
                    const X &s = base.tangent[i], &t = exponent.tangent[i];
                    // A factor of its own, for NaN out of log would come through derivatives by the base.
                    const X defined = where(x < 0, where(t == 0, X(1), X(NAN)), X(1));
                    return along(s, by_base) + along(t, by_exponent) * defined;
                })};
    }
    template <ConstantOf<Dual> C> friend Dual pow(const Dual& base, const C& p) {
        if constexpr (Number<C>) {
            if (p == 0) return {pow(base.value, p), zero()};
            return base.chain(pow(base.value, p), p * pow(base.value, p - C(1)));
        } else {
            return base.chain(pow(base.value, p), p * pow(nonzero_unless(base.value, X(p)), p - 1));
        }
    }
    template <ConstantOf<Dual> C> friend Dual pow(const C& base, const Dual& exponent) {
        if constexpr (Number<C>)
            if (base > 0) {
                const X y = pow(base, exponent.value);
                return exponent.chain(y, y * std::log(static_cast<double>(base)));
            }
        return pow(Dual(base), exponent);
    }

    friend Dual maximum(const Dual& a, const Dual& b) {
        return pick(maximum(a.value, b.value), a, b, a.value > b.value, a.value < b.value);
    }
    friend Dual minimum(const Dual& a, const Dual& b) {
        return pick(minimum(a.value, b.value), a, b, a.value<b.value, a.value> b.value);
    }
    template <ConstantOf<Dual> C> friend Dual maximum(const Dual& x, const C& c) {
        return keep(maximum(x.value, c), x, x.value > c, x.value < c);
    }
    template <ConstantOf<Dual> C> friend Dual minimum(const Dual& x, const C& c) {
        return keep(minimum(x.value, c), x, x.value<c, x.value> c);
    }
    template <ConstantOf<Dual> C> friend Dual maximum(const C& c, const Dual& x) { return maximum(x, c); }
    template <ConstantOf<Dual> C> friend Dual minimum(const C& c, const Dual& x) { return minimum(x, c); }
    template <ConstantOf<Dual> Low, ConstantOf<Dual> High>
    friend Dual clip(const Dual& x, const Low& low, const High& high) {
        return {clip(x.value, low, high), each([&](std::size_t i) {
                    return where(x.value <= low, X(0), where(x.value >= high, X(0), x.tangent[i]));
                })};
    }

private:
    template <class F> static Tangent each(F f) {
        return [&]<std::size_t... I>(std::index_sequence<I...>) { return Tangent{f(I)...}; }
        (std::make_index_sequence<N>());
    }
    static Tangent zero() {
        return each([](std::size_t) { return X(0); });
    }

    /// y = f(x) with the derivative `slope` of f there.
    template <class S> Dual chain(const X& y, const S& slope) const {
        return {y, each([&](std::size_t i) { return slope * tangent[i]; })};
    }

    /// Tangents of the one that was picked, half of each at a tie.
    template <class M> static Dual pick(const X& y, const Dual& a, const Dual& b, const M& first, const M& second) {
        return {y, each([&](std::size_t i) {
                    const X &s = a.tangent[i], &t = b.tangent[i];
                    return where(first, s, where(second, t, 0.5 * (s + t)));
                })};
    }
    /// The same with a constant as the other one.
    template <class M> static Dual keep(const X& y, const Dual& x, const M& kept, const M& dropped) {
        return {y, each([&](std::size_t i) {
                    return where(kept, x.tangent[i], where(dropped, X(0), 0.5 * x.tangent[i]));
                })};
    }

    /// slope·t, and 0 where t is 0, for a slope that is infinite or NaN as well.
    static X along(const X& t, const X& slope) {
        return where(t == 0, where(abs(slope) < std::numeric_limits<double>::infinity(), slope, X(0)), slope) * t;
    }

    /// x, but 1 where x and p are both 0: there p·x^(p−1) shall be 0.
    static X nonzero_unless(const X& x, const X& p) { return where(p == X(0), where(x == X(0), X(1), x), x); }
};

}  // namespace XGRAD_LEVEL
}  // namespace xgrad
