// Digits: a classifier ŷ = Softmax(z), with BatchNorm, on digits that it draws itself or on MNIST.
#include <string>

#include <fmt/format.h>

#include <xgrad/xgrad.hpp>

#include "common/digits_options.hpp"
#include "common/program.hpp"

using namespace xgrad;

int main(int argc, char** argv) {
    int epochs = 5;
    std::string file;
    Program program("Trains a classifier of handwritten digits and prints its accuracy on unseen ones.");
    program.option("--epochs", epochs, "passes over the training data", {.least = 0});
    program.option("--save", file, "file for the trained network, in the format safetensors");
    DigitsOptions options(program);
    return program.run(argc, argv, [&] {
        const auto [train, test] = options.load();
        Generator generator(options.seed);

        // [training]
        nn::Sequential model{nn::Linear(784, 256, {.bias = false}), nn::BatchNorm(256), nn::ReLU(),
                             nn::Linear(256, 128, {.bias = false}), nn::BatchNorm(128), nn::ReLU(),
                             nn::Linear(128, 10)};
        optim::Adam optimizer(model.parameters(), {.learning_rate = 1e-3});

        for (int epoch = 0; epoch < epochs; ++epoch) {
            training::Progress bar(train.batches(128, generator));
            for (auto [images, labels] : bar)
                bar.loss(optimizer.minimize(nn::cross_entropy(model(images), labels)));
        }

        fmt::print("test accuracy {:.4f}\n", training::accuracy(model, test));
        // [training]
        if (!file.empty()) training::save(model, file);
    });
}
