// The library's elementwise formulas. Each is written once, for any X that has the functions it names: on lanes it
// gives values, on duals of lanes derivatives, on variables and their duals whatever is to be recorded.
//
// A branch that where() does not take must still have finite derivatives (0·∞ is NaN), so its argument is guarded
// there. The guards use where() too, because minimum and maximum have half a derivative at a tie.
#pragma once

#include <concepts>
#include <cstddef>
#include <numbers>

namespace xgrad::formulas {

// ---- Arithmetic and elementary functions ----

/// −x
struct Negative {
    template <class X> X operator()(const X& x) const { return -x; }
};

/// 1/x
struct Reciprocal {
    template <class X> X operator()(const X& x) const { return reciprocal(x); }
};

/// eˣ
struct Exp {
    template <class X> X operator()(const X& x) const { return exp(x); }
};

/// eˣ − 1, exact near 0
struct Expm1 {
    template <class X> X operator()(const X& x) const { return expm1(x); }
};

/// log x, the natural logarithm
struct Log {
    template <class X> X operator()(const X& x) const { return log(x); }
};

/// log(1 + x), exact near 0
struct Log1p {
    template <class X> X operator()(const X& x) const { return log1p(x); }
};

/// √x
struct Sqrt {
    template <class X> X operator()(const X& x) const { return sqrt(x); }
};

/// 1/√x
struct Rsqrt {
    template <class X> X operator()(const X& x) const { return rsqrt(x); }
};

/// x²
struct Square {
    template <class X> X operator()(const X& x) const { return square(x); }
};

/// x³
struct Cube {
    template <class X> X operator()(const X& x) const { return pow(x, 3); }
};

/// |x|
struct Abs {
    template <class X> X operator()(const X& x) const { return abs(x); }
};

/// 1, 0 or −1
struct Sign {
    template <class X> X operator()(const X& x) const { return sign(x); }
};

/// The largest whole number that is at most x
struct Floor {
    template <class X> X operator()(const X& x) const { return floor(x); }
};

/// sin x
struct Sin {
    template <class X> X operator()(const X& x) const { return sin(x); }
};

/// cos x
struct Cos {
    template <class X> X operator()(const X& x) const { return cos(x); }
};

/// tan x
struct Tan {
    template <class X> X operator()(const X& x) const { return tan(x); }
};

/// tanh x
struct Tanh {
    template <class X> X operator()(const X& x) const { return tanh(x); }
};

/// σ(x) = 1 / (1 + e⁻ˣ)
struct Sigmoid {
    template <class X> X operator()(const X& x) const { return sigmoid(x); }
};

/// erf x = 2/√π ∫₀ˣ e^(−t²) dt
struct Erf {
    template <class X> X operator()(const X& x) const { return erf(x); }
};

// ---- Two operands ----

/// a + b
struct Add {
    template <class X> X operator()(const X& a, const X& b) const { return a + b; }
};

/// a − b
struct Subtract {
    template <class X> X operator()(const X& a, const X& b) const { return a - b; }
};

/// a·b
struct Multiply {
    template <class X> X operator()(const X& a, const X& b) const { return a * b; }
};

/// a / b
struct Divide {
    template <class X> X operator()(const X& a, const X& b) const { return a / b; }
};

/// xᵖ
struct Pow {
    template <class X> X operator()(const X& x, const X& p) const { return pow(x, p); }
};

/// The larger one; NaN if either is, as in NumPy
struct Maximum {
    template <class X> X operator()(const X& a, const X& b) const { return maximum(a, b); }
};

/// The smaller one; NaN if either is, as in NumPy
struct Minimum {
    template <class X> X operator()(const X& a, const X& b) const { return minimum(a, b); }
};

/// c where a and b are equal, or both NaN, and 0 elsewhere
struct WhereSame {
    template <class X> X operator()(const X& a, const X& b, const X& c) const {
        return where((a == b) | (isnan(a) & isnan(b)), c, X(0));
    }
};

// ---- An operand and a number ----

/// x + number
struct AddNumber {
    double number;
    template <class X> X operator()(const X& x) const { return x + number; }
};

/// x·number
struct MultiplyNumber {
    double number;
    template <class X> X operator()(const X& x) const { return x * number; }
};

/// x / number: not x·(1/number), which is rounded twice
struct DivideNumber {
    double number;
    template <class X> X operator()(const X& x) const { return x / number; }
};

/// number − x
struct RightSubtract {
    double number;
    template <class X> X operator()(const X& x) const { return number - x; }
};

/// number / x
struct RightDivide {
    double number;
    template <class X> X operator()(const X& x) const { return number / x; }
};

/// x^number
struct PowNumber {
    double number;
    template <class X> X operator()(const X& x) const { return pow(x, number); }
};

/// x, but at least `minimum` and at most `maximum`: torch.clamp and hardtanh. Its derivative is 0 at both.
struct Clip {
    double minimum = -1, maximum = 1;
    template <class X> X operator()(const X& x) const { return clip(x, minimum, maximum); }
};

// ---- Activations, as torch.nn.functional defines them ----

/// max(x, 0): Nair and Hinton 2010. Its derivative at 0 is 0.
struct Relu {
    template <class X> X operator()(const X& x) const { return where(x <= 0, X(0), x); }
};

/// x where x > 0, otherwise negative_slope·x: Maas et al. 2013
struct LeakyRelu {
    double negative_slope = 0.01;
    template <class X> X operator()(const X& x) const { return where(x > 0, x, x * negative_slope); }
};

/// x where x > 0, otherwise slope·x with a slope that is learned: He et al. 2015, arXiv:1502.01852
struct Prelu {
    template <class X> X operator()(const X& x, const X& slope) const { return where(x > 0, x, slope * x); }
};

/// x where x > 0, otherwise α(eˣ − 1): Clevert et al. 2016, arXiv:1511.07289
struct Elu {
    double alpha = 1;
    template <class X> X operator()(const X& x) const { return where(x > 0, x, alpha * expm1(where(x > 0, X(0), x))); }
};

/// λ·elu(x, α) with the λ and α that make it normalise itself: Klambauer et al. 2017, arXiv:1706.02515
struct Selu {
    static constexpr double alpha = 1.6732632423543772848170429916717, scale = 1.0507009873554804934193349852946;
    template <class X> X operator()(const X& x) const { return scale * Elu{alpha}(x); }
};

/// x where x > 0, otherwise α(e^(x/α) − 1): Barron 2017, arXiv:1704.07483
struct Celu {
    double alpha = 1;
    template <class X>
    X operator()(const X& x) const { return where(x > 0, x, alpha * expm1(where(x > 0, X(0), x) * (1 / alpha))); }
};

/// x·Φ(x) = ½x(1 + erf(x/√2)): Hendrycks and Gimpel 2016, arXiv:1606.08415. (½x + ½x·erf: the last step is one fma.)
struct Gelu {
    template <class X> X operator()(const X& x) const {
        const X half = 0.5 * x;
        return half + half * erf(x * (std::numbers::sqrt2 / 2));
    }
};

/// ½x(1 + tanh(√(2/π)(x + 0.044715x³))), the same paper's approximation, as ½(1 + tanh u) = σ(2u)
struct GeluTanh {
    static constexpr double root = 0.79788456080286535588;  // √(2/π)
    template <class X>
    X operator()(const X& x) const { return x * sigmoid(x * (2 * root + 2 * root * 0.044715 * square(x))); }
};

/// x·σ(x), also called swish: Elfwing et al. 2017, arXiv:1702.03118
struct Silu {
    template <class X> X operator()(const X& x) const { return x * sigmoid(x); }
};

/// x·tanh(softplus(x)): Misra 2019, arXiv:1908.08681. With n = e²ˣ + 2eˣ that is x·n/(n + 2), and x from 20 on.
struct Mish {
    template <class X> X operator()(const X& x) const {
        const X e = exp(minimum(x, 20)), n = e * (e + 2);
        return x * (n / (n + 2));
    }
};

/// log(1 + e^(βx))/β, and x where βx > threshold: Dugas et al. 2001
struct Softplus {
    double beta = 1, threshold = 20;
    template <class X> X operator()(const X& x) const {
        const X z = x * beta;
        return where(z > threshold, x, log1p(exp(where(z > threshold, X(0), z))) * (1 / beta));
    }
};

/// x / (1 + |x|)
struct Softsign {
    template <class X> X operator()(const X& x) const { return x / (1 + abs(x)); }
};

/// x/6 + ½ kept within 0 and 1: Courbariaux et al. 2015
struct Hardsigmoid {
    template <class X>
    X operator()(const X& x) const { return where(x <= -3, X(0), where(x >= 3, X(1), x * (1.0 / 6) + 0.5)); }
};

/// x·hardsigmoid(x): Howard et al. 2019, arXiv:1905.02244
struct Hardswish {
    template <class X>
    X operator()(const X& x) const { return where(x <= -3, X(0), where(x >= 3, x, x * (x * (1.0 / 6) + 0.5))); }
};

/// log σ(x) = min(x, 0) − log(1 + e^(−|x|))
struct LogSigmoid {
    template <class X>
    X operator()(const X& x) const {  // by branches, whose derivatives of every order are right at 0 too
        return where(x > 0, X(0), x) - log1p(exp(where(x > 0, -x, x)));
    }
};

// ---- Vector-Jacobian products: from the cotangent g and the result y to the cotangent of x ----

/// y = eˣ − 1: g(y + 1)
struct Expm1Vjp {
    template <class X> X operator()(const X& g, const X& y) const { return g * (y + 1); }
};

/// y = √x: g / 2y
struct SqrtVjp {
    template <class X> X operator()(const X& g, const X& y) const { return 0.5 * g / y; }
};

/// y = 1/√x: −½g·y³
struct RsqrtVjp {
    template <class X> X operator()(const X& g, const X& y) const { return -0.5 * g * (y * square(y)); }
};

/// y = 1/x: −g·y²
struct ReciprocalVjp {
    template <class X> X operator()(const X& g, const X& y) const { return -g * square(y); }
};

/// y = tan x: g(1 + y²)
struct TanVjp {
    template <class X> X operator()(const X& g, const X& y) const { return g * (1 + square(y)); }
};

/// y = tanh x: g(1 − y²)
struct TanhVjp {
    template <class X> X operator()(const X& g, const X& y) const { return g * (1 - square(y)); }
};

/// y = σ(x): g·y(1 − y)
struct SigmoidVjp {
    template <class X> X operator()(const X& g, const X& y) const { return g * (y * (1 - y)); }
};

/// y = max(x, 0): g where y > 0, or is NaN
struct ReluVjp {
    template <class X> X operator()(const X& g, const X& y) const { return where(y <= 0, X(0), g); }
};

/// y = a/b: −g·y/b, the cotangent of b
struct DivideVjp {
    template <class X> X operator()(const X& g, const X& y, const X& b) const { return -g * y / b; }
};

// ---- The list ----

/// A list of formulas. position<F> is F's place in it, or `size` where it is not one of them.
template <class... Fs> struct List {
    static constexpr std::size_t size = sizeof...(Fs);

    template <class F> static constexpr std::size_t position = [] {
        constexpr bool same[] = {std::same_as<F, Fs>...};
        std::size_t i = 0;
        while (i < size && !same[i]) ++i;
        return i;
    }();
};

/// All of the above: the library has their kernels compiled for every instruction-set level.
using Formulas =
    List<Negative, Reciprocal, Exp, Expm1, Log, Log1p, Sqrt, Rsqrt, Square, Cube, Abs, Sign, Floor, Sin, Cos, Tan, Tanh,
         Sigmoid, Erf, Add, Subtract, Multiply, Divide, Pow, Maximum, Minimum, WhereSame, AddNumber, MultiplyNumber,
         DivideNumber, RightSubtract, RightDivide, PowNumber, Clip, Relu, LeakyRelu, Prelu, Elu, Selu, Celu, Gelu,
         GeluTanh, Silu, Mish, Softplus, Softsign, Hardsigmoid, Hardswish, LogSigmoid, Expm1Vjp, SqrtVjp,
         RsqrtVjp, ReciprocalVjp, TanVjp, TanhVjp, SigmoidVjp, ReluVjp, DivideVjp>;

}  // namespace xgrad::formulas
