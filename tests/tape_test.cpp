#include <pthread.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record.hpp>
#include <xgrad/autodiff/variable.hpp>

#include "catch.hpp"
#include "leaf.hpp"

using namespace xgrad;
using testing::holds;
using testing::leaf;
using testing::tape_size;

namespace {

// An operation that throws, when armed, in its vjp.
Variable<> mine(const Variable<>& x, const bool& armed) {
    return record("mine", Array<>(x.value()), wrt(x, [&armed](Variable<> g) {
                      if (armed) throw std::runtime_error("boom");
                      return g;
                  }));
}

// Runs a function on a thread with a stack of 256 KiB.
void on_small_stack(std::function<void()> function) {
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
    pthread_t thread;
    const auto run = [](void* context) -> void* {
        (*static_cast<std::function<void()>*>(context))();
        return nullptr;
    };
    const int failed = pthread_create(&thread, &attributes, run, &function);
    if (!failed) pthread_join(thread, nullptr);
    REQUIRE(failed == 0);
    pthread_attr_destroy(&attributes);
}

// The value's memory that a node still has, whether or not a handle is left.
class Nodes : public Observer {
public:
    void on_record(const Recorded& recorded) override {
        names.emplace_back(recorded.operation);
        nodes.push_back(static_cast<const detail::ValueNode<float>*>(recorded.outputs[0]));
    }
    bool keeps_value(std::size_t i) const { return nodes[i]->value.storage().size() > 0; }

    std::vector<std::string> names;
    std::vector<const detail::ValueNode<float>*> nodes;
};

}  // namespace

// ---- What is kept ----

TEST_CASE("a chain of linear and relu keeps only what a vjp reads", "[tape]") {
    const Variable<> w = leaf(Array<>(Shape{4, 4}, 1.0f));
    const Variable<> x = Array<>(Shape{2, 4}, 1.0f);
    const Nodes nodes;
    Variable<> loss = sum(relu(matmul(relu(matmul(x, w)), w)));
    REQUIRE(nodes.names == std::vector<std::string>{"matmul", "relu", "matmul", "relu", "sum"});
    CHECK_FALSE(nodes.keeps_value(0));
    CHECK(nodes.keeps_value(1));
    CHECK_FALSE(nodes.keeps_value(2));
    CHECK(nodes.keeps_value(3));
    CHECK(tape_size() == 5);
    CHECK(nodes.nodes[0]->shape() == Shape{2, 4});
    loss.backward();
    CHECK(tape_size() == 0);
}

TEST_CASE("a result is not kept for a vjp that is not needed", "[tape]") {
    const Variable<> a = leaf({1, 2});
    const Variable<> b{3, 4};
    const Nodes nodes;
    const Variable<> sum_of = sum(a / b);  // only b's vjp reads the quotient
    REQUIRE(nodes.names[0] == "divide");
    CHECK_FALSE(nodes.keeps_value(0));
}

TEST_CASE("values are freed by backward", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Nodes nodes;
    const Variable<> y = exp(x);
    const Variable<> loss = sum(exp(y));
    CHECK(nodes.keeps_value(1));
    loss.backward();
    CHECK(nodes.keeps_value(0));  // y is a handle still
    CHECK(tape_size() == 0);
    CHECK(holds(y, Array<>(xt::exp(x.value()))));
}

TEST_CASE("a loop that never calls backward does not grow the tape", "[tape]") {
    const Variable<> w = leaf({1, 2});
    Variable<> last;
    for (int i = 0; i < 100; ++i) {
        last = sum(exp(w * 2));
        CHECK(tape_size() == 3);
    }
    last = {};
    CHECK(tape_size() == 0);
}

// ---- Backward ----

TEST_CASE("backward adds over uses and over calls", "[tape]") {
    Variable<> x = leaf({1, 2});
    sum(x * x + x).backward();
    CHECK(holds(x.grad(), {3, 5}));
    sum(x * 3).backward();
    CHECK(holds(x.grad(), {6, 8}));
    x.zero_grad();
    CHECK_FALSE(x.grad().defined());
    x.backward(Variable<>{5, 6});
    CHECK(holds(x.grad(), {5, 6}));
}

TEST_CASE("a gradient that the user holds does not change with the next backward", "[tape]") {
    const Variable<> x = leaf({1, 2});
    sum(x * 2).backward();
    const Variable<> held = x.grad();
    const Variable<> shared = x.grad().detach();
    sum(x * 2).backward();
    CHECK(holds(held, {2, 2}));
    CHECK(holds(shared, {2, 2}));
    CHECK(holds(x.grad(), {4, 4}));
}

TEST_CASE("a cotangent that the user holds is left alone", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> g{3, 4};
    x.backward(g);
    x.backward(g);
    (-x).backward(g);
    relu(x).backward(g);
    CHECK(holds(g, {3, 4}));
    CHECK(holds(x.grad(), {6, 8}));
    Variable<> seed{1, 1};
    (x + x).backward(seed);
    seed.assign({9, 9});
    CHECK(holds(x.grad(), {8, 10}));
}

TEST_CASE("gradients of different leaves do not share their memory", "[tape]") {
    const Variable<> a = leaf({1, 2}), b = leaf({3, 4});
    sum(a + b + reshape(a, Shape{2})).backward();
    CHECK(a.grad().node() != b.grad().node());
    CHECK(a.grad().value().data() != b.grad().value().data());
    CHECK(a.grad().value().storage().unique());
    CHECK(b.grad().value().storage().unique());
}

TEST_CASE("a graph with 2^60 paths takes linear time", "[tape]") {
    const Variable<> x = leaf(1);
    Variable<> y = x;
    for (int i = 0; i < 60; ++i) y = (y + y) * 0.5f;
    y.backward();
    CHECK(x.grad().item() == 1);
}

TEST_CASE("a diamond hands on what both sides gave", "[tape]") {
    const Variable<double> x = Variable<double>{0.3, 0.7}.requires_grad(true);
    const Variable<double> h = exp(x);
    sum(h * h + sin(h)).backward();
    for (std::size_t i = 0; i < 2; ++i) {
        const double e = std::exp(x.value()(i));
        CHECK(x.grad().value()(i) == Approx((2 * e + std::cos(e)) * e));
    }
}

TEST_CASE("a second backward says what happened", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> h = exp(x);
    const Variable<> y = sum(h * 2);
    y.backward();
    CHECK_THROWS_WITH(y.backward(), ContainsSubstring("'sum'") && ContainsSubstring("retain_graph"));
    CHECK_THROWS_WITH(sum(h).backward(), ContainsSubstring("'exp'") && ContainsSubstring("retain_graph"));
    CHECK_THROWS_AS(grad(y, x), Error);
    CHECK(holds(x.grad(), Array<>(2.0f * xt::exp(x.value()))));
}

TEST_CASE("a retained graph can be run again and again", "[tape]") {
    const Variable<> x = leaf({1, 2});
    Variable<> y = sum(x * x);
    for (float i = 1; i <= 3; ++i) {
        y.backward({.retain_graph = true});
        CHECK(holds(x.grad(), Array<>{2 * i, 4 * i}));
    }
    CHECK(tape_size() == 2);
    y.backward();
    CHECK(tape_size() == 0);
    CHECK(holds(x.grad(), {8, 16}));
}

TEST_CASE("a retained graph goes when it is dropped", "[tape]") {
    const Variable<> x = leaf({1, 2});
    sum(x * x).backward({.retain_graph = true});
    CHECK(tape_size() == 0);
}

TEST_CASE("backward needs one element, or a cotangent that fits, and something to differentiate", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> y = x * 2;
    CHECK_THROWS_WITH(y.backward(), ContainsSubstring("(2,)"));
    CHECK_THROWS_WITH(y.backward(Variable<>{1, 2, 3}), ContainsSubstring("(3,)") && ContainsSubstring("(2,)"));
    CHECK_THROWS_WITH(y.backward(1), ContainsSubstring("()"));
    CHECK_THROWS_WITH(Variable<>(1).backward(), ContainsSubstring("requires a gradient"));
    y.backward(Variable<>{1, 2});
    CHECK(holds(x.grad(), {2, 4}));
}

TEST_CASE("NoGrad switches recording off and EnableGrad on again", "[tape]") {
    const Variable<> x = leaf({1, 2});
    CHECK(Tape::current().recording());
    {
        const NoGrad no_grad;
        CHECK_FALSE(Tape::current().recording());
        CHECK_FALSE((x * 2).requires_grad());
        CHECK((x * 2).is_leaf());
        {
            const EnableGrad enable_grad;
            CHECK((x * 2).requires_grad());
        }
        CHECK_FALSE((x * 2).requires_grad());
    }
    CHECK((x * 2).requires_grad());
    CHECK(tape_size() == 0);
}

TEST_CASE("nothing is recorded while an ordinary backward runs, nor when gradients are added", "[tape]") {
    Variable<> x = leaf({1, 2});
    Variable<> history = leaf({1, 1});
    x.set_grad(history * 2);
    sum(x * x).backward();
    CHECK(holds(x.grad(), {4, 6}));
    CHECK_FALSE(x.grad().requires_grad());
    const Variable<> y = x * 2;
    const auto g = grad<float>({y, y}, {x}, {history, history * 3})[0];
    CHECK(holds(g, {8, 8}));
    CHECK_FALSE(g.requires_grad());
}

// ---- Exceptions ----

TEST_CASE("an exception in a vjp leaves no cotangents behind, and the tape usable", "[tape]") {
    const Variable<> x = leaf({1, 2}), w = leaf({3, 4});
    bool armed = true;
    const Variable<> h = mine(x * w, armed);
    const Variable<> y = sum(h * h + exp(x));
    CHECK_THROWS_WITH(y.backward({.retain_graph = true}), "boom");
    CHECK_FALSE(x.grad().defined());
    CHECK_FALSE(w.grad().defined());
    CHECK_THROWS_WITH(grad<float>({y}, {x, h}, {}, {.retain_graph = true}), "boom");
    armed = false;
    CHECK(Tape::current().recording());
    const auto g = grad<float>({y}, {w, h}, {}, {.retain_graph = true});
    CHECK(holds(g[0], {6, 32}));
    CHECK(holds(g[1], {6, 16}));
    y.backward();
    CHECK(holds(w.grad(), {6, 32}));
    CHECK(tape_size() == 0);
}

TEST_CASE("a backward that failed half-way is refused the next time", "[tape]") {
    const Variable<> x = leaf({1, 2});
    bool armed = true;
    const Variable<> y = sum(exp(mine(x, armed)));
    CHECK_THROWS_WITH(y.backward(), "boom");
    armed = false;
    CHECK_THROWS_WITH(y.backward(), ContainsSubstring("'sum'"));
    CHECK_FALSE(x.grad().defined());
}

TEST_CASE("an exception in a hook passes on and leaves the tape usable", "[tape]") {
    Variable<> x = leaf({1, 2}), w = leaf({3, 4}), v = leaf({5, 6});
    bool armed = true;
    w.on_gradient([&](const Variable<>&) {
        if (armed) throw std::runtime_error("boom");
    });
    {
        const Variable<> y = sum(x * w * v);
        CHECK_THROWS_WITH(y.backward(), "boom");
        CHECK_THROWS_WITH(y.backward(), ContainsSubstring("retain_graph"));
        const Variable<> inner = x * w;
        const Variable<> z = sum(inner * v);
        CHECK_THROWS_WITH(z.backward(), "boom");
        armed = false;
        CHECK_THROWS_AS(inner.backward(Variable<>{1, 1}), Error);  // not a silent half of the gradients
    }
    CHECK(tape_size() == 0);
    x.zero_grad();
    w.zero_grad();
    v.zero_grad();
    sum(x * w * v).backward();
    CHECK(holds(x.grad(), {15, 24}));
    CHECK(holds(w.grad(), {5, 12}));
    CHECK(holds(v.grad(), {3, 8}));
}

TEST_CASE("a vjp that gives a wrong shape is refused by name", "[tape]") {
    const Variable<> x = leaf({1, 2});
    const Variable<> y = record("mine", Array<>(x.value()), wrt(x, [](const Variable<>&) { return Variable<>{1, 2, 3}; }));
    CHECK_THROWS_WITH(y.backward(Variable<>{1, 1}),
                      ContainsSubstring("'mine'") && ContainsSubstring("(3,)") && ContainsSubstring("(2,)"));
}

// ---- Depth ----

TEST_CASE("a chain of a million operations needs no stack, neither in backward nor in its end", "[tape]") {
    std::vector<std::pair<std::string, bool>> found;  // assertions of Catch2 are for the main thread
    on_small_stack([&] {
        const Variable<> x = leaf(1);
        const auto chain = [&] {
            Variable<> y = x;
            for (int i = 0; i < 1'000'000; ++i) y = y + 0.0f;
            return y;
        };
        chain().backward();
        found.emplace_back("backward", x.grad().item() == 1);
        { const Variable<> dropped = chain(); }
        found.emplace_back("dropped", tape_size() == 0);
        chain().backward({.retain_graph = true});
        found.emplace_back("retained", tape_size() == 0);
        found.emplace_back("grad", grad(chain(), x).item() == 1);
        bool armed = true;
        Variable<> y = mine(x, armed);
        for (int i = 0; i < 1'000'000; ++i) y = y + 0.0f;
        try {
            y.backward();
        } catch (const std::runtime_error&) {
            found.emplace_back("failed", !x.grad().requires_grad());
        }
        y = {};
        found.emplace_back("dropped after it failed", tape_size() == 0);
    });
    CHECK(found.size() == 6);
    for (const auto& [what, holds_there] : found) {
        INFO(what);
        CHECK(holds_there);
    }
}
