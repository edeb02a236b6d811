// Forward-mode numbers: a value together with its derivatives along N directions. A formula that runs on X runs on
// Dual<X> as it stands, and gives its derivatives along with its value.
#pragma once

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <numbers>
#include <utility>

#include <xgrad/autodiff/lane.hpp>

namespace xgrad {
inline namespace XGRAD_LEVEL {

template <class X, std::size_t N> struct Dual;
template <class X> class Tangent;

/// What a Tangent<X> can be multiplied by: a number, an X, or whatever else converts to X.
template <class S, class X> concept SlopeOf = !std::same_as<S, Tangent<X>> && std::convertible_to<const S&, X>;

/// A derivative along one direction, or the known zero of a number that does not depend on the direction's variable: it
/// takes part in no arithmetic, and stays 0 when the slope it is multiplied by is infinite or NaN.
template <class X> class Tangent {
public:
    /// The known zero.
    Tangent() : value_(0), zero_(true) {}
    explicit Tangent(const X& value, bool zero = false) : value_(value), zero_(zero) {}

    const X& value() const { return value_; }
    bool known_zero() const { return zero_; }

    friend Tangent operator-(const Tangent& a) { return a.zero_ ? a : Tangent(-a.value_); }
    friend Tangent operator+(const Tangent& a, const Tangent& b) {
        return a.zero_ ? b : b.zero_ ? a : Tangent(a.value_ + b.value_);
    }
    friend Tangent operator-(const Tangent& a, const Tangent& b) {
        return a.zero_ ? -b : b.zero_ ? a : Tangent(a.value_ - b.value_);
    }
    template <SlopeOf<X> S> friend Tangent operator*(const S& slope, const Tangent& a) {
        return a.zero_ ? a : Tangent(slope * a.value_);
    }
    template <SlopeOf<X> S> friend Tangent operator*(const Tangent& a, const S& slope) {
        return a.zero_ ? a : Tangent(a.value_ * slope);
    }
    template <SlopeOf<X> S> friend Tangent operator/(const Tangent& a, const S& divisor) {
        return a.zero_ ? a : Tangent(a.value_ / divisor);
    }
    template <class M> friend Tangent select(const M& mask, const Tangent& a, const Tangent& b) {
        return a.zero_ && b.zero_ ? a : Tangent(where(mask, a.value_, b.value_));
    }

private:
    X value_;
    bool zero_;
};

/// What counts as a constant beside a D = Dual<X, N>: a number, an X, or whatever else converts to X.
template <class C, class D>
concept ConstantOf = !std::same_as<C, D> && std::convertible_to<const C&, typename D::Value>;

/// A value and its N tangents: derivatives along N directions at once. X is a Lane, a Variable or a Dual again (for
/// second derivatives): anything with the operators and functions below that numbers convert to.
///
/// Along the variable of a direction that it does not depend on, a number's tangent is known to be 0: it costs no
/// arithmetic, and a pole in the derivative by one variable leaves those by the others alone. At kinks the derivative
/// is PyTorch's: half of each side for maximum and minimum at a tie, 0 for abs at 0 and for clip at its bounds.
template <class X, std::size_t N = 1> struct Dual {
    using Value = X;

    X value;
    std::array<X, N> tangent;

    Dual(const X& value_, const std::array<X, N>& tangent_) : value(value_), tangent(tangent_), known_zero_() {}

    /// A constant: all tangents are 0.
    template <ConstantOf<Dual> C>
    Dual(const C& constant) : Dual(make(constant, [](std::size_t) { return Tangent<X>(); })) {}

    /// The variable of a direction: its tangent there is 1, the others are 0.
    static Dual variable(const X& value, std::size_t direction = 0) {
        return make(value, [&](std::size_t i) { return Tangent<X>(i == direction ? 1 : 0, i != direction); });
    }

    friend Dual operator+(const Dual& x) { return x; }
    friend Dual operator-(const Dual& x) {
        return make(-x.value, [&](std::size_t i) { return -x.along(i); });
    }

    friend Dual operator+(const Dual& a, const Dual& b) {
        return make(a.value + b.value, [&](std::size_t i) { return a.along(i) + b.along(i); });
    }
    template <ConstantOf<Dual> C> friend Dual operator+(const Dual& x, const C& c) { return x.shifted(x.value + c); }
    template <ConstantOf<Dual> C> friend Dual operator+(const C& c, const Dual& x) { return x.shifted(c + x.value); }

    friend Dual operator-(const Dual& a, const Dual& b) {
        return make(a.value - b.value, [&](std::size_t i) { return a.along(i) - b.along(i); });
    }
    template <ConstantOf<Dual> C> friend Dual operator-(const Dual& x, const C& c) { return x.shifted(x.value - c); }
    template <ConstantOf<Dual> C> friend Dual operator-(const C& c, const Dual& x) {
        return make(c - x.value, [&](std::size_t i) { return -x.along(i); });
    }

    friend Dual operator*(const Dual& a, const Dual& b) {
        return make(a.value * b.value, [&](std::size_t i) { return a.along(i) * b.value + a.value * b.along(i); });
    }
    template <ConstantOf<Dual> C> friend Dual operator*(const Dual& x, const C& c) { return x.chain(x.value * c, c); }
    template <ConstantOf<Dual> C> friend Dual operator*(const C& c, const Dual& x) { return x.chain(c * x.value, c); }

    friend Dual operator/(const Dual& a, const Dual& b) {
        const X inverse = reciprocal(b.value);
        const X quotient = a.value * inverse;
        return make(quotient, [&](std::size_t i) { return (a.along(i) - quotient * b.along(i)) * inverse; });
    }
    template <ConstantOf<Dual> C> friend Dual operator/(const Dual& x, const C& c) {
        return make(x.value / c, [&](std::size_t i) { return x.along(i) / c; });
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
        return make(where(mask, a.value, b.value), [&](std::size_t i) { return select(mask, a.along(i), b.along(i)); });
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
    friend Dual sign(const Dual& x) { return Dual(sign(x.value)); }
    friend Dual floor(const Dual& x) { return Dual(floor(x.value)); }
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

    /// With respect to the base p·x^(p−1), and 0 for an exponent p of 0. With respect to the exponent x^p·log(x): NaN
    /// for a negative base, and 0 for a base of 0 unless the power is infinite. Neither spoils the other.
    friend Dual pow(const Dual& base, const Dual& exponent) {
        const X &x = base.value, &p = exponent.value;
        const X y = pow(x, p);
        const X by_base = p * pow(nonzero_unless(x, p), p - 1);
        const X by_exponent = y * log(where(x == 0, where(p >= 0, X(1), x), x));
        return make(y, [&](std::size_t i) { return by_base * base.along(i) + by_exponent * exponent.along(i); });
    }
    template <ConstantOf<Dual> C> friend Dual pow(const Dual& base, const C& p) {
        if constexpr (Number<C>) {
            if (p == 0) return Dual(pow(base.value, p));
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
        return pick(minimum(a.value, b.value), a, b, (a.value < b.value), (a.value > b.value));
    }
    template <ConstantOf<Dual> C> friend Dual maximum(const Dual& x, const C& c) {
        return keep(maximum(x.value, c), x, x.value > c, x.value < c);
    }
    template <ConstantOf<Dual> C> friend Dual minimum(const Dual& x, const C& c) {
        return keep(minimum(x.value, c), x, (x.value < c), (x.value > c));
    }
    template <ConstantOf<Dual> C> friend Dual maximum(const C& c, const Dual& x) { return maximum(x, c); }
    template <ConstantOf<Dual> C> friend Dual minimum(const C& c, const Dual& x) { return minimum(x, c); }
    template <ConstantOf<Dual> Low, ConstantOf<Dual> High>
    friend Dual clip(const Dual& x, const Low& low, const High& high) {
        return make(clip(x.value, low, high), [&](std::size_t i) {
            const Tangent<X> none;
            return select(x.value <= low, none, select(x.value >= high, none, x.along(i)));
        });
    }

private:
    template <std::same_as<Tangent<X>>... Ts>
        requires(sizeof...(Ts) == N)
    explicit Dual(const X& value_, const Ts&... along)
        : value(value_), tangent{along.value()...}, known_zero_{along.known_zero()...} {}

    /// The tangent of each direction i is along(i).
    template <class F> static Dual make(const X& value, F along) {
        return [&]<std::size_t... I>(std::index_sequence<I...>) { return Dual(value, along(I)...); }
        (std::make_index_sequence<N>());
    }

    Tangent<X> along(std::size_t i) const { return Tangent<X>(tangent[i], known_zero_[i]); }

    /// y = x + constant.
    Dual shifted(const X& y) const {
        return make(y, [&](std::size_t i) { return along(i); });
    }
    /// y = f(x) with the derivative `slope` of f there.
    template <class S> Dual chain(const X& y, const S& slope) const {
        return make(y, [&](std::size_t i) { return slope * along(i); });
    }

    /// Tangents of the one that was picked, half of each at a tie.
    template <class M> static Dual pick(const X& y, const Dual& a, const Dual& b, const M& first, const M& second) {
        return make(y, [&](std::size_t i) {
            const Tangent<X> s = a.along(i), t = b.along(i);
            return select(first, s, select(second, t, 0.5 * (s + t)));
        });
    }
    /// The same with a constant as the other one.
    template <class M> static Dual keep(const X& y, const Dual& x, const M& kept, const M& dropped) {
        return make(y, [&](std::size_t i) {
            const Tangent<X> t = x.along(i);
            return select(kept, t, select(dropped, Tangent<X>(), 0.5 * t));
        });
    }

    /// x, but 1 where x and p are both 0: there p·x^(p−1) shall be 0.
    static X nonzero_unless(const X& x, const X& p) { return where(p == X(0), where(x == X(0), X(1), x), x); }

    // Apart from the tangents, for the compiler's sake: it sees through an inlined formula what is known, but not
    // through copies of arrays with gaps between their elements.
    std::array<bool, N> known_zero_;
};

}  // namespace XGRAD_LEVEL
}  // namespace xgrad
