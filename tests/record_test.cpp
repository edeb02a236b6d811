#include <array>
#include <cmath>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record.hpp>
#include <xgrad/autodiff/record_many.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

template <class T = float>
Variable<T> leaf(Variable<T> x) {
    return x.requires_grad(true);
}

template <class T>
bool holds(const Variable<T>& x, const Array<T>& expected) {
    return x.defined() && x.value() == expected;
}

std::size_t tape_size() { return Tape::current().size(); }

// A part of a closure that counts how often it is copied and moved.
struct Counted {
    int* copies;
    int* moves;
    Counted(int& copied, int& moved) : copies(&copied), moves(&moved) {}
    Counted(const Counted& other) : copies(other.copies), moves(other.moves) { ++*copies; }
    Counted(Counted&& other) noexcept : copies(other.copies), moves(other.moves) { ++*moves; }
};

// Sine and cosine, which share their work and each other's derivative.
template <class T>
using Pair = std::array<Variable<T>, 2>;
template <class T>
Pair<T> sincos(const Variable<T>& x) {
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

class Log : public Observer {
public:
    void on_record(const Recorded& recorded) override {
        names.emplace_back(recorded.operation);
        inputs.emplace_back(recorded.inputs.begin(), recorded.inputs.end());
        outputs.emplace_back(recorded.outputs.begin(), recorded.outputs.end());
        attributes.clear();
        for (const Attribute& attribute : recorded.attributes) {
            std::string text(attribute.name);
            if (const auto* number = std::get_if<std::int64_t>(&attribute.value)) text += fmt::format("={}", *number);
            if (const auto* yes = std::get_if<bool>(&attribute.value)) text += fmt::format("={}", *yes);
            if (const auto* real = std::get_if<double>(&attribute.value)) text += fmt::format("={}", *real);
            if (const auto* word = std::get_if<std::string_view>(&attribute.value)) text += fmt::format("={}", *word);
            if (const auto* list = std::get_if<std::vector<std::int64_t>>(&attribute.value))
                for (std::int64_t n : *list) text += fmt::format(",{}", n);
            if (const auto* labels = std::get_if<const Array<std::int64_t>*>(&attribute.value))
                text += fmt::format("@{}", (*labels)->size());
            attributes.push_back(text);
        }
    }
    std::vector<std::string> names, attributes;
    std::vector<std::vector<const detail::Node*>> inputs, outputs;
};

}  // namespace

// ---- vjps in all their forms ----

TEST_CASE("a vjp takes the cotangent, and the result when it asks for it", "[record]") {
    const Variable<> x = leaf<>({1, 2});
    record("mine", Array<>(2.0f * x.value()), wrt(x, [](const Variable<>& g) { return g * 2; })).backward(Variable<>{1, 10});
    CHECK(holds(x.grad(), {2, 20}));
    record("mine", Array<>(2.0f * x.value()), wrt(x, [](Variable<> g, const Variable<>& y) { return g * y; }))
        .backward(Variable<>{1, 10});
    CHECK(holds(x.grad(), {4, 60}));
}

TEST_CASE("a vjp that takes the result by value may let go of it, unless the graph is retained", "[record]") {
    const Variable<> x = leaf<>({1, 2});
    auto memory = std::make_shared<std::vector<float>>(std::vector<float>{3, 4});
    const std::weak_ptr<std::vector<float>> watched = memory;
    bool freed = false;
    const auto vjp = [&freed, watched](const Variable<>& g, Variable<> y) {
        CHECK(holds(y, {3, 4}));
        y = {};
        freed = watched.expired();
        return g;
    };
    Variable<> y = record("mine", borrow(std::span(*memory), Shape{2}, memory), wrt(x, vjp), wrt(x, vjp));
    memory = nullptr;
    SECTION("when nobody else looks at it, its memory goes") {
        const Variable<> total = sum(y);
        y = {};
        total.backward({.retain_graph = true});
        CHECK_FALSE(freed);
        total.backward();
        CHECK(freed);
        CHECK(holds(x.grad(), {4, 4}));
        CHECK(tape_size() == 0);
    }
    SECTION("a handle that somebody has keeps it") {
        sum(y).backward();
        CHECK_FALSE(freed);
        CHECK(holds(y, {3, 4}));
    }
}

TEST_CASE("a vjp that reads the result and threw is refused the next time, for the result is gone", "[record]") {
    const Variable<> x = leaf<>({1, 2});
    const auto run_twice = [&](auto vjp) {
        Variable<> y = record("mine", Array<>{3, 4}, wrt(x, vjp));
        const Variable<> total = sum(y), another = sum(y);
        y = {};
        CHECK_THROWS_WITH(total.backward({.retain_graph = true}), "boom");
        CHECK_THROWS_WITH(total.backward(), "boom");
        CHECK_THROWS_WITH(another.backward(), ContainsSubstring("'mine'") && ContainsSubstring("freed"));
        CHECK_FALSE(x.grad().defined());
    };
    run_twice([](const Variable<>&, const Variable<>&) -> Variable<> { throw std::runtime_error("boom"); });
    run_twice([](const Variable<>&, Variable<> y) -> Variable<> {
        y = {};
        throw std::runtime_error("boom");
    });
}

TEST_CASE("the last input whose cotangent is expected gets the result to keep or to free", "[record]") {
    const Variable<> a = leaf<>({1, 2}), b = leaf<>({1, 2});
    auto memory = std::make_shared<std::vector<float>>(std::vector<float>{3, 4});
    const std::weak_ptr<std::vector<float>> watched = memory;
    bool freed = false;
    const auto vjp = [&freed, watched](const Variable<>& g, Variable<> y) {
        y = {};
        freed = watched.expired();
        return g;
    };
    Variable<> y = record("mine", borrow(std::span(*memory), Shape{2}, memory), wrt(a, vjp), wrt(b, vjp));
    memory = nullptr;
    const Variable<> total = sum(y);
    y = {};
    CHECK(holds(grad(total, a), {1, 1}));
    CHECK(freed);
}

TEST_CASE("a joint vjp is told which inputs need a cotangent", "[record]") {
    const Variable<> a = leaf<>({1, 2}), c = leaf<>({5, 6});
    const Variable<> b{3, 4};
    int calls = 0;
    const auto product = [&](const auto& vjp) {
        return record("mine", Array<>(a.value() * b.value() * c.value()), wrt(std::tie(a, b, c), vjp));
    };
    product([&, a, b, c](const Variable<>& g, const Needs& needs) {
        ++calls;
        CHECK((needs[0] && !needs[1] && needs[2]));
        return std::array<Variable<>, 3>{g * b * c, {}, g * a * b};
    }).backward(Variable<>{1, 1});
    CHECK(holds(a.grad(), {15, 24}));
    CHECK(holds(c.grad(), {3, 8}));
    product([&, a, b, c](const Variable<>& g, const Variable<>& y, const Needs&) {
        ++calls;
        return std::array<Variable<>, 3>{g * y / a, g * y / b, g * y / c};  // one too many is ignored
    }).backward(Variable<>{1, 1});
    CHECK(holds(a.grad(), {30, 48}));
    CHECK(calls == 2);
    CHECK_FALSE(b.grad().defined());
}

TEST_CASE("a joint vjp serves a number of inputs that is known at run time", "[record]") {
    std::vector<Variable<>> parts{leaf<>({1, 2}), Variable<>{3, 4}, leaf<>({5, 6})};
    parts.push_back(parts[0]);
    const auto total = [&](std::size_t answers) {
        Array<> value = parts[0].value();
        for (std::size_t i = 1; i < parts.size(); ++i) value += parts[i].value();
        return record("total", std::move(value), wrt(parts, [answers](const Variable<>& g, const Needs& needs) {
                          std::vector<Variable<>> gs(answers);
                          for (std::size_t i = 0; i < answers; ++i)
                              if (needs[i]) gs[i] = g;
                          return gs;
                      }));
    };
    total(4).backward(Variable<>{1, 2});
    CHECK(holds(parts[0].grad(), {2, 4}));
    CHECK_FALSE(parts[1].grad().defined());
    CHECK(holds(parts[2].grad(), {1, 2}));
    CHECK_THROWS_WITH(total(3).backward(Variable<>{1, 2}), ContainsSubstring("3 cotangents for 4 inputs"));
}

TEST_CASE("a cotangent may be a part of its input", "[record]") {
    const Variable<> x = leaf<>({1, 2, 3, 4});
    Region region{{2}, {}, 1};
    region.strides = {2};
    const auto place = make_place(region);
    const auto part = [&] {
        return record("part", Array<>{2, 4}, wrt(x, [place](Variable<> g) { return Partial<float>(std::move(g), place); }));
    };
    sum(part() * 3 + part()).backward();
    CHECK(holds(x.grad(), {0, 4, 0, 4}));
    const Variable<> g = grad(sum(square(part())), x, {.create_graph = true});
    CHECK(holds(g, {0, 4, 0, 8}));
    CHECK(holds(grad(sum(g), x), {0, 2, 0, 2}));
}

TEST_CASE("a partial cotangent that does not fit its place is refused", "[record]") {
    const Variable<> x = leaf<>({1, 2, 3, 4});
    const auto with_place = [&](Region region, Variable<> g) {
        const auto place = make_place(std::move(region));
        return record("part", Array<>(Shape{}, 0.0f), wrt(x, [=](const Variable<>&) { return Partial<float>(g, place); }));
    };
    Region two{{2}, {}, 1};
    two.strides = {2};
    CHECK_THROWS_AS(with_place(two, {1, 2, 3}).backward(), Error);
    Region outside{{2}, {}, 3};
    outside.strides = {2};
    CHECK_THROWS_AS(with_place(outside, {1, 2}).backward(), Error);
    Region before{{2}, {}, 0};
    before.strides = {-1};
    CHECK_THROWS_AS(with_place(before, {1, 2}).backward(), Error);
    CHECK_NOTHROW(with_place(two, {1, 2}).backward());
    CHECK(holds(x.grad(), {0, 1, 0, 2}));
}

TEST_CASE("a cotangent of a broadcast shape is summed back, and an empty one is zero", "[record]") {
    const Variable<> x = leaf<>({1, 2}), y = leaf<>({1, 2});
    record("mine", Array<>{1, 2}, wrt(x, [](const Variable<>&) { return Variable<>{{1, 2}, {3, 4}}; }),
           wrt(y, [](const Variable<>&) { return Variable<>(); }))
        .backward(Variable<>{1, 1});
    CHECK(holds(x.grad(), {4, 6}));
    CHECK_FALSE(y.grad().defined());
}

TEST_CASE("an input twice in one operation receives both cotangents", "[record]") {
    const Variable<> x = leaf<>({1, 2});
    record("mine", Array<>{1, 2}, wrt(x, [](const Variable<>& g) { return g * 2; }),
           wrt(x, [](const Variable<>& g) { return g * 3; }))
        .backward(Variable<>{1, 1});
    record("mine", Array<>{1, 2}, wrt(std::tie(x, x), [](const Variable<>& g, const Needs&) {
               return std::array<Variable<>, 2>{g, g};
           })).backward(Variable<>{1, 1});
    CHECK(holds(x.grad(), {7, 7}));
}

TEST_CASE("an empty variable is an input that is not there", "[record]") {
    const Variable<> x = leaf<>({1, 2}), none;
    const Log log;
    const Variable<> y = record("mine", Array<>{1, 2}, wrt(x, [](const Variable<>& g) { return g; }),
                                wrt(none, [](const Variable<>& g) { return g; }),
                                wrt(std::tie(none, x), [](const Variable<>& g, const Needs& needs) {
                                    CHECK((!needs[0] && needs[1]));
                                    return std::array<Variable<>, 2>{Variable<>(), g};
                                }));
    y.backward(Variable<>{1, 1});
    CHECK(holds(x.grad(), {2, 2}));
    CHECK(log.inputs[0] == std::vector<const detail::Node*>{x.node(), x.node()});
}

TEST_CASE("joint inputs may be variables that can be changed", "[record]") {
    Variable<> a = leaf<>({1, 2});
    const Variable<> b = leaf<>({3, 4});
    record("mine", Array<>{1, 2}, wrt(std::tie(a, b), [](const Variable<>& g, const Needs&) {
               return std::array<Variable<>, 2>{g, g};
           })).backward(Variable<>{1, 2});
    CHECK(holds(a.grad(), {1, 2}));
    CHECK(holds(b.grad(), {1, 2}));
}

TEST_CASE("an xtensor expression is a value as well", "[record]") {
    const Variable<> x = leaf<>({1, 2});
    const Variable<> y = record("mine", x.value() + x.value(), wrt(x, [](const Variable<>& g) { return g * 2; }));
    CHECK(holds(y, {2, 4}));
}

// ---- What closures cost ----

TEST_CASE("an input that needs no gradient lets go at once of what its vjp had captured", "[record]") {
    const Variable<> x = leaf<>({1, 2}), c{3, 4};
    const auto token = std::make_shared<int>(0);
    const auto vjp = [token](const Variable<>& g) { return g; };
    const auto joint = [token](const Variable<>& g, const Needs&) { return std::array<Variable<>, 2>{g, g}; };
    const long before = token.use_count();
    {
        const Variable<> y = record("mine", Array<>{1, 2}, wrt(x, [](const Variable<>& g) { return g; }), wrt(c, vjp),
                                    wrt(std::tie(c, c), joint));
        CHECK(token.use_count() == before);
        const Variable<> z = record("mine", Array<>{1, 2}, wrt(x, vjp), wrt(std::tie(c, x), joint));
        CHECK(token.use_count() == before + 2);
        z.backward(Variable<>{1, 1});
        CHECK(token.use_count() == before);
        const Variable<> w = record("mine", Array<>{1, 2}, wrt(x, vjp));
        CHECK(token.use_count() == before + 1);
    }
    CHECK(token.use_count() == before);
    const NoGrad no_grad;
    const Variable<> y = record("mine", Array<>{1, 2}, wrt(x, vjp), wrt(std::tie(x, c), joint));
    CHECK(token.use_count() == before);
    CHECK(y.is_leaf());
}

TEST_CASE("closures are never copied, and moved once into wrt and once into the node", "[record]") {
    const Variable<> x = leaf<>({1, 2});
    int copies = 0, moves = 0;
    const Variable<> y = record("mine", Array<>{1, 2}, with("first", 1),
                                wrt(x, [counted = Counted(copies, moves)](const Variable<>& g) { return g; }),
                                wrt(std::tie(x, x), [](const Variable<>&, const Needs&) {
                                    return std::array<Variable<>, 2>();
                                }));
    CHECK(copies == 0);
    CHECK(moves <= 2);
}

TEST_CASE("a value that is moved in is not copied", "[record]") {
    const Variable<> x = leaf<>({1, 2});
    Array<> value{1, 2};
    const float* data = value.data();
    CHECK(record("mine", std::move(value), wrt(x, [](const Variable<>& g) { return g; })).value().data() == data);
}

// ---- Observers ----

TEST_CASE("an observer sees names, inputs, results and settings", "[record]") {
    const Variable<> x = leaf<>({1, 2}), c{3, 4};
    const Array<std::int64_t> labels{1, 0, 1};
    const Shape axes{0, 2};
    Log log;
    const Variable<> y = record("mine", Array<>{1, 2}, with("count", 3), with("flag", true), with("eps", 0.5f),
                                wrt(x, [](const Variable<>& g) { return g; }), with("mode", "mean"), with("labels", labels),
                                wrt(c, [](const Variable<>& g) { return g; }), with("axes", axes));
    REQUIRE(log.names == std::vector<std::string>{"mine"});
    CHECK(log.inputs[0] == std::vector<const detail::Node*>{x.node(), c.node()});
    CHECK(log.outputs[0] == std::vector<const detail::Node*>{y.node()});
    CHECK(log.attributes ==
          std::vector<std::string>{"count=3", "flag=true", "eps=0.5", "mode=mean", "labels@3", "axes,0,2"});
    {
        const NoGrad no_grad;
        const Variable<> z = x * c;
        CHECK(log.names.back() == "multiply");
        CHECK(log.inputs.back() == std::vector<const detail::Node*>{x.node(), c.node()});
        CHECK(log.outputs.back() == std::vector<const detail::Node*>{z.node()});
    }
    concatenate(std::vector<Variable<>>{x, c, x});
    CHECK(log.inputs.back() == std::vector<const detail::Node*>{x.node(), c.node(), x.node()});
}

TEST_CASE("an observer sees the arithmetic of a backward by its names", "[record]") {
    const Variable<> x = leaf<>({1, 2}), constant{3, 4};
    const Variable<> y = -(x * constant) * 3 / 2 / constant;
    Log log;
    y.backward(Variable<>{1, 1});
    CHECK(log.names == std::vector<std::string>{"divide", "divide", "multiply", "negative", "multiply"});
}

TEST_CASE("observers nest, and are told no more when they are gone", "[record]") {
    const Variable<> x = leaf<>({1, 2});
    Log outer;
    {
        Log inner;
        const Variable<> y = x * 2;
        CHECK(inner.names.size() == 1);
        CHECK(outer.names.size() == 1);
    }
    const Variable<> y = x * 2;
    CHECK(outer.names.size() == 2);
}

// ---- Several results ----

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
    const Variable<> x = leaf<>({1, 2, 3, 4});
    const auto halves = [&] {
        return record_many("halves", std::vector<Array<>>{{1, 2}, {3, 4}},
                           wrt(x, [](const std::vector<Variable<>>& gs) {
                               CHECK(gs[0].defined());
                               CHECK_FALSE(gs[1].defined());
                               return concatenate(std::vector<Variable<>>{gs[0], gs[0]});
                           }));
    };
    Log log;
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
    const Variable<> a = leaf<>({1, 2}), b{3, 4};
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
    const Variable<> x = leaf<>({1, 2});
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
