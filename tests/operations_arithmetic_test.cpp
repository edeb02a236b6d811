#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "random.hpp"
#include "record_log.hpp"
#include "threads.hpp"
#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/tape.hpp>

using namespace xgrad;
using xgrad::testing::check_refused;
using xgrad::testing::close;
using xgrad::testing::random;
using xgrad::testing::same;
using xgrad::testing::Threads;

namespace {

using V = Variable<double>;

struct Broadcast {
    Shape a, b, result;
};
const std::vector<Broadcast> broadcasts{
    {{2, 3}, {2, 3}, {2, 3}},
    {{2, 3}, {3}, {2, 3}},
    {{3}, {2, 3}, {2, 3}},
    {{2, 3}, {2, 1}, {2, 3}},
    {{2, 1, 3}, {4, 1}, {2, 4, 3}},
    {{4, 1}, {2, 1, 3}, {2, 4, 3}},
    {{}, {2, 3}, {2, 3}},
    {{2, 3}, {}, {2, 3}},
    {{3, 1}, {1, 2}, {3, 2}},
    {{1}, {5}, {5}},
    {{1, 1}, {3}, {1, 3}},
    {{}, {}, {}},
    {{0, 3}, {3}, {0, 3}},
    {{0, 3}, {1, 1}, {0, 3}},
    {{1}, {0}, {0}},
    {{1, 2, 1, 2}, {3, 1, 1, 1}, {3, 2, 1, 2}},
};

// The result has the shape of NumPy's rule, and derivatives by both operands are right.
template <class F> void check_binary(F operation, double low = -2) {
    for (const auto& [a, b, result] : broadcasts) {
        INFO("shapes " << describe(a) << " and " << describe(b));
        const V x = random(a, 1, low, 2, 0.2), y = random(b, 2, low, 2, 0.2);
        CHECK(operation(x, y).shape() == result);
        gradcheck(operation, {x, y});
    }
}

template <class F> void check_unary(F operation, double low, double high, double gap = 0) {
    for (const Shape& shape : std::vector<Shape>{{3, 5}, {7}, {}, {1, 1}, {0, 2}, {2, 1, 3}}) {
        INFO("shape " << describe(shape));
        const V x = random(shape, 3, low, high, gap);
        CHECK(operation(x).shape() == shape);
        gradcheck(operation, {x});
    }
    gradcheck(operation, {random({2}, 4, low, high, gap)}, {.order = 3, .relative_tolerance = 1e-5});
}

}  // namespace

TEST_CASE("the four operators have right derivatives over shapes that broadcast", "[operations][arithmetic]") {
    check_binary([](auto& x, auto& y) { return x + y; });
    check_binary([](auto& x, auto& y) { return x - y; });
    check_binary([](auto& x, auto& y) { return x * y; });
    check_binary([](auto& x, auto& y) { return x / y; });
}

TEST_CASE("products and quotients have the cotangents of those operands that require one", "[operations][arithmetic]") {
    for (const auto& [a, b, result] : broadcasts) {
        INFO("shapes " << describe(a) << " and " << describe(b));
        const V x = random(a, 1, -2, 2, 0.2), y = random(b, 2, -2, 2, 0.2);
        gradcheck([&](auto& v) { return v * y; }, {x});
        gradcheck([&](auto& v) { return x * v; }, {y});
        gradcheck([&](auto& v) { return v / y; }, {x});
        gradcheck([&](auto& v) { return x / v; }, {y});
    }
}

TEST_CASE("products and quotients keep only what their cotangents need", "[operations][arithmetic]") {
    for (const Shape& shape : {Shape{2}, Shape{2, 2}}) {
        INFO("beside (2, 2): " << describe(shape));
        const V x = random({2, 2}, 1);
        V w = random(shape, 2).requires_grad(true);
        const V product = sum(x * w);
        w.assign(w.value() * 2);  // by w, the derivative is x
        CHECK_NOTHROW(product.backward());
        V a = random({2, 2}, 3).requires_grad(true), b = random(shape, 4, 1, 2).requires_grad(true);
        const V quotient = sum(a / b);
        a.assign(a.value() * 2);  // by b, it comes from the quotient
        CHECK_NOTHROW(quotient.backward());
        V h = a * 2;
        const detail::Node* const node = h.node();
        V by_variable = h * w;
        const V by_constant = h * random(shape, 5), divided = h / b;
        h = {};
        CHECK(node->has_value());
        by_variable = {};
        CHECK_FALSE(node->has_value());
    }
}

TEST_CASE("a quotient by a tiny divisor has the derivatives that floats can hold", "[operations][arithmetic]") {
    for (const Shape& shape : {Shape{2}, Shape{2, 2}}) {
        const Variable<> a = Variable<>{{1, 2}, {3, 4}}.requires_grad(true);
        Variable<> b = Variable<>(full(shape, 1e-20f)).requires_grad(true);
        (a / b).backward(full(Shape{2, 2}, 0.0f));
        CHECK(same(b.grad(), full(shape, 0.0f)));
        b.zero_grad();
        (a / b).backward(Variable<>{{1e-10f, 0}, {0, 0}});
        CHECK(b.grad().value().data()[0] == Approx(-1e30f));
    }
}

TEST_CASE("a variable times itself has right derivatives and is a product of two", "[operations][arithmetic]") {
    check_unary([](auto& x) { return x * x; }, -2, 2);
    V x = V(3).requires_grad(true);
    const testing::RecordLog log;
    CHECK((x * x).item() == 9);
    CHECK(log.names == std::vector<std::string>{"multiply"});
    CHECK(log.inputs[0] == std::vector<const detail::Node*>{x.node(), x.node()});
}

TEST_CASE("pow, maximum and minimum have right derivatives over shapes that broadcast", "[operations][arithmetic]") {
    check_binary([](auto& x, auto& y) { return pow(x, y); }, 0.2);
    check_binary([](auto& x, auto& y) { return maximum(x, y); });
    check_binary([](auto& x, auto& y) { return minimum(x, y); });
}

TEST_CASE("elementary functions have right derivatives of every order", "[operations][arithmetic]") {
    check_unary([](auto& x) { return -x; }, -2, 2);
    check_unary([](auto& x) { return exp(x); }, -2, 2);
    check_unary([](auto& x) { return expm1(x); }, -2, 2);
    check_unary([](auto& x) { return log(x); }, 0.3, 3);
    check_unary([](auto& x) { return log1p(x); }, -0.6, 3);
    check_unary([](auto& x) { return sqrt(x); }, 0.3, 3);
    check_unary([](auto& x) { return rsqrt(x); }, 0.4, 3);
    check_unary([](auto& x) { return square(x); }, -2, 2);
    check_unary([](auto& x) { return reciprocal(x); }, -2, 2, 0.5);
    check_unary([](auto& x) { return abs(x); }, -2, 2, 0.1);
    check_unary([](auto& x) { return sin(x); }, -4, 4);
    check_unary([](auto& x) { return cos(x); }, -4, 4);
    check_unary([](auto& x) { return tan(x); }, -1, 1);
    check_unary([](auto& x) { return tanh(x); }, -2, 2);
    check_unary([](auto& x) { return sigmoid(x); }, -4, 4);
    check_unary([](auto& x) { return erf(x); }, -2, 2);
}

TEST_CASE("numbers stand on either side of an operator", "[operations][arithmetic]") {
    const V x{1, 2, 4};
    CHECK(same(x + 2, {3, 4, 6}));
    CHECK(same(2 + x, {3, 4, 6}));
    CHECK(same(x - 2, {-1, 0, 2}));
    CHECK(same(2 - x, {1, 0, -2}));
    CHECK(same(x * 2.5f, {2.5, 5, 10}));
    CHECK(same(2.5f * x, {2.5, 5, 10}));
    CHECK(same(x / 4, {0.25, 0.5, 1}));
    CHECK(same(4 / x, {4, 2, 1}));
    CHECK(same(+x, {1, 2, 4}));
    const V y = random({2, 3}, 1, -2, 2, 0.3);
    gradcheck([](auto& a) { return 3 + a * 2 - (1 - a) / 4 + 5 / a - 0.5 * (a - 7); }, {y});
    static_assert(std::same_as<decltype(Variable<float>{1, 2} * 2.0), Variable<float>>);
}

TEST_CASE("an operand that is used twice receives both cotangents", "[operations][arithmetic]") {
    const V x = random({2, 3}, 1, -2, 2, 0.3);
    gradcheck([](auto& a) { return a + a; }, {x});
    gradcheck([](auto& a) { return a - a; }, {x});
    gradcheck([](auto& a) { return a * a * a; }, {x});
    gradcheck([](auto& a) { return a / a + maximum(a, -a); }, {x});
}

TEST_CASE("powers with number exponents and bases have right derivatives", "[operations][arithmetic]") {
    for (double exponent : {-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.7, 2.0, 3.0, 9.0}) {
        INFO("exponent " << exponent);
        gradcheck([=](auto& x) { return pow(x, exponent); }, {random({5}, 1, 0.4, 1.5)});
    }
    gradcheck([](auto& x) { return pow(x, 3); }, {random({5}, 2, -2, -0.5)});
    gradcheck([](auto& x) { return pow(x, -3) + pow(x, 2.0f); }, {random({5}, 2, -2, -0.5)});
    for (const double base : {2.5, 1.0, 0.3}) gradcheck([=](auto& x) { return pow(base, x); }, {random({2, 3})}, {.order = 3});
    gradcheck([](auto& x) { return pow(0, x); }, {random({2, 3}, 1, 0.5, 2)});
    gradcheck([](auto& x) { return pow(x, 2) + pow(x, 1) + pow(x, 0); }, {V{0, 0}});
    const double base = -1.5;
    CHECK(pow(V(base), V(3)).item() == Approx(-3.375));
    CHECK(std::isnan(pow(V(base), 0.7).item()));
}

TEST_CASE("a power has PyTorch's derivatives by base and by exponent, as an operation and in a formula",
          "[operations][arithmetic]") {
    constexpr double infinity = std::numeric_limits<double>::infinity(), none = std::numeric_limits<double>::quiet_NaN();
    struct Row {
        double x, p, by_x, by_p, by_x_twice = 0;
    };
    const Row rows[]{{-2, 3, 12, none, -12},      {-2, 0, 0, none, 0},  {-2, -1, -0.25, none, -0.25},
                     {-2, 0.5, none, none, none}, {0, 2, 0, 0, 2},      {0, 1, 1, 0, 0},
                     {0, 0.5, infinity, 0},       {0, 0, 0, 0, 0},      {0, -1, -infinity, -infinity},
                     {2, 3, 12, 8 * std::log(2), 12}};
    const auto equal = [](double a, double b) { return std::isnan(b) ? std::isnan(a) : a == Approx(b); };
    const auto in_formula = elementwise([](auto x, auto p) { return pow(x, p); });
    const auto power = GENERATE_REF(as<std::function<V(const V&, const V&)>>(),
                                    [](const V& x, const V& p) { return pow(x, p); }, in_formula);
    for (const Row& row : rows) {
        INFO(row.x << " to the power of " << row.p);
        V x = row.x, p = row.p;
        x.requires_grad(true);
        p.requires_grad(true);
        const auto first = grad<double>({power(x, p)}, {x, p});
        CHECK(equal(first[0].item(), row.by_x));
        CHECK(equal(first[1].item(), row.by_p));
        const auto recorded = grad<double>({power(x, p)}, {x, p}, {}, {.create_graph = true});
        CHECK(equal(recorded[0].item(), row.by_x));
        CHECK(equal(recorded[1].item(), row.by_p));
        if (std::isinf(row.by_x)) continue;  // beyond a pole is ∞·0
        CHECK(equal(grad(recorded[0], x, {.retain_graph = true}).item(), row.by_x_twice));
        if (row.x >= 0) continue;
        CHECK(std::isnan(grad(recorded[1], x, {.retain_graph = true}).item()));
        CHECK(std::isnan(grad(recorded[1], p).item()));
    }
    // A direction in which the exponent does not change at first may still count in the second order.
    gradcheck([](auto& x) { return pow(2.0 + 0 * x, square(x)); }, {V{0, 0.5}});
    gradcheck([](auto& x) { return elementwise([](auto y) { return pow(y + 2, square(y)); })(x); }, {V{0, 0.5}});
}

TEST_CASE("clip keeps values within its bounds and stops cotangents at and beyond them", "[operations][arithmetic]") {
    V x{-2, -1, 0.5, 1, 3};
    x.requires_grad(true);
    const V y = clip(x, -1, 1);
    CHECK(same(y, {-1, -1, 0.5, 1, 1}));
    sum(y).backward();
    CHECK(same(x.grad(), {0, 0, 1, 0, 0}));
    gradcheck([](auto& a) { return clip(a * a, 0.5, 2) * a; }, {random({3, 3}, 1, -2, 2, 0.1)});
    check_refused([&] { return clip(x, 2, 1.5); }, {"clip", "2", "1.5"});
}

TEST_CASE("at a tie maximum and minimum give each operand half of the cotangent", "[operations][arithmetic]") {
    V a{1, 2, 3}, b{1, 3, 2};
    a.requires_grad(true), b.requires_grad(true);
    maximum(a, b).backward(V{4, 4, 4});
    CHECK(same(a.grad(), {2, 0, 4}));
    CHECK(same(b.grad(), {2, 4, 0}));
    minimum(a, b).backward(V{4, 4, 4});
    CHECK(same(a.grad(), {4, 4, 4}));
    CHECK(same(b.grad(), {4, 4, 4}));
    CHECK(same(maximum(0, a - 2), {0, 0, 1}));
    CHECK(same(minimum(a, 2), {1, 2, 2}));
}

TEST_CASE("maximum and minimum are NaN where either operand is", "[operations][arithmetic]") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const V& y : {maximum(V{nan, 1, nan}, V{1, nan, nan}), minimum(V{nan, 1, nan}, V{1, nan, nan})})
        CHECK(same(isnan(y), {true, true, true}));
    CHECK(same(isnan(V{0, nan}), {false, true}));
}

TEST_CASE("sign and floor have zero derivatives", "[operations][arithmetic]") {
    CHECK(same(sign(V{-2, 0, 3}), {-1, 0, 1}));
    CHECK(same(floor(V{-1.5, 0, 1.5}), {-2, 0, 1}));
    gradcheck([](auto& x) { return sign(x) * x + floor(x) * x; }, {random({2, 3}, 1, 0.1, 0.9)});
    gradcheck([](auto& x) { return sign(x) + floor(x); }, {random({2, 3}, 1, 0.1, 0.9)});
}

TEST_CASE("where takes conditions, Variables, expressions and numbers, and broadcasts all three",
          "[operations][arithmetic]") {
    const Array<bool> condition{{true, false, true}, {false, false, true}};
    const V a = random({2, 3}, 1), b = random({2, 3}, 2);
    CHECK(same(where(condition, a, b), xt::where(condition, a.value(), b.value())));
    CHECK(same(where(condition, a, 0), xt::where(condition, a.value(), 0.0)));
    CHECK(same(where(condition, 1.5, b), xt::where(condition, 1.5, b.value())));
    CHECK(same(where(a.value() > 0, a, b.value() + 1), xt::where(a.value() > 0, a.value(), b.value() + 1)));
    CHECK(same(where(a > b, a, b), xt::maximum(a.value(), b.value())));

    for (const std::size_t rows : {40, 500}) {  // long rows, and so many that they are cut into pieces
        const V whole = random({rows, 50}, 3), row = random({50}, 4), column = random({rows, 1}, 5);
        const Array<bool> mask = whole.value() > 0;
        const Array<double> as_row = xt::broadcast(row.value(), {rows, std::size_t{50}});
        const Array<double> as_column = xt::broadcast(column.value(), {rows, std::size_t{50}});
        CHECK(same(where(mask, row, column), xt::where(mask, as_row, as_column)));
        CHECK(same(where(mask, column, whole), xt::where(mask, as_column, whole.value())));
        CHECK(same(where(mask, whole, row), xt::where(mask, whole.value(), as_row)));
        CHECK(same(where(mask, row, 2), xt::where(mask, as_row, 2.0)));
    }

    gradcheck([&](auto& x, auto& y) { return square(where(condition, x, y)) * x; }, {a, b});
    gradcheck([&](auto& x, auto& y) { return square(where(condition, x, y)); }, {random({3}, 1), random({2, 1}, 2)});
    gradcheck([&](auto& x, auto& y) { return square(where(condition, x, y)); }, {V(2), V(3)});
    gradcheck(
        [](auto& x, auto& y) {
            return square(where(Array<bool>{true, false}, x, y));
        },
        {random({3, 2}, 1), random({}, 2)});
    gradcheck([](auto& x) { return where(Array<bool>(Shape{}, true), x, 2 * x); }, {random({3})});
    gradcheck([](auto& x) { return where(Array<bool>(Shape{0}, true), x, 1); }, {random({1})});
}

TEST_CASE("where repeats a condition as it does numbers", "[operations][arithmetic]") {
    const std::pair<Shape, Shape> shapes[] = {{{4, 3}, {3}},       {{4, 3}, {4, 1}},           {{2, 3, 4}, {3, 1}},
                                              {{2, 3, 4}, {2, 1, 4}}, {{5, 1, 40}, {1, 3, 1}}, {{70, 300}, {300}},
                                              {{70, 300}, {70, 1}}, {{6, 50, 60}, {50, 60}},   {{3, 2}, {}},
                                              {{0, 3}, {3}},        {{3}, {2, 1}},             {{40, 10, 7}, {10, 7}},
                                              {{9, 300}, {1, 300}}, {{6000, 3}, {3}}, {{3, 1, 70}, {2, 70}},     {{2, 3, 4}, {1, 3, 4}}};
    for (const auto& [shape, of_condition] : shapes) {
        CAPTURE(describe(shape), describe(of_condition));
        const V x = random(shape, 1), numbers = random(of_condition, 2);
        // What stands where the condition does not hold shows which number of it was meant.
        const V expected = where(broadcast_to(numbers, (x + numbers).shape()) > 0, x, numbers);
        CHECK(same(where(numbers > 0, x, numbers), expected.value()));
    }
    Array<bool> column(Shape{2, 1}, true);
    column(1, 0) = false;
    gradcheck([&](auto& a, auto& b) { return where(column, a, b); }, {random({2, 3}, 1), random({3}, 2)});
    const Array<bool> row{true, false, true}, long_row = Array<bool>(random({300}, 3).value() > 0);
    gradcheck([&](auto& a, auto& b) { return square(where(row, a, b)); }, {random({4, 3}, 1), random({4, 1}, 2)});
    gradcheck([&](auto& a, auto& b) { return square(where(long_row, a, b)); }, {random({3, 300}, 1), random({3, 1}, 2)});
}

TEST_CASE("the branch that where does not take gets exactly no cotangent", "[operations][arithmetic]") {
    V x{-1, 0, 4};
    x.requires_grad(true);
    const V y = where(x > 0, sqrt(where(x > 0, x, 1)), 0);
    sum(y).backward();
    CHECK(same(x.grad(), {0, 0, 0.25}));
    V a{1, 2};
    a.requires_grad(true);
    const double infinity = std::numeric_limits<double>::infinity();
    where(Array<bool>{true, false}, a, 0).backward(V{1, infinity});
    CHECK(same(a.grad(), {1, 0}));
}

TEST_CASE("Variables and xtensor expressions mix in every operator", "[operations][arithmetic]") {
    const V x = random({2, 3}, 1, 0.5, 2);
    const xt::xarray<double> a{1, 2, 3};
    const Array<double> v = x.value();
    CHECK(same(x + a, v + a));
    CHECK(same(a + x, v + a));
    CHECK(same(x - xt::exp(a), v - xt::exp(a)));
    CHECK(same((a + 1) - x, (a + 1) - v));
    CHECK(same(x * (2 * a), v * (2 * a)));
    CHECK(same(x / a, v / a));
    CHECK(same(a / x, a / v));
    CHECK(same(maximum(x, a), xt::maximum(v, a)));
    CHECK(close(pow(x, a).value(), xt::pow(v, a)));
    CHECK(same(maximum(a, x), xt::maximum(a, v)));
    CHECK(same(minimum(x, a), xt::minimum(v, a)));
    CHECK(same(x < a, v < a));
    CHECK(same(a <= x, a <= v));
    CHECK(same(x > a, v > a));
    CHECK(same(a >= x, a >= v));
    CHECK(same(x == v, full(x.shape(), true)));
    CHECK(same(v != x, full(x.shape(), false)));
    gradcheck([&](auto& y) { return maximum(y, a / 2) * pow(a, y) + minimum(pow(y, a), a); }, {x});
    gradcheck([&](auto& y) { return (a * y - y / (a + 1)) + a / y - (xt::exp(a) - y); }, {x});

    const xt::xarray<float> f{1, 2, 3};
    static_assert(std::same_as<decltype(x + f), V>);
    CHECK(same(x + f, v + a));
    CHECK(same(Variable<float>{1, 2} * xt::xarray<int>{3, 4}, {3, 8}));
}

TEST_CASE("compound assignment makes a new value and leaves the old one alone", "[operations][arithmetic]") {
    V x{1, 2};
    x.requires_grad(true);
    V y = x;
    y += 1;
    y *= y;
    y -= x;
    y /= V{2, 1};
    CHECK(same(x, {1, 2}));
    CHECK(same(y, {1.5, 7}));
    sum(y).backward();  // ((x + 1)² − x)/c
    CHECK(same(x.grad(), {1.5, 5}));
}

TEST_CASE("comparisons give arrays of bool, broadcast, and record nothing", "[operations][arithmetic]") {
    V x{{1, 2}, {3, 4}};
    x.requires_grad(true);
    const V y{2, 3};
    const std::size_t recorded = Tape::current().size();
    CHECK(same((x < y), {{true, true}, {false, false}}));
    CHECK(same((x <= y), {{true, true}, {false, false}}));
    CHECK(same((x > y), {{false, false}, {true, true}}));
    CHECK(same((x >= y), {{false, false}, {true, true}}));
    CHECK(same((x == 2), {{false, true}, {false, false}}));
    CHECK(same((x != 2), {{true, false}, {true, true}}));
    CHECK(same((3 > x), {{true, true}, {false, false}}));
    CHECK(Tape::current().size() == recorded);
    const V nan = std::numeric_limits<double>::quiet_NaN();
    CHECK_FALSE((nan == nan)());
    CHECK((nan != nan)());
    CHECK_FALSE((nan <= nan)());
    check_refused([&] { return x < V{1, 2, 3}; }, {"comparison", "(2, 2)", "(3,)"});
}

TEST_CASE("shapes that do not broadcast are refused with the operation's name and both shapes",
          "[operations][arithmetic][errors]") {
    const V a = random({2, 3}), b = random({4});
    const auto refused = [](const char* operation, auto function) {
        check_refused(function, {operation, "(2, 3)", "(4,)"});
    };
    refused("add", [&] { return a + b; });
    refused("subtract", [&] { return a - b; });
    refused("multiply", [&] { return a * b; });
    refused("divide", [&] { return a / b; });
    refused("pow", [&] { return pow(a, b); });
    refused("maximum", [&] { return maximum(a, b); });
    refused("minimum", [&] { return minimum(b, a); });
    refused("where", [&] { return where(Array<bool>{true}, a, b); });
    refused("where", [&] { return where(b > 0, a, 1); });
    refused("multiply", [&] { return a * b.value(); });
    refused("comparison", [&] { return a >= b; });
    check_refused([&] { return a + V(); }, {"empty"});
    check_refused([&] { return exp(V()); }, {"empty"});
    check_refused([] { return random({0}) + random({2}); }, {"(0,)", "(2,)"});
}

TEST_CASE("results in float and double have the precision of their operands", "[operations][arithmetic]") {
    static_assert(std::same_as<decltype(exp(Variable<float>(1))), Variable<float>>);
    static_assert(std::same_as<decltype(pow(Variable<float>(1), 2.0)), Variable<float>>);
    static_assert(std::same_as<decltype(maximum(Variable<float>(1), 0.5)), Variable<float>>);
    static_assert(std::same_as<decltype(where(Array<bool>{true}, Variable<float>(1), 0.5)), Variable<float>>);
    CHECK((Variable<float>(1) / 3).item() == 1.0f / 3);
    CHECK((V(1) / 3).item() == 1.0 / 3);
    CHECK((1 / Variable<float>(3)).item() == 1.0f / 3);
    CHECK((V(3) / 10).item() == 0.3);
}

TEST_CASE("large comparisons look at numbers and arrays on either side", "[operations]") {
    Array<float> numbers = empty<float>({300, 80});
    std::iota(numbers.begin(), numbers.end(), 0.0f);
    const Variable<> x(numbers), one(full(Shape{1, 1}, 5000.0f)), row(full(Shape{80}, 5000.0f));
    const Array<bool> below = numbers < 5000.0f, above = 5000.0f < numbers;
    for (const std::size_t count : {1, 3}) {
        const Threads scope(count);
        CHECK(same(x < 5000, below));
        CHECK(same(5000 < x, above));
        CHECK(same(x < one, below));
        CHECK(same(one < x, above));
        CHECK(same(x < row, below));
        CHECK(where(x < 5000, x, 5000).value() == Array<float>(xt::minimum(numbers, 5000.0f)));
        CHECK(where(x < 5000, 5000, x).value() == Array<float>(xt::maximum(numbers, 5000.0f)));
    }
    CHECK((Variable<>(1) < Variable<>(full(Shape{1}, 2.0f))).shape() == Shape{1});
    CHECK((Variable<>(full(Shape{1}, 2.0f)) < Variable<>(1)).shape() == Shape{1});
}
