#include <array>
#include <numeric>
#include <vector>

#include "catch.hpp"
#include "random.hpp"
#include "threads.hpp"
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/optim/clip.hpp>

using namespace xgrad;
using xgrad::testing::check_refused;
using xgrad::testing::random;
using xgrad::testing::same;
using xgrad::testing::Threads;

namespace {

using V = Variable<double>;

// 0, 1, 2, … in this shape.
V counting(const Shape& shape) {
    Array<double> values = empty<double>(shape);
    for (std::size_t i = 0; i < values.size(); ++i) values.data()[i] = static_cast<double>(i);
    return values;
}

// A rearrangement is linear: squared, its second derivative says something.
template <class F> void check(F operation, const V& x) {
    gradcheck([&](auto& v) { return square(operation(v)); }, {x});
}

}  // namespace

TEST_CASE("broadcast_to and sum_to are each other's derivative", "[operations][shape]") {
    struct Case {
        Shape from, to;
    };
    for (const auto& [from, to] : std::vector<Case>{{{}, {2, 3}},
                                                    {{3}, {2, 3}},
                                                    {{2, 1}, {2, 3}},
                                                    {{2, 1, 3}, {2, 4, 3}},
                                                    {{1, 1}, {3, 2, 2}},
                                                    {{1, 2, 1, 2}, {3, 2, 3, 2}},
                                                    {{2, 3}, {2, 3}},
                                                    {{1}, {0}},
                                                    {{1, 3}, {0, 3}},
                                                    {{}, {}}}) {
        INFO(describe(from) << " to " << describe(to));
        const V x = random(from, 1), y = random(to, 2);
        CHECK(same(broadcast_to(x, to), Array<double>(xt::broadcast(x.value(), to))));
        check([&, &t = to](auto& v) { return broadcast_to(v, t); }, x);
        check([&, &f = from](auto& v) { return sum_to(v, f); }, y);
        // ⟨broadcast(x), y⟩ = ⟨x, sum_to(y)⟩
        CHECK(sum(broadcast_to(x, to) * y).item() == Approx(sum(x * sum_to(y, from)).item()).margin(1e-14));
    }
    check_refused([] { return broadcast_to(random({2, 3}), Shape{2, 4}); }, {"broadcast_to", "(2, 3)", "(2, 4)"});
    check_refused([] { return broadcast_to(random({2, 3}), Shape{3}); }, {"broadcast_to", "(2, 3)", "(3,)"});
    check_refused([] { return sum_to(random({2, 3}), Shape{2}); }, {"sum_to", "(2,)", "(2, 3)"});
}

TEST_CASE("sizes of a reshape are of any integral type, or known at run time only", "[operations][shape]") {
    const Variable<> x = {{1, 2, 3}, {4, 5, 6}};
    const int rows = 3;
    CHECK(reshape(x, {rows, x.shape(0)}).shape() == Shape{3, 2});
    CHECK(reshape(x, {x.shape(1), -1, 1L}).shape() == Shape{3, 2, 1});
    const std::vector<std::ptrdiff_t> sizes{-1, 2};
    CHECK(reshape(x, Sizes(sizes)).shape() == Shape{3, 2});
    CHECK_THROWS_AS(reshape(x, {~std::size_t{0}, std::size_t{2}}), Error);
}

TEST_CASE("reshape keeps the order of elements and computes the size in place of -1", "[operations][shape]") {
    const V x = counting({2, 3, 4});
    CHECK(reshape(x, {-1, 4}).shape() == Shape{6, 4});
    CHECK(reshape(x, {4, 6}).value()(1, 2) == 8);
    CHECK(reshape(x, {24}).value()(23) == 23);
    CHECK(reshape(x, Shape{2, 2, 2, 3}).shape() == Shape{2, 2, 2, 3});
    CHECK(reshape(V(5), {1, 1}).shape() == Shape{1, 1});
    CHECK(reshape(V{5}, Shape{}).shape() == Shape{});
    CHECK(reshape(random({0, 3}), {3, 0}).shape() == Shape{3, 0});
    CHECK(reshape(random({0, 3}), {-1, 3}).shape() == Shape{0, 3});
    check([](auto& v) { return reshape(v, {3, -1}); }, random({2, 3, 2}));
    check([](auto& v) { return reshape(v, {-1}) * 2; }, random({}));
    check([](auto& v) { return reshape(v, {0, 7}); }, random({3, 0}));
}

TEST_CASE("reshape shares memory", "[operations][shape]") {
    const V x = counting({2, 3});
    CHECK(reshape(x, {3, 2}).value().data() == x.value().data());
    CHECK(flatten(x).value().data() == x.value().data());
    CHECK(expand_dims(x, 0).value().data() == x.value().data());
}

TEST_CASE("reshape refuses what does not fit", "[operations][shape][errors]") {
    const V x = random({2, 3});
    check_refused([&] { return reshape(x, {4, 2}); }, {"reshape", "(2, 3)", "6", "(4, 2)", "8"});
    check_refused([&] { return reshape(x, Shape{7}); }, {"reshape", "(2, 3)", "(7,)"});
    check_refused([&] { return reshape(x, {-1, 4}); }, {"reshape", "-1", "6 elements", "(2, 3)"});
    check_refused([&] { return reshape(x, {-1, -1}); }, {"reshape", "only one size can be -1"});
    check_refused([&] { return reshape(x, {-2, -3}); }, {"reshape", "-2", "negative"});
    check_refused([] { return reshape(random({0, 3}), {0, -1}); }, {"reshape", "-1"});
}

TEST_CASE("flatten, squeeze and expand_dims merge, drop and add axes", "[operations][shape]") {
    const V x = random({2, 1, 3, 1});
    CHECK(flatten(x).shape() == Shape{6});
    CHECK(flatten(x, 1).shape() == Shape{2, 3});
    CHECK(flatten(x, 1, 2).shape() == Shape{2, 3, 1});
    CHECK(flatten(x, -2, -1).shape() == Shape{2, 1, 3});
    CHECK(flatten(V(1)).shape() == Shape{1});
    CHECK(flatten(random({0, 2, 3}), 1).shape() == Shape{0, 6});
    CHECK(squeeze(x).shape() == Shape{2, 3});
    CHECK(squeeze(x, 1).shape() == Shape{2, 3, 1});
    CHECK(squeeze(x, {-1, 1}).shape() == Shape{2, 3});
    CHECK(squeeze(random({1, 1})).shape() == Shape{});
    CHECK(expand_dims(x, 0).shape() == Shape{1, 2, 1, 3, 1});
    CHECK(expand_dims(x, -1).shape() == Shape{2, 1, 3, 1, 1});
    CHECK(expand_dims(V(1), 0).shape() == Shape{1});
    check([](auto& v) { return flatten(v, 1, 2); }, x);
    check([](auto& v) { return squeeze(v, 1); }, x);
    check([](auto& v) { return expand_dims(v, -2); }, x);

    check_refused([&] { return flatten(x, 2, 1); }, {"flatten", "first axis, 2", "last, 1"});
    check_refused([&] { return flatten(x, 4); }, {"flatten", "axis 4", "4 dimensions"});
    check_refused([&] { return squeeze(x, 2); }, {"squeeze", "axis 2", "(2, 1, 3, 1)", "size 3"});
    check_refused([&] { return squeeze(x, {1, 1}); }, {"squeeze", "axis 1", "twice"});
    check_refused([&] { return expand_dims(x, 5 + 1); }, {"expand_dims", "axis 6"});
}

TEST_CASE("transpose permutes axes, and reverses them when none are given", "[operations][shape]") {
    const V x = counting({2, 3, 4});
    CHECK(same(transpose(x), Array<double>(xt::transpose(x.value()))));
    for (const std::vector<std::ptrdiff_t>& axes :
         {std::vector<std::ptrdiff_t>{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}) {
        INFO("axes " << axes[0] << axes[1] << axes[2]);
        CHECK(same(transpose(x, axes), Array<double>(xt::transpose(x.value(), axes))));
        check([&](auto& v) { return transpose(v, axes); }, random({2, 3, 2}));
    }
    CHECK(transpose(x, {-1, 0, -2}).shape() == Shape{4, 2, 3});
    CHECK(same(transpose(transpose(x)), x.value()));
    const V wide = counting({37, 53});  // not a multiple of any block
    CHECK(same(transpose(wide), Array<double>(xt::transpose(wide.value()))));
    check([](auto& v) { return transpose(v, {3, 0, 2, 1}); }, random({2, 1, 3, 2}));
    check([](auto& v) { return transpose(v); }, random({0, 3}));
    check([](auto& v) { return transpose(v); }, random({3}));
    check([](auto& v) { return transpose(v); }, random({}));

    check_refused([&] { return transpose(x, {0, 1}); }, {"transpose", "2 axes", "(2, 3, 4)"});
    check_refused([&] { return transpose(x, {0, 1, 3}); }, {"transpose", "axis 3", "3 dimensions"});
    check_refused([&] { return transpose(x, {0, 1, 1}); }, {"transpose", "axis 1", "twice"});
}

TEST_CASE("flip reverses along some axes or all", "[operations][shape]") {
    const V x{{1, 2, 3}, {4, 5, 6}};
    CHECK(same(flip(x), {{6, 5, 4}, {3, 2, 1}}));
    CHECK(same(flip(x, 0), {{4, 5, 6}, {1, 2, 3}}));
    CHECK(same(flip(x, -1), {{3, 2, 1}, {6, 5, 4}}));
    CHECK(same(flip(x, {0, 1}), {{6, 5, 4}, {3, 2, 1}}));
    CHECK(same(flip(V(3)), full(Shape{}, 3.0)));
    check([](auto& v) { return flip(v, {0, -1}) * v; }, random({2, 3, 2}));
    check([](auto& v) { return flip(v, 1); }, random({2, 0}));
    check_refused([&] { return flip(x, 2); }, {"flip", "axis 2"});
    check_refused([&] { return flip(x, {0, -2}); }, {"flip", "axis -2", "twice"});
}

TEST_CASE("shapes broadcast by NumPy's rule, and an error names both", "[operations][shape]") {
    const auto broadcast = [](const Shape& a, const Shape& b) { return broadcast_shape("add", a, b); };
    CHECK(broadcast({3, 1}, {4}) == Shape{3, 4});
    CHECK(broadcast({}, {2, 3}) == Shape{2, 3});
    CHECK(broadcast({0}, {1}) == Shape{0});
    CHECK(broadcast({1}, {5, 0}) == Shape{5, 0});
    check_refused([&] { return broadcast({32, 784}, {512, 10}); }, {"add", "(32, 784)", "(512, 10)"});
    check_refused([&] { return broadcast({2}, {0}); }, {"add", "(2,)", "(0,)"});
}

TEST_CASE("concatenate joins arrays along any axis", "[operations][shape]") {
    const V a{{1, 2}, {3, 4}}, b{{5, 6}}, c = reshape(V{7, 8}, {2, 1});
    CHECK(same(concatenate({a, b}), {{1, 2}, {3, 4}, {5, 6}}));
    CHECK(same(concatenate({a, c, a}, -1), {{1, 2, 7, 1, 2}, {3, 4, 8, 3, 4}}));
    CHECK(same(concatenate({V{1}, V{2, 3}}), {1, 2, 3}));
    CHECK(concatenate({random({0, 2}), a}).shape() == Shape{2, 2});
    CHECK(same(concatenate({random({2, 0}), a}, 1), a.value()));

    using List = std::vector<V>;
    const auto join = [](std::ptrdiff_t axis) {
        return [=](auto&... x) { return square(concatenate(List{x...}, axis)); };
    };
    gradcheck(join(1), {random({2, 3, 2}, 1), random({2, 1, 2}, 2), random({2, 2, 2}, 3)});
    gradcheck(join(0), {random({0, 3}, 1), random({2, 3}, 2)});
    gradcheck(join(-1), {random({3}, 1)});
    gradcheck([](auto& x) { return square(concatenate(List{x, x * x, x})); }, {random({2})});
}

TEST_CASE("concatenate passes cotangents to those parts only that require them", "[operations][shape]") {
    V a{1, 2}, b{3};
    b.requires_grad(true);
    concatenate({a, b, a, b}).backward(V{1, 2, 3, 4, 5, 6});
    CHECK(same(b.grad(), {9}));
    CHECK_FALSE(a.grad().defined());
}

TEST_CASE("gradients of joined leaves are each its leaf's alone", "[operations][shape]") {
    V a{1, 2}, b{3};
    a.requires_grad(true), b.requires_grad(true);
    const V cotangent{1, 2, 3};
    concatenate({a, b}).backward(cotangent);
    optim::clip_grad_value<double>({a}, 1);
    CHECK(same(a.grad(), {1, 1}));
    CHECK(same(b.grad(), {3}));
    CHECK(same(cotangent, {1, 2, 3}));
}

TEST_CASE("stack adds an axis, split takes it apart again", "[operations][shape]") {
    using List = std::vector<V>;
    const V a{1, 2, 3}, b{4, 5, 6};
    CHECK(same(stack({a, b}), {{1, 2, 3}, {4, 5, 6}}));
    CHECK(same(stack({a, b}, 1), {{1, 4}, {2, 5}, {3, 6}}));
    CHECK(same(stack({a, b}, -1), {{1, 4}, {2, 5}, {3, 6}}));
    CHECK(same(stack({V(1), V(2)}), {1, 2}));
    gradcheck([](auto& x, auto& y) { return square(stack(List{x, y, x}, 1)); }, {random({2, 3}, 1), random({2, 3}, 2)});
    gradcheck([](auto& x, auto& y) { return square(stack(List{x, y}, -1)); }, {random({}, 1), random({}, 2)});

    const V x = counting({2, 6});
    const List parts = split(x, 3, 1);
    REQUIRE(parts.size() == 3);
    CHECK(same(parts[1], {{2, 3}, {8, 9}}));
    CHECK(same(concatenate(parts, 1), x.value()));
    CHECK(same(split(x, 2)[1], {{6, 7, 8, 9, 10, 11}}));
    gradcheck(
        [](auto& v) {
            const List p = split(v, 3, -1);
            return std::vector<V>{p[0] * p[1], p[2] * p[2]};
        },
        {random({2, 6})});
}

TEST_CASE("joining and splitting refuse shapes that do not fit", "[operations][shape][errors]") {
    const V a = random({2, 3}), b = random({2, 4}), c = random({3});
    check_refused([&] { return concatenate({a, b}); }, {"concatenate", "(2, 3)", "(2, 4)", "axis 0"});
    check_refused([&] { return concatenate({a, c}); }, {"concatenate", "(2, 3)", "(3,)"});
    check_refused([&] { return concatenate({a, b}, 2); }, {"concatenate", "axis 2", "2 dimensions"});
    check_refused([&] { return concatenate({V(1), V(2)}); }, {"concatenate", "axis 0", "0 dimensions"});
    check_refused([&] { return concatenate(std::vector<V>()); }, {"concatenate", "nothing"});
    check_refused([&] { return stack({a, b}); }, {"stack", "(2, 3)", "(2, 4)"});
    check_refused([&] { return stack({a, a}, 3); }, {"axis 3"});
    check_refused([&] { return stack(std::vector<V>()); }, {"stack", "nothing"});
    check_refused([&] { return split(a, 2, 1); }, {"split", "axis 1", "(2, 3)", "2 equal parts"});
    check_refused([&] { return split(a, 0); }, {"split", "axis 0", "0 equal parts"});
    check_refused([&] { return split(a, 1, -3); }, {"split", "axis -3"});
}

TEST_CASE("arrays of four axes can be read in any order of them, large and small, on any number of threads", "[operations][shape]") {
    for (const Shape& shape : {Shape{3, 2, 1, 4}, Shape{2, 37, 5, 70}, Shape{19, 1, 33, 40}}) {
        Array<float> numbers = empty<float>(shape);
        std::iota(numbers.begin(), numbers.end(), 0.0f);
        const Variable<> x(numbers);
        std::array<std::ptrdiff_t, 4> axes{0, 1, 2, 3};
        do {
            CAPTURE(describe(shape), axes[0], axes[1], axes[2], axes[3]);
            const Array<float> expected =
                xt::transpose(numbers, xt::svector<std::size_t, 4>(axes.begin(), axes.end()));
            for (const std::size_t count : {1, 3}) {
                const Threads scope(count);
                CHECK(transpose(x, {axes[0], axes[1], axes[2], axes[3]}).value() == expected);
            }
        } while (std::next_permutation(axes.begin(), axes.end()));
    }
}

TEST_CASE("large arrays are joined along any axis on any number of threads", "[operations][shape]") {
    Array<float> numbers = empty<float>({130, 7, 90});
    std::iota(numbers.begin(), numbers.end(), 0.0f);
    const Variable<> x(numbers);
    for (const std::size_t count : {1, 3}) {
        const Threads scope(count);
        for (const std::ptrdiff_t axis : {0, 1, 2}) {
            const Array<float> twice = xt::concatenate(xt::xtuple(numbers, numbers), static_cast<std::size_t>(axis));
            CHECK(concatenate({x, x}, axis).value() == twice);
        }
        Array<float> by_turns = empty<float>({130, 7, 90, 18});
        for (std::size_t i = 0; i < by_turns.size(); ++i)
            by_turns.data()[i] = numbers.data()[i / 18] * static_cast<float>(i % 18);
        std::vector<Variable<>> parts;
        for (std::size_t i = 0; i < 18; ++i) parts.push_back(x * i);
        CHECK(stack(parts, -1).value() == by_turns);
    }
}
