#include <array>
#include <cmath>
#include <initializer_list>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "random.hpp"
#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>

using namespace xgrad;
using xgrad::testing::check_refused;
using xgrad::testing::close;
using xgrad::testing::random;
using xgrad::testing::same;

namespace {

using V = Variable<double>;

const auto swish = elementwise([](auto x) { return x / (1 + exp(-x)); }, "swish");
const auto distance = elementwise([](auto x, auto y) { return sqrt(1 + square(x - y)); }, "distance");
const auto blend = elementwise([](auto a, auto b, auto t) { return a + (b - a) * sigmoid(t); }, "blend");

// dᵏf(x)/dxᵏ, each derivative taken of the one before.
template <class F> double derivative(F f, double at, int order) {
    V x(at);
    x.requires_grad(true);
    V y = f(x);
    for (int i = 0; i < order; ++i) y = grad(y, x, {.create_graph = true});
    return y.item();
}

double item_or_zero(const V& x) { return x.defined() ? x.item() : 0; }

// First derivatives of f by each input, and second ones by each pair: nothing where f does not depend on them.
template <class F, std::size_t N> std::vector<double> derivatives(F f, const std::array<double, N>& at, bool second) {
    std::vector<V> inputs(at.begin(), at.end());
    for (V& x : inputs) x.requires_grad(true);
    const V y = [&]<std::size_t... I>(std::index_sequence<I...>) { return f(inputs[I]...); }
    (std::make_index_sequence<N>());
    std::vector<double> found;
    for (const V& g : grad<double>({y}, inputs, {}, {.retain_graph = true, .create_graph = second})) {
        found.push_back(item_or_zero(g));
        if (!second) continue;
        for (const V& x : inputs)
            found.push_back(g.requires_grad() ? item_or_zero(grad(g, x, {.retain_graph = true})) : 0);
    }
    // Each by itself, where the backward has but one gradient to compute.
    for (const V& x : inputs) found.push_back(item_or_zero(grad(y, x, {.retain_graph = true, .create_graph = second})));
    return found;
}

// Fused, a formula has the derivatives of the operations it is written with: the same number wherever theirs is finite,
// and no finite one elsewhere.
template <std::size_t N, class F>
void check_poles(const char* name, F f, std::initializer_list<std::array<double, N>> points) {
    for (const std::array<double, N>& at : points)
        for (const bool second : {false, true}) {
            const auto fused = derivatives(elementwise(f), at, second), composed = derivatives(f, at, second);
            REQUIRE(fused.size() == composed.size());
            for (std::size_t i = 0; i < fused.size(); ++i) {
                INFO(name << " at " << at[0] << ", " << at[1] << ", derivative " << i << " of order " << 1 + second);
                if (std::isfinite(composed[i]))
                    CHECK(fused[i] == Approx(composed[i]));
                else
                    CHECK_FALSE(std::isfinite(fused[i]));
            }
        }
}

// What `if (x > 0)` needs.
template <class X> concept Branches = requires(const X& x) {
    x > 0 ? 1 : 2;
};

}  // namespace

TEST_CASE("a formula of one input has right values and derivatives", "[elementwise]") {
    for (const Shape& shape : std::vector<Shape>{{}, {1}, {7}, {3, 5}, {0, 2}, {2, 1, 3}, {33}}) {
        INFO(describe(shape));
        const V x = random(shape);
        CHECK(close(swish(x).value(), x.value() / (1 + xt::exp(-x.value()))));
        gradcheck(swish, {x});
    }
    CHECK(swish(Variable<float>{1, 2}).value()(1) == Approx(2 / (1 + std::exp(-2.0))));
}

TEST_CASE("formulas of two and three inputs broadcast, and have right derivatives by each", "[elementwise]") {
    struct Case {
        Shape a, b, result;
    };
    for (const auto& [a, b, result] : std::vector<Case>{{{2, 3}, {2, 3}, {2, 3}},
                                                        {{2, 3}, {3}, {2, 3}},
                                                        {{3}, {2, 1}, {2, 3}},
                                                        {{}, {4}, {4}},
                                                        {{2, 1, 3}, {4, 1}, {2, 4, 3}},
                                                        {{0, 3}, {3}, {0, 3}},
                                                        {{}, {}, {}}}) {
        INFO(describe(a) << " and " << describe(b));
        const V x = random(a, 1), y = random(b, 2);
        CHECK(distance(x, y).shape() == result);
        gradcheck(distance, {x, y});
        gradcheck(blend, {x, y, random({3, 1}, 3).shape() == b ? y : V(0.3)});
        gradcheck([&](auto& v) { return distance(v, y); }, {x});
        gradcheck([&](auto& v) { return distance(x, v); }, {y});
    }
    gradcheck(blend, {random({2, 1, 3}, 1), random({4, 1}, 2), random({3}, 3)});
    gradcheck([](auto& x) { return blend(x, x * x, x); }, {random({3})});
}

TEST_CASE("a formula of many inputs passes cotangents to those that require them", "[elementwise]") {
    const auto polynomial =
        elementwise([](auto a, auto b, auto c, auto d, auto x) { return ((a * x + b) * x + c) * x + d; });
    gradcheck(polynomial, {random({3}, 1), random({}, 2), random({2, 1}, 3), random({3}, 4), random({2, 3}, 5)});
    V a = 2, x = 3;
    a.requires_grad(true);
    polynomial(a, 0, 0, 0, x).backward();
    CHECK(a.grad().item() == 27);
    CHECK_FALSE(x.grad().defined());
}

TEST_CASE("all operands but one may be numbers and xtensor expressions", "[elementwise]") {
    const xt::xarray<double> e{1, 2, 3};
    const V x = random({2, 3});
    CHECK(close(distance(x, e * 2).value(), xt::sqrt(1 + xt::square(x.value() - e * 2))));
    CHECK(close(distance(x, 0.5).value(), xt::sqrt(1 + xt::square(x.value() - 0.5))));
    CHECK(same(distance(e, x), distance(x, e).value()));
    gradcheck([&](auto& v) { return distance(v, e) * distance(2, v) * blend(0, e, v); }, {x});
    gradcheck(elementwise([](auto v) { return distance(0.5, v) * blend(v, 1, 2); }), {x});
}

TEST_CASE("formulas use activations, one another, and settings that they captured", "[elementwise]") {
    const double scale = 0.7;
    const auto nested = elementwise([=](auto x, auto y) {
        return scale * swish(x) + gelu(y) * mish(x * y) - softplus(distance(x, y)) + leaky_relu(x, 0.1) + elu(y) +
               selu(x);
    });
    const V x = random({2, 5}, 1, -2, 2, 0.05), y = random({5}, 2, -2, 2, 0.05);
    const auto composed =
        scale * swish(x) + gelu(y) * mish(x * y) - softplus(distance(x, y)) + leaky_relu(x, 0.1) + elu(y) + selu(x);
    CHECK(close(nested(x, y).value(), composed.value()));
    gradcheck(nested, {x, y});
    const auto gated = elementwise([](auto x_, auto y_) {
        return silu(x_) * hardswish(y_) + celu(x_) * hardsigmoid(y_) + gelu_tanh(x_) + softsign(y_) +
               relu(x_) * hardtanh(y_) + log_sigmoid(x_);
    });
    gradcheck(gated, {x, y});
}

TEST_CASE("formulas branch by where, and comparisons combine", "[elementwise]") {
    const auto smooth_l1 = elementwise([](auto x, auto y) {
        const auto d = abs(x - y);
        return where(d < 1, 0.5 * square(d), d - 0.5);
    });
    const V x = random({20}, 1, -3, 3), y = random({20}, 2, -3, 3);
    gradcheck(smooth_l1, {x, y});
    V a{0, 0.5, 3};
    a.requires_grad(true);
    const V loss = smooth_l1(a, 0);
    CHECK(same(loss, {0, 0.125, 2.5}));
    loss.backward(V{1, 1, 1});
    CHECK(same(a.grad(), {0, 0.5, 1}));

    const auto band =
        elementwise([](auto v) { return where(v > -1, where(v <= 1, v * v * v, 2 * v), exp(minimum(v, 0))); });
    gradcheck(band, {random({20}, 3, -3, 3)});
    const auto number_first = elementwise([](auto v) { return where(v != 0, 1.0, v) * v; });
    gradcheck(number_first, {random({5}, 4, -3, 3, 0.1)});
}

TEST_CASE("a formula may give a constant, or leave an input out", "[elementwise]") {
    const auto second = elementwise([](auto, auto y) { return y * y; });
    gradcheck(second, {random({2, 3}, 1), random({3}, 2)});
    CHECK(second(random({2, 3}), V{1, 2, 3}).shape() == Shape{2, 3});
    const auto one = elementwise([](auto x) { return 0 * x + 1; });
    gradcheck(one, {random({2})});
    const auto constant = elementwise([](auto) { return 2.0; });
    CHECK(same(constant(V{1, 2}), {2, 2}));
    gradcheck(constant, {random({2})});
    const auto same_input = elementwise([](auto x) { return x; });
    gradcheck(same_input, {random({2})});
}

TEST_CASE("a pole in the derivative by one input does not spoil those by the others", "[elementwise]") {
    const auto root = elementwise([](auto x, auto y) { return sqrt(x) + y; });
    V x{0, 4}, y{1, 1};
    x.requires_grad(true), y.requires_grad(true);
    sum(root(x, y)).backward();
    CHECK(same(x.grad(), {INFINITY, 0.25}));
    CHECK(same(y.grad(), {1, 1}));

    const std::initializer_list<std::array<double, 2>> at_zero = {{0, 2}, {0, -0.5}, {0.7, 2}};
    check_poles<2>("sqrt", [](auto a, auto b) { return sqrt(a) + b * b; }, at_zero);
    check_poles<2>("product", [](auto a, auto b) { return sqrt(a) * b; }, at_zero);
    check_poles<2>("rsqrt", [](auto a, auto b) { return rsqrt(a) + b * b; }, at_zero);
    check_poles<2>("log", [](auto a, auto b) { return square(b) - log(a); }, at_zero);
    check_poles<2>("log1p", [](auto a, auto b) { return log1p(a) + exp(b); }, {{-1, 2}, {0.5, 2}});
    check_poles<2>("division", [](auto a, auto b) { return 1 / a + b / 2 + b; }, at_zero);
    check_poles<2>("reciprocal", [](auto a, auto b) { return b * b - reciprocal(a); }, at_zero);
    check_poles<2>("power", [](auto a, auto b) { return pow(a, 0.5) + b * b; }, at_zero);
    check_poles<2>("negative base", [](auto a, auto b) { return pow(a, b) * 2; }, {{-3, 2}, {0.7, 2}});
    check_poles<2>("branch", [](auto a, auto b) { return where(b > 0, sqrt(a), log(a)) + b * b; }, at_zero);

    const std::initializer_list<std::array<double, 3>> of_three = {{0, 2, 3}, {1.5, 0, 3}, {0, 0, 3}, {1.5, 2, 3}};
    check_poles<3>("three", [](auto a, auto b, auto c) { return sqrt(a) + log(b) + c * c * c; }, of_three);
    check_poles<3>("a sum that grows", [](auto a, auto b, auto c) {
        auto total = c;
        total += sqrt(a);
        for (int i = 0; i < 3; ++i) total += b * c;
        return total;
    }, of_three);
    check_poles<3>("one that appears late", [](auto a, auto b, auto c) { return (1 / a - c) * 2 + exp(b) * c; }, of_three);
}

TEST_CASE("derivatives to third order agree with closed forms", "[elementwise]") {
    const auto cube = elementwise([](auto x) { return x * x * x; });
    const auto gauss = elementwise([](auto x) { return exp(-x * x); });
    const auto logistic = elementwise([](auto x) { return 1 / (1 + exp(-x)); });
    const auto root = elementwise([](auto x) { return pow(x, 2.5); });
    const double x = 0.7, g = std::exp(-x * x), s = 1 / (1 + std::exp(-x));
    CHECK(derivative(cube, x, 1) == Approx(3 * x * x));
    CHECK(derivative(cube, x, 2) == Approx(6 * x));
    CHECK(derivative(cube, x, 3) == Approx(6));
    CHECK(derivative(gauss, x, 1) == Approx(-2 * x * g));
    CHECK(derivative(gauss, x, 2) == Approx((4 * x * x - 2) * g));
    CHECK(derivative(gauss, x, 3) == Approx((12 * x - 8 * x * x * x) * g));
    CHECK(derivative(logistic, x, 1) == Approx(s * (1 - s)));
    CHECK(derivative(logistic, x, 2) == Approx(s * (1 - s) * (1 - 2 * s)));
    CHECK(derivative(logistic, x, 3) == Approx(s * (1 - s) * (1 - 6 * s + 6 * s * s)));
    CHECK(derivative(root, x, 3) == Approx(2.5 * 1.5 * 0.5 * std::pow(x, -0.5)));
    CHECK(derivative(root, x, 4) == Approx(-2.5 * 1.5 * 0.5 * 0.5 * std::pow(x, -1.5)));
    gradcheck(blend, {random({2}, 1), random({2}, 2), random({2}, 3)}, {.order = 3});
}

TEST_CASE("a comparison in a formula refuses to be a condition of C++", "[elementwise]") {
    static_assert(Branches<double>);
    static_assert(!Branches<Lane<float>>);
    static_assert(!Branches<Lane<double>>);
    static_assert(!Branches<Dual<Lane<float>>>);
    static_assert(!Branches<Dual<Lane<double>, 2>>);
    static_assert(!Branches<Dual<Dual<Lane<double>>>>);
    static_assert(!Branches<Dual<V>>);
    static_assert(!Branches<V>);
    SUCCEED();
}

TEST_CASE("a formula's name stands in its errors", "[elementwise][errors]") {
    check_refused([] { return distance(random({2, 3}), random({4})); }, {"distance", "(2, 3)", "(4,)"});
    check_refused([] { return blend(random({2}), random({2}), random({3})); }, {"blend", "(2,)", "(3,)"});
    check_refused([] { return swish(V()); }, {"empty"});
    const auto unnamed = elementwise([](auto x, auto y) { return x * y; });
    check_refused([&] { return unnamed(random({2}), random({3})); }, {"elementwise", "(2,)", "(3,)"});
}
