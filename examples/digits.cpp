// Digits: a classifier ŷ = Softmax(z), with BatchNorm, on digits that it draws itself or on MNIST.
#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <xgrad/xgrad.hpp>

using namespace xgrad;

int main(int argc, char** argv) {
    std::string data;
    int epochs = 5;
    std::uint64_t seed = 1;
    std::size_t samples = 20000, thread_count = threads();
    CLI::App app("Trains a classifier of handwritten digits and prints its accuracy on unseen ones.");
    app.option_defaults()->always_capture_default();
    app.add_option("--data", data, "folder with MNIST's four IDX files, gzipped or not; generated digits if none is given");
    app.add_option("--epochs", epochs, "passes over the training data");
    app.add_option("--seed", seed, "of the initial weights, the order of the samples and the generated digits");
    app.add_option("--samples", samples, "how many digits to generate for training");
    app.add_option("--threads", thread_count, "threads to compute with");
    CLI11_PARSE(app, argc, argv);

    set_threads(thread_count);
    xgrad::seed(seed);
    Generator generator(seed);
    using training::Split;
    const auto train = data.empty() ? training::synthetic_digits(samples, seed) : training::load_mnist(data, Split::train);
    const auto test = data.empty() ? training::synthetic_digits(5000, ~seed) : training::load_mnist(data, Split::test);

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

    training::Accuracy accuracy;
    for (auto [images, labels] : test.batches(1000)) accuracy.add(model.predict(images), labels);
    fmt::print("test accuracy {:.4f}\n", accuracy.value());
    // [training]
}
