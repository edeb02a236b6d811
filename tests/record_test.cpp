#include <array>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/places.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record.hpp>

#include "catch.hpp"
#include "leaf.hpp"
#include "record_log.hpp"

using namespace xgrad;
using testing::holds;
using testing::leaf;
using testing::RecordLog;
using testing::tape_size;

namespace {

// A part of a closure that counts how often it is copied and moved.
struct Counted {
    int* copies;
    int* moves;
    Counted(int& copied, int& moved) : copies(&copied), moves(&moved) {}
    Counted(const Counted& other) : copies(other.copies), moves(other.moves) { ++*copies; }
    Counted(Counted&& other) noexcept : copies(other.copies), moves(other.moves) { ++*moves; }
};

}  // namespace

// ---- vjps in all their forms ----

TEST_CASE("a vjp takes the cotangent, and the result when it asks for it", "[record]") {
    const Variable<> x = leaf({1, 2});
    record("mine", Array<>(2.0f * x.value()), wrt(x, [](const Variable<>& g) { return g * 2; }))
        .backward(Variable<>{1, 10});
    CHECK(holds(x.grad(), {2, 20}));
    record("mine", Array<>(2.0f * x.value()), wrt(x, [](Variable<> g, const Variable<>& y) { return g * y; }))
        .backward(Variable<>{1, 10});
    CHECK(holds(x.grad(), {4, 60}));
}

TEST_CASE("an operation's value may come from operations that record nothing", "[record]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> twice = 2 * x.detach(),
                     y = record("mine", twice, wrt(x, [](const Variable<>&g) { return g * 2; }));
    CHECK(tape_size() == 1);
    CHECK(y.value().data() == twice.value().data());
    y.backward(Variable<>{1, 10});
    CHECK(holds(x.grad(), {2, 20}));

    // The gradient of another value than the one that is seen: a rounding that lets it through.
    Variable<> w = leaf({0.4f, 1.6f});
    const Variable<> rounded = record("round", floor(w.detach() + 0.5f), wrt(w, [](const Variable<>& g) { return g; }));
    CHECK(holds(rounded, {0, 2}));
    rounded.backward(Variable<>{3, 4});
    CHECK(holds(w.grad(), {3, 4}));

    CHECK_THROWS_WITH(
        record("mine", x * 2, wrt(x, [](const Variable<>& g) { return g; })),
        ContainsSubstring("'mine'") && ContainsSubstring("'multiply'") && ContainsSubstring("x.detach()"));
    CHECK_THROWS_WITH(record("mine", Variable<>(), wrt(x, [](const Variable<>& g) { return g; })),
                      ContainsSubstring("empty"));
    const NoGrad no_grad;
    CHECK(holds(record("mine", x * 2, wrt(x, [](const Variable<>& g) { return g; })), {2, 4}));
}

TEST_CASE("a vjp that takes the result by value may let go of it, unless the graph is retained", "[record]") {
    const Variable<> x = leaf({1, 2});
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
    const Variable<> x = leaf({1, 2});
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
    const Variable<> a = leaf({1, 2}), b = leaf({1, 2});
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
    const Variable<> a = leaf({1, 2}), c = leaf({5, 6});
    const Variable<> b{3, 4};
    int calls = 0;
    const auto product = [&](const auto& vjp) {
        return record("mine", Array<>(a.value() * b.value() * c.value()), wrt(std::tie(a, b, c), vjp));
    };
    product([&, a, b, c](const Variable<>& g, const Needs& needs) {
        ++calls;
        CHECK((needs[0] && !needs[1] && needs[2]));
        CHECK((needs.shape(0) == a.shape() && needs.shape(2) == c.shape()));
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

TEST_CASE("a joint vjp may add to what its input has received, which nobody else sees", "[record]") {
    const Variable<> x = leaf({1, 2}), w = leaf({1, 2});
    int in_place = 0;
    const auto doubled = [&] {
        return record("mine", Array<>(2 * x.value()), wrt(std::tie(x), [&](const Variable<>& g, const Needs& needs) {
                          std::array<Variable<>, 1> cotangents;
                          if (Array<>* const sum = needs.arrived<float>(0)) {
                              *sum += 2 * g.value();
                              ++in_place;
                          } else {
                              cotangents[0] = g * 2;
                          }
                          return cotangents;
                      }));
    };
    (doubled() + doubled() + doubled()).backward(Variable<>{1, 2});
    CHECK(holds(x.grad(), {6, 12}));
    CHECK(in_place == 2);
    (doubled() + doubled()).backward(Variable<>{1, 2});  // into a gradient that is there
    CHECK(holds(x.grad(), {10, 20}));
    CHECK(in_place == 3);

    const Variable<> first = doubled(), passes_on = x + w;
    const auto gradients = grad<float>({first + passes_on}, {x, w}, {Variable<>{1, 2}});
    CHECK(holds(gradients[0], {3, 6}));
    CHECK(holds(gradients[1], {1, 2}));
    CHECK(in_place == 3);  // what x had received was w's cotangent, too
    CHECK(holds(grad(sum(doubled() + doubled()), x, {.create_graph = true}), {4, 4}));
    CHECK(in_place == 3);
}

TEST_CASE("a joint vjp serves a number of inputs that is known at run time", "[record]") {
    std::vector<Variable<>> parts{leaf({1, 2}), Variable<>{3, 4}, leaf({5, 6})};
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
    const Variable<> x = leaf({1, 2, 3, 4});
    Region region{{2}, {}, 1};
    region.strides = {2};
    const auto place = make_place(region);
    const auto part = [&] {
        return record("part", Array<>{2, 4}, wrt(x, [place](Variable<> g) {
                          return Partial<float>{std::move(g), place};
                      }));
    };
    sum(part() * 3 + part()).backward();
    CHECK(holds(x.grad(), {0, 4, 0, 4}));
    const Variable<> g = grad(sum(square(part())), x, {.create_graph = true});
    CHECK(holds(g, {0, 4, 0, 8}));
    CHECK(holds(grad(sum(g), x), {0, 2, 0, 2}));
}

TEST_CASE("a partial cotangent that does not fit its place is refused", "[record]") {
    const Variable<> x = leaf({1, 2, 3, 4});
    const auto with_place = [&](Region region, Variable<> g) {
        const auto place = make_place(std::move(region));
        return record("part", Array<>(Shape{}, 0.0f), wrt(x, [=](const Variable<>&) {
                          return Partial<float>{g, place};
                      }));
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
    const Variable<> x = leaf({1, 2}), y = leaf({1, 2});
    record("mine", Array<>{1, 2}, wrt(x, [](const Variable<>&) { return Variable<>{{1, 2}, {3, 4}}; }),
           wrt(y, [](const Variable<>&) { return Variable<>(); }))
        .backward(Variable<>{1, 1});
    CHECK(holds(x.grad(), {4, 6}));
    CHECK_FALSE(y.grad().defined());
}

TEST_CASE("an input twice in one operation receives both cotangents", "[record]") {
    const Variable<> x = leaf({1, 2});
    record("mine", Array<>{1, 2}, wrt(x, [](const Variable<>& g) { return g * 2; }),
           wrt(x, [](const Variable<>& g) { return g * 3; }))
        .backward(Variable<>{1, 1});
    record("mine", Array<>{1, 2}, wrt(std::tie(x, x), [](const Variable<>& g, const Needs&) {
               return std::array<Variable<>, 2>{g, g};
           })).backward(Variable<>{1, 1});
    CHECK(holds(x.grad(), {7, 7}));
}

TEST_CASE("an empty variable is an input that is not there", "[record]") {
    const Variable<> x = leaf({1, 2}), none;
    const RecordLog log;
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
    Variable<> a = leaf({1, 2});
    const Variable<> b = leaf({3, 4});
    record("mine", Array<>{1, 2}, wrt(std::tie(a, b), [](const Variable<>& g, const Needs&) {
               return std::array<Variable<>, 2>{g, g};
           })).backward(Variable<>{1, 2});
    CHECK(holds(a.grad(), {1, 2}));
    CHECK(holds(b.grad(), {1, 2}));
}

TEST_CASE("an xtensor expression is a value as well", "[record]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> y = record("mine", x.value() + x.value(), wrt(x, [](const Variable<>& g) { return g * 2; }));
    CHECK(holds(y, {2, 4}));
}

// ---- What closures cost ----

TEST_CASE("an input that needs no gradient lets go at once of what its vjp had captured", "[record]") {
    const Variable<> x = leaf({1, 2}), c{3, 4};
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
    const Variable<> x = leaf({1, 2});
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
    const Variable<> x = leaf({1, 2});
    Array<> value{1, 2};
    const float* data = value.data();
    CHECK(record("mine", std::move(value), wrt(x, [](const Variable<>& g) { return g; })).value().data() == data);
}

// ---- Observers ----

TEST_CASE("an observer sees names, inputs, results and settings", "[record]") {
    const Variable<> x = leaf({1, 2}), c{3, 4};
    const Array<std::int64_t> labels{1, 0, 1};
    const Shape axes{0, 2};
    RecordLog log;
    const Variable<> y =
        record("mine", Array<>{1, 2}, with("count", 3), with("flag", true), with("eps", 0.5f),
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
    const Variable<> x = leaf({1, 2}), constant{3, 4};
    const Variable<> y = -(x * constant) * 3 / 2 / constant;
    RecordLog log;
    y.backward(Variable<>{1, 1});
    CHECK(log.names == std::vector<std::string>{"divide", "divide", "multiply", "negative", "multiply"});
}

TEST_CASE("observers nest, and are told no more when they are gone", "[record]") {
    const Variable<> x = leaf({1, 2});
    RecordLog outer;
    {
        RecordLog inner;
        const Variable<> y = x * 2;
        CHECK(inner.names.size() == 1);
        CHECK(outer.names.size() == 1);
    }
    const Variable<> y = x * 2;
    CHECK(outer.names.size() == 2);
}

TEST_CASE("observers may end in any order", "[record]") {
    const Variable<> x = leaf({1, 2});
    auto outer = std::make_unique<RecordLog>(), inner = std::make_unique<RecordLog>();
    outer.reset();
    const Variable<> y = x * 2;
    CHECK(inner->names.size() == 1);
    inner.reset();
    CHECK_FALSE(detail::thread_state.observer);
}
