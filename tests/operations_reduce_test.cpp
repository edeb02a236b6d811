#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "random.hpp"
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>

using namespace xgrad;
using xgrad::testing::check_refused;
using xgrad::testing::close;
using xgrad::testing::distinct;
using xgrad::testing::random;
using xgrad::testing::same;

namespace {

using V = Variable<double>;

struct Case {
    Shape shape;
    Axes axes;
    Shape kept, dropped;  // the result's shape with and without keep_dims
};
const std::vector<Case> cases{
    {{2, 3, 4}, {}, {1, 1, 1}, {}},
    {{2, 3, 4}, 0, {1, 3, 4}, {3, 4}},
    {{2, 3, 4}, 1, {2, 1, 4}, {2, 4}},
    {{2, 3, 4}, -1, {2, 3, 1}, {2, 3}},
    {{2, 3, 4}, {0, 1}, {1, 1, 4}, {4}},
    {{2, 3, 4}, {-1, 1}, {2, 1, 1}, {2}},
    {{2, 3, 4}, {0, 2}, {1, 3, 1}, {3}},
    {{2, 3, 4}, {2, 0}, {1, 3, 1}, {3}},
    {{2, 3, 4}, {2, 1, 0}, {1, 1, 1}, {}},
    {{2, 2, 2, 3}, {0, -2}, {1, 2, 1, 3}, {2, 3}},
    {{2, 2, 2, 3}, {1, 3}, {2, 1, 2, 1}, {2, 2}},
    {{2, 1, 3}, 1, {2, 1, 3}, {2, 3}},
    {{2, 1, 3}, {0, 2}, {1, 1, 1}, {1}},
    {{5}, 0, {1}, {}},
    {{1}, {}, {1}, {}},
    {{1, 1}, {0}, {1, 1}, {1}},
    {{}, {}, {}, {}},
    {{0, 3}, 1, {0, 1}, {0}},
};

// `reduce(x, axes, keep)` gives results of the right shapes and has right derivatives.
template <class Reduce, class Input> void check_reduction(Reduce reduce, Input input) {
    for (const auto& [shape, axes, kept, dropped] : cases) {
        INFO("shape " << describe(shape) << ", reduced to " << describe(kept));
        const V x = input(shape);
        CHECK(reduce(x, axes, keep_dims).shape() == kept);
        CHECK(reduce(x, axes, false).shape() == dropped);
        CHECK(reduce(x, axes, false).value() == share(reduce(x, axes, keep_dims).value(), dropped));
        gradcheck([&, &a = axes](auto& v) { return reduce(v, a, false); }, {x});
        gradcheck([&, &a = axes](auto& v) { return reduce(v, a, keep_dims) * v; }, {x}, {.directions = 1});
    }
}

V any(const Shape& shape) { return random(shape, 1); }
V apart(const Shape& shape) { return distinct(shape, 1); }

}  // namespace

TEST_CASE("sum has right values and derivatives over all kinds of axes", "[operations][reduce]") {
    check_reduction([](auto& x, auto& axes, bool keep) { return sum(x, axes, keep); }, any);
    const V x = random({3, 4, 5});
    CHECK(close(sum(x, {0, 2}).value(), xt::sum(x.value(), {0, 2})));
    CHECK(sum(x).item() == Approx(xt::sum(x.value())()));
}

TEST_CASE("mean has right values and derivatives over all kinds of axes", "[operations][reduce]") {
    check_reduction([](auto& x, auto& axes, bool keep) { return mean(x, axes, keep); }, any);
    CHECK(same(mean(V{{1, 2}, {3, 6}}, 0), {2, 4}));
}

TEST_CASE("variance has right values and derivatives over all kinds of axes", "[operations][reduce]") {
    check_reduction([](auto& x, auto& axes, bool keep) { return variance(x, axes, keep); }, any);
    const V x = random({4, 3});
    gradcheck([](auto& v) { return variance(v, 0, false, 1) + variance(v, {0, 1}, false, 2); }, {x});
    CHECK(same(variance(V{1, 3}), full(Shape{}, 1.0)));
    CHECK(same(variance(V{1, 3}, 0, false, 1), full(Shape{}, 2.0)));
}

TEST_CASE("prod has right values and derivatives over all kinds of axes", "[operations][reduce]") {
    check_reduction([](auto& x, auto& axes, bool keep) { return prod(x, axes, keep); }, any);
    gradcheck([](auto& x) { return prod(x, 1); }, {random({2, 4})}, {.order = 3});
}

TEST_CASE("max and min have right values and derivatives over all kinds of axes", "[operations][reduce]") {
    check_reduction([](auto& x, auto& axes, bool keep) { return max(x, axes, keep); }, apart);
    check_reduction([](auto& x, auto& axes, bool keep) { return min(x, axes, keep); }, apart);
    V x = random({3, 4, 5, 6});
    for (const bool recorded : {false, true})  // which of them reduces axes that are apart in another way
        for (const std::vector<std::size_t>& axes : std::vector<std::vector<std::size_t>>{{0, 2}, {1, 3}, {0, 1, 3}, {2}}) {
            x.requires_grad(recorded);
            CHECK(same(max(x, Axes(Shape(axes.begin(), axes.end()))), xt::amax(x.value(), axes)));
            CHECK(same(min(x, Axes(Shape(axes.begin(), axes.end()))), xt::amin(x.value(), axes)));
        }
}

TEST_CASE("an infinite cotangent of an extremum reaches nothing but the extremum", "[operations][reduce]") {
    const double infinity = std::numeric_limits<double>::infinity();
    for (const bool create_graph : {false, true}) {
        V x = {{{1, 2}}, {{4, 3}}};
        x.requires_grad(true);
        max(x, {0, 2}).backward(V{infinity}, {.create_graph = create_graph});
        CHECK(same(x.grad(), {{{0, 0}}, {{infinity, 0}}}));
        x.zero_grad();
        max(x, {0, 1}).backward(V{infinity, 5}, {.create_graph = create_graph});
        CHECK(same(x.grad(), {{{0, 0}}, {{infinity, 5}}}));
    }
}

TEST_CASE("extrema along axes apart share cotangents among equals, and give NaN its own", "[operations][reduce]") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    V x = {{{1, 3}, {7, 5}}, {{3, 2}, {nan, 8}}};
    x.requires_grad(true);
    const V y = max(x, {0, 2});
    CHECK(y.value()(0) == 3);
    CHECK(std::isnan(y.value()(1)));
    const auto expected = Array<double>{{{0, 5}, {0, 0}}, {{5, 0}, {20, 0}}};
    for (const bool create_graph : {false, true}) {
        x.zero_grad();
        y.backward(V{10, 20}, {.retain_graph = true, .create_graph = create_graph});
        CHECK(same(x.grad(), expected));
    }
}

TEST_CASE("few short columns are summed up and searched as any others", "[operations][reduce]") {
    for (const std::size_t count : {2, 5, 8, 16, 17, 40})
        for (const std::size_t inner : {2, 3, 4, 7}) {
            CAPTURE(count, inner);
            const V x = random({21, count, inner});
            const Variable<float> y = xt::cast<float>(x.value());
            CHECK(close(sum(x, 1).value(), xt::sum(x.value(), {1})));
            CHECK(close(prod(x, 1).value(), xt::prod(x.value(), {1})));
            CHECK(same(max(x, 1), xt::amax(x.value(), {1})));
            CHECK(xt::allclose(sum(y, 1).value(), xt::sum(x.value(), {1}), 1e-5, 1e-5));
            CHECK(xt::allclose(min(y, 1).value(), xt::amin(y.value(), {1}), 0, 0));
        }
}

TEST_CASE("logsumexp has right values and derivatives over all kinds of axes", "[operations][reduce]") {
    check_reduction([](auto& x, auto& axes, bool keep) { return logsumexp(x, axes, keep); }, any);
    CHECK(logsumexp(V{1000, 1000}).item() == Approx(1000 + std::log(2.0)));
    CHECK(logsumexp(V{-1000, -1000}).item() == Approx(-1000 + std::log(2.0)));
}

TEST_CASE("prod has right derivatives with no, one and two zeros in a slice", "[operations][reduce]") {
    const V x{{1.5, 2, -1, 3}, {0, 2, -1, 0.5}, {0, 2, 0, 0.5}, {0, 0, 0, 4}};
    gradcheck([](auto& v) { return prod(v, 1); }, {x});
    gradcheck([](auto& v) { return prod(v, 0, keep_dims) * v; }, {x});
    V y{2, 0, 3};
    y.requires_grad(true);
    prod(y).backward();
    CHECK(same(y.grad(), {0, 6, 0}));
    gradcheck([](auto& v) { return prod(v); }, {V{0, 0}});
    gradcheck([](auto& v) { return prod(v, 0); }, {V{0.0}});
}

TEST_CASE("sum and prod over no elements are 0 and 1", "[operations][reduce]") {
    const V x = random({0, 3});
    CHECK(same(sum(x, 0), {0, 0, 0}));
    CHECK(same(prod(x, 0), {1, 1, 1}));
    CHECK(sum(x).item() == 0);
    gradcheck([](auto& v) { return sum(v, 0) + prod(v, 0); }, {x});
}

TEST_CASE("equal extrema share the cotangent evenly", "[operations][reduce]") {
    V x{{1, 3, 3, -2}, {2, 2, 2, 2}};
    x.requires_grad(true);
    max(x, 1).backward(V{6, 8});
    CHECK(same(x.grad(), {{0, 3, 3, 0}, {2, 2, 2, 2}}));
    x.zero_grad();
    min(x).backward();
    CHECK(same(x.grad(), {{0, 0, 0, 1}, {0, 0, 0, 0}}));
    // The recorded gradient is the same.
    x.zero_grad();
    max(x, 1).backward(V{6, 8}, {.create_graph = true});
    CHECK(same(x.grad(), {{0, 3, 3, 0}, {2, 2, 2, 2}}));
    x.zero_grad();
}

TEST_CASE("extrema are NaN where there is one, and argmax finds it", "[operations][reduce]") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const V x{{1, nan, 3}, {1, 5, 5}};
    CHECK(same(isnan(max(x, 1)), {true, false}));
    CHECK(same(isnan(min(x, 1)), {true, false}));
    CHECK(same(argmax(x, 1), {1, 1}));
    CHECK(same(argmin(x, 1), {1, 0}));
    const V y{{{1, 2}, {3, nan}}, {{5, 6}, {7, 8}}};
    CHECK(same(isnan(max(y, {0, 2})), {false, true}));
}

TEST_CASE("argmax and argmin take the first of equal ones along any axis", "[operations][reduce]") {
    const V x{{3, 1, 3}, {3, 4, 0}};
    CHECK(same(argmax(x), {0, 1}));
    CHECK(same(argmax(x, 0), {0, 1, 0}));
    CHECK(same(argmin(x, -2), {0, 0, 1}));
    CHECK(same(argmin(x, -1), {1, 2}));
    CHECK(same(argmax(Variable<float>{1, 2}), full(Shape{}, std::int64_t{1})));
}

TEST_CASE("long reductions keep the precision of their type", "[operations][reduce]") {
    const std::size_t count = 300'000;
    CHECK(sum(Variable<float>(full({count}, 0.1f))).item() == Approx(30'000.0).epsilon(1e-6));
    CHECK(mean(Variable<float>(full({count}, 1e6f))).item() == Approx(1e6).epsilon(1e-6));
    Array<float> values = full({count}, 1e4f);
    for (std::size_t i = 0; i < count; i += 2) values.data()[i] += 1;
    CHECK(variance(Variable<float>(values)).item() == Approx(0.25).epsilon(1e-4));
    gradcheck([](auto& x) { return sum(square(x), 0); }, {random({3000, 2})}, {.order = 1});
}

TEST_CASE("reductions refuse axes that are not there, named twice, or without elements",
          "[operations][reduce][errors]") {
    const V x = random({2, 3}), none = random({2, 0});
    check_refused([&] { return sum(x, 2); }, {"sum", "axis 2", "2 dimensions"});
    check_refused([&] { return mean(x, -3); }, {"mean", "axis -3", "2 dimensions"});
    check_refused([&] { return variance(x, {0, 5}); }, {"variance", "axis 5"});
    check_refused([&] { return prod(V(1), 0); }, {"prod", "axis 0", "0 dimensions"});
    check_refused([&] { return logsumexp(random({3}), 1); }, {"logsumexp", "axis 1", "1 dimension"});
    check_refused([&] { return max(x, {1, -1}); }, {"max", "axis -1", "twice"});
    check_refused([&] { return argmax(x, 2); }, {"argmax", "axis 2"});
    check_refused([&] { return mean(none, 1); }, {"mean", "no elements", "(2, 0)"});
    check_refused([&] { return variance(none); }, {"variance", "no elements", "(2, 0)"});
    check_refused([&] { return max(none, 1); }, {"max", "no elements", "(2, 0)"});
    check_refused([&] { return min(none); }, {"min", "no elements", "(2, 0)"});
    check_refused([&] { return logsumexp(none, 1); }, {"logsumexp", "no elements", "(2, 0)"});
    check_refused([&] { return argmin(none, 1); }, {"argmin", "no elements", "(2, 0)"});
    check_refused([&] { return variance(V{3}, 0, false, 1); }, {"variance", "1 element", "correction of 1"});
}

TEST_CASE("the mean of equal numbers is that number", "[operations][reduce]") {
    for (std::size_t n = 1; n < 300; ++n) {
        CAPTURE(n);
        CHECK(mean(Variable<>(full(Shape{n}, 1.f))).item() == 1);
    }
}

template <class... Arguments>
concept Summable = requires(const V& x, Arguments... arguments) {
    sum(x, arguments...);
};
static_assert(Summable<int, bool>);
static_assert(!Summable<bool>);      // sum(x, keep_dims) is not over axis 1
static_assert(!Summable<int, int>);  // and sum(x, 0, 1) does not keep axis 0
