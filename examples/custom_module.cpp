// What a user adds: an activation from a formula, an operation with its own derivative, a block of layers, and a class
// that owns model, optimizer and data, with all types spelled out.
#include <cmath>
#include <cstdint>
#include <numbers>

#include <fmt/format.h>

#include "common/program.hpp"
#include <xgrad/xgrad.hpp>

using xgrad::Array;
using xgrad::Generator;
using xgrad::Shape;
using xgrad::Variable;
namespace nn = xgrad::nn;
namespace optim = xgrad::optim;
namespace training = xgrad::training;

namespace {

// [activation]
// An activation from a formula: fused, with derivatives of every order.
const auto snake = xgrad::elementwise([](auto x) { return x + square(sin(x)); }, "snake");
// [activation]

// [operation]
// An operation from its value and the vjp of its input, log cosh(x): close to x²/2 for small x and to |x| for large x.
template <class T> Variable<T> log_cosh(const Variable<T>& x) {
    const Variable<T> size = abs(x.detach());  // of which nothing is recorded
    return xgrad::record("log_cosh", size + log1p(exp(-2 * size)) - std::numbers::ln2,
                         xgrad::wrt(x, [x](const Variable<T>& g) { return g * tanh(x); }));
}
// [operation]

// [module]
// A block of layers: x + f(x).
class Residual : public nn::Layer<> {
public:
    explicit Residual(std::size_t width) : inner_(width, width), outer_(width, width) {}

    void fields(nn::Fields<>& f) override { f("inner", inner_)("outer", outer_); }

protected:
    Variable<> forward(const Variable<>& x) override { return x + outer_(snake(inner_(x))); }

private:
    nn::Linear<> inner_, outer_;
};
// [module]

// A wave with noise and some gross outliers, which the loss shrugs off.
training::Dataset<float, float> wave(std::size_t count, float noise, Generator& generator) {
    Array<float> inputs(Shape{count, 1}), targets(Shape{count, 1});
    generator.fill_uniform(std::span(inputs.data(), count), -3.f, 3.f);
    generator.fill_normal(std::span(targets.data(), count), 0.f, noise);
    for (std::size_t i = 0; i < count; ++i) {
        targets(i, 0) += std::sin(4 * inputs(i, 0));
        if (noise > 0 && generator.uniform() < 0.02) targets(i, 0) += 5;
    }
    return {std::move(inputs), std::move(targets)};
}

// [trainer]
class Trainer {
public:
    Trainer(int epochs, std::uint64_t seed)
        : epochs_(epochs),
          generator_(seed),
          train_(wave(4000, 0.1f, generator_)),
          test_(wave(4000, 0.f, generator_)),
          model_(nn::Linear<>(1, 32), Residual(32), Residual(32), nn::Linear<>(32, 1)),
          optimizer_(model_.parameters(), {.learning_rate = optim::cosine(3e-3, steps())}) {}

    void train() {
        for (int epoch = 0; epoch < epochs_; ++epoch)
            for (auto [x, y] : train_.batches(64, generator_)) optimizer_.minimize(mean(log_cosh(model_(x) - y)));
    }

    /// The root of the mean squared distance from the wave itself.
    double error() const {
        return std::sqrt(nn::mse_loss(model_.predict(test_.inputs()), test_.targets()).item());
    }

private:
    std::int64_t steps() const { return epochs_ * static_cast<std::int64_t>(train_.batches(64).size()); }

    int epochs_;
    Generator generator_;
    training::Dataset<float, float> train_, test_;
    nn::Sequential<float> model_;
    optim::Adam<float> optimizer_;
};
// [trainer]

}  // namespace

int main(int argc, char** argv) {
    int epochs = 30;
    std::uint64_t seed = 1;
    Program program("Checks a user's own operations and trains a user's own module with them.");
    program.option("--epochs", epochs, "passes over the training data");
    program.option("--seed", seed, "of the initial weights and the data");
    return program.run(argc, argv, [&] {
        // [gradcheck]
        const Variable<double> x = {{-2.0, -0.3, 0.0}, {0.4, 1.0, 3.0}};
        xgrad::gradcheck([](const Variable<double>& v) { return snake(v); }, {x});
        xgrad::gradcheck([](const Variable<double>& v) { return log_cosh(v); }, {x});
        // [gradcheck]
        fmt::print("the derivatives of snake and log_cosh are right, to second order\n");

        xgrad::seed(seed);
        Trainer trainer(epochs, seed);
        fmt::print("error before training {:.4f}\n", trainer.error());
        trainer.train();
        fmt::print("error after training {:.4f}\n", trainer.error());
    });
}
