// A classifier of drawn digits: what a user's first program may look like.
#include <fmt/format.h>

// [include]
#include <xgrad/xgrad.hpp>                   // or the parts: <xgrad/nn.hpp>, <xgrad/nn/linear.hpp>
// [include]

using namespace xgrad;

int main() {
    seed(1);
    const auto train = training::synthetic_digits(4000, 1), test = training::synthetic_digits(1000, 2);
    nn::Sequential model{nn::Linear(784, 64, {.bias = false}), nn::BatchNorm(64), nn::ReLU(), nn::Linear(64, 10)};
    optim::Adam optimizer(model.parameters(), {.learning_rate = 3e-3});
    for (int epoch = 0; epoch < 6; ++epoch) {
        training::Progress bar(train.batches(64, current_generator()));
        for (auto [images, labels] : bar) bar.loss(optimizer.minimize(nn::cross_entropy(model(images), labels)));
    }

    training::Accuracy accuracy;
    for (auto [images, labels] : test.batches(500)) accuracy.add(model.predict(images), labels);
    fmt::print("test accuracy {:.4f}\n", accuracy.value());
    return accuracy.value() > 0.8 ? 0 : 1;
}
