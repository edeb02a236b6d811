// Spirals: two classes that no straight line separates. The output function is ŷ = σ(z), the loss the binary
// cross-entropy of the logit z.
#include <cmath>
#include <cstdint>
#include <numbers>

#include <fmt/format.h>

#include "common/program.hpp"
#include <xgrad/xgrad.hpp>

using namespace xgrad;

namespace {

// Points on two arms that wind around each other, with some noise.
training::Dataset<> spirals(std::size_t count, Generator& generator) {
    Array<float> points(Shape{count, 2});
    Array<std::int64_t> labels(Shape{count});
    for (std::size_t i = 0; i < count; ++i) {
        const double along = std::sqrt(generator.uniform()), angle = 3 * std::numbers::pi * along;
        const auto arm = static_cast<std::int64_t>(generator.uniform_integer(2));
        const double sign = arm == 0 ? 1 : -1;
        points(i, 0) = static_cast<float>(sign * along * std::cos(angle) + 0.02 * generator.normal());
        points(i, 1) = static_cast<float>(sign * along * std::sin(angle) + 0.02 * generator.normal());
        labels(i) = arm;
    }
    return {std::move(points), std::move(labels)};
}

void train(nn::Layer<>& model, const training::Dataset<>& set, int epochs, Generator& generator) {
    optim::Adam optimizer(model.parameters(), {.learning_rate = 5e-3});
    for (int epoch = 0; epoch < epochs; ++epoch)
        for (auto [points, labels] : set.batches(100, generator)) {
            const Variable<> targets = reshape(Variable<>(labels), {-1, 1});
            optimizer.minimize(nn::binary_cross_entropy_with_logits(model(points), targets));
        }
}

}  // namespace

int main(int argc, char** argv) {
    int epochs = 60;
    std::uint64_t seed = 1;
    Program program("Separates two spirals, with a straight line and with a network.");
    program.option("--epochs", epochs, "passes over the training data", {.least = 0});
    program.option("--seed", seed, "of the initial weights and the points");
    return program.run(argc, argv, [&] {
        xgrad::seed(seed);
        Generator generator(seed);
        const auto seen = spirals(2000, generator), unseen = spirals(2000, generator);

        nn::Sequential line{nn::Linear(2, 1)};
        nn::Sequential network{nn::Linear(2, 64), nn::ReLU(), nn::Linear(64, 64), nn::ReLU(), nn::Linear(64, 1)};
        train(line, seen, epochs, generator);
        train(network, seen, epochs, generator);
        fmt::print("test accuracy of a straight line {:.4f}\n", training::accuracy(line, unseen));
        fmt::print("test accuracy of the network {:.4f}\n", training::accuracy(network, unseen));

        const Variable<> where = {{0.5f, 0.f}};
        fmt::print("the probability of the second class at (0.5, 0) is {:.3f}\n",
                   sigmoid(network.predict(where)).item());
    });
}
