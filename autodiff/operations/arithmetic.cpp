#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/sizes.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/define.hpp>

namespace xgrad {
namespace {

// Operations whose vjps are stated by hand. Each vjp is a plain function and what is saved for it, so that all
// operations of a kind are one to the compiler.

template <class T, class Saved> struct Vjp {
    Variable<T> (*function)(Variable<T>&& g, const Saved& saved);
    Saved saved;

    Variable<T> operator()(Variable<T> g) const { return function(std::move(g), saved); }
};

// An operation of one input, with a number or none, whose vjp needs no array but the cotangent.
template <class T>
[[gnu::noinline]] Variable<T> apply_unary(const detail::AnyFormula<T, 1>& f, Variable<T>&& x, const Vjp<T, T>& vjp) {
    if (!detail::is_recorded(x)) return detail::run_unrecorded<T, 1>(f, {&x}, {&x});
    return record(f.name, detail::run_forward<T, 1>(f, {&x}, {&x}), wrt(x, vjp));
}
template <class T, class Formula>
Variable<T> unary(const char* name, const Formula& formula, Variable<T>&& x,
                  Variable<T> (*vjp)(Variable<T>&& g, const T& number), T number = {}) {
    return apply_unary<T>(detail::any_formula<T, 1>(name, formula), std::move(x), {vjp, number});
}

// What a vjp often is, whatever is saved.
template <class T, class Saved = T> Variable<T> pass_on(Variable<T>&& g, const Saved&) {
    return std::move(g);
}
template <class T, class Saved = T> Variable<T> negate(Variable<T>&& g, const Saved&) {
    return -std::move(g);
}
template <class T> Variable<T> vanish(Variable<T>&&, const T&) {
    return {};
}

// An operation of two inputs, each of whose vjps needs the cotangent and, if `products`, the other input.
template <class T> using OperandVjp = Variable<T> (*)(Variable<T>&& g, const Variable<T>& other);
template <class T>
[[gnu::noinline]] Variable<T> apply_binary(const detail::AnyFormula<T, 2>& f, Variable<T>&& a, Variable<T>&& b,
                                           OperandVjp<T> by_a, OperandVjp<T> by_b, bool products) {
    if (!detail::is_recorded(a, b)) return detail::run_unrecorded<T, 2>(f, {&a, &b}, {&a, &b});
    const bool needs_a = products && detail::is_differentiated(b), needs_b = products && detail::is_differentiated(a);
    Array<T> value = detail::run_forward<T, 2>(f, {&a, &b}, {needs_a ? nullptr : &a, needs_b ? nullptr : &b});
    using OneVjp = Vjp<T, Variable<T>>;
    return record(f.name, std::move(value), wrt(a, OneVjp{by_a, needs_b ? b : Variable<T>()}),
                  wrt(b, OneVjp{by_b, needs_a ? a : Variable<T>()}));
}

// formula(g, others…) as the cotangent of an operand of this shape. Where that was broadcast, it is summed up while it
// is computed: an array of the result's shape, and a pass of its own, would take longer. (The engine sums up what is
// recorded.)
template <class T, class Formula, class... Others>
Variable<T> cotangent_for(const Shape& shape, const char* name, const Formula& formula, Variable<T>&& g,
                          const Others&... others) {
    if (g.shape() == shape || detail::thread_state.recording)
        return detail::elementwise_operation(name, formula, std::move(g), others...);
    constexpr std::size_t N = 1 + sizeof...(Others);
    const auto& kernel = kernels::elementwise_kernel<Formula, T, N>();
    const auto run = [&](const Shape& all, const kernels::Broadcast& loop, const auto& data) {
        const kernels::Broadcast target(all, {shape});
        const bool summed = kernels::sums_up(target, 0);
        Array<T> cotangent = empty<T>(summed ? shape : all);
        if (summed)
            kernel.forward_summed(&formula, loop, target, cotangent.data(), data.data());
        else
            kernel.forward(&formula, loop, cotangent.data(), data.data());
        return Variable<T>(std::move(cotangent));
    };
    return detail::over_broadcast<T, N>(name, {&g, &others...}, run);
}

}  // namespace

XGRAD_FORMULA_FROM_RESULT(exp, Exp, Multiply)
XGRAD_FORMULA_FROM_RESULT(expm1, Expm1, Expm1Vjp)
XGRAD_FORMULA_FROM_RESULT(sqrt, Sqrt, SqrtVjp)
XGRAD_FORMULA_FROM_RESULT(rsqrt, Rsqrt, RsqrtVjp)
XGRAD_FORMULA_FROM_RESULT(reciprocal, Reciprocal, ReciprocalVjp)
XGRAD_FORMULA_FROM_RESULT(tan, Tan, TanVjp)
XGRAD_FORMULA_FROM_RESULT(tanh, Tanh, TanhVjp)
XGRAD_FORMULA_FROM_RESULT(sigmoid, Sigmoid, SigmoidVjp)
XGRAD_FORMULA(log, Log)
XGRAD_FORMULA(log1p, Log1p)
XGRAD_FORMULA(square, Square)
XGRAD_FORMULA(abs, Abs)
XGRAD_FORMULA(sin, Sin)
XGRAD_FORMULA(cos, Cos)
XGRAD_FORMULA(erf, Erf)

template <class T> Variable<T> sign(Variable<T> x) {
    return unary("sign", formulas::Sign{}, std::move(x), vanish<T>);
}
template <class T> Variable<T> floor(Variable<T> x) {
    return unary("floor", formulas::Floor{}, std::move(x), vanish<T>);
}

template <class T> Variable<T> pow(Variable<T> x, std::type_identity_t<Variable<T>> exponent) {
    return detail::elementwise_operation("pow", formulas::Pow{}, std::move(x), std::move(exponent));
}
template <class T> Variable<T> maximum(Variable<T> a, std::type_identity_t<Variable<T>> b) {
    return detail::elementwise_operation("maximum", formulas::Maximum{}, std::move(a), std::move(b));
}
template <class T> Variable<T> minimum(Variable<T> a, std::type_identity_t<Variable<T>> b) {
    return detail::elementwise_operation("minimum", formulas::Minimum{}, std::move(a), std::move(b));
}

template <class T> Array<bool> isnan(const Variable<T>& x) {
    return x != x;
}

namespace detail {

template <class T> Variable<T> add(Variable<T>&& a, Variable<T>&& b) {
    return apply_binary<T>(any_formula<T, 2>("add", formulas::Add{}), std::move(a), std::move(b),
                           pass_on<T, Variable<T>>, pass_on<T, Variable<T>>, false);
}
template <class T> Variable<T> subtract(Variable<T>&& a, Variable<T>&& b) {
    const formulas::Subtract formula;
    const AnyFormula<T, 2> difference = any_formula<T, 2>("subtract", formula);
    if (a.shape() == b.shape() || !is_recorded(a, b))
        return apply_binary<T>(difference, std::move(a), std::move(b), pass_on<T, Variable<T>>, negate<T, Variable<T>>,
                               false);
    // What is summed up is less to negate.
    Array<T> value = run_forward<T, 2>(difference, {&a, &b}, {&a, &b});
    return record("subtract", std::move(value), wrt(a, [](Variable<T> g) { return g; }),
                  wrt(b, [shape = b.shape()](Variable<T> g) {
                      return g.shape() == shape ? -std::move(g) : -sum_to(g, shape);
                  }));
}

// x·x, whose cotangent is one array rather than the sum of two.
template <class T> Variable<T> multiply_by_itself(const Variable<T>& x) {
    const formulas::Square square;
    return record("multiply", run_forward<T, 1>(any_formula<T, 1>("multiply", square), {&x}),
                  wrt(std::tie(x, x), [x](Variable<T> g, const Needs& needs) {
                      auto [cotangent] = elementwise_cotangents<T, formulas::Square, 1>({}, std::move(g), {x}, needs);
                      return std::array{std::move(cotangent), Variable<T>()};
                  }));
}
template <class T> Variable<T> multiply(Variable<T>&& a, Variable<T>&& b) {
    const formulas::Multiply formula;
    const AnyFormula<T, 2> product = any_formula<T, 2>("multiply", formula);
    if (a.node() == b.node() && is_differentiated(a)) return multiply_by_itself(a);
    if (a.shape() == b.shape() || !is_recorded(a, b)) {
        const OperandVjp<T> times = [](Variable<T>&& g, const Variable<T>& other) { return std::move(g) * other; };
        return apply_binary<T>(product, std::move(a), std::move(b), times, times, true);
    }
    const bool needs_a = is_differentiated(b), needs_b = is_differentiated(a);
    Array<T> value = run_forward<T, 2>(product, {&a, &b}, {needs_a ? nullptr : &a, needs_b ? nullptr : &b});
    const auto times = [](const Shape& shape, const Variable<T>& other) {
        return [shape, other](Variable<T> g) {
            return cotangent_for(shape, "multiply", formulas::Multiply{}, std::move(g), other);
        };
    };
    return record("multiply", std::move(value), wrt(a, times(a.shape(), needs_b ? b : Variable<T>())),
                  wrt(b, times(b.shape(), needs_a ? a : Variable<T>())));
}
template <class T> Variable<T> divide(Variable<T>&& a, Variable<T>&& b) {
    const formulas::Divide formula;
    const AnyFormula<T, 2> quotient = any_formula<T, 2>("divide", formula);
    if (!is_recorded(a, b)) return run_unrecorded<T, 2>(quotient, {&a, &b}, {&a, &b});
    Array<T> value = run_forward<T, 2>(quotient, {&a, &b}, {&a, nullptr});
    return record("divide", std::move(value), wrt(a, [b](Variable<T> g) { return std::move(g) / b; }),
                  wrt(b, [b](Variable<T> g, const Variable<T>& y) {
                      return cotangent_for(b.shape(), "divide", formulas::DivideVjp{}, std::move(g), y, b);
                  }));
}
template <class T> Variable<T> negative(Variable<T>&& x) {
    return unary("negative", formulas::Negative{}, std::move(x), negate<T>);
}

template <class T> Variable<T> add_number(Variable<T>&& x, T number) {
    return unary("add", formulas::AddNumber{number}, std::move(x), pass_on<T>);
}
template <class T> Variable<T> multiply_number(Variable<T>&& x, T number) {
    return unary<T>("multiply", formulas::MultiplyNumber{number}, std::move(x),
                    [](Variable<T>&& g, const T& factor) { return std::move(g) * factor; }, number);
}
template <class T> Variable<T> divide_by_number(Variable<T>&& x, T number) {
    return unary<T>("divide", formulas::DivideNumber{number}, std::move(x),
                    [](Variable<T>&& g, const T& divisor) { return std::move(g) / divisor; }, number);
}
template <class T> Variable<T> subtract_from_number(T number, Variable<T>&& x) {
    return unary("subtract", formulas::RightSubtract{number}, std::move(x), negate<T>);
}
template <class T> Variable<T> divide_number_by(T number, Variable<T>&& x) {
    return elementwise_operation("divide", formulas::RightDivide{number}, std::move(x));
}
template <class T> Variable<T> pow_number(Variable<T>&& x, T exponent) {
    // The two that are met most; PowNumber looks at its exponent for each lane, which takes half as long again.
    if (exponent == 2) return elementwise_operation("pow", formulas::Square{}, std::move(x));
    if (exponent == 3) return elementwise_operation("pow", formulas::Cube{}, std::move(x));
    return elementwise_operation("pow", formulas::PowNumber{exponent}, std::move(x));
}

template <class T> Variable<T> pow_of_number(T base, Variable<T>&& x) {
    Variable<T> number(base);
    // (Where the logarithm is not finite, the general derivative knows more.)
    if (!(base > 0) || !is_recorded(x)) return pow(std::move(number), std::move(x));
    const formulas::Pow formula;
    Array<T> value = run_forward<T, 2>(any_formula<T, 2>("pow", formula), {&number, &x}, {&number, &x});
    return record("pow", std::move(value), wrt(x, [factor = std::log(base)](Variable<T> g, const Variable<T>& y) {
                      return std::move(g) * factor * y;
                  }));
}

template <class T> Variable<T> clip(Variable<T>&& x, T low, T high) {
    if (!(low <= high))
        throw Error(fmt::format("clip: the bounds are {} and {}; expected a lower and an upper one", low, high));
    return elementwise_operation("clip", formulas::Clip{low, high}, std::move(x));
}

namespace {

// Whether an array that broadcasts to a shape is all of its last dimensions, so that it recurs as a whole.
bool recurs_as_a_whole(const Shape& part, const Shape& shape) {
    const auto first = std::find_if(part.begin(), part.end(), [](std::size_t size) { return size != 1; });
    return std::equal(first, part.end(), shape.end() - (part.end() - first));
}

// A condition that broadcasts to a shape, as what recurs along the elements of that shape: where it recurs as a whole
// some repetitions of it, else at every place.
Array<bool> recurring(const Array<bool>& condition, const Shape& shape) {
    if (condition.shape() == shape) return share(condition, shape);
    if (condition.size() > 0 && recurs_as_a_whole(condition.shape(), shape)) {
        constexpr std::size_t enough = 256;
        if (condition.size() >= enough) return share(condition, condition.shape());
        Array<bool> some = empty<bool>(Shape{kernels::round_up(enough, condition.size())});
        for (std::size_t i = 0; i < some.size(); i += condition.size())
            std::copy_n(condition.data(), condition.size(), some.data() + i);
        return some;
    }
    Array<bool> mask = empty<bool>(shape);
    const kernels::Broadcast loop(shape, {condition.shape()});
    const bool* const from = condition.data();
    kernels::in_pieces(loop.size, 1, [&, to = mask.data()](std::size_t first, std::size_t count) {
        const auto spread_rows = [to](std::size_t begin, const kernels::Stretch<bool, 1>& rows) {
            const bool* row = rows.at[0];
            for (std::size_t end = begin + rows.rows * rows.length; begin < end;
                 begin += rows.length, row += rows.row_stride[0])
                if (rows.stride[0] == 0)
                    std::fill_n(to + begin, rows.length, *row);
                else
                    std::copy_n(row, rows.length, to + begin);
        };
        kernels::each_stretch_of_rows<1>(loop, &from, first, first + count, spread_rows);
    });
    return mask;
}

}  // namespace

template <class T> Variable<T> select(const Array<bool>& condition, const Variable<T>& a, const Variable<T>& b) {
    const Shape shape = broadcast_shape("where", condition.shape(), broadcast_shape("where", a.shape(), b.shape()));
    const Array<bool> mask = recurring(condition, shape);
    Array<T> value = empty<T>(shape);
    const kernels::Broadcast loop(shape, {a.shape(), b.shape()});
    const T* const inputs[] = {a.value().data(), b.value().data()};
    const kernels::Pass<T, 2> pass(loop, inputs);
    const auto select_row = kernels::move_kernels<T>().select;
    kernels::in_pieces(loop.size, 1, [&](std::size_t first, std::size_t count) {
        pass.each_stretch(first, first + count, [&](std::size_t begin, const kernels::Stretch<T, 2>& stretch) {
            for (std::size_t row = 0; row < stretch.rows; ++row)
                for (std::size_t done = 0, n; done < stretch.length; done += n, begin += n) {
                    const std::size_t place = begin % mask.size();
                    n = std::min(stretch.length - done, mask.size() - place);
                    const auto choice = [&](std::size_t k) -> kernels::Choice<T> {
                        const bool is_one = stretch.stride[k] == 0;
                        return {stretch.at[k] + row * stretch.row_stride[k] + (is_one ? 0 : done), is_one};
                    };
                    select_row(mask.data() + place, choice(0), choice(1), value.data() + begin, n);
                }
        });
    });
    // What was spread is not spread again in backward; a few repetitions are.
    const Array<bool>& kept = mask.shape() == shape ? mask : condition;
    return record("where", std::move(value), with("condition", condition),
                  wrt(a, [m = share(kept, kept.shape())](const Variable<T>& g) { return select(m, g, Variable<T>(0)); }),
                  wrt(b, [m = share(kept, kept.shape())](const Variable<T>& g) { return select(m, Variable<T>(0), g); }));
}

namespace {

// Compares the numbers of a row, where either side may be one number.
template <class T, class Compare>
void compare_row(const T* x, bool x_is_one, const T* y, bool y_is_one, std::size_t n, bool* answers) {
    const Compare compare;
    if (x_is_one)
        std::transform(y, y + n, answers, [=, w = *x](T z) { return compare(w, z); });
    else if (y_is_one)
        std::transform(x, x + n, answers, [=, z = *y](T w) { return compare(w, z); });
    else
        std::transform(x, x + n, y, answers, compare);
}

template <class T> auto row_comparison(Comparison how) {
    switch (how) {
        case Comparison::less: return compare_row<T, std::less<T>>;
        case Comparison::less_equal: return compare_row<T, std::less_equal<T>>;
        case Comparison::equal: return compare_row<T, std::equal_to<T>>;
        case Comparison::not_equal: break;
    }
    return compare_row<T, std::not_equal_to<T>>;
}

// Of equal shapes, or one number with an array.
template <class T> Array<bool> compare_alike(Comparison how, const Variable<T>& a, const Variable<T>& b) {
    const bool a_is_one = a.dimension() == 0, b_is_one = b.dimension() == 0;
    Array<bool> result = empty<bool>(a_is_one ? b.shape() : a.shape());
    const T *const x = a.value().data(), *const y = b.value().data();
    kernels::in_pieces(result.size(), 1, [&, compare = row_comparison<T>(how)](std::size_t first, std::size_t count) {
        compare(a_is_one ? x : x + first, a_is_one, b_is_one ? y : y + first, b_is_one, count, result.data() + first);
    });
    return result;
}

}  // namespace

template <class T> Array<bool> compare(Comparison how, const Variable<T>& a, const Variable<T>& b) {
    if (a.shape() == b.shape() || a.dimension() == 0 || b.dimension() == 0) return compare_alike(how, a, b);
    const std::array<const Variable<T>*, 2> inputs{&a, &b};
    return over_broadcast("comparison", inputs, [&](const Shape& shape, const auto& loop, const auto& data) {
        Array<bool> result = empty<bool>(shape);
        const kernels::Pass<T, 2> pass(loop, data.data());
        const auto compare_numbers = row_comparison<T>(how);
        kernels::in_pieces(loop.size, 1, [&](std::size_t first, std::size_t count) {
            pass.each_stretch(first, first + count, [&](std::size_t begin, const kernels::Stretch<T, 2>& s) {
                for (std::size_t row = 0; row < s.rows; ++row)
                    compare_numbers(s.at[0] + row * s.row_stride[0], s.stride[0] == 0, s.at[1] + row * s.row_stride[1],
                                    s.stride[1] == 0, s.length, result.data() + begin + row * s.length);
            });
        });
        return result;
    });
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
    template Variable<T> pow_of_number(T, Variable<T>&&); \
    template Variable<T> clip(Variable<T>&&, T, T); \
    template Variable<T> select(const Array<bool>&, const Variable<T>&, const Variable<T>&); \
    template Array<bool> compare(Comparison, const Variable<T>&, const Variable<T>&);
XGRAD_OPERATORS(float)
XGRAD_OPERATORS(double)

}  // namespace detail

template Array<bool> isnan(const Variable<float>&);
template Array<bool> isnan(const Variable<double>&);

XGRAD_IN_BOTH_PRECISIONS(sign)
XGRAD_IN_BOTH_PRECISIONS(floor)
template Variable<float> pow(Variable<float>, Variable<float>);
template Variable<double> pow(Variable<double>, Variable<double>);
template Variable<float> maximum(Variable<float>, Variable<float>);
template Variable<double> maximum(Variable<double>, Variable<double>);
template Variable<float> minimum(Variable<float>, Variable<float>);
template Variable<double> minimum(Variable<double>, Variable<double>);

}  // namespace xgrad
