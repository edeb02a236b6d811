// Initialisation: whether a deep network trains depends on the variance of its first weights, k·Var(θ), k the fan-in.
//
// Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks": five hidden
// layers with the old uniform distribution U[−1/√k, 1/√k], for which k·Var(θ) = 1/3, against the normalised one.
//
// He et al. 2015, "Delving deep into rectifiers": thirty layers of rectifiers with Var(θ) = 2/k against 1/k, which
// halves the signal's square and the gradient's in every layer. Theirs are convolutional and never leave the plateau;
// these ones, on MNIST, leave it after one pass over the data or several, and are far behind then.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/digits_options.hpp"
#include "common/program.hpp"
#include <xgrad/xgrad.hpp>

using namespace xgrad;

namespace {

// [initialisers]
// The two initialisations that are compared.
void old_uniform(Variable<>& weight) {
    const double bound = 1 / std::sqrt(static_cast<double>(nn::init::fan_in(weight.shape())));
    nn::init::uniform(weight, -bound, bound);
}
void normalised(Variable<>& weight) { nn::init::glorot_uniform(weight); }
// [initialisers]

// The same two for rectifiers: Var(θ) = 1/k and 2/k.
void one_over_k(Variable<>& weight) { nn::init::he_normal(weight, 1); }
void two_over_k(Variable<>& weight) { nn::init::he_normal(weight); }

using Initialiser = void (*)(Variable<>& weight);

template <class Activation>
nn::Sequential<> network(std::size_t hidden_layers, std::size_t width, Activation activation, Initialiser initialise) {
    nn::Sequential<> model;
    for (std::size_t i = 0; i < hidden_layers; ++i) model.add(nn::Linear(i ? width : 784, width)).add(activation);
    model.add(nn::Linear(width, 10));
    for (auto& [name, weight] : model.named_parameters("*.weight")) initialise(weight);
    for (auto& [name, bias] : model.named_parameters("*.bias")) nn::init::zeros(bias);
    return model;
}

struct Settings {
    std::size_t batch_size;
    double learning_rate;
    int epochs;
};

// How a training went: the error on unseen digits in percent before it and after every epoch, and the loss some twenty
// times an epoch, each with where it was, in epochs.
struct Course {
    std::vector<double> test_epochs, errors, loss_epochs, losses;
};

Course train(const std::string& name, nn::Sequential<>& model, const Digits& digits, const Settings& settings,
             Generator& generator) {
    optim::SGD optimizer(model.parameters(), {.learning_rate = settings.learning_rate});
    Course course;
    const auto test = [&](int epoch) {
        course.test_epochs.push_back(epoch);
        course.errors.push_back(100 * (1 - training::accuracy(model, digits.test)));
    };
    test(0);
    for (int epoch = 0; epoch < settings.epochs; ++epoch) {
        const auto batches = digits.train.batches(settings.batch_size, generator);
        training::Progress bar(batches, {.label = fmt::format("{}, epoch {}", name, epoch + 1), .stream = stderr});
        const std::size_t every = std::max<std::size_t>(1, batches.size() / 20);
        training::Mean loss;
        std::size_t step = 0;
        for (auto [images, labels] : bar) {
            const double value = optimizer.minimize(nn::cross_entropy(model(images), labels));
            bar.loss(value);
            loss.add(value);
            if (++step % every != 0) continue;
            course.loss_epochs.push_back(epoch + static_cast<double>(step) / static_cast<double>(batches.size()));
            course.losses.push_back(loss.value());
            loss.reset();
        }
        test(epoch + 1);
    }
    return course;
}

// One network of Glorot and Bengio's, and the error that they publish for it.
struct Case {
    std::string name;
    nn::Sequential<> model;
    double learning_rate;
    std::string published;  // in percent on MNIST, from their Table 1
    Course course = {};
};

void print(const std::vector<Case>& cases) {
    fmt::print("error on unseen digits in percent, N for the normalised initialisation\n\n");
    fmt::print("{:<12}{:>14}{:>14}{:>14}{:>14}\n", "", "first epoch", "last epoch", "least", "published");
    const auto first = [](const Case& c) { return c.course.errors[1]; };
    for (const Case& c : cases) {
        const std::vector<double>& errors = c.course.errors;
        fmt::print("{:<12}{:>14.2f}{:>14.2f}{:>14.2f}{:>14}\n", c.name, first(c), errors.back(),
                   *std::min_element(errors.begin(), errors.end()), c.published);
    }
    fmt::print("\npublished: MNIST, 1000 units in a layer, steps of 10 samples, learning rates chosen by validation\n");
    fmt::print("error after the first epoch, old over normalised, softsign {:.2f}\n",
               first(cases[0]) / first(cases[1]));
    fmt::print("error after the first epoch, old over normalised, tanh {:.2f}\n\n", first(cases[2]) / first(cases[3]));
}

void print(const Course& kept, const Course& shrunk) {
    fmt::print("rectifiers: loss, which is ln 10 = {:.4f} for guessing\n\n", std::log(10));
    fmt::print("{:<14}{:>14}{:>14}{:>14}\n", "", "first epoch", "last epoch", "published");
    const auto row = [](const char* name, const Course& course, const char* published) {
        const std::size_t epochs = course.test_epochs.size() - 1;
        fmt::print("{:<14}{:>14.4f}{:>14.4f}{:>14}\n", name, course.losses[course.losses.size() / epochs - 1],
                   course.losses.back(), published);
    };
    row("Var(θ) = 2/k", kept, "converges");
    row("Var(θ) = 1/k", shrunk, "stalls");
}

void draw(const std::string& picture, const std::array<std::string, 2>& titles, const std::vector<Case>& cases,
          const Course& kept, const Course& shrunk) {
    using training::Mark;
    training::Figure figure;
    if (cases[0].course.errors.size() > 1) {
        training::Panel& errors = figure.panel(
            {.title = titles[0], .x_label = "epoch", .y_label = "error on unseen digits in %", .log_y = true});
        for (std::size_t i = 0; i < cases.size(); ++i)
            errors.curve(cases[i].name, cases[i].course.test_epochs, cases[i].course.errors,
                         {.mark = i % 2 == 0 ? Mark::dashes : Mark::line, .colour = i / 2});
    }
    if (!kept.losses.empty())
        figure.panel({.title = titles[1], .x_label = "epoch", .y_label = "loss"})
            .curve("Var(θ) = 2/k", kept.loss_epochs, kept.losses)
            .curve("Var(θ) = 1/k", shrunk.loss_epochs, shrunk.losses);
    figure.save(picture);
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t layers = 5, width = 300, batch_size = 20, deep_layers = 29, deep_width = 100;
    double learning_rate = 0.1, sigmoid_learning_rate = 1, deep_learning_rate = 0.01;
    int epochs = 4, deep_epochs = 4;
    std::string picture;
    Program program("Trains deep networks from good and from bad initial weights.");
    program.option("--layers", layers, "hidden layers of the networks with softsign, tanh and sigmoid");
    program.option("--width", width, "units in each of these layers; 1000 in the paper");
    program.option("--batch", batch_size, "samples in a step; 10 in the paper");
    program.option("--epochs", epochs, "passes over the training data");
    program.option("--learning-rate", learning_rate, "of stochastic gradient descent with softsign and tanh");
    program.option("--sigmoid-learning-rate", sigmoid_learning_rate, "the same with sigmoid");
    program.option("--deep-layers", deep_layers, "hidden layers of the networks of rectifiers");
    program.option("--deep-width", deep_width, "units in each of these layers");
    program.option("--deep-epochs", deep_epochs, "passes over the training data");
    program.option("--deep-learning-rate", deep_learning_rate, "of stochastic gradient descent with rectifiers");
    program.option("--picture", picture, "file to draw the results into, .svg or .png");
    const DigitsOptions options(program);
    return program.run(argc, argv, [&] {
        const Digits digits = options.load();
        Generator generator(options.seed);

        const auto make = [&](auto activation, Initialiser initialise) {
            return network(layers, width, activation, initialise);
        };
        std::vector<Case> cases{{"softsign", make(nn::Softsign(), old_uniform), learning_rate, "1.64"},
                                {"softsign N", make(nn::Softsign(), normalised), learning_rate, "1.72"},
                                {"tanh", make(nn::Tanh(), old_uniform), learning_rate, "1.76"},
                                {"tanh N", make(nn::Tanh(), normalised), learning_rate, "1.64"},
                                {"sigmoid", make(nn::Sigmoid(), old_uniform), sigmoid_learning_rate, "2.21"},
                                {"sigmoid N", make(nn::Sigmoid(), normalised), sigmoid_learning_rate, "none"}};
        for (Case& c : cases)
            c.course = train(c.name, c.model, digits, {batch_size, c.learning_rate, epochs}, generator);
        if (epochs > 0) print(cases);

        const Settings deep{batch_size, deep_learning_rate, deep_epochs};
        nn::Sequential<> two = network(deep_layers, deep_width, nn::ReLU(), two_over_k);
        nn::Sequential<> one = network(deep_layers, deep_width, nn::ReLU(), one_over_k);
        const Course kept = train("Var(θ) = 2/k", two, digits, deep, generator);
        const Course shrunk = train("Var(θ) = 1/k", one, digits, deep, generator);
        if (deep_epochs > 0) print(kept, shrunk);
        if (picture.empty()) return;
        const std::string title = fmt::format("{} hidden layers of {} units", layers, width);
        draw(picture, {title, fmt::format("{} layers of rectifiers", deep_layers + 1)}, cases, kept, shrunk);
    });
}
