// Variables: how they are made, shared and changed. What is recorded about them is tape_test.cpp's.
#include <memory>
#include <numeric>
#include <span>
#include <sstream>
#include <type_traits>
#include <vector>

#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/parameter.hpp>
#include <xgrad/autodiff/variable.hpp>

#include "catch.hpp"
#include "leaf.hpp"

using namespace xgrad;
using testing::holds;
using testing::leaf;

TEST_CASE("a variable may be assigned a part of its own memory", "[variable]") {
    for (const std::size_t n : {5, 40, 40'000}) {
        Array<> numbers = empty<float>({n + 1});
        std::iota(numbers.begin(), numbers.end(), 0.0f);
        Variable<> earlier = share(numbers, {n}, 0), later = share(numbers, {n}, 1);
        later.assign(earlier);
        CHECK(numbers(1) == 0);
        CHECK(numbers(n) == static_cast<float>(n - 1));
        std::iota(numbers.begin(), numbers.end(), 0.0f);
        earlier.assign(later);
        CHECK(numbers(0) == 1);
        CHECK(numbers(n - 1) == static_cast<float>(n));
    }
}

TEST_CASE("a variable is made from a number", "[tape]") {
    const Variable x = 2.5;
    STATIC_REQUIRE(std::is_same_v<decltype(x), const Variable<float>>);
    CHECK(x.dimension() == 0);
    CHECK(x.item() == 2.5f);
    const Variable y = 3;
    STATIC_REQUIRE(std::is_same_v<decltype(y), const Variable<float>>);
    const Variable<double> z = 0.1;
    CHECK(z.item() == 0.1);
}

TEST_CASE("a variable is made from nested braces", "[tape]") {
    const Variable one{1, 2, 3};
    const Variable two{{1, 2, 3}, {4, 5, 6}};
    const Variable three{{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}, {{9, 10}, {11, 12}}};
    const Variable four{{{{1, 2}, {3, 4}}}, {{{5, 6}, {7, 8}}}};
    STATIC_REQUIRE(std::is_same_v<decltype(four), const Variable<float>>);
    CHECK(one.shape() == Shape{3});
    CHECK(two.shape() == Shape{2, 3});
    CHECK(three.shape() == Shape{3, 2, 2});
    CHECK(four.shape() == Shape{2, 1, 2, 2});
    CHECK(four.value()(1, 0, 1, 0) == 7);
    const Variable<double> precise{{0.1, 0.2}};
    CHECK(precise.value()(0, 1) == 0.2);
    const Variable column{{1}, {2}}, single{{5}}, row{7.0};
    CHECK(column.shape() == Shape{2, 1});
    CHECK(single.shape() == Shape{1, 1});
    CHECK(row.shape() == Shape{1});
    const double a = 0.5;
    const int b = 3;
    CHECK(holds(Variable{a, b}, {0.5f, 3}));
    CHECK(holds(Variable<>({{a, a}, {b, b}}), {{0.5f, 0.5f}, {3, 3}}));
    CHECK(Variable{{}, {}}.shape() == Shape{2, 0});
    CHECK_THROWS_WITH((Variable{{1, 2}, {3}}), ContainsSubstring("1 elements") && ContainsSubstring("of 2"));
    CHECK_THROWS_AS((Variable{{1, 2}, 3}), Error);
    CHECK_THROWS_AS((Variable{1, {2, 3}}), Error);
}

TEST_CASE("a variable is made from an xtensor expression, evaluated at once", "[tape]") {
    const xt::xarray<double> a{1, 2, 3};
    const Variable x = a + 1;
    STATIC_REQUIRE(std::is_same_v<decltype(x), const Variable<double>>);
    CHECK(holds(x, Array<double>{2, 3, 4}));
    const xt::xarray<int> whole{1, 2};
    const Variable y = whole;
    STATIC_REQUIRE(std::is_same_v<decltype(y), const Variable<float>>);
    const Variable z = Array<std::int64_t>{1, 2};
    STATIC_REQUIRE(std::is_same_v<decltype(z), const Variable<float>>);
    const Variable mask = Array<bool>{true, false};
    CHECK(holds(mask, Array<>{1, 0}));
    const Variable moved = Array<double>{1, 2};
    STATIC_REQUIRE(std::is_same_v<decltype(moved), const Variable<double>>);
}

TEST_CASE("an array that is moved in and a caller's span are not copied", "[tape]") {
    Array<> array{1, 2, 3};
    const float* data = array.data();
    CHECK(Variable<>(std::move(array)).value().data() == data);

    std::vector<float> mine{1, 2, 3, 4};
    Variable x(std::span{mine}, {2, 2});
    CHECK(x.value().data() == mine.data());
    x.assign({{5, 6}, {7, 8}});
    CHECK(mine == std::vector<float>{5, 6, 7, 8});
    CHECK_THROWS_AS(Variable<>(std::span{mine}, {3}), Error);

    auto keeper = std::make_shared<std::vector<float>>(2, 1.0f);
    std::weak_ptr<void> alive = keeper;
    Variable y(std::span{*keeper}, {2}, keeper);
    keeper.reset();
    CHECK_FALSE(alive.expired());
    y = {};
    CHECK(alive.expired());
}

TEST_CASE("an update that assigns an expression writes into the same memory", "[tape]") {
    std::vector<float> mine{1, 2};
    Variable<> x(std::span{mine}, {2});
    x.update([](Array<>& value) { value = value * 2.0f; });
    CHECK(x.value().data() == mine.data());
    CHECK(mine == std::vector<float>{2, 4});
    x.update([](Array<>& value) { value -= 1.0f * value; });
    CHECK(mine == std::vector<float>{0, 0});

    Variable<> y{1, 2};
    const Variable<> alias = y.detach();
    y.update([](Array<>& value) { value = value + 1.0f; });
    CHECK(holds(alias, {2, 3}));
}

TEST_CASE("copies of a variable are handles to one value", "[tape]") {
    Variable<> a{1, 2};
    Variable<> b = a;
    CHECK(b.node() == a.node());
    a.assign({3, 4});
    CHECK(holds(b, {3, 4}));
    b = Variable<>{5, 6};
    CHECK(holds(a, {3, 4}));
    Variable<> c = std::move(a);
    CHECK_FALSE(a.defined());
    CHECK(holds(c, {3, 4}));
    Variable<>& self = c;
    c = self;
    c = std::move(self);
    CHECK(holds(c, {3, 4}));
}

TEST_CASE("detach shares the memory and has no history", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> y = x * 2;
    const Variable<> d = y.detach();
    CHECK(d.value().data() == y.value().data());
    CHECK_FALSE(d.requires_grad());
    CHECK(d.is_leaf());
    CHECK_FALSE(y.is_leaf());
}

TEST_CASE("a variable is written as nested brackets", "[variable]") {
    CHECK(to_string(Variable<>(0.1f)) == "0.1");
    CHECK(to_string(Variable<>{1, -2.5, 1e-20}) == "[1, -2.5, 1e-20]");
    CHECK(to_string(Variable<double>{{1.0 / 3, 2}, {3, 4}}) == "[[0.333333, 2],\n [3, 4]]");
    CHECK(to_string(Variable<>{{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}}) ==
          "[[[1, 2],\n  [3, 4]],\n\n [[5, 6],\n  [7, 8]]]");
    CHECK(to_string(Variable<>(empty<float>({0}))) == "[]");
    CHECK(to_string(Variable<>(empty<float>({2, 0}))) == "[[],\n []]");
    CHECK(to_string(Variable<>(empty<float>({3'000'000, 0}))) == "[[],\n [],\n [],\n ...,\n [],\n [],\n []]");
    CHECK(to_string(Variable<>()) == "empty");
    Array<> many(Shape{2, 501});
    std::iota(many.begin(), many.end(), 0.f);
    CHECK(to_string(Variable<>(many)) == "[[0, 1, 2, ..., 498, 499, 500],\n [501, 502, 503, ..., 999, 1000, 1001]]");
    many.resize({1001, 1});
    CHECK(to_string(Variable<>(many)) == "[[0],\n [1],\n [2],\n ...,\n [998],\n [999],\n [1000]]");
    std::ostringstream out;
    out << Variable<>{{1}};
    CHECK(out.str() == "[[1]]");
}

TEST_CASE("a parameter is changed in place by += and the like, and a variable is not", "[variable]") {
    Parameter<> p(Variable<>{1, 2});
    const Variable<> handle = p;
    p -= 0.5 * Variable<>{2, 4};
    CHECK(holds(handle, {0, 0}));
    p += 3;
    p *= Variable<>{1, 2};
    p /= 2;
    CHECK(holds(handle, {1.5, 3}));
    CHECK(p.requires_grad());
    CHECK(p.is_leaf());
    p -= handle;  // itself
    CHECK(holds(handle, {0, 0}));

    const Variable<> loss = sum(p * p);
    p += 1;
    CHECK_THROWS_AS(loss.backward(), Error);
    CHECK_THROWS_AS((p += Variable<>{{1, 2}, {3, 4}}), Error);
    CHECK(holds(handle, {1, 1}));

    Variable<> x = {1, 2};
    const Variable<> before = x;
    x += 1;
    CHECK(holds(before, {1, 2}));
}

TEST_CASE("an empty variable says so in words", "[tape]") {
    Variable<> empty;
    CHECK_FALSE(empty.defined());
    CHECK_FALSE(empty.requires_grad());
    CHECK_THROWS_WITH(empty.value(), ContainsSubstring("empty"));
    CHECK_THROWS_AS(empty.shape(), Error);
    CHECK_THROWS_AS(empty.item(), Error);
    CHECK_THROWS_AS(empty.backward(), Error);
    CHECK_THROWS_AS(empty.grad(), Error);
    CHECK_THROWS_AS(empty.detach(), Error);
    CHECK_THROWS_AS(empty.requires_grad(true), Error);
    CHECK_THROWS_AS(empty.assign(1), Error);
    CHECK_THROWS_AS(empty.update([](Array<>&) {}), Error);
    CHECK_THROWS_AS(empty.on_gradient([](const Variable<>&) {}), Error);
    CHECK_THROWS_AS(Variable<>(1).assign(empty), Error);
    CHECK_THROWS_AS(empty + Variable<>(1), Error);
    CHECK_THROWS_AS(Variable<>(1).requires_grad(true).backward(empty), Error);
}

TEST_CASE("only variables that no operation made are changed, switched or watched", "[tape]") {
    const Variable<> x = leaf({1, 2});
    Variable<> y = x * 2;
    CHECK_THROWS_WITH(y.assign({1, 2}), ContainsSubstring("'multiply'"));
    CHECK_THROWS_WITH(y.update([](Array<>&) {}), ContainsSubstring("'multiply'"));
    CHECK_THROWS_WITH(y.requires_grad(false), ContainsSubstring("'multiply'"));
    CHECK_THROWS_WITH(y.on_gradient([](const Variable<>&) {}), ContainsSubstring("'multiply'"));
}

TEST_CASE("assign and update keep the shape", "[tape]") {
    Variable<> x{1, 2};
    CHECK_THROWS_WITH(x.assign({1, 2, 3}), ContainsSubstring("(3,)") && ContainsSubstring("(2,)"));
    CHECK_THROWS_WITH(x.update([](Array<>& value) { value = Array<>{1, 2, 3}; }),
                      ContainsSubstring("(3,)") && ContainsSubstring("(2,)"));
    CHECK(holds(x, {1, 2}));
    CHECK_THROWS_AS(x.set_grad({1, 2, 3}), Error);
    x.assign(x);
    x.assign(x.detach());
    CHECK(holds(x, {1, 2}));
}
