// What all optimizers share, with SGD and Adam as examples.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "catch.hpp"
#include "message.hpp"
#include "random.hpp"
#include <xgrad/autodiff/memory.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/losses.hpp>
#include <xgrad/optim.hpp>

using namespace xgrad;
using testing::message;
using testing::random;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

Variable<> leaf(std::initializer_list<float> values) {
    Variable<> v = Array<float>(values);
    return v.requires_grad(true);
}

template <class T> Variable<T> rosenbrock(const Variable<T>& x, const Variable<T>& y) {
    return square(1 - x) + 100 * square(y - square(x));
}

// The optimizer of the documentation.
class Lion : public optim::Optimizer<> {
public:
    Lion(std::vector<Variable<>> parameters, optim::Schedule learning_rate)
        : Optimizer(std::move(parameters), {.learning_rate = learning_rate}, {"momentum"}) {}

protected:
    void update(Variable<>& parameter, const Array<>& gradient, optim::State<>& state) override {
        const auto step = [rate = state.learning_rate](auto& p, auto& m, auto g) {
            p -= rate * sign(0.9 * m + 0.1 * g);
            m = 0.99 * m + 0.01 * g;
        };
        parameter.update(step, state[0], gradient);
    }
};

// The values behind a state's names.
template <class T> std::vector<std::pair<std::string, std::vector<double>>> values_of(optim::Optimizer<T>& optimizer) {
    std::vector<std::pair<std::string, std::vector<double>>> values;
    for (const auto& [name, value] : optimizer.state())
        if (const auto* count = std::get_if<std::int64_t*>(&value))
            values.emplace_back(name, std::vector<double>{static_cast<double>(**count)});
        else
            values.emplace_back(name, std::vector<double>(std::get<Array<T>*>(value)->begin(),
                                                          std::get<Array<T>*>(value)->end()));
    return values;
}

}  // namespace

TEST_CASE("minimize is a step of training and returns the loss", "[optim]") {
    Variable<> p = leaf({3, 4});
    optim::SGD optimizer({p}, {.learning_rate = 0.5});
    CHECK(optimizer.minimize(sum(square(p)) / 2) == 12.5f);
    CHECK((p.value() == Array<float>{1.5, 2}));
    CHECK(optimizer.minimize(sum(square(p)) / 2) == 3.125f);  // the gradient was not added to the first one
    CHECK((p.value() == Array<float>{0.75, 1}));
    CHECK(optimizer.step_count() == 2);
    CHECK(Tape::current().size() == 0);
    CHECK(message([&] { optimizer.minimize(square(p)); }) ==
          "minimize: the loss has shape (2,), not a single element; reduce it (mean, sum)");
}

TEST_CASE("Optimizers find the minimum of Rosenbrock's function", "[optim]") {
    const auto distance = [](auto&& make, int steps) {
        Variable<double> x(-1.5), y(2.0);
        x.requires_grad(true), y.requires_grad(true);
        auto optimizer = make(std::vector{x, y});
        for (int i = 0; i < steps; ++i) optimizer.minimize(rosenbrock(x, y));
        return std::hypot(x.item() - 1, y.item() - 1);
    };
    using Parameters = std::vector<Variable<double>>;
    CHECK(distance([](Parameters p) { return optim::SGD(p, {.learning_rate = 2e-4, .momentum = 0.95}); }, 5000) < 1e-3);
    CHECK(distance([](Parameters p) { return optim::Adam(p, {.learning_rate = optim::cosine(0.05, 5000)}); }, 5000) <
          1e-3);
    CHECK(distance([](Parameters p) { return optim::AdamW(p, {.learning_rate = 0.02, .weight_decay = 0}); }, 5000) <
          1e-3);
}

TEST_CASE("A new optimizer is one function and the names of its arrays", "[optim]") {
    Variable<> p = leaf({0.03f, -2, 0.5});
    Lion optimizer({p}, 0.01);
    std::vector<double> expected{0.03, -2, 0.5}, m(3, 0);
    for (int step = 0; step < 20; ++step) {
        optimizer.minimize(sum(square(p)));
        for (std::size_t i = 0; i < 3; ++i) {
            const double g = 2 * expected[i], direction = 0.9 * m[i] + 0.1 * g;
            expected[i] -= 0.01 * (direction > 0 ? 1 : -1);
            m[i] = 0.99 * m[i] + 0.01 * g;
        }
    }
    for (std::size_t i = 0; i < 3; ++i) CHECK(p.value()(i) == Approx(expected[i]));
    CHECK(optimizer.state()[3].name == "0.momentum");
}

TEST_CASE("Groups have learning rates and weight decays of their own", "[optim]") {
    Variable<> a = leaf({1}), b = leaf({1}), c = leaf({1});
    optim::SGD optimizer({{{a}, {.learning_rate = 0.5}}, {{b}, {.weight_decay = 1.0}}, {{c}}}, {.learning_rate = 0.1});
    optimizer.minimize(sum(a + b + c));
    CHECK(a.item() == 0.5f);
    CHECK(b.item() == Approx(0.8));
    CHECK(c.item() == Approx(0.9));
    CHECK(optimizer.parameters().size() == 3);
    CHECK(optimizer.learning_rate(0) == 0.5);
    CHECK(optimizer.learning_rate(2) == 0.1);
    CHECK(message([&] { optimizer.learning_rate(3); }) == "learning_rate: there is no group 3; there are 3");
    optimizer.set_learning_rate(0.25);
    CHECK(optimizer.learning_rate(0) == 0.25);
}

TEST_CASE("A learning rate may be a function of the step", "[optim]") {
    Variable<> p = leaf({0});
    optim::SGD optimizer({p}, {.learning_rate = [](int step) { return step < 2 ? 1.0 : 10.0; }});
    std::vector<float> path;
    for (int i = 0; i < 4; ++i) {
        optimizer.minimize(-sum(p));
        path.push_back(p.item());
    }
    CHECK(path == std::vector<float>{1, 2, 12, 22});

    Variable<> a = leaf({0}), b = leaf({0});
    optim::SGD broken({{{a}}, {{b}, {.learning_rate = [](int step) { return 1.0 - step; }}}}, {.learning_rate = 1});
    broken.minimize(sum(a + b));
    broken.minimize(sum(a + b));
    CHECK(message([&] { broken.minimize(sum(a + b)); }) ==
          "optimizer: the learning rate of step 2 is -1; expected a finite number, at least 0");
    CHECK(a.item() == -2);  // nothing was changed, in no group
}

TEST_CASE("Frozen parameters and those without a gradient are left alone", "[optim]") {
    Variable<> used = leaf({1}), unused = leaf({1}), frozen = leaf({1});
    optim::Adam optimizer({used, unused, frozen}, {.weight_decay = 0.1});
    optimizer.minimize(sum(used * frozen));
    const float before = frozen.item();
    frozen.requires_grad(false);
    frozen.set_grad(leaf({infinity}));
    used.set_grad(leaf({1}));
    optimizer.step();
    CHECK(unused.item() == 1);
    CHECK(frozen.item() == before);
    CHECK(used.item() < 1);
}

TEST_CASE("A gradient that is not finite is ignored, skipped or reported", "[optim]") {
    Variable<> a = leaf({1}), b = leaf({2, 3});
    const auto spoil = [&] {
        a.set_grad(Variable<>{1});
        b.set_grad(Variable<>{1, infinity});
    };
    optim::Adam skipping({a, b}, {.on_non_finite = optim::NonFinite::skip});
    spoil();
    skipping.step();
    CHECK(skipping.skipped_steps() == 1);
    CHECK(skipping.step_count() == 0);
    CHECK((a.value() == Array<float>{1}));
    CHECK((b.value() == Array<float>{2, 3}));
    CHECK(std::isinf(skipping.minimize(sum(a) / 0)));
    CHECK(skipping.skipped_steps() == 2);
    CHECK(a.item() == 1);
    skipping.minimize(sum(a) + sum(b));
    CHECK(skipping.step_count() == 1);
    CHECK(a.item() < 1);

    a.assign({1});
    optim::Adam reporting({a, b}, {.on_non_finite = optim::NonFinite::report});
    spoil();
    CHECK(message([&] { reporting.step(); }) ==
          "step: the gradient of parameter 1, of shape (2,), is not finite; nothing was changed");
    CHECK(message([&] { reporting.minimize(sum(a) / 0); }) == "minimize: the loss is inf; nothing was changed");
    CHECK(a.item() == 1);

    optim::SGD ignoring({a, b});
    spoil();
    ignoring.step();
    CHECK(std::isinf(b.value()(1)));
}

TEST_CASE("clip_grad_norm scales all gradients together", "[optim]") {
    Variable<> a = leaf({0, 0}), b = leaf({0}), without = leaf({0});
    const Variable<> shared{3, 0};
    a.set_grad(shared);
    b.set_grad(Variable<>{4});
    CHECK(optim::clip_grad_norm({a, b, without}, 10) == Approx(5));
    CHECK(b.grad().item() == 4);
    CHECK(optim::clip_grad_norm({a, b, without}, 1) == Approx(5));
    CHECK(xt::allclose(a.grad().value(), Array<float>{0.6f, 0}, 1e-6));
    CHECK(b.grad().item() == Approx(0.8));
    CHECK(shared.value()(0) == 3);  // somebody else's handle
    b.set_grad(Variable<>{infinity});
    CHECK(std::isinf(optim::clip_grad_norm({a, b}, 1)));
    CHECK(xt::allclose(a.grad().value(), Array<float>{0.6f, 0}, 1e-6));
    Variable<> large = leaf({1, 1});
    large.set_grad({3e19f, 4e19f});  // whose squares are beyond the largest float
    CHECK(optim::clip_grad_norm({large}, 1) == Approx(5e19));
    CHECK(large.grad().value()(0) == Approx(0.6f));
    CHECK(large.grad().value()(1) == Approx(0.8f));
    Variable<double> larger = Variable<double>{1, 1};
    larger.requires_grad(true).set_grad({3e200, 4e200});
    CHECK(optim::clip_grad_norm<double>({larger}, 1) == Approx(5e200));
    CHECK(larger.grad().value()(1) == Approx(0.8));
    Variable<> x = leaf({1, 2});
    sum(x * x * x).backward({.create_graph = true});
    const Variable<> recorded = x.grad();
    optim::clip_grad_norm({x}, 1);
    CHECK((recorded.value() == Array<float>{3, 12}));  // still itself, and differentiable
    CHECK_FALSE(x.grad().requires_grad());
    x.zero_grad();
    sum(recorded).backward();
    CHECK((x.grad().value() == Array<float>{6, 12}));
    CHECK(message([&] { optim::clip_grad_norm({a}, 0); }) ==
          "clip_grad_norm: the bound is 0; expected a number above 0");

    Variable<> p = leaf({0, 0});
    optim::SGD optimizer({p}, {.learning_rate = 1, .max_grad_norm = 1});
    optimizer.minimize(sum(p * Variable<>{3, 4}));
    CHECK(xt::allclose(p.value(), Array<float>{-0.6f, -0.8f}, 1e-6));
    CHECK(message([&] { optim::SGD({p}, {.max_grad_norm = 0}); }) ==
          "optimizer: max_grad_norm is 0; expected a number above 0");
}

TEST_CASE("clip_grad_value bounds every element", "[optim]") {
    Variable<> a = leaf({0, 0, 0});
    a.set_grad(Variable<>{-7, 0.25, 7});
    optim::clip_grad_value({a}, 0.5);
    CHECK((a.grad().value() == Array<float>{-0.5, 0.25, 0.5}));
    CHECK(message([&] { optim::clip_grad_value({a}, -1); }) ==
          "clip_grad_value: the bound is -1; expected a number above 0");
}

TEST_CASE("A parameter that no module lists is reported, not left untrained", "[optim]") {
    Variable<> known = leaf({1});
    optim::SGD optimizer({known}, {.learning_rate = 1});
    Parameter<> forgotten(Variable<>{1, 2, 3});
    CHECK(
        message([&] { optimizer.minimize(sum(known * forgotten)); }) ==
        "step: a parameter of shape (3,) received a gradient, but no module lists it, so it would stay untrained; list "
        "it in the module's `fields`, or give it to an optimizer; or the layer that has it is a copy (`for (auto layer "
        ": layers)`): use a reference");
    CHECK(known.item() == 1);
    optimizer.minimize(sum(known));  // what happened before is over
    CHECK(known.item() == 0);
    optim::SGD other({forgotten}, {.learning_rate = 1});
    optimizer.minimize(sum(known * forgotten));  // it is some optimizer's now
    CHECK(known.item() == -6);
}

TEST_CASE("A loss that reaches none of an optimizer's parameters is reported", "[optim]") {
    nn::Linear model(2, 1);
    optim::SGD optimizer(model.parameters(), {.learning_rate = 0.1});
    const Variable<> x = random<float>({3, 2});
    const auto train_copy = [&](nn::Linear<> copy) {
        copy.train();  // which lists the copy's parameters
        return message([&] { optimizer.minimize(sum(copy(x))); });
    };
    CHECK(train_copy(model).find("minimize: no parameter of this optimizer has received a gradient") == 0);
    CHECK(optimizer.step_count() == 0);
    optimizer.minimize(sum(model(x)));
    const Array<> gradient = model.weight().grad().value();
    CHECK(message([&] { optimizer.minimize(sum(x)); }).find("minimize: the output depends on no variable") == 0);
    CHECK((model.weight().grad().value() == gradient));  // refused before the gradients went
}

TEST_CASE("An optimizer's arrays may have shapes of their own", "[optim]") {
    class Rows : public optim::Optimizer<> {  // a mean square for each row
    public:
        Rows(std::vector<Variable<>> parameters)
            : Optimizer(std::move(parameters), {.learning_rate = 0.1, .checks_state = false}, {"square"}) {}

    protected:
        void update(Variable<>& parameter, const Array<>& gradient, optim::State<>& state) override {
            const Array<> square = xt::mean(xt::square(gradient), {1});
            state[0] = square;
            parameter.update([&](Array<>& p) { p -= 0.1f * gradient; });
        }
    };
    nn::Linear model(3, 2, {.bias = false});
    Rows optimizer(model.parameters());
    optimizer.minimize(sum(model(random<float>({4, 3}))));
    const auto state = optimizer.state();
    const auto square = std::ranges::find(state, "0.square", [](const auto& entry) { return entry.name; });
    REQUIRE(square != state.end());
    CHECK(std::get<Array<>*>(square->value)->shape() == Shape{2});
    optimizer.minimize(sum(model(random<float>({4, 3}))));
    CHECK(optimizer.step_count() == 2);
}

TEST_CASE("A module that takes over another's parameters is reported by an optimizer made before", "[optim]") {
    struct Model : nn::Layer<> {
        nn::Linear<> first{2, 2};
        std::vector<nn::Linear<>> layers;
        Model() {
            for (int i = 0; i < 2; ++i) layers.emplace_back(2, 2);
        }
        void fields(nn::Fields<>& f) override { f("first", first)("layers", layers); }
        Variable<> forward(const Variable<>& x) override {
            Variable<> h = first(x);
            for (nn::Linear<>& layer : layers) h = layer(h);
            return h;
        }
    };
    const std::string replaced =
        "step: parameter 2, of shape (2, 2), is held by this optimizer alone: its module is gone, or has other "
        "parameters "
        "now; make an optimizer from those";
    const Variable<> x = random<float>({3, 2});
    Model model;
    optim::SGD optimizer(model.parameters(), {.learning_rate = 0.1});
    const Model best = model;
    const auto train = [&] { optimizer.minimize(sum(square(model(x)))); };

    model = best;  // writes values
    train();
    model = Model();
    model.train();  // all modules know the new parameters now, but not this optimizer
    const float before = model.first.weight().value()(0, 0);
    CHECK(message(train) == replaced);
    CHECK(model.first.weight().value()(0, 0) == before);
    optim::SGD renewed(model.parameters(), {.learning_rate = 0.1});
    renewed.minimize(sum(square(model(x))));
    CHECK(model.first.weight().value()(0, 0) != before);
}

TEST_CASE("A step is noticed by a graph that had saved the values", "[optim]") {
    Variable<> p = leaf({1, 2});
    optim::SGD optimizer({p}, {.learning_rate = 0.1});
    const Variable<> stale = sum(p * p);
    optimizer.minimize(sum(p));
    CHECK_THAT(message([&] { stale.backward(); }),
               ContainsSubstring("a value of shape (2,) that 'multiply' had saved was changed in place afterwards"));
}

TEST_CASE("A run that is resumed from its state goes on exactly", "[optim]") {
    const auto check = [](auto make) {
        Variable<> p = random<float>({5}, 1).requires_grad(true);
        auto optimizer = make(p);
        const auto train = [](auto& with, const Variable<>& parameter, int from, int to) {
            for (int i = from; i < to; ++i)
                with.minimize(sum(square(parameter * random<float>({5}, static_cast<std::uint64_t>(i)))));
        };
        train(optimizer, p, 0, 3);

        Variable<> q = Variable<>(p.value()).requires_grad(true);
        auto resumed = make(q);
        const auto from = optimizer.state(), to = resumed.state();
        REQUIRE(from.size() == to.size());
        for (std::size_t i = 0; i < from.size(); ++i) {
            CHECK(from[i].name == to[i].name);
            if (const auto* count = std::get_if<std::int64_t*>(&from[i].value))
                *std::get<std::int64_t*>(to[i].value) = **count;
            else
                *std::get<Array<float>*>(to[i].value) = *std::get<Array<float>*>(from[i].value);
        }
        CHECK(values_of(optimizer) == values_of(resumed));
        train(optimizer, p, 3, 6);
        train(resumed, q, 3, 6);
        CHECK((p.value() == q.value()));
    };
    check([](const Variable<>& p) { return optim::SGD({p}, {.learning_rate = 0.1, .momentum = 0.9}); });
    check([](const Variable<>& p) { return optim::Adam({p}, {.learning_rate = optim::exponential_decay(0.1, 0.8)}); });
    check([](const Variable<>& p) { return optim::AdamW({p}, {.amsgrad = true}); });
}

TEST_CASE("A state of other shapes is refused before anything is changed", "[optim]") {
    const auto check = [](auto& optimizer, nn::Linear<>& layer, const std::string& name) {
        for (const auto& entry : optimizer.state())
            if (entry.name == name) *std::get<Array<>*>(entry.value) = full(Shape{2}, 0.f);
        const Array<> weight = layer.weight().value(), bias = layer.bias().value();
        const std::string message = testing::message(
            [&] { optimizer.minimize(sum(square(layer(full(Shape{4, 8}, 1.f))))); });
        CHECK(message.find("step: '" + name + "' has shape (2,), its parameter (") == 0);
        CHECK(layer.weight().value() == weight);
        CHECK(layer.bias().value() == bias);
        CHECK(optimizer.step_count() == 0);
    };
    nn::Linear<> layer(8, 8);
    optim::Adam<> adam(layer.parameters());
    check(adam, layer, "1.first_moment");
    optim::SGD<> sgd(layer.parameters(), {.momentum = 0.9});
    check(sgd, layer, "0.momentum");
    Lion lion(layer.parameters(), 0.01);
    check(lion, layer, "1.momentum");
}

TEST_CASE("After its second step an optimizer asks the system for no memory", "[optim]") {
    Variable<> w = random<float>({40, 30}, 1).requires_grad(true), b = random<float>({40}, 2).requires_grad(true);
    const Variable<> x = random<float>({16, 30}, 3);
    const Array<std::int64_t> labels(Shape{16}, 7);
    optim::Adam optimizer({w, b}, {.on_non_finite = optim::NonFinite::report, .max_grad_norm = 1.0});
    const auto step = [&] { optimizer.minimize(nn::cross_entropy(linear(x, w, b), labels)); };
    step(), step();
    const std::size_t before = memory::statistics().system_allocations;
    for (int i = 0; i < 20; ++i) step();
    CHECK(memory::statistics().system_allocations == before);
}

TEST_CASE("Optimizers say what is wrong with their arguments", "[optim]") {
    Variable<> p = leaf({1, 2});
    CHECK(message([&] { optim::SGD(std::vector<Variable<>>()); }) ==
          "optimizer: the list of parameters is empty; there is nothing to train");
    CHECK(message([&] { optim::SGD({p, Variable<>()}); }) == "optimizer: parameter 1 is an empty Variable");
    CHECK(message([&] { optim::SGD({p, p * p}); }) ==
          "optimizer: parameter 1, of shape (2,), is the result of 'multiply'; expected one that no operation made");
    CHECK(message([&] { optim::SGD({p, p}); }) ==
          "optimizer: parameter 1, of shape (2,), is listed twice; each step would update it twice");
    CHECK(message([&] { optim::SGD({p}, {.learning_rate = -1}); }) ==
          "optimizer: the learning rate of step 0 is -1; expected a finite number, at least 0");
    CHECK(message([&] { optim::SGD({p}, {.learning_rate = std::nan("")}); }) ==
          "optimizer: the learning rate of step 0 is nan; expected a finite number, at least 0");
    CHECK(message([&] { optim::SGD({p}, {.weight_decay = -0.1}); }) ==
          "optimizer: weight_decay is -0.1; expected a finite number, at least 0");
    CHECK(message([&] { optim::Adam({p}, {.betas = {1, 0.999}}); }) ==
          "Adam: betas[0] is 1; expected 0 or more, and less than 1");
    CHECK(message([&] { optim::AdamW({p}, {.betas = {0.9, -0.1}}); }) ==
          "AdamW: betas[1] is -0.1; expected 0 or more, and less than 1");
    CHECK(message([&] { optim::Adam({p}, {.epsilon = -1}); }) ==
          "Adam: epsilon is -1; expected a finite number, at least 0");
}
