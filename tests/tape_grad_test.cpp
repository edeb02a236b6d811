// grad(): what it gives, what it leaves alone, and derivatives of higher order.
#include <array>
#include <cmath>
#include <tuple>
#include <vector>

#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/record.hpp>
#include <xgrad/autodiff/variable.hpp>

#include "catch.hpp"
#include "leaf.hpp"

using namespace xgrad;
using testing::holds;
using testing::leaf;
using testing::tape_size;

TEST_CASE("grad leaves every gradient alone", "[tape]") {
    const Variable<> x = leaf({1, 2}), w = leaf({3, 4});
    const Variable<> g = grad(sum(x * w), x);
    CHECK(holds(g, {3, 4}));
    CHECK_FALSE(x.grad().defined());
    CHECK_FALSE(w.grad().defined());
    CHECK(tape_size() == 0);
    sum(x * w).backward();
    CHECK(holds(x.grad(), {3, 4}));
    CHECK(holds(w.grad(), {1, 2}));
}

TEST_CASE("grad takes interior inputs, duplicates, several outputs and inputs that are not used", "[tape]") {
    const Variable<> x = leaf({1, 2}), unused = leaf(1);
    const Variable<> h = x * x;
    const auto g = grad({sum(h * 3), h}, {h, x, h, unused, x}, {1, {10, 20}});
    REQUIRE(g.size() == 5);
    CHECK(holds(g[0], {13, 23}));
    CHECK(holds(g[1], {26, 92}));
    CHECK(holds(g[2], {13, 23}));
    CHECK_FALSE(g[3].defined());
    CHECK(holds(g[4], {26, 92}));
}

TEMPLATE_TEST_CASE("grad of one output gives the gradients of several inputs, and those again", "[tape]", float, double) {
    Variable<TestType> x = {1, 2}, w = {3, 4};
    x.requires_grad(true), w.requires_grad(true);
    const auto first = grad(sum(x * x * w), {x, w}, {.create_graph = true});
    REQUIRE(first.size() == 2);
    CHECK(holds(first[0], {6, 16}));
    CHECK(holds(first[1], {1, 4}));
    const auto second = grad(sum(first[0]), std::vector{x, w});
    CHECK(holds(second[0], {6, 8}));
    CHECK(holds(second[1], {2, 4}));
    const Variable<TestType> one = grad(sum(x * w), {x});  // in braces, too, one input has one gradient
    CHECK(holds(one, {3, 4}));
}

TEST_CASE("cotangents in braces are cotangents, whatever else is in braces", "[tape]") {
    const Variable<> x = leaf({1, 2}), w = leaf({3, 4});
    const auto g = grad<float>({sum(x * w)}, {x, w}, {0});
    REQUIRE(g.size() == 2);
    CHECK(holds(g[0], {0, 0}));
    CHECK(holds(g[1], {0, 0}));
}

TEST_CASE("grad of a variable by itself is its cotangent", "[tape]") {
    const Variable<> x = leaf(2);
    CHECK(grad(x, x).item() == 1);
    const Variable<> y = x * x;
    const auto g = grad({y}, {y, x});
    CHECK(g[0].item() == 1);
    CHECK(g[1].item() == 4);
}

TEST_CASE("grad by an interior value leaves the graph below it for later", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> h = x * x;
    const Variable<> g = grad(sum(h * 3), h);
    CHECK(holds(g, {3, 3}));
    CHECK_NOTHROW(h.backward(g));
    CHECK(holds(x.grad(), {6, 12}));
}

TEST_CASE("grad by a value whose own history was freed collects its cotangent", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> h = x * x;
    const Variable<> second = sum(h * 5);
    sum(h).backward();
    CHECK(holds(grad(second, h), {5, 5}));
    const Variable<> third = sum(h * 7);
    CHECK_THROWS_WITH(grad(third, x), ContainsSubstring("retain_graph"));
}

TEST_CASE("grad runs no vjp that nothing asked for", "[tape]") {
    int x_calls = 0, w_calls = 0, below = 0;
    const Variable<> x = leaf({1, 2}), w = leaf({3, 4});
    const Variable<> before = record("before", Array<>(w.value()), wrt(w, [&](const Variable<>& g) {
                                         ++below;
                                         return g;
                                     }));
    const Variable<> y = record("mine", Array<>(x.value() * before.value()), wrt(x, [&](const Variable<>& g) {
                                    ++x_calls;
                                    return g * before;
                                }),
                                wrt(before, [&](const Variable<>& g) {
                                    ++w_calls;
                                    return g * x;
                                }));
    const Variable<> z = record("joint", Array<>(y.value() + w.value()),
                                wrt(std::tie(y, w), [&](const Variable<>& g, const Needs& needs) {
                                    CHECK(needs[0]);
                                    CHECK_FALSE(needs[1]);
                                    return std::array<Variable<>, 2>{g, {}};
                                }));
    CHECK(holds(grad(sum(z), x, {.retain_graph = true}), {3, 4}));
    CHECK(x_calls == 1);
    CHECK(w_calls == 0);
    CHECK(below == 0);
}

TEST_CASE("grad says what does not fit", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> c{1, 2};
    CHECK_THROWS_WITH(grad(x * 2, x), ContainsSubstring("(2,)"));
    CHECK_THROWS_WITH(grad(sum(x), c), ContainsSubstring("(2,)"));
    CHECK_THROWS_AS(grad(sum(c), x), Error);
    CHECK_THROWS_WITH(grad<float>({x * 2}, {x}, {1}), ContainsSubstring("cotangent of shape ()"));
    CHECK_THROWS_WITH(grad<float>({x * 2}, {x}, {c, c}), ContainsSubstring("2 cotangents"));
    CHECK_THROWS_AS(grad<float>({sum(x)}, {Variable<>()}), Error);
    CHECK_THROWS_AS(grad<float>({sum(x), Variable<>()}, {x}), Error);
    CHECK(holds(grad(sum(x), x), {1, 1}));
}

TEST_CASE("create_graph gives derivatives of the third order", "[tape]") {
    const Variable<double> x = Variable<double>{0.4, 1.1}.requires_grad(true);
    const Variable<double> y = sum(x * x * x * x + sin(x));
    const Variable<double> first = grad(y, x, {.create_graph = true});
    const Variable<double> second = grad(sum(first), x, {.create_graph = true});
    const Variable<double> third = grad(sum(second), x);
    for (std::size_t i = 0; i < 2; ++i) {
        const double v = x.value()(i);
        CHECK(first.value()(i) == Approx(4 * v * v * v + std::cos(v)));
        CHECK(second.value()(i) == Approx(12 * v * v - std::sin(v)));
        CHECK(third.value()(i) == Approx(24 * v - std::cos(v)));
    }
    CHECK_FALSE(x.grad().defined());
}

TEST_CASE("backward with create_graph gives gradients that can be differentiated", "[tape]") {
    Variable<> x = leaf({1, 2});
    sum(x * x * x).backward({.create_graph = true});
    Variable<> penalty = sum(x.grad() * x.grad());
    x.zero_grad();
    penalty.backward();
    CHECK(holds(x.grad(), {36, 288}));
    penalty = {};
    CHECK(tape_size() == 0);
}
