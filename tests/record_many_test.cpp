#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record_many.hpp>

#include "catch.hpp"
#include "leaf.hpp"
#include "record_log.hpp"

using namespace xgrad;
using testing::holds;
using testing::leaf;
using testing::RecordLog;
using testing::tape_size;

namespace {

// Sine and cosine, which share their work and each other's derivative.
template <class T> using Pair = std::array<Variable<T>, 2>;
template <class T> Pair<T> sincos(const Variable<T>& x) {
    std::array<Array<T>, 2> values{Array<T>(x.shape()), Array<T>(x.shape())};
    for (std::size_t i = 0; i < x.size(); ++i) {
        values[0].data()[i] = std::sin(x.value().data()[i]);
        values[1].data()[i] = std::cos(x.value().data()[i]);
    }
    return record_many("sincos", std::move(values), wrt(x, [](const Pair<T>& gs, const Pair<T>& ys) {
                           Variable<T> g;
                           if (gs[0]) g = gs[0] * ys[1];
                           if (gs[1]) g = g ? g - gs[1] * ys[0] : -gs[1] * ys[0];
                           return g;
                       }));
}

}  // namespace

TEST_CASE("an operation with two results hands both cotangents to one vjp", "[record]") {
    const Variable<double> x = leaf<double>({0.3, 1.2});
    const auto [s, c] = sincos(x);
    CHECK(tape_size() == 3);
    sum(s * c).backward();
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(s.value()(i) == Approx(std::sin(x.value()(i))));
        CHECK(c.value()(i) == Approx(std::cos(x.value()(i))));
        CHECK(x.grad().value()(i) == Approx(std::cos(2 * x.value()(i))));
    }
    CHECK(tape_size() == 0);
}

TEST_CASE("several values may come from operations that record nothing", "[record]") {
    const Variable<> x = leaf({1, 2});
    const auto [a, b] = record_many("mine", std::array{2 * x.detach(), 3 * x.detach()},
                                    wrt(x, [](const Pair<float>& gs) { return 2 * gs[0] + 3 * gs[1]; }));
    CHECK(tape_size() == 3);
    sum(a * b).backward();  // 6·x²
    CHECK(holds(x.grad(), {12, 24}));
    const std::vector<Variable<>> values{2 * x.detach()};
    const auto same = record_many("mine", values, wrt(x, [](const std::vector<Variable<>>& gs) { return 2 * gs[0]; }));
    CHECK(same.size() == 1);
    CHECK(holds(same[0], {2, 4}));
    CHECK_THROWS_WITH(record_many("mine", std::array{2 * x, 3 * x}, wrt(x, [](const Pair<float>& gs) { return gs[0]; })),
                      ContainsSubstring("'mine'") && ContainsSubstring("'multiply'"));
}

TEST_CASE("a result that receives no cotangent has an empty one, and may be dropped", "[record]") {
    const Variable<double> x = leaf<double>({0.3, 1.2});
    const auto check = [&](std::size_t used, double sign, double (*derivative)(double)) {
        Variable<double> result = sincos(x)[used];
        CHECK(tape_size() == 2);
        const Variable<double> g = grad(sum(result), x);
        for (std::size_t i = 0; i < 2; ++i) CHECK(g.value()(i) == Approx(sign * derivative(x.value()(i))));
        CHECK(tape_size() == 0);
    };
    check(0, 1, std::cos);
    check(1, -1, std::sin);
    { const auto pair = sincos(x); }
    CHECK(tape_size() == 0);
}

TEST_CASE("several results can be differentiated again, whether or not their handles are left", "[record]") {
    const Variable<double> x = leaf<double>({0.3, 1.2});
    const auto all_orders = [&](const Variable<double>& y) {
        const Variable<double> first = grad(y, x, {.create_graph = true});
        const Variable<double> second = grad(sum(first), x, {.create_graph = true});
        return std::array{first, second, grad(sum(second), x)};
    };
    const auto check = [&](const std::array<Variable<double>, 3>& orders) {
        for (std::size_t i = 0; i < 2; ++i) {
            const double v = x.value()(i);
            CHECK(orders[0].value()(i) == Approx(std::cos(v) - 2 * std::sin(v)));
            CHECK(orders[1].value()(i) == Approx(-std::sin(v) - 2 * std::cos(v)));
            CHECK(orders[2].value()(i) == Approx(-std::cos(v) + 2 * std::sin(v)));
        }
    };
    SECTION("with handles") {
        const auto [s, c] = sincos(x);
        check(all_orders(sum(s + 2 * c)));
    }
    SECTION("without") {
        check(all_orders([&] {
            const auto [s, c] = sincos(x);
            return sum(s + 2 * c);
        }()));
    }
    CHECK(tape_size() == 0);
}

TEST_CASE("several results can be run again when they are retained, and say so when they are not", "[record]") {
    const Variable<double> x = leaf<double>({0.3, 1.2});
    const auto [s, c] = sincos(x);
    const Variable<double> loss = sum(s) + sum(c);
    loss.backward({.retain_graph = true});
    const Array<double> once = x.grad().value();
    loss.backward({.retain_graph = true});
    CHECK(x.grad().value()(1) == Approx(2 * once(1)));
    sum(s).backward();
    CHECK_THROWS_WITH(loss.backward(), ContainsSubstring("'sum'") || ContainsSubstring("'sincos'"));
    CHECK_THROWS_WITH(sum(c).backward(), ContainsSubstring("'sincos'") && ContainsSubstring("retain_graph"));
    CHECK_THROWS_WITH(s.backward(Variable<double>{1, 1}), ContainsSubstring("'sincos'"));
}

TEST_CASE("results of an operation with several are wanted by grad like others", "[record]") {
    const Variable<double> x = leaf<double>({0.3, 1.2});
    const auto [s, c] = sincos(x);
    const auto gs = grad<double>({sum(s * c)}, {s, c, x});
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(gs[0].value()(i) == Approx(c.value()(i)));
        CHECK(gs[1].value()(i) == Approx(s.value()(i)));
        CHECK(gs[2].value()(i) == Approx(std::cos(2 * x.value()(i))));
    }
}

TEST_CASE("a result of several that changed in place is refused by the vjp that reads it", "[record]") {
    const Variable<double> x = leaf<double>({0.3, 1.2});
    const auto [s, c] = sincos(x);
    const Variable<double> loss = sum(s);
    c.detach().assign({0, 0});
    CHECK_THROWS_WITH(loss.backward(), ContainsSubstring("'sincos'") && ContainsSubstring("changed in place"));
    CHECK_FALSE(x.grad().defined());
}

TEST_CASE("the results of several that no vjp reads are not kept", "[record]") {
    const Variable<> x = leaf({1, 2, 3, 4});
    const auto halves = [&] {
        return record_many("halves", std::vector<Array<>>{{1, 2}, {3, 4}},
                           wrt(x, [](const std::vector<Variable<>>& gs) {
                               CHECK(gs[0].defined());
                               CHECK_FALSE(gs[1].defined());
                               return concatenate(std::vector<Variable<>>{gs[0], gs[0]});
                           }));
    };
    RecordLog log;
    std::vector<Variable<>> parts = halves();
    REQUIRE(parts.size() == 2);
    CHECK(log.names == std::vector<std::string>{"halves"});
    CHECK(log.outputs[0] == std::vector<const detail::Node*>{parts[0].node(), parts[1].node()});
    CHECK(parts[0].value().storage().unique());
    const Variable<> loss = sum(parts[0]);
    parts.clear();
    loss.backward();
    CHECK(holds(x.grad(), {1, 1, 1, 1}));
    CHECK(tape_size() == 0);
}

TEST_CASE("joint vjps of several results get everything they ask for", "[record]") {
    const Variable<> a = leaf({1, 2}), b{3, 4};
    const auto [both, difference] = [&] {
        std::array<Array<>, 2> values{Array<>(a.value() * b.value()), Array<>(a.value() - b.value())};
        return record_many("mine", std::move(values),
                           wrt(std::tie(a, b), [a, b](const Pair<float>& gs, const Pair<float>& ys, const Needs& needs) {
                               CHECK((needs[0] && !needs[1]));
                               CHECK(holds(ys[0], {3, 8}));
                               CHECK_FALSE(ys[1].requires_grad());
                               return std::array<Variable<>, 2>{gs[0] * b + gs[1], {}};
                           }), with("kind", "pair"));
    }();
    sum(both + difference * 10).backward();
    CHECK(holds(a.grad(), {13, 14}));
    const NoGrad no_grad;
    const auto plain = record_many("mine", std::vector<Array<>>{{1}, {2}}, wrt(a, [](const std::vector<Variable<>>& gs) {
                                       return gs[0];
                                   }));
    CHECK(plain[1].is_leaf());
    CHECK(tape_size() == 0);
}

TEST_CASE("an exception in the vjp of several results leaves no cotangents behind", "[record]") {
    const Variable<> x = leaf({1, 2});
    bool armed = true;
    const auto pair = record_many("mine", std::vector<Array<>>{{1, 2}, {3, 4}},
                                  wrt(x, [&](const std::vector<Variable<>>& gs) {
                                      if (armed) throw std::runtime_error("boom");
                                      return gs[0] ? gs[0] : gs[1];
                                  }));
    CHECK_THROWS_WITH(sum(pair[0]).backward({.retain_graph = true}), "boom");
    armed = false;
    sum(pair[1]).backward();
    CHECK(holds(x.grad(), {1, 1}));
}

TEST_CASE("a grad inside a vjp passes the same operation with several results on its own", "[record]") {
    const Variable<double> x = leaf<double>({0.3, 1.2});
    const auto [s, c] = sincos(x);
    const Variable<double> side = sum(c);
    Variable<double> inner;
    const Variable<double> y = record("mine", Array<double>(s.value()), wrt(s, [&](const Variable<double>& g) {
                                          inner = grad(side, x, {.retain_graph = true});
                                          return g;
                                      }));
    sum(y + c).backward();
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(inner.value()(i) == Approx(-std::sin(x.value()(i))));
        CHECK(x.grad().value()(i) == Approx(std::cos(x.value()(i)) - std::sin(x.value()(i))));
    }
}
