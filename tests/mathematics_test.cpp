// The statements of docs/mathematics.md, one by one.
#include <cmath>

#include <xgrad/xgrad.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

Array<> normal_numbers(const Shape& shape, std::uint64_t seed, float mean = 0, float deviation = 1) {
    Array<> numbers(shape);
    Generator(seed).fill_normal(std::span(numbers.data(), numbers.size()), mean, deviation);
    return numbers;
}

}  // namespace

TEST_CASE("A network is the composition of its layers, and the representations between can be taken out", "[mathematics]") {
    seed(1);
    const Variable x(normal_numbers({4, 2}, 1));
    // [composition]
    nn::Sequential F{nn::Linear(2, 8), nn::Tanh(), nn::Linear(8, 3)};  // z⁽⁰⁾ = θ⁽⁰⁾x, h⁽¹⁾ = ψ(z⁽⁰⁾), z⁽¹⁾ = θ⁽¹⁾h⁽¹⁾
    const auto h = nn::representations(F, x, "1");                     // h⁽¹⁾, by the name of its layer
    const Variable y = softmax(F.predict(x));                          // ŷ = Softmax(z⁽¹⁾)
    // [composition]
    const auto& first = static_cast<const nn::Linear<>&>(F[0]);
    CHECK(xt::allclose(h[0].second, tanh(linear(x, first.weight(), first.bias())).value()));
    CHECK(xt::allclose(sum(y, 1).value(), Array<>{1, 1, 1, 1}));
}

namespace {

// [theory]
// E[z²] in layer after layer, when k·Var(θ) = c and z is normal, as it is in wide layers.
double mean_square(const nn::init::ActivationFunction& psi, double c, int layers) {
    double q = 1;
    for (int layer = 0; layer < layers; ++layer) q = c * nn::init::moments(psi, std::sqrt(q)).second_moment;
    return q;
}

// By which factor the square of ∂ŷ/∂x grows in a layer whose input has the mean square q.
double jacobian_factor(const nn::init::ActivationFunction& psi, double c, double q) {
    return c * nn::init::moments(psi, std::sqrt(q)).derivative_second_moment;
}
// [theory]

}  // namespace

TEST_CASE("The mean square of the signal vanishes, stays or explodes by the factor of theory", "[mathematics]") {
    const auto identity = [](const Variable<double>& z) { return z; };
    const auto rectifier = [](const Variable<double>& z) { return relu(z); };
    const auto saturating = [](const Variable<double>& z) { return tanh(z); };

    CHECK(mean_square(identity, 0.5, 50) == Approx(std::pow(0.5, 50)));
    CHECK(mean_square(identity, 1, 50) == Approx(1));
    CHECK(mean_square(rectifier, 1, 50) == Approx(std::pow(0.5, 50)));  // 1/k is too little for ReLU
    CHECK(mean_square(rectifier, 2, 50) == Approx(1));                  // 2/k is right
    CHECK(mean_square(rectifier, 4, 50) == Approx(std::pow(2, 50)));

    // tanh is bounded: above 1 the values settle, and it is ∂ŷ/∂x that explodes.
    CHECK(mean_square(saturating, 0.5, 50) < 1e-12);
    const double q = mean_square(saturating, 4, 50);
    CHECK(q == Approx(mean_square(saturating, 4, 51)).epsilon(1e-6));
    CHECK(jacobian_factor(saturating, 4, q) == Approx(1.363).epsilon(1e-3));
    CHECK(jacobian_factor(saturating, 2, mean_square(saturating, 2, 50)) > 1.1);
    CHECK(jacobian_factor(saturating, 0.5, mean_square(saturating, 0.5, 50)) == Approx(0.5));
    // At exactly 1 it falls like 1/(2·depth), and not exponentially.
    CHECK(mean_square(saturating, 1, 400) * 2 * 400 == Approx(1).epsilon(0.05));
}

TEST_CASE("A network of width 256 does what the theory says, as its probe tells", "[mathematics]") {
    const Variable x(normal_numbers({32, 256}, 1));
    const auto regime = [&](double c) {
        seed(3);
        // [probe]
        nn::Sequential<> network;
        for (int layer = 0; layer < 20; ++layer) {
            nn::Linear linear(256, 256, {.bias = false});
            nn::init::normal(linear.weight(), 0, std::sqrt(c / 256));  // k·Var(θ) = c
            network.add(std::move(linear)).add(nn::ReLU());
        }
        const training::Probe probe = training::probe(network, x);
        // fmt::print("{}", probe.summary()); probe.figure().save("probe.svg");
        // [probe]
        return probe.signal.regime;
    };
    CHECK(regime(1) == training::Regime::vanishing);
    CHECK(regime(2) == training::Regime::stable);
    CHECK(regime(4) == training::Regime::exploding);
}

TEST_CASE("The default of a Linear has k·Var(θ) = 1/3, the initialisers what their formulas say", "[mathematics]") {
    seed(5);
    nn::Linear layer(1000, 500);
    const auto k_variance = [&] { return 1000 * variance(layer.weight()).item(); };
    CHECK(k_variance() == Approx(1.0 / 3).epsilon(0.02));
    nn::init::lecun_normal(layer.weight());
    CHECK(k_variance() == Approx(1).epsilon(0.02));
    nn::init::he_normal(layer.weight());
    CHECK(k_variance() == Approx(2).epsilon(0.02));
    nn::init::glorot_uniform(layer.weight());
    CHECK(k_variance() == Approx(1000 * 2.0 / 1500).epsilon(0.02));
    nn::init::variance_preserving(layer.weight(), [](const auto& z) { return relu(z); });
    CHECK(k_variance() == Approx(2).epsilon(0.02));
}

TEST_CASE("A bias before BatchNorm is redundant, and the variance after it is σ²/(σ² + ε)", "[mathematics]") {
    const Variable z(normal_numbers({256, 3}, 2));
    const Variable bias = {5, -7, 100};
    nn::BatchNorm norm(3, {.epsilon = 0.5});
    CHECK(xt::allclose(norm(z).value(), norm(z + bias).value(), 1e-3, 1e-4));
    const Array<> variances = variance(z, 0).value();
    CHECK(xt::allclose(variance(norm(z), 0).value(), Array<>(variances / (variances + 0.5f)), 1e-4));
    CHECK(xt::allclose(mean(norm(z), 0).value(), Array<>{0, 0, 0}, 0, 1e-5));
}

TEST_CASE("The running mean is (1 − βᵗ)·E after t steps, and E/(1 − β) without the factor (1 − β)", "[mathematics]") {
    const float expected = 3;
    Array<> numbers = normal_numbers({64, 1}, 3);
    numbers += expected - xt::mean(numbers)();
    const Variable z(numbers);
    nn::BatchNorm norm(1, {.momentum = 0.1});  // β = 0.9
    double without = 0;
    for (int t = 1; t <= 100; ++t) {
        norm(z);
        CHECK(norm.running_mean()(0) == Approx((1 - std::pow(0.9, t)) * expected).epsilon(1e-4));
        without = 0.9 * without + expected;
    }
    CHECK(norm.running_mean()(0) == Approx(expected).epsilon(1e-3));
    CHECK(without == Approx(10 * expected).epsilon(1e-3));

    nn::BatchNorm average(1, {.momentum = std::nullopt});
    for (int t = 1; t <= 3; ++t) {
        average(z);
        CHECK(average.running_mean()(0) == Approx(expected).epsilon(1e-5));  // no trace of the start
    }
}
