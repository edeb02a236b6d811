// The probe: what it measures against what is computed by hand, what it concludes, and that it changes nothing.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "catch.hpp"
#include "message.hpp"
#include "random.hpp"
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn.hpp>
#include <xgrad/optim.hpp>
#include <xgrad/training/probe.hpp>

using namespace xgrad;
using training::Regime;
using xgrad::testing::message;
using xgrad::testing::random;
using xgrad::testing::same;
namespace init = xgrad::nn::init;

namespace {

Variable<> normal(const Shape& shape, std::uint64_t seed) {
    Array<float> values = empty<float>(shape);
    Generator(seed).fill_normal(std::span(values.data(), values.size()));
    return values;
}

// A network of equal layers with k·Var(θ) as given; no activation after the last.
template <class Activation>
nn::Sequential<> deep(std::size_t depth, std::size_t width, double scale, bool batch_norm = false) {
    nn::Sequential<> model;
    for (std::size_t l = 0; l < depth; ++l) {
        nn::Linear<> linear(width, width, {.bias = false});
        init::he_normal(linear.weight(), std::sqrt(scale));
        model.add(std::move(linear));
        if (l + 1 == depth) break;
        if (batch_norm) model.add(nn::BatchNorm<>(width));
        model.add(Activation());
    }
    return model;
}

const auto square_loss = [](const Variable<>& y) { return mean(square(y)); };
// Its cotangents have nothing to do with the output: those of a square loss come back along the very directions that
// the weights stretch most.
const auto random_loss = [](const Variable<>& y) { return mean(y * normal(y.shape(), 99)); };

nn::Sequential<> mixed_model() {
    seed(41);
    nn::Sequential model{
        nn::Linear(6, 5), nn::BatchNorm(5), nn::ReLU(), nn::Dropout(0.5), nn::Sequential{nn::Linear(5, 4), nn::Tanh()},
        nn::Linear(4, 3)};
    model(random<float>({16, 6}, 3));
    return model;
}

}  // namespace

TEST_CASE("A probe measures what each layer makes of a batch", "[probe]") {
    nn::Sequential<double> model{nn::Linear<double>(2, 3), nn::ReLU<double>(), nn::Linear<double>(3, 1)};
    auto& first = dynamic_cast<nn::Linear<double>&>(model[0]);
    auto& second = dynamic_cast<nn::Linear<double>&>(model[2]);
    first.weight() = Variable<double>{{1, 0}, {0, 1}, {-1, -1}};
    first.bias() = Variable<double>{0, 1, 0};
    second.weight() = Variable<double>{{1, 2, 3}};
    second.bias() = Variable<double>{0.5};
    const Variable<double> x{{1, 0}, {3, 2}};  // z = (1, 1, −1), (3, 3, −5); h = (1, 1, 0), (3, 3, 0); ŷ = 3.5, 9.5

    const auto probe = training::probe(model, x, [](const Variable<double>& y) { return sum(square(y)); });
    REQUIRE(probe.layers.size() == 3);
    const auto& [z, h, y] = std::tie(probe.layers[0], probe.layers[1], probe.layers[2]);
    CHECK(z.name == "0");
    CHECK(z.layer == "Linear(2, 3)");
    CHECK(z.shape == Shape{2, 3});
    CHECK(z.mean == Approx(2.0 / 6));
    CHECK(z.variance == Approx(46.0 / 6 - 1.0 / 9));
    CHECK(z.spread == Approx((1 + 1 + 4) / 3.0));
    CHECK(z.dead == 0);
    CHECK_FALSE(z.saturated.has_value());
    CHECK(h.mean == Approx(8.0 / 6));
    CHECK(h.variance == Approx(20.0 / 6 - 16.0 / 9));
    CHECK(h.spread == Approx(2.0 / 3));
    CHECK(h.dead == Approx(1.0 / 3));
    CHECK(h.saturated.value() == 0);  // what is 0 is not saturated
    CHECK_FALSE(h.factor.has_value());
    CHECK_FALSE(h.gradient_ratio.has_value());
    CHECK(y.variance == Approx(9));
    CHECK(z.factor.value() == Approx(h.variance / variance(x).item()));
    CHECK(y.factor.value() == Approx(9 / h.variance));

    // ∂L/∂ŷ = 2ŷ = 7, 19; ∂L/∂h = 2ŷ·(1, 2, 3); ∂L/∂z is that where h > 0.
    CHECK(y.cotangent_variance.value() == Approx(36));
    CHECK(h.cotangent_variance.value() == Approx((49 + 361) * 14 / 6.0 - 26 * 26));
    CHECK(z.cotangent_variance.value() == Approx((49 + 361) * 5 / 6.0 - std::pow(26 * 3 / 6.0, 2)));
    // ∂L/∂θ of the last layer: Σ 2ŷ·h = (64, 64, 0), and Σ 2ŷ = 26 for the bias.
    CHECK(y.gradient_ratio.value() == Approx(std::sqrt(2 * 64 * 64 + 26 * 26) / std::sqrt(14 + 0.25)));
}

TEST_CASE("Values at which an activation is flat are saturated", "[probe]") {
    nn::Sequential<> model{nn::Tanh(), nn::Hardtanh(), nn::Sigmoid(), nn::Softmax(), nn::Dropout(0)};
    const Variable<> x = {{0.1f, -2.3f, 2.5f, -3.f}, {1.f, 2.f, -9.f, 2.2f}};
    const auto probe = training::probe(model, x);
    CHECK(probe.layers[0].saturated.value() == Approx(3.0 / 8));  // |x| > 2.375
    CHECK(probe.layers[1].saturated.value() == 1.0 / 8);          // tanh(−9) is −1 in float
    CHECK(probe.layers[2].saturated.value() == 0);
    CHECK_FALSE(probe.layers[3].saturated.has_value());
    CHECK(probe.layers.size() == 4);  // Dropout hands on what it gets

    nn::Sequential<> steep{nn::Linear(4, 4, {.bias = false}), nn::Sigmoid()};
    init::orthogonal(dynamic_cast<nn::Linear<>&>(steep[0]).weight(), 8);
    CHECK(training::probe(steep, x).layers[1].saturated.value() > 0.7);
    nn::Sequential<> hard{nn::Hardtanh()};
    CHECK(training::probe(hard, x).layers[0].saturated.value() == 7.0 / 8);  // at a bound the derivative is 0
}

TEST_CASE("A probe changes nothing: training goes on bit for bit as without it", "[probe]") {
    const auto train = [](bool probed) {
        nn::Sequential<> model = mixed_model();
        optim::SGD optimizer(model.parameters(), {.learning_rate = 0.1});
        const Variable<> x = random<float>({16, 6}, 5);
        for (int step = 0; step < 3; ++step) {
            optimizer.zero_grad();
            const Variable<> loss = square_loss(model(x));
            if (probed) training::probe(model, x, square_loss);
            loss.backward();
            if (probed) training::probe(model, x, square_loss);
            optimizer.step();
        }
        return model;
    };
    const nn::Sequential<> with = train(true), without = train(false);
    CHECK(Tape::current().size() == 0);
    const auto a = with.named_parameters(), b = without.named_parameters();
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(same(a[i].second, b[i].second.value()));
    const auto& norm = dynamic_cast<const nn::BatchNorm<>&>(with[1]);
    const auto& expected = dynamic_cast<const nn::BatchNorm<>&>(without[1]);
    CHECK(same(norm.running_mean(), expected.running_mean()));
    CHECK(same(norm.running_var(), expected.running_var()));
    CHECK(norm.num_batches_tracked() == expected.num_batches_tracked());
}

TEST_CASE("A probe leaves gradients, modes and the generator, also when the loss is refused", "[probe]") {
    nn::Sequential<> model = mixed_model();
    model[1].eval();
    model[5].freeze("bias");
    square_loss(model(random<float>({16, 6}, 5))).backward();
    std::vector<Array<float>> gradients;
    for (const auto& parameter : model.parameters())
        gradients.push_back(parameter.grad().defined() ? parameter.grad().value() : Array<float>());
    const Generator::State state = current_generator().state();
    const Variable<> x = random<float>({16, 6}, 6);
    const auto check = [&] {
        CHECK(current_generator().state() == state);
        CHECK(model.training());
        CHECK_FALSE(model[1].training());
        CHECK_FALSE(x.requires_grad());
        const auto parameters = model.parameters();
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            REQUIRE(parameters[i].grad().defined() == (gradients[i].dimension() > 0));
            if (parameters[i].grad().defined()) CHECK(same(parameters[i].grad(), gradients[i]));
        }
        CHECK(Tape::current().size() == 0);
    };
    {
        const NoGrad no_grad;
        const auto probe = training::probe(model, x, square_loss);
        CHECK(probe.layers[0].gradient_ratio.value() > 0);
    }
    check();
    CHECK(message([&] { training::probe(model, x, [](const Variable<>& y) { return square(y); }); }) ==
          "probe: the loss has the shape (16, 3); expected one number");
    check();
}

TEST_CASE("A probe runs a model in the mode that it is in", "[probe]") {
    nn::Sequential<> model{nn::Linear(4, 8), nn::BatchNorm(8)};
    const Variable<> x = random<float>({32, 4}, 7);
    CHECK(training::probe(model, x).layers[1].spread == Approx(1).epsilon(1e-3));
    model.eval();
    CHECK(training::probe(model, x).layers[1].spread ==
          Approx(training::probe(model, x).layers[0].spread).epsilon(1e-3));
}

TEST_CASE("A probe sees any composition, by name and in the order of execution", "[probe]") {
    struct Block : nn::Layer<> {
        nn::Linear<> inner{4, 4}, outer{4, 4};
        nn::Sequential<> body{nn::Linear(4, 4), nn::Tanh()};
        void fields(nn::Fields<>& f) override { f("outer", outer)("inner", inner)("body", body); }
        Variable<> forward(const Variable<>& x) override { return x + outer(relu(inner(body(x)))); }
    };
    const auto names = [](const training::Probe& probe) {
        std::vector<std::string> all;
        for (const auto& layer : probe.layers) all.push_back(layer.name);
        return all;
    };
    seed(42);
    nn::Sequential<> model{Block(), Block()};
    const Variable<> x = random<float>({8, 4});
    CHECK(names(training::probe(model, x)) == std::vector<std::string>{"0.body.0", "0.body.1", "0.inner", "0.outer",
                                                                       "0", "1.body.0", "1.body.1", "1.inner",
                                                                       "1.outer", "1"});

    struct Pair : nn::Module<> {
        nn::Linear<> left{4, 3}, right{2, 3};
        void fields(nn::Fields<>& f) override { f("left", left)("right", right); }
        Variable<> operator()(const Variable<>& a, const Variable<>& b) {
            const Variable<> first = left(a);
            return first * right(b);
        }
    } pair;
    const Variable<> a = random<float>({5, 4}), b = random<float>({5, 2});
    const auto probe = training::probe(
        pair, [&] { return pair(a, b); }, square_loss);
    CHECK(names(probe) == std::vector<std::string>{"left", "right"});
    CHECK(probe.layers[1].gradient_ratio.value() > 0);
}

TEST_CASE("A probe tells the three regimes of a deep network apart, with the factor of theory and the cure",
          "[probe]") {
    // Over 12 steps of width 200, chance moves the mean logarithm of a factor by √(5/(12·200)) = 5 % with ReLU.
    const Variable<> x = normal({20, 200}, 1);
    for (const double scale : {0.25, 4.0}) {
        INFO(scale);
        seed(43);
        auto linear = deep<nn::Identity<>>(12, 200, scale);
        auto rectifier = deep<nn::ReLU<>>(12, 200, 2 * scale);
        for (const auto& probe :
             {training::probe(linear, x, random_loss), training::probe(rectifier, x, random_loss)}) {
            const Regime expected = scale < 1 ? Regime::vanishing : Regime::exploding;
            CHECK(probe.signal.regime == expected);
            CHECK(probe.signal.factor == Approx(scale).epsilon(0.15));
            CHECK(probe.signal.layer == "0");
            CHECK(probe.gradient->regime == expected);
            CHECK(probe.gradient->factor == Approx(scale).epsilon(0.15));
            CHECK(probe.gradient->cure == "that of the signal");
        }
        CHECK_THAT(training::probe(rectifier, x).signal.cure,
                   ContainsSubstring(
                       "; 2 = 1/E[ψ(z)²] keeps the variance through ReLU: init::variance_preserving(weight, ψ)"));
        for (auto& [name, weight] : rectifier.named_parameters()) init::variance_preserving(weight, nn::ReLU<>());
        CHECK(training::probe(rectifier, x, random_loss).signal.regime == Regime::stable);
        CHECK(training::probe(rectifier, x, random_loss).gradient->regime == Regime::stable);
    }
}

TEST_CASE("A probe tells when the gradient explodes while the signal is stable, as in tanh networks of large weights",
          "[probe]") {
    // At k·Var(θ) = 4 the mean square of z is settled at q = 4·E[tanh(√q z)²]; a cotangent's is multiplied by
    // 4·E[tanh′(√q z)²].
    double q = 1;
    for (int i = 0; i < 100; ++i) q = 4 * init::moments(tanh<double>, std::sqrt(q)).second_moment;
    seed(48);
    auto model = deep<nn::Tanh<>>(20, 200, 4);
    const auto probe = training::probe(model, normal({20, 200}, 1), random_loss);
    CHECK(probe.signal.regime == Regime::stable);
    CHECK(probe.layers[30].variance == Approx(q).epsilon(0.05));
    CHECK(probe.gradient->regime == Regime::exploding);
    const double theory = 4 * init::moments(tanh<double>, std::sqrt(q)).derivative_second_moment;
    CHECK(probe.gradient->factor == Approx(theory).epsilon(0.1));
    CHECK_THAT(probe.gradient->cure, ContainsSubstring("would keep the gradient, but not the signal"));
}

TEST_CASE("A probe names the layer where the signal breaks down", "[probe]") {
    seed(44);
    auto model = deep<nn::ReLU<>>(12, 100, 2);
    auto& weight = dynamic_cast<nn::Linear<>&>(model[8]).weight();
    weight.assign(weight * 0.01);
    const Variable<> x = normal({20, 100}, 2);
    auto probe = training::probe(model, x);
    CHECK(probe.signal.regime == Regime::vanishing);
    CHECK(probe.signal.layer == "8");
    CHECK_THAT(probe.signal.cure, ContainsSubstring("k·Var(θ) is 0.000"));
    weight.assign(weight * 10000);
    probe = training::probe(model, x);
    CHECK(probe.signal.regime == Regime::exploding);
    CHECK(probe.signal.layer == "8");
}

TEST_CASE("Without layers for the activations the cure comes from data", "[probe]") {
    struct Functional : nn::Layer<> {
        std::vector<nn::Linear<>> layers;
        void fields(nn::Fields<>& f) override { f("layers", layers); }
        Variable<> forward(const Variable<>& x) override {
            Variable<> h = x;
            for (auto& layer : layers) h = relu(layer(h));
            return h;
        }
    } model;
    seed(45);
    for (int l = 0; l < 12; ++l) model.layers.emplace_back(30, 30);
    const Variable<> x = normal({20, 30}, 3);
    const auto probe = training::probe(model, x);
    CHECK(probe.signal.regime == Regime::vanishing);
    CHECK_THAT(probe.signal.cure, ContainsSubstring("init::layer_sequential_unit_variance(model, x)"));
    init::layer_sequential_unit_variance(model, x);
    CHECK(training::probe(model, x).signal.regime == Regime::stable);
}

TEST_CASE("Batch normalisation keeps the signal for any weights, and the gradient explodes by π/(π − 1) per ReLU layer",
          "[probe]") {
    // Yang et al. 2019, "A mean field theory of batch normalization"
    const Variable<> x = normal({100, 60}, 4);
    for (const double scale : {0.01, 100.0}) {
        INFO(scale);
        seed(46);
        auto model = deep<nn::ReLU<>>(20, 60, scale, true);
        const auto probe = training::probe(model, x, random_loss);
        for (const auto& layer : probe.layers)
            if (layer.layer == "BatchNorm(60)") CHECK(layer.spread == Approx(1).epsilon(0.01));
        CHECK(probe.gradient->regime == Regime::exploding);
        CHECK(probe.gradient->factor == Approx(M_PI / (M_PI - 1)).epsilon(0.1));
        CHECK_THAT(probe.gradient->cure, ContainsSubstring("BatchNorm(60) comes between; shortcuts x + f(x) help"));
    }
}

TEST_CASE("Values beyond all numbers are an explosion", "[probe]") {
    seed(47);
    auto model = deep<nn::Identity<>>(60, 10, 1e3);
    CHECK(training::probe(model, normal({4, 10}, 5), square_loss).signal.regime == Regime::exploding);
    auto zero = deep<nn::Identity<>>(6, 10, 0);
    CHECK(training::probe(zero, normal({4, 10}, 5), square_loss).layers.back().variance == 0);
}

TEST_CASE("The summary of a probe is a table with the regimes in words", "[probe]") {
    nn::Sequential<double> model{nn::Linear<double>(1, 2), nn::Tanh<double>(),
                                 nn::Linear<double>(2, 2, {.bias = false}), nn::Tanh<double>(),
                                 nn::Linear<double>(2, 1)};
    for (auto& [name, weight] : model.named_parameters("*.weight"))
        init::constant(weight, name == "2.weight" ? 0.05 : 1);
    for (auto& [name, bias] : model.named_parameters("*.bias")) init::zeros(bias);
    const Variable<double> x{{1}, {-1}};
    const std::string regime =
        "signal: vanishing from layer '2' on, × 0.2 per layer, × 0.0398 in all\n"
        "    cure: k·Var(θ) is 0.005 there; 2.54 = 1/E[ψ(z)²] keeps the variance through Tanh: "
        "init::variance_preserving(weight, ψ)\n";
    CHECK(training::probe(model, x).summary() ==
          "name  layer                  output  mean  variance   spread  dead  saturated   factor\n"
          "0     Linear(1, 2)           (2, 2)     0         1        1   0 %                0.58\n"
          "1     Tanh                   (2, 2)     0      0.58     0.58   0 %        0 %\n"
          "2     Linear(2, 2, no bias)  (2, 2)     0    0.0058   0.0058   0 %             0.00996\n"
          "3     Tanh                   (2, 2)     0   0.00578  0.00578   0 %        0 %\n"
          "4     Linear(2, 1)           (2, 1)     0    0.0231   0.0231   0 %                   4\n" +
              regime);
    const std::string summary =
        training::probe(model, x, [](const Variable<double>& y) { return mean(square(y)); }).summary();
    CHECK_THAT(summary, ContainsSubstring("saturated   factor  cotangent  gradient/parameter\n"));
    CHECK_THAT(summary, ContainsSubstring("4     0.0231              0.0231\n" + regime +
                                          "gradient: vanishing from layer '2' back"));
}

TEST_CASE("A summary is in columns also with names that are not ASCII", "[probe]") {
    struct Swish : nn::Layer<double> {
        Variable<double> forward(const Variable<double>& x) override { return x * sigmoid(x); }
        std::string description() const override { return "ψ(z) = z·σ(z)"; }
    };
    const nn::Sequential<double> layers{Swish(), nn::ReLU<double>()};
    nn::Sequential<double> model = layers;
    CHECK(training::probe(model, Variable<double>{{0}, {0}}).summary() ==
          "name  layer          output  mean  variance  spread   dead  saturated  factor\n"
          "0     ψ(z) = z·σ(z)  (2, 1)     0         0       0  100 %        0 %\n"
          "1     ReLU           (2, 1)     0         0       0  100 %        0 %\n"
          "signal: stable\n");
}

TEST_CASE("A probe refuses an empty batch", "[probe]") {
    nn::Sequential<> model{nn::Linear(4, 3), nn::ReLU()};
    const Variable<> none(empty<float>(Shape{0, 4}));
    CHECK(message([&] { training::probe(model, none); }) ==
          "probe: the input has the shape (0, 4); an empty batch has nothing to measure");
    CHECK(message([&] { training::probe<float>(static_cast<nn::Module<>&>(model), [&] { return model(none); }); }) ==
          "probe: Linear(4, 3) makes (0, 3) of (0, 4); an empty batch has nothing to measure");
}

TEST_CASE("Watchers and hooks see the one call of a layer that a probe makes", "[probe]") {
    struct Watcher : nn::LayerWatcher<> {
        std::vector<Shape> shapes;
        void on_call(const nn::Layer<>&, const Variable<>& x, const Variable<>&) override {
            shapes.push_back(x.shape());
        }
    } watcher;
    nn::Sequential<> model{nn::Sequential{nn::Identity(), nn::Tanh()}, nn::Linear(4, 4)};
    struct Twice : nn::Layer<> {  // no parameters, and layers within it
        nn::Tanh<> tanh;
        void fields(nn::Fields<>& f) override { f("tanh", tanh); }
        Variable<> forward(const Variable<>& x) override { return 2 * tanh(x); }
    };
    nn::Sequential<> twice{Twice()};
    int calls = 0;
    dynamic_cast<Twice&>(twice[0]).tanh.on_forward([&](const auto&, const auto&, const auto&) { ++calls; });
    const auto probe = training::probe(twice, random<float>({2, 4}), [&](const Variable<>& y) {
        return square_loss(model(y));  // a loss may have layers of its own
    });
    CHECK(probe.layers.size() == 2);
    CHECK(probe.layers[1].saturated.has_value());
    CHECK(calls == 1);
    CHECK(watcher.shapes == std::vector<Shape>(3 + 5, Shape{2, 4}));
}

TEST_CASE("A probe draws what is zero everywhere, frozen or without layers", "[probe][figure]") {
    const auto file = std::filesystem::temp_directory_path() / fmt::format("xgrad-probe-{}.svg", ::getpid());
    const Variable<> x = normal({4, 10}, 1);
    const auto draws = [&](const training::Probe& probe) {
        std::filesystem::remove(file);
        probe.figure().save(file);
        return std::filesystem::exists(file);
    };
    auto zero = deep<nn::Tanh<>>(3, 10, 0);
    CHECK(draws(training::probe(zero, x, square_loss)));
    CHECK(draws(training::probe(zero, x)));
    seed(50);
    auto frozen = deep<nn::Tanh<>>(3, 10, 1);
    frozen.freeze();
    const auto probe = training::probe(frozen, x, square_loss);
    CHECK_FALSE(probe.layers[0].gradient_ratio.has_value());
    CHECK(draws(probe));
    nn::Sequential<> nothing;
    CHECK(training::probe(nothing, x, square_loss).layers.empty());
    CHECK(draws(training::probe(nothing, x, square_loss)));
    std::filesystem::remove(file);
}

TEST_CASE("A probe draws itself", "[probe][figure]") {
    const auto folder = std::filesystem::temp_directory_path() / fmt::format("xgrad-probe-{}", ::getpid());
    std::filesystem::create_directory(folder);
    seed(49);
    auto model = deep<nn::Tanh<>>(5, 10, 1);
    for (const auto& loss : {training::LossFunction<float>(), training::LossFunction<float>(square_loss)}) {
        training::probe(model, normal({4, 10}, 1), loss).figure().save(folder / "probe.svg");
        std::ifstream in(folder / "probe.svg");
        const std::string picture(std::istreambuf_iterator<char>(in), {});
        CHECK_THAT(picture, ContainsSubstring("spread over the samples"));
        CHECK((picture.find("variance of the cotangent") != std::string::npos) == static_cast<bool>(loss));
    }
    std::filesystem::remove_all(folder);
}
