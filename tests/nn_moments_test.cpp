// Moments of activations against closed forms, and the initialiser that is made of them.
#include <cmath>
#include <numbers>

#include "catch.hpp"
#include "random.hpp"
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/softmax.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn.hpp>

using namespace xgrad;
using xgrad::testing::check_refused;
namespace init = xgrad::nn::init;

namespace {

double normal_distribution(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double normal_density(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi); }

void check(const char* name, const init::Moments& moments, const init::Moments& expected, double tolerance = 1e-9) {
    INFO(name);
    CHECK(moments.mean == Approx(expected.mean).epsilon(0).margin(tolerance));
    CHECK(moments.second_moment == Approx(expected.second_moment).epsilon(tolerance).margin(tolerance));
    CHECK(moments.derivative_second_moment ==
          Approx(expected.derivative_second_moment).epsilon(tolerance).margin(tolerance));
}

}  // namespace

TEST_CASE("Moments of activations are their closed forms", "[nn][init][moments]") {
    const double pi = std::numbers::pi, e = std::numbers::e;
    check("identity", init::moments([](const auto& z) { return z; }), {0, 1, 1});
    check("relu", init::moments(relu<double>), {1 / std::sqrt(2 * pi), 0.5, 0.5});
    check("leaky_relu", init::moments([](const auto& z) { return leaky_relu(z, 0.2); }),
          {0.8 / std::sqrt(2 * pi), 0.52, 0.52});
    check("abs", init::moments(xgrad::abs<double>), {std::sqrt(2 / pi), 1, 1});
    check("sin", init::moments(xgrad::sin<double>), {0, (1 - 1 / (e * e)) / 2, (1 + 1 / (e * e)) / 2});
    check("square", init::moments(square<double>), {1, 3, 4});
    check("exp", init::moments(xgrad::exp<double>), {std::sqrt(e), e * e, e * e}, 1e-8);
    check("erf", init::moments(xgrad::erf<double>), {0, 2 / pi * std::asin(2.0 / 3), 4 / pi / std::sqrt(5)});

    const double lambda = 1.0507009873554804934193349852946, alpha = 1.6732632423543772848170429916717;
    check("selu", init::moments(selu<double>),
          {0, 1, lambda * lambda * (0.5 + alpha * alpha * e * e * normal_distribution(-2))});

    // By another program, with mpmath to 30 digits.
    check("tanh", init::moments(xgrad::tanh<double>), {0, 0.394294490397841174, 0.464402902448268242});
    check("sigmoid", init::moments(sigmoid<double>), {0.5, 0.293379035858092963, 0.0448362413501943718});
    check("silu", init::moments(silu<double>), {0.206620964141907037, 0.355775519817352156, 0.379482351632829308});
}

TEST_CASE("Kinks and jumps may be anywhere", "[nn][init][moments]") {
    for (const double bound : {0.3137, 1.0, 1.7}) {
        const double inside = 1 - 2 * normal_distribution(-bound);
        check("hardtanh", init::moments([&](const auto& z) { return hardtanh(z, -bound, bound); }),
              {0, inside - 2 * bound * normal_density(bound) + bound * bound * (1 - inside), inside});
        check("step", init::moments([&](const auto& z) { return where(z > bound, 1.0, 0.0 * z); }),
              {1 - normal_distribution(bound), 1 - normal_distribution(bound), 0});
    }
    check("sign", init::moments(xgrad::sign<double>), {0, 1, 0});
    // ψ′² of a steep sigmoid is a peak of width 1/1000 around 0.1: ∫ (aσ′(au))² du = a/6.
    const init::Moments steep = init::moments([](const auto& z) { return sigmoid(1000 * (z - 0.1)); });
    CHECK(steep.derivative_second_moment == Approx(1000.0 / 6 * normal_density(0.1)).epsilon(1e-5));
}

TEST_CASE("Moments at another deviation", "[nn][init][moments]") {
    for (const double s : {0.0, 0.1, 1.0, 2.5}) {
        check("relu", init::moments(relu<double>, s),
              {s / std::sqrt(2 * std::numbers::pi), s * s / 2, s == 0 ? 0 : 0.5});
        check("sin", init::moments(xgrad::sin<double>, s),
              {0, (1 - std::exp(-2 * s * s)) / 2, (1 + std::exp(-2 * s * s)) / 2});
    }
    REQUIRE_THROWS_WITH(init::moments(relu<double>, -1),
                        "init::moments: the deviation is -1; expected a finite number ≥ 0");
}

TEST_CASE("Moments count what an activation makes of values far out, against the density", "[nn][init][moments]") {
    for (const double s : {3.0, 6.0, 12.0}) {
        INFO(s);
        const init::Moments m = init::moments(xgrad::exp<double>, s);
        CHECK(m.mean == Approx(std::exp(s * s / 2)).epsilon(1e-9));
        CHECK(m.second_moment == Approx(std::exp(2 * s * s)).epsilon(1e-9));
        CHECK(m.derivative_second_moment == Approx(std::exp(2 * s * s)).epsilon(1e-9));
    }
    // E[e^(az²)] is 1/√(1 − 2a) for a < 1/2, and infinite from there on.
    const auto gauss = [](double a) { return [a](const auto& z) { return exp(a * z * z); }; };
    CHECK(init::moments(gauss(0.2)).second_moment == Approx(1 / std::sqrt(1 - 0.8)).epsilon(1e-9));
    check_refused([&] { init::moments(gauss(1.0 / 3)); }, {"init::moments: the activation grows so fast"});
    check_refused([] { init::moments([](const auto& z) { return 1e200 * z; }); },
                  {"init::moments: a moment of the activation is beyond all numbers"});
}

TEST_CASE("Moments are as precise for a small activation as for a large one", "[nn][init][moments]") {
    const auto gain = [](double scale) {
        return scale * init::gain([=](const auto& z) { return scale * hardtanh(z, -0.3137, 0.3137); });
    };
    for (const double scale : {1e-100, 1e-8, 1e8, 1e100}) CHECK(gain(scale) == Approx(gain(1)).epsilon(1e-10));
}

TEST_CASE("Moments of formulas and of layers of either precision", "[nn][init][moments]") {
    const auto swish = elementwise([](auto z) { return z / (1 + exp(-z)); }, "swish");
    check("formula", init::moments(swish), {0.206620964141907037, 0.355775519817352156, 0.379482351632829308});
    check("double layer", init::moments(nn::SiLU<double>()),
          {0.206620964141907037, 0.355775519817352156, 0.379482351632829308});
    check("float layer", init::moments(nn::SiLU<float>()),
          {0.206620964141907037, 0.355775519817352156, 0.379482351632829308}, 1e-6);

    check("dropout in evaluation", init::moments(nn::Dropout<float>(0.5)), {0, 1, 1}, 1e-6);
    check("no gradient", init::moments([](const auto& z) { return z.detach(); }), {0, 1, 0});
}

TEST_CASE("Computing moments tells neither hooks nor watchers, and leaves no graph, also where nothing is recorded",
          "[nn][init][moments]") {
    struct Watcher : nn::LayerWatcher<double> {
        int calls = 0;
        void on_call(const nn::Layer<double>&, const Variable<double>&, const Variable<double>&) override { ++calls; }
    } watcher;
    nn::Sequential<double> layer{nn::Identity<double>(), nn::Tanh<double>()};
    int calls = 0;
    for (nn::Layer<double>* hooked : {static_cast<nn::Layer<double>*>(&layer), &layer[1]})
        hooked->on_forward([&](const auto&, const auto&, const auto&) { ++calls; });
    const NoGrad no_grad;
    check("layer", init::moments(layer), {0, 0.394294490397841174, 0.464402902448268242});
    check("function", init::moments([&](const auto& z) { return layer(z); }),
          {0, 0.394294490397841174, 0.464402902448268242});
    CHECK(calls == 0);
    CHECK(watcher.calls == 0);
    CHECK(layer.training());
    CHECK(Tape::current().size() == 0);

    layer(Variable<double>{1, 2});
    CHECK(calls == 2);
    CHECK(watcher.calls == 3);
}

TEST_CASE("What has no moments is refused", "[nn][init][moments]") {
    check_refused([] { init::moments([](const auto& z) { return softmax(z); }); },
                  {"init::moments: the activation is no function of each element alone"});
    check_refused([] { init::moments([](const auto& z) { return sum(z); }); },
                  {"init::moments: the activation makes ()"});
    check_refused([] { init::moments(xgrad::log<double>); }, {"the activation is nan"});
    check_refused([] { init::moments([](const auto& z) { return sqrt(abs(z)); }); }, {"do not converge"});
    check_refused([] { init::gain([](const auto& z) { return 0 * z; }); },
                  {"init::gain: the activation is zero everywhere"});
}

TEST_CASE("Gains of activations", "[nn][init][moments]") {
    CHECK(init::gain([](const auto& z) { return z; }) == Approx(1).epsilon(1e-9));
    CHECK(init::gain(relu<double>) == Approx(std::numbers::sqrt2).epsilon(1e-9));
    CHECK(init::gain(selu<double>) == Approx(1).epsilon(1e-9));
    CHECK(init::gain(xgrad::tanh<double>) == Approx(1 / std::sqrt(0.394294490397841174)).epsilon(1e-9));
    CHECK(init::gain([](const auto& z) { return leaky_relu(z); }) == Approx(init::gain("leaky_relu")).epsilon(1e-9));
    CHECK(init::gain(nn::LeakyReLU<float>(0.2)) == Approx(init::gain("leaky_relu", 0.2)).epsilon(1e-6));
}

TEMPLATE_TEST_CASE("variance_preserving keeps the variance of z through any activation", "[nn][init][moments]", float,
                   double) {
    using T = TestType;
    seed(21);
    // The variance of z′ = θψ(z) over n outputs has the relative deviation √(2/n) and one that is smaller by far from
    // the samples: 4.5 % here, of which four are allowed.
    const std::size_t width = 1000;
    Array<T> normal = empty<T>(Shape{8, width});
    current_generator().fill_normal(std::span<T>(normal.data(), normal.size()));
    const Variable<T> z(std::move(normal));
    const auto kept = [&](const auto& activation, const Variable<T>& h) {
        Parameter<T> weight(Shape{width, width});
        init::variance_preserving(weight, activation);
        return static_cast<double>(variance(matmul(h, weight, {.transpose_b = true})).item());
    };
    const auto bump = elementwise([](auto x) { return exp(-x * x); }, "bump");  // its mean is not 0
    CHECK(kept(bump, bump(z)) == Approx(1).epsilon(0.2));
    CHECK(kept([](const auto& x) { return sigmoid(x); }, sigmoid(z)) == Approx(1).epsilon(0.2));
    CHECK(kept(nn::GELU<T>(), gelu(z)) == Approx(1).epsilon(0.2));
    CHECK(kept(nn::Tanh<T>(), tanh(z)) == Approx(1).epsilon(0.2));
}
