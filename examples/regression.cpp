// Regression: the output function is the identity, ŷ = z. A network learns a function from noisy samples of it; its
// error on unseen ones can come down to the noise and no further.
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

#include "common/program.hpp"
#include <xgrad/xgrad.hpp>

using namespace xgrad;

namespace {

// y = sin(3x₀) + x₁² / 2 with noise of a known deviation.
training::Dataset<float, float> samples(std::size_t count, float noise, Generator& generator) {
    Array<float> inputs(Shape{count, 2}), targets(Shape{count, 1});
    generator.fill_uniform(std::span(inputs.data(), inputs.size()), -2.f, 2.f);
    generator.fill_normal(std::span(targets.data(), targets.size()), 0.f, noise);
    for (std::size_t i = 0; i < count; ++i)
        targets(i, 0) += std::sin(3 * inputs(i, 0)) + inputs(i, 1) * inputs(i, 1) / 2;
    return {std::move(inputs), std::move(targets)};
}

}  // namespace

int main(int argc, char** argv) {
    int epochs = 60;
    std::uint64_t seed = 1;
    double noise = 0.1;
    Program program("Fits a function of two variables to noisy samples and compares the error with the noise.");
    program.option("--epochs", epochs, "passes over the training data", {.least = 1});
    program.option("--seed", seed, "of the initial weights and the samples");
    program.option("--noise", noise, "standard deviation of the noise, above 0");
    return program.run(argc, argv, [&] {
        if (!(noise > 0)) throw Error(fmt::format("--noise is {}; expected a number above 0", noise));
        xgrad::seed(seed);
        Generator generator(seed);
        const auto train = samples(8000, static_cast<float>(noise), generator);
        const auto test = samples(8000, static_cast<float>(noise), generator);

        nn::Sequential model{nn::Linear(2, 64), nn::Tanh(), nn::Linear(64, 64), nn::Tanh(), nn::Linear(64, 1)};
        const auto steps = static_cast<std::int64_t>(epochs) * static_cast<std::int64_t>(train.batches(64).size());
        optim::Adam optimizer(model.parameters(), {.learning_rate = optim::cosine(3e-3, steps)});
        for (int epoch = 0; epoch < epochs; ++epoch)
            for (auto [x, y] : train.batches(64, generator)) optimizer.minimize(nn::mse_loss(model(x), y));

        const double error = nn::mse_loss(model.predict(test.inputs()), test.targets()).item();
        fmt::print("mean squared error on unseen samples {:.5f}, of which noise {:.5f}\n", error, noise * noise);
        fmt::print("error over noise {:.4f}\n", error / (noise * noise));
    });
}
