// Calling layers: inference from many threads, hooks, watchers, fusion, errors, summaries.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "message.hpp"
#include "random.hpp"
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn.hpp>

using namespace xgrad;
using xgrad::testing::message;
using xgrad::testing::random;

namespace {

nn::Sequential<float> make_model() {
    seed(2);
    nn::Sequential model{nn::Linear(12, 32, {.bias = false}),
                         nn::BatchNorm(32),
                         nn::ReLU(),
                         nn::Dropout(0.5),
                         nn::Sequential{nn::Linear(32, 16), nn::GELU(), nn::LayerNorm(16)},
                         nn::Linear(16, 4)};
    model(random<float>({64, 12}, 3));  // running statistics that are not the first ones
    return model;
}

bool same(const Variable<float>& a, const Variable<float>& b) {
    return a.shape() == b.shape() && std::equal(a.value().begin(), a.value().end(), b.value().begin());
}

// Which operations a computation is made of.
class Operations : public Observer {
public:
    void on_record(const Recorded& recorded) override { names.emplace_back(recorded.operation); }
    std::vector<std::string> names;
};

}  // namespace

TEST_CASE("predict gives the output of evaluation, with no graph and no change to the model", "[nn][predict]") {
    const nn::Sequential<float> model = make_model();
    const Variable<float> x = random<float>({7, 12});
    const Variable<float> y = model.predict(x);
    REQUIRE_FALSE(y.requires_grad());
    REQUIRE(Tape::current().size() == 0);
    REQUIRE(model.training());
    nn::Sequential<float> evaluated = model;
    evaluated.eval();
    REQUIRE(same(evaluated(x), y));
    REQUIRE(same(model.predict(x), y));
}

TEST_CASE("Eight threads predict with one const model, bit for bit as one thread does", "[nn][predict]") {
    const nn::Sequential<float> model = make_model();
    constexpr std::size_t threads = 8, rounds = 50;
    std::vector<Variable<float>> inputs, expected;
    for (std::size_t i = 0; i < threads; ++i) {
        inputs.push_back(random<float>({5 + i, 12}, i));
        expected.push_back(model.predict(inputs.back()));
    }
    std::array<bool, threads> right{};
    std::vector<std::thread> running;
    for (std::size_t i = 0; i < threads; ++i)
        running.emplace_back([&, i] {
            std::vector<float> buffer(expected[i].size());
            right[i] = true;
            for (std::size_t round = 0; round < rounds; ++round) {
                right[i] &= same(model.predict(inputs[i]), expected[i]);
                std::fill(buffer.begin(), buffer.end(), -1.0f);
                model.predict(inputs[i], buffer);
                right[i] &= std::equal(buffer.begin(), buffer.end(), expected[i].value().begin());
            }
        });
    for (std::thread& thread : running) thread.join();
    for (std::size_t i = 0; i < threads; ++i) REQUIRE(right[i]);
    REQUIRE(model.training());
}

TEST_CASE("predict refuses a buffer of another size", "[nn][predict]") {
    const nn::Linear<float> layer(3, 2);
    std::vector<float> buffer(5);
    REQUIRE(message([&] {
                layer.predict(random<float>({2, 3}), buffer);
            }) == "predict: the output has shape (2, 2); the caller's memory holds 5 numbers");
}

TEST_CASE("Hooks are called after each forward, until they are removed", "[nn][hooks]") {
    nn::Linear<float> layer(3, 2);
    std::vector<std::string> calls;
    const auto hook = [&](const char* name) {
        return [&calls, name](const nn::Layer<float>& which, const Variable<float>& x, const Variable<float>& y) {
            calls.push_back(name + which.description() + describe(x.shape()) + describe(y.shape()));
        };
    };
    const std::size_t first = layer.on_forward(hook("a")), second = layer.on_forward(hook("b"));
    layer(random<float>({4, 3}));
    REQUIRE(calls == std::vector<std::string>{"aLinear(3, 2)(4, 3)(4, 2)", "bLinear(3, 2)(4, 3)(4, 2)"});
    layer.remove_hook(first);
    calls.clear();
    layer(random<float>({4, 3}));
    REQUIRE(calls.size() == 1);
    layer.remove_hook(second);
    layer(random<float>({4, 3}));
    REQUIRE(calls.size() == 1);
}

TEST_CASE("A hook may remove itself", "[nn][hooks]") {
    nn::Linear<float> layer(3, 2);
    std::size_t calls = 0, id = 0;
    id = layer.on_forward([&](const auto&, const auto&, const auto&) {
        ++calls;
        layer.remove_hook(id);
    });
    layer(random<float>({4, 3}));
    layer(random<float>({4, 3}));
    REQUIRE(calls == 1);
}

TEST_CASE("Hooks stay with their layer: a copy has none, assigning keeps them, moving takes them along",
          "[nn][hooks]") {
    nn::Linear<float> layer(3, 2);
    std::size_t calls = 0;
    layer.on_forward([&](const auto&, const auto&, const auto&) { ++calls; });
    const Variable<float> x = random<float>({4, 3});
    nn::Linear<float> copy = layer;
    copy(x);
    REQUIRE(calls == 0);
    layer = copy;
    layer(x);
    REQUIRE(calls == 1);
    copy = layer;
    copy(x);
    REQUIRE(calls == 1);
    nn::Linear<float> moved = std::move(layer);
    moved(x);
    REQUIRE(calls == 2);
}

TEST_CASE("Neighbours are one operation unless one of them is watched", "[nn][hooks]") {
    nn::Sequential model{nn::Linear(3, 4), nn::ReLU(), nn::BatchNorm(4), nn::ReLU(), nn::ReLU(), nn::Tanh()};
    const Variable<float> x = random<float>({5, 3});
    const auto operations = [&] {
        Operations seen;
        model(x);
        return seen.names;
    };
    REQUIRE(operations() == std::vector<std::string>{"linear_relu", "batch_norm_relu", "relu", "tanh"});
    const std::size_t id = model[1].on_forward([](const auto&, const auto&, const auto&) {});
    REQUIRE(operations() == std::vector<std::string>{"linear", "relu", "batch_norm_relu", "relu", "tanh"});
    model[1].remove_hook(id);
    model[2].on_forward([](const auto&, const auto&, const auto&) {});
    REQUIRE(operations() == std::vector<std::string>{"linear_relu", "batch_norm", "relu", "relu", "tanh"});
}

TEST_CASE("A class derived from a layer computes what it says, also beside its neighbours", "[nn]") {
    struct Half : nn::Linear<> {
        using Linear::Linear;
        Variable<> forward(const Variable<>& x) override { return 0.5f * Linear::forward(x); }
    };
    struct HalfNorm : nn::BatchNorm<> {
        using BatchNorm::BatchNorm;
        Variable<> forward(const Variable<>& x) override { return 0.5f * BatchNorm::forward(x); }
    };
    struct Shifted : nn::ReLU<> {
        Variable<> forward(const Variable<>& x) override { return ReLU::forward(x) + 100; }
    };
    const Variable<> x = random<float>({5, 3});
    const auto check = [&](auto layer, auto activation) {
        const Variable<> expected = activation(layer(x));
        nn::Sequential model{layer, activation};
        CHECK((model(x).value() == expected.value()));
    };
    check(Half(3, 4), nn::ReLU());
    check(HalfNorm(3), nn::ReLU());
    check(nn::Linear(3, 4), Shifted());
    check(nn::BatchNorm(3), Shifted());
}

TEST_CASE("A hook's number is its own for ever", "[nn][hooks]") {
    nn::Linear layer(2, 2);
    int calls = 0;
    const auto count = [&](const auto&, const auto&, const auto&) { ++calls; };
    const std::size_t first = layer.on_forward(count);
    layer.remove_hook(first);
    layer.on_forward(count);
    layer.remove_hook(first);
    layer(random<float>({1, 2}));
    CHECK(calls == 1);
}

TEST_CASE("Watchers may end in any order", "[nn][hooks]") {
    struct Watcher : nn::LayerWatcher<float> {
        void on_call(const nn::Layer<float>&, const Variable<float>&, const Variable<float>&) override { ++calls; }
        int calls = 0;
    };
    const nn::Linear layer(2, 2);
    const Variable<> x = random<float>({1, 2});
    auto outer = std::make_unique<Watcher>(), inner = std::make_unique<Watcher>();
    layer.predict(x);
    outer.reset();
    layer.predict(x);
    CHECK(inner->calls == 2);
    Watcher last;
    inner.reset();
    layer.predict(x);
    CHECK(last.calls == 1);
}

TEST_CASE("An error of a user's own type comes through a layer as it is", "[nn][errors]") {
    struct Mine : Error {
        using Error::Error;
    };
    struct Failing : nn::Layer<> {
        Variable<> forward(const Variable<>&) override { throw Mine("mine"); }
    };
    CHECK_THROWS_AS((nn::Sequential{Failing()}(random<float>({1, 2}))), Mine);
}

TEST_CASE("A watcher sees every call of its thread, the inner ones first", "[nn][hooks]") {
    class Watcher : public nn::LayerWatcher<float> {
    public:
        void on_call(const nn::Layer<float>& layer, const Variable<float>&, const Variable<float>& output) override {
            calls.push_back(layer.description() + " " + describe(output.shape()));
        }
        std::vector<std::string> calls;
    };
    const nn::Sequential model{nn::Linear(3, 4), nn::ReLU(), nn::Sequential{nn::Tanh()}};
    const Variable<float> x = random<float>({5, 3});
    Watcher outer;
    {
        Watcher inner;
        model.predict(x);
        REQUIRE(inner.calls == std::vector<std::string>{"Linear(3, 4) (5, 4)", "ReLU (5, 4)", "Tanh (5, 4)",
                                                        "Sequential (5, 4)", "Sequential (5, 4)"});
    }
    REQUIRE(outer.calls.size() == 5);
    std::thread([&] { model.predict(x); }).join();
    REQUIRE(outer.calls.size() == 5);
}

TEST_CASE("An error says in which layer it arose", "[nn][errors]") {
    nn::Sequential model{nn::Linear(3, 4), nn::Sequential{nn::ReLU(), nn::Linear(5, 2)}};
    REQUIRE(message([&] {
                model(random<float>({2, 3}));
            }) ==
            "linear: an input of shape (2, 4) does not fit a weight of shape (2, 5): the last size must be 5 (in 1.1: "
            "Linear(5, 2))");
    REQUIRE(message([&] {
                model(random<float>({2, 6}));
            }) ==
            "linear: an input of shape (2, 6) does not fit a weight of shape (4, 3): the last size must be 3 (in 0: "
            "Linear(3, 4))");
    nn::Linear layer(3, 4);
    REQUIRE(
        message([&] {
            layer(random<float>({2, 6}));
        }) ==
        "linear: an input of shape (2, 6) does not fit a weight of shape (4, 3): the last size must be 3 (in Linear(3, "
        "4))");
    REQUIRE(message([&] { model[2]; }) == "Sequential: there is no layer 2; it has 2");
}

TEST_CASE("A summary is a table of the layers within", "[nn][summary]") {
    const nn::Sequential model{nn::Linear(784, 256, {.bias = false}),
                               nn::BatchNorm(256),
                               nn::ReLU(),
                               nn::Dropout(0.2),
                               nn::Sequential{nn::Linear(256, 128), nn::Tanh()},
                               nn::Linear(128, 10)};
    REQUIRE(model.summary({128, 784}) ==
            "name  layer                      output      parameters\n"
            "0     Linear(784, 256, no bias)  (128, 256)      200704\n"
            "1     BatchNorm(256)             (128, 256)         512\n"
            "2     ReLU                       (128, 256)           0\n"
            "3     Dropout(0.2)               (128, 256)           0\n"
            "4.0   Linear(256, 128)           (128, 128)       32896\n"
            "4.1   Tanh                       (128, 128)           0\n"
            "5     Linear(128, 10)            (128, 10)         1290\n"
            "      total                      (128, 10)       235402\n");
}

TEST_CASE("A summary is aligned with names in any alphabet", "[nn][summary]") {
    struct Model : nn::Layer<float> {
        void fields(nn::Fields<float>& f) override { f("größe", first)("μ", second); }
        std::string description() const override { return "Модель"; }
        Variable<float> forward(const Variable<float>& x) override { return second(first(x)); }
        nn::Linear<float> first{3, 4}, second{4, 2};
    };
    REQUIRE(Model().summary({5, 3}) ==
            "name   layer         output  parameters\n"
            "größe  Linear(3, 4)  (5, 4)          16\n"
            "μ      Linear(4, 2)  (5, 2)          10\n"
            "       total         (5, 2)          26\n");
}

TEST_CASE("A summary of one layer, and of a user's own", "[nn][summary]") {
    class Block : public nn::Layer<float> {
    public:
        void fields(nn::Fields<float>& f) override { f("inner", inner_); }

    protected:
        Variable<float> forward(const Variable<float>& x) override { return x + inner_(x); }

    private:
        nn::Linear<float> inner_{3, 3};
    };
    REQUIRE(nn::Linear(3, 2).summary({5, 3}) ==
            "name  layer  output  parameters\n"
            "      total  (5, 2)           8\n");
    REQUIRE(nn::Sequential{Block(), nn::ReLU()}.summary({5, 3}) ==
            "name     layer         output  parameters\n"
            "0.inner  Linear(3, 3)  (5, 3)          12\n"
            "1        ReLU          (5, 3)           0\n"
            "         total         (5, 3)          12\n");
}

TEST_CASE("The rows of a summary add up to the total", "[nn][summary]") {
    struct Gate : nn::Layer<float> {  // a parameter of its own, a layer whose weight alone is used, a layer called twice
        void fields(nn::Fields<float>& f) override { f("strength", strength)("tied", tied)("inner", inner); }
        std::string description() const override { return "Gate"; }
        Variable<float> forward(const Variable<float>& x) override {
            return strength * matmul(inner(inner(x)), tied.weight());
        }
        Parameter<float> strength{Variable<float>(0.5f)};
        nn::Linear<float> tied{3, 3, {.bias = false}}, inner{3, 3};
    };
    REQUIRE(Gate().summary({5, 3}) ==
            "name   layer         output  parameters\n"
            "inner  Linear(3, 3)  (5, 3)          12\n"
            "inner  Linear(3, 3)  (5, 3)           0\n"
            "       Gate          (5, 3)          10\n"
            "       total         (5, 3)          22\n");
    REQUIRE(nn::Sequential{Gate(), nn::ReLU()}.summary({5, 3}) ==
            "name     layer         output  parameters\n"
            "0.inner  Linear(3, 3)  (5, 3)          12\n"
            "0.inner  Linear(3, 3)  (5, 3)           0\n"
            "0        Gate          (5, 3)          10\n"
            "1        ReLU          (5, 3)           0\n"
            "         total         (5, 3)          22\n");
}
