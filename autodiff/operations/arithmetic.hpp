// Elementwise arithmetic and elementary functions: NumPy's names and meanings, with broadcasting. The operators + − × ÷
// and the comparisons are in variable.hpp. What takes operands by value writes over a temporary that nobody else needs.
#pragma once

#include <utility>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// eˣ
template <class T> Variable<T> exp(Variable<T> x);
/// eˣ − 1, exact near 0.
template <class T> Variable<T> expm1(Variable<T> x);
/// The natural logarithm; −∞ at 0, and NaN below.
template <class T> Variable<T> log(Variable<T> x);
/// log(1 + x), exact near 0.
template <class T> Variable<T> log1p(Variable<T> x);
/// √x; its derivative at 0 is infinite.
template <class T> Variable<T> sqrt(Variable<T> x);
/// 1/√x
template <class T> Variable<T> rsqrt(Variable<T> x);
/// x²
template <class T> Variable<T> square(Variable<T> x);
/// 1/x
template <class T> Variable<T> reciprocal(Variable<T> x);
/// |x|; its derivative at 0 is 0.
template <class T> Variable<T> abs(Variable<T> x);
/// 1, 0 or −1; its derivative is 0.
template <class T> Variable<T> sign(Variable<T> x);
/// The largest whole number that is at most x; its derivative is 0.
template <class T> Variable<T> floor(Variable<T> x);
/// sin x, for x in radians
template <class T> Variable<T> sin(Variable<T> x);
/// cos x, for x in radians
template <class T> Variable<T> cos(Variable<T> x);
/// tan x, for x in radians
template <class T> Variable<T> tan(Variable<T> x);
/// (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ)
template <class T> Variable<T> tanh(Variable<T> x);
/// σ(x) = 1 / (1 + e⁻ˣ)
template <class T> Variable<T> sigmoid(Variable<T> x);
/// 2/√π ∫₀ˣ e^(−t²) dt
template <class T> Variable<T> erf(Variable<T> x);

/// x to the power of a number; the derivative for a power of 0 is 0, also at x = 0.
template <class T> Variable<T> pow(Variable<T> x, Number auto exponent);
/// x to the power of another variable. The derivative by the exponent is NaN for x < 0, and 0 where x = 0 and the power
/// is finite.
template <class T> Variable<T> pow(Variable<T> x, std::type_identity_t<Variable<T>> exponent);
/// A number to the power of x.
template <class T> Variable<T> pow(Number auto base, Variable<T> x);

/// The larger of two; NaN if either is; at a tie each gets half of the cotangent (torch.maximum).
template <class T> Variable<T> maximum(Variable<T> a, std::type_identity_t<Variable<T>> b);
/// The smaller of two; NaN if either is; at a tie each gets half of the cotangent (torch.minimum).
template <class T> Variable<T> minimum(Variable<T> a, std::type_identity_t<Variable<T>> b);
/// The larger of a number and each element; at a tie half of the cotangent.
template <class T> Variable<T> maximum(Number auto a, Variable<T> b) {
    return maximum(std::move(b), a);
}
/// The smaller of a number and each element; at a tie half of the cotangent.
template <class T> Variable<T> minimum(Number auto a, Variable<T> b) {
    return minimum(std::move(b), a);
}

// xtensor's own functions of these names take anything beside an expression; these are the same templates, constrained.
template <class A, class B>
    requires VariableAndExpression<A, B>
auto pow(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return pow(V(std::forward<A>(a)), V(std::forward<B>(b)));
}
template <class A, class B>
    requires VariableAndExpression<A, B>
auto maximum(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return maximum(V(std::forward<A>(a)), V(std::forward<B>(b)));
}
template <class A, class B>
    requires VariableAndExpression<A, B>
auto minimum(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return minimum(V(std::forward<A>(a)), V(std::forward<B>(b)));
}

/// x kept within [low, high]; its derivative is 0 at the bounds (torch.clamp's was 1 for many years). Throws Error
/// unless low ≤ high.
template <class T> Variable<T> clip(Variable<T> x, Number auto low, Number auto high);

namespace detail {

template <class T> Variable<T> clip(Variable<T>&& x, T low, T high);
template <class T> Variable<T> pow_number(Variable<T>&& x, T exponent);
template <class T> Variable<T> pow_of_number(T base, Variable<T>&& x);
template <class T> Variable<T> select(const Array<bool>& condition, const Variable<T>& a, const Variable<T>& b);

}  // namespace detail

/// a where the condition (an array or expression of bool) holds, b elsewhere; all three broadcast. One of a and b may
/// be a number or an expression. The one not taken gets the cotangent 0, which an infinite derivative turns into NaN:
/// write `where(x > 0, sqrt(where(x > 0, x, 1)), 0)`.
template <class M, class A, class B>
    requires(ArrayExpression<M> && (AnyVariable<A> || AnyVariable<B>))
auto where(M&& condition, A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return detail::select(Array<bool>(std::forward<M>(condition)), V(a), V(b));
}

/// Where x is not a number.
template <class T> Array<bool> isnan(const Variable<T>& x);

template <class T> Variable<T> clip(Variable<T> x, Number auto low, Number auto high) {
    return detail::clip(std::move(x), static_cast<T>(low), static_cast<T>(high));
}
template <class T> Variable<T> pow(Variable<T> x, Number auto exponent) {
    return detail::pow_number(std::move(x), static_cast<T>(exponent));
}
template <class T> Variable<T> pow(Number auto base, Variable<T> x) {
    return detail::pow_of_number(static_cast<T>(base), std::move(x));
}

}  // namespace xgrad
