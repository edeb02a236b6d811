#include <fmt/format.h>

#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>

// Instantiates a function of one Variable for both precisions.
#define XGRAD_UNARY(function) \
    template Variable<float> function(Variable<float>); \
    template Variable<double> function(Variable<double>);
#define XGRAD_BINARY(function) \
    template Variable<float> function(Variable<float>, Variable<float>); \
    template Variable<double> function(Variable<double>, Variable<double>);

namespace xgrad {
namespace {

// The value of a formula whose vjp is stated by hand and needs no input: mostly because it is simplest from the result.
template <class T, class Formula>
Array<T> evaluate(const char* name, const Formula& formula, Variable<T>& x) {
    return detail::evaluate_elementwise<T, Formula, 1>(name, formula, {&x}, {&x});
}
// The same with two inputs, of which the vjps may need some.
template <class T, class Formula>
Array<T> evaluate(const char* name, const Formula& formula, Variable<T>& a, Variable<T>& b, bool needs_a = false,
                  bool needs_b = false) {
    return detail::evaluate_elementwise<T, Formula, 2>(name, formula, {&a, &b},
                                                       {needs_a ? nullptr : &a, needs_b ? nullptr : &b});
}

// An operation whose vjp is a formula of the cotangent and the result, and as such can be differentiated again.
template <class Vjp, class T, class Formula>
Variable<T> from_result(const char* name, const Formula& formula, Variable<T>&& x) {
    if (!detail::is_recorded(x)) return detail::unrecorded_elementwise(name, formula, x);
    return record(name, evaluate(name, formula, x), wrt(x, [name](Variable<T> g, const Variable<T>& y) {
                      return detail::elementwise_operation(name, Vjp{}, std::move(g), y);
                  }));
}

}  // namespace

template <class T>
Variable<T> exp(Variable<T> x) {
    return from_result<formulas::Multiply>("exp", formulas::Exp{}, std::move(x));
}
template <class T>
Variable<T> expm1(Variable<T> x) {
    return from_result<formulas::Expm1Vjp>("expm1", formulas::Expm1{}, std::move(x));
}
template <class T>
Variable<T> sqrt(Variable<T> x) {
    return from_result<formulas::SqrtVjp>("sqrt", formulas::Sqrt{}, std::move(x));
}
template <class T>
Variable<T> rsqrt(Variable<T> x) {
    return from_result<formulas::RsqrtVjp>("rsqrt", formulas::Rsqrt{}, std::move(x));
}
template <class T>
Variable<T> reciprocal(Variable<T> x) {
    return from_result<formulas::ReciprocalVjp>("reciprocal", formulas::Reciprocal{}, std::move(x));
}
template <class T>
Variable<T> tan(Variable<T> x) {
    return from_result<formulas::TanVjp>("tan", formulas::Tan{}, std::move(x));
}
template <class T>
Variable<T> tanh(Variable<T> x) {
    return from_result<formulas::TanhVjp>("tanh", formulas::Tanh{}, std::move(x));
}
template <class T>
Variable<T> sigmoid(Variable<T> x) {
    return from_result<formulas::SigmoidVjp>("sigmoid", formulas::Sigmoid{}, std::move(x));
}

template <class T>
Variable<T> log(Variable<T> x) {
    return detail::elementwise_operation("log", formulas::Log{}, std::move(x));
}
template <class T>
Variable<T> log1p(Variable<T> x) {
    return detail::elementwise_operation("log1p", formulas::Log1p{}, std::move(x));
}
template <class T>
Variable<T> square(Variable<T> x) {
    return detail::elementwise_operation("square", formulas::Square{}, std::move(x));
}
template <class T>
Variable<T> abs(Variable<T> x) {
    return detail::elementwise_operation("abs", formulas::Abs{}, std::move(x));
}
template <class T>
Variable<T> sin(Variable<T> x) {
    return detail::elementwise_operation("sin", formulas::Sin{}, std::move(x));
}
template <class T>
Variable<T> cos(Variable<T> x) {
    return detail::elementwise_operation("cos", formulas::Cos{}, std::move(x));
}
template <class T>
Variable<T> erf(Variable<T> x) {
    return detail::elementwise_operation("erf", formulas::Erf{}, std::move(x));
}

template <class T>
Variable<T> sign(Variable<T> x) {
    return record("sign", evaluate("sign", formulas::Sign{}, x), wrt(x, [](const Variable<T>&) { return Variable<T>(); }));
}
template <class T>
Variable<T> floor(Variable<T> x) {
    return record("floor", evaluate("floor", formulas::Floor{}, x),
                  wrt(x, [](const Variable<T>&) { return Variable<T>(); }));
}

template <class T>
Variable<T> pow(Variable<T> x, std::type_identity_t<Variable<T>> exponent) {
    return detail::elementwise_operation("pow", formulas::Pow{}, std::move(x), std::move(exponent));
}
template <class T>
Variable<T> maximum(Variable<T> a, std::type_identity_t<Variable<T>> b) {
    return detail::elementwise_operation("maximum", formulas::Maximum{}, std::move(a), std::move(b));
}
template <class T>
Variable<T> minimum(Variable<T> a, std::type_identity_t<Variable<T>> b) {
    return detail::elementwise_operation("minimum", formulas::Minimum{}, std::move(a), std::move(b));
}

template <class T>
Array<bool> isnan(const Variable<T>& x) {
    return x != x;
}

namespace detail {

template <class T>
Variable<T> add(Variable<T>&& a, Variable<T>&& b) {
    if (!is_recorded(a, b)) return unrecorded_elementwise("add", formulas::Add{}, a, b);
    return record("add", evaluate("add", formulas::Add{}, a, b), wrt(a, [](Variable<T> g) { return g; }),
                  wrt(b, [](Variable<T> g) { return g; }));
}
template <class T>
Variable<T> subtract(Variable<T>&& a, Variable<T>&& b) {
    if (!is_recorded(a, b)) return unrecorded_elementwise("subtract", formulas::Subtract{}, a, b);
    return record("subtract", evaluate("subtract", formulas::Subtract{}, a, b), wrt(a, [](Variable<T> g) { return g; }),
                  wrt(b, [](Variable<T> g) { return -std::move(g); }));
}
template <class T>
Variable<T> multiply(Variable<T>&& a, Variable<T>&& b) {
    if (!is_recorded(a, b)) return unrecorded_elementwise("multiply", formulas::Multiply{}, a, b);
    Array<T> value = evaluate("multiply", formulas::Multiply{}, a, b, is_differentiated(b), is_differentiated(a));
    return record("multiply", std::move(value), wrt(a, [b](Variable<T> g) { return std::move(g) * b; }),
                  wrt(b, [a](Variable<T> g) { return std::move(g) * a; }));
}
template <class T>
Variable<T> divide(Variable<T>&& a, Variable<T>&& b) {
    if (!is_recorded(a, b)) return unrecorded_elementwise("divide", formulas::Divide{}, a, b);
    Array<T> value = evaluate("divide", formulas::Divide{}, a, b, false, true);
    return record("divide", std::move(value), wrt(a, [b](Variable<T> g) { return std::move(g) / b; }),
                  wrt(b, [b](Variable<T> g, const Variable<T>& y) { return -std::move(g) * y / b; }));
}
template <class T>
Variable<T> negative(Variable<T>&& x) {
    if (!is_recorded(x)) return unrecorded_elementwise("negative", formulas::Negative{}, x);
    return record("negative", evaluate("negative", formulas::Negative{}, x),
                  wrt(x, [](Variable<T> g) { return -std::move(g); }));
}

template <class T>
Variable<T> add_number(Variable<T>&& x, T number) {
    if (!is_recorded(x)) return unrecorded_elementwise("add", formulas::AddNumber{number}, x);
    return record("add", evaluate("add", formulas::AddNumber{number}, x), wrt(x, [](Variable<T> g) { return g; }));
}
template <class T>
Variable<T> multiply_number(Variable<T>&& x, T number) {
    if (!is_recorded(x)) return unrecorded_elementwise("multiply", formulas::MultiplyNumber{number}, x);
    return record("multiply", evaluate("multiply", formulas::MultiplyNumber{number}, x),
                  wrt(x, [number](Variable<T> g) { return std::move(g) * number; }));
}
template <class T>
Variable<T> divide_by_number(Variable<T>&& x, T number) {
    if (!is_recorded(x)) return unrecorded_elementwise("divide", formulas::DivideNumber{number}, x);
    return record("divide", evaluate("divide", formulas::DivideNumber{number}, x),
                  wrt(x, [number](Variable<T> g) { return std::move(g) / number; }));
}
template <class T>
Variable<T> subtract_from_number(T number, Variable<T>&& x) {
    if (!is_recorded(x)) return unrecorded_elementwise("subtract", formulas::RightSubtract{number}, x);
    return record("subtract", evaluate("subtract", formulas::RightSubtract{number}, x),
                  wrt(x, [](Variable<T> g) { return -std::move(g); }));
}
template <class T>
Variable<T> divide_number_by(T number, Variable<T>&& x) {
    return elementwise_operation("divide", formulas::RightDivide{number}, std::move(x));
}
template <class T>
Variable<T> pow_number(Variable<T>&& x, T exponent) {
    return elementwise_operation("pow", formulas::PowNumber{exponent}, std::move(x));
}

template <class T>
Variable<T> clip(Variable<T>&& x, T low, T high) {
    if (low > high) throw Error(fmt::format("clip: the lower bound {} is above the upper one {}", low, high));
    return elementwise_operation("clip", formulas::Clip{low, high}, std::move(x));
}

template <class T>
Variable<T> select(const Array<bool>& condition, const Variable<T>& a, const Variable<T>& b) {
    const Shape shape = broadcast_shape("where", condition.shape(), broadcast_shape("where", a.shape(), b.shape()));
    const Array<bool> mask =
        condition.shape() == shape ? share(condition, shape) : Array<bool>(xt::broadcast(condition, shape));
    Array<T> value = empty<T>(shape);
    {
        const NoGrad no_grad;
        const auto spread = [&](const Variable<T>& x) { return x.size() == 1 ? x : broadcast_to(x, shape); };
        const Variable<T> from_a = spread(a), from_b = spread(b);
        const auto choice = [](const Variable<T>& x) { return kernels::Choice<T>{x.value().data(), x.size() == 1}; };
        kernels::select(mask.data(), choice(from_a), choice(from_b), value.data(), value.size());
    }
    return record("where", std::move(value), with("condition", condition),
                  wrt(a, [m = share(mask, shape)](const Variable<T>& g) { return select(m, g, Variable<T>(0)); }),
                  wrt(b, [m = share(mask, shape)](const Variable<T>& g) { return select(m, Variable<T>(0), g); }));
}

namespace {

// Of shapes that are equal, or one number with an array.
template <class T, class Compare>
Array<bool> compare_each(const Variable<T>& a, const Variable<T>& b, Compare compare) {
    Array<bool> result = empty<bool>(a.dimension() == 0 ? b.shape() : a.shape());
    const T *x = a.value().data(), *y = b.value().data();
    bool* const answers = result.data();
    kernels::in_pieces(result.size(), 1, [&](std::size_t first, std::size_t count) {
        if (b.size() == 1)
            std::transform(x + first, x + first + count, answers + first, [=, z = *y](T w) { return compare(w, z); });
        else if (a.size() == 1)
            std::transform(y + first, y + first + count, answers + first, [=, w = *x](T z) { return compare(w, z); });
        else
            std::transform(x + first, x + first + count, y + first, answers + first, compare);
    });
    return result;
}

}  // namespace

template <class T>
Array<bool> compare(Comparison how, const Variable<T>& a, const Variable<T>& b) {
    if (a.shape() != b.shape() && a.dimension() != 0 && b.dimension() != 0) {
        const NoGrad no_grad;
        const Shape shape = broadcast_shape("comparison", a.shape(), b.shape());
        return compare(how, broadcast_to(a, shape), broadcast_to(b, shape));
    }
    switch (how) {
        case Comparison::less: return compare_each(a, b, std::less<T>());
        case Comparison::less_equal: return compare_each(a, b, std::less_equal<T>());
        case Comparison::equal: return compare_each(a, b, std::equal_to<T>());
        case Comparison::not_equal: break;
    }
    return compare_each(a, b, std::not_equal_to<T>());
}

#define XGRAD_OPERATORS(T) \
    template Variable<T> add(Variable<T>&&, Variable<T>&&); \
    template Variable<T> subtract(Variable<T>&&, Variable<T>&&); \
    template Variable<T> multiply(Variable<T>&&, Variable<T>&&); \
    template Variable<T> divide(Variable<T>&&, Variable<T>&&); \
    template Variable<T> negative(Variable<T>&&); \
    template Variable<T> add_number(Variable<T>&&, T); \
    template Variable<T> multiply_number(Variable<T>&&, T); \
    template Variable<T> divide_by_number(Variable<T>&&, T); \
    template Variable<T> subtract_from_number(T, Variable<T>&&); \
    template Variable<T> divide_number_by(T, Variable<T>&&); \
    template Variable<T> pow_number(Variable<T>&&, T); \
    template Variable<T> clip(Variable<T>&&, T, T); \
    template Variable<T> select(const Array<bool>&, const Variable<T>&, const Variable<T>&); \
    template Array<bool> compare(Comparison, const Variable<T>&, const Variable<T>&);
XGRAD_OPERATORS(float)
XGRAD_OPERATORS(double)

}  // namespace detail

template Array<bool> isnan(const Variable<float>&);
template Array<bool> isnan(const Variable<double>&);

XGRAD_UNARY(exp)
XGRAD_UNARY(expm1)
XGRAD_UNARY(log)
XGRAD_UNARY(log1p)
XGRAD_UNARY(sqrt)
XGRAD_UNARY(rsqrt)
XGRAD_UNARY(square)
XGRAD_UNARY(reciprocal)
XGRAD_UNARY(abs)
XGRAD_UNARY(sign)
XGRAD_UNARY(floor)
XGRAD_UNARY(sin)
XGRAD_UNARY(cos)
XGRAD_UNARY(tan)
XGRAD_UNARY(tanh)
XGRAD_UNARY(sigmoid)
XGRAD_UNARY(erf)
XGRAD_BINARY(pow)
XGRAD_BINARY(maximum)
XGRAD_BINARY(minimum)

}  // namespace xgrad
