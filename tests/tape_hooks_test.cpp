#include <string>
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

TEST_CASE("a hook fires once per backward, when the gradient is complete", "[tape]") {
    Variable<> x = leaf({1, 2});
    std::vector<Array<>> seen;
    x.on_gradient([&](const Variable<>& v) { seen.push_back(v.grad().value()); });
    sum(x * x + x * 3).backward();
    REQUIRE(seen.size() == 1);
    CHECK((seen[0] == Array<>{5, 7}));
    const Variable<> y = sum(x * x);
    y.backward({.retain_graph = true});
    y.backward();
    REQUIRE(seen.size() == 3);
    CHECK((seen[2] == Array<>{9, 15}));
    x.backward(Variable<>{1, 1});
    CHECK(seen.size() == 4);
    grad(sum(x), x);
    CHECK(seen.size() == 4);
}

TEST_CASE("a hook fires before earlier layers are passed", "[tape]") {
    std::vector<std::string> order;
    const auto layer = [&](const Variable<>& x, const Variable<>& w, const char* name) {
        return record(name, Array<>(x.value() * w.value()), wrt(x, [&order, w, name](const Variable<>& g) {
                          order.emplace_back(name);
                          return g * w;
                      }),
                      wrt(w, [x](const Variable<>& g) { return g * x; }));
    };
    const Variable<> x = leaf({1, 2});
    Variable<> w1 = leaf({1, 1}), w2 = leaf({1, 1}), w3 = leaf({1, 1});
    w1.on_gradient([&](const Variable<>&) { order.emplace_back("w1"); });
    w2.on_gradient([&](const Variable<>&) { order.emplace_back("w2"); });
    w3.on_gradient([&](const Variable<>&) { order.emplace_back("w3"); });
    // w2 has two consumers, w3 three.
    sum(layer(layer(layer(layer(layer(x, w3, "e"), w1, "d"), w2, "c"), w2, "b"), w3, "a") * w3).backward();
    CHECK(order == std::vector<std::string>{"a", "b", "c", "w2", "d", "w1", "e", "w3"});
}

TEST_CASE("a hook that takes its variable as the argument does not keep it alive", "[tape]") {
    auto token = std::make_shared<int>(0);
    std::weak_ptr<int> alive = token;
    {
        Variable<> x = leaf({1, 2});
        x.on_gradient([token](const Variable<>& v) { CHECK(v.grad().defined()); });
        token.reset();
        sum(x * x).backward();
        CHECK_FALSE(alive.expired());
    }
    CHECK(alive.expired());
}

TEST_CASE("a hook may change the gradient, drop the loss, or add a hook", "[tape]") {
    Variable<> x = leaf({1, 2});
    const Variable<> w = leaf({3, 4});
    Variable<> loss;
    int added = 0;
    x.on_gradient([&](Variable<> v) {
        v.set_grad(v.grad() * 2);
        loss = {};
        if (added == 0)
            for (int i = 0; i < 10; ++i) v.on_gradient([&](const Variable<>&) { ++added; });
    });
    SECTION("in an ordinary backward") {
        loss = sum(exp(w) + w * x);
        loss.backward();
    }
    SECTION("in one that retains the graph") {
        loss = sum(exp(w) + w * x);
        loss.backward({.retain_graph = true});
    }
    CHECK(holds(x.grad(), {6, 8}));
    CHECK(w.grad().defined());
    CHECK(tape_size() == 0);
    loss = sum(x);
    loss.backward();
    CHECK(added == 10);
}

TEST_CASE("a hook may run another backward", "[tape]") {
    Variable<> x = leaf({1, 2}), w = leaf({3, 4});
    const Variable<> v = leaf({5, 6});
    w.on_gradient([&](const Variable<>&) {
        CHECK_FALSE(Tape::current().recording());
        const EnableGrad enable_grad;
        sum(v * 7).backward();
    });
    sum(x * v * w).backward();
    CHECK(holds(v.grad(), {10, 15}));
    CHECK(holds(x.grad(), {15, 24}));
    CHECK(holds(w.grad(), {5, 12}));
}
