#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/update_elementwise.hpp>

#include "catch.hpp"
#include "leaf.hpp"
#include "message.hpp"
#include "random.hpp"
#include "threads.hpp"

using namespace xgrad;
using xgrad::testing::check_refused;
using xgrad::testing::close;
using xgrad::testing::random;
using xgrad::testing::same;

namespace {

// RMSprop with momentum, uphill: changes three arrays and reads one.
const auto step = [](auto& p, auto& v, auto& m, auto g) {
    v = 0.9 * v + 0.1 * square(g);
    m = 0.5 * m + g / sqrt(v + 0.01);
    p += 0.125 * m;
};

template <class T> Array<T> numbers(std::size_t n, std::uint64_t seed) {
    return random<T>({n}, seed, 0.1, 2).value();
}

}  // namespace

TEMPLATE_TEST_CASE("update_elementwise writes back what a formula takes by reference", "[elementwise]", float, double) {
    using T = TestType;
    for (const std::size_t n : {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 1000, 40'003}) {
        CAPTURE(n);
        Array<T> p = numbers<T>(n, 1), v = numbers<T>(n, 2), m = numbers<T>(n, 3);
        const Array<T> g = numbers<T>(n, 4), g_before = g;
        Array<T> expected_p = p, expected_v = v, expected_m = m;
        for (std::size_t i = 0; i < n; ++i) {
            expected_v(i) = static_cast<T>(0.9 * expected_v(i) + 0.1 * g(i) * g(i));
            expected_m(i) = static_cast<T>(0.5 * expected_m(i) + g(i) / std::sqrt(expected_v(i) + 0.01));
            expected_p(i) = static_cast<T>(expected_p(i) + 0.125 * expected_m(i));
        }
        update_elementwise(step, p, v, m, g);
        CHECK(close(p, expected_p));
        CHECK(close(v, expected_v));
        CHECK(close(m, expected_m));
        CHECK(same(g, g_before));
    }
}

TEST_CASE("update_elementwise writes nothing beyond the arrays", "[elementwise]") {
    for (std::size_t n = 0; n < 40; ++n) {
        CAPTURE(n);
        std::vector<float> memory(n + 2, 7);
        Array<> inner = borrow(std::span(memory).subspan(1, n), {n});
        update_elementwise([](auto& x) { x = x + 1; }, inner);
        std::vector<float> expected(n + 2, 8);
        expected.front() = expected.back() = 7;
        CHECK(memory == expected);
    }
}

TEST_CASE("update_elementwise leaves alone what a formula takes by value", "[elementwise]") {
    Array<> x{{1, 2}, {3, 4}}, y = x;
    update_elementwise([](auto& a, auto b) { b += 1, a = b; }, x, y);
    CHECK(same(x, {{2, 3}, {4, 5}}));
    CHECK(same(y, {{1, 2}, {3, 4}}));
    update_elementwise([](auto& a, const auto& b, auto&& c) { a = b * c; }, x, y, y);
    CHECK(same(x, {{1, 4}, {9, 16}}));
    CHECK(same(y, {{1, 2}, {3, 4}}));
    update_elementwise([](auto a, auto& b) { b = a; }, x, y);
    CHECK(same(x, {{1, 4}, {9, 16}}));
    CHECK(same(y, {{1, 4}, {9, 16}}));
}

TEST_CASE("update_elementwise reads an array that is given twice before it is written", "[elementwise]") {
    Array<> x{1, 2, 3};
    update_elementwise([](auto& a, auto b) { a = -a, a = a * b; }, x, x);
    CHECK(same(x, {-1, -4, -9}));
}

TEST_CASE("a formula that changes arrays may branch and use other formulas", "[elementwise]") {
    const auto leaky = elementwise([](auto x) { return where(x > 0, x, 0.25 * x); }, "leaky");
    Array<double> x{-4, 0, 4}, count{0, 0, 0};
    update_elementwise([&leaky](auto& a, auto& n) { n = where(a < 0, n + 1, n), a = leaky(a); }, x, count);
    CHECK(same(x, {-1, 0, 4}));
    CHECK(same(count, {1, 0, 0}));
}

TEST_CASE("update_elementwise gives the same for any number of threads", "[elementwise][threads]") {
    const auto run = [](std::size_t count) {
        const testing::Threads threads(count);
        Array<> p = numbers<float>(100'003, 1), v = numbers<float>(100'003, 2), m = numbers<float>(100'003, 3);
        update_elementwise(step, p, v, m, numbers<float>(100'003, 4));
        return p;
    };
    CHECK(same(run(3), run(1)));
}

TEST_CASE("update_elementwise refuses arrays of other shapes and changes none", "[elementwise]") {
    Array<> p(Shape{2, 3}, 1.0f), m(Shape{2, 3}, 2.0f);
    const Array<> g(Shape{6}, 3.0f);
    const auto add = [](auto& a, auto& b, auto c) { a += c, b += c; };
    check_refused([&] { update_elementwise(add, p, m, g); }, {"update_elementwise", "array 2", "(6,)", "(2, 3)"});
    CHECK(same(p, Array<>(Shape{2, 3}, 1.0f)));
    CHECK(same(m, Array<>(Shape{2, 3}, 2.0f)));
}

TEST_CASE("a leaf is updated by a formula", "[elementwise]") {
    Variable<> w = testing::leaf({1, 2, 3});
    Array<> velocity{0, 0, 4};
    const Array<> gradient{1, -1, 0};
    const Variable<> other = w.detach();
    w.update(
        [rate = 0.5](auto& p, auto& v, auto g) {
            v = 0.5 * v + g;
            p -= rate * v;
        },
        velocity, gradient);
    CHECK(same(w, {0.5, 2.5, 2}));
    CHECK(same(other, {0.5, 2.5, 2}));
    CHECK(same(velocity, {1, -1, 2}));
}

TEST_CASE("a formula changes leaves only, and what it changed is refused in backward", "[elementwise]") {
    Variable<> w = testing::leaf({1, 2});
    const Array<> g{1, 1};
    const auto subtract = [](auto& p, auto x) { p -= x; };
    Variable<> y = w * w;
    check_refused([&] { y.update(subtract, g); }, {"'multiply'"});
    CHECK(same(y, {1, 4}));
    w.update(subtract, g);
    CHECK_THAT(testing::message([&] { sum(y).backward(); }), ContainsSubstring("changed in place"));
    CHECK(same(w, {0, 1}));
}

TEST_CASE("an update that is refused has changed nothing", "[elementwise]") {
    Variable<> w = testing::leaf({1, 2});
    const Variable<> y = w * w;
    const auto subtract = [](auto& p, auto x) { p -= x; };
    check_refused([&] { w.update(subtract, Array<>{1, 2, 3}); }, {"(3,)", "(2,)"});
    CHECK(same(w, {1, 2}));
    sum(y).backward();
    CHECK(same(w.grad(), {2, 4}));
}
