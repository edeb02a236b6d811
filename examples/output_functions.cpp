// Output functions: one body ends in the identity I, in σ or in Softmax, each with the loss that belongs to it, and
// learns what it can know at best: the mean of y given x, or the probabilities of the classes given x. The tasks are
// drawn from known ones, so that the networks can be compared with them.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/program.hpp"
#include <xgrad/xgrad.hpp>

using namespace xgrad;

namespace {

constexpr std::size_t classes = 3;
constexpr double noise = 0.3;

// What lies behind all three tasks: a mean, a logit, and three logits of which the first is that one.
std::array<double, classes> scores(double x0, double x1) {
    return {2 * std::sin(2 * x0) + x1, 2 * std::cos(2 * x1) - x0, 0.5 * x0 * x1};
}
double probability(double x0, double x1) { return 1 / (1 + std::exp(-scores(x0, x1)[0])); }
std::array<double, classes> probabilities(double x0, double x1) {
    std::array<double, classes> p = scores(x0, x1);
    double sum = 0;
    for (double& value : p) sum += value = std::exp(value);
    for (double& value : p) value /= sum;
    return p;
}

// Inputs with a target for each of the tasks.
struct Samples {
    training::Dataset<float, float> numbers;
    training::Dataset<> pairs, triples;  // of two and of three classes
};

Samples draw(std::size_t count, Generator& generator) {
    Array<float> x(Shape{count, 2}), numbers(Shape{count, 1});
    Array<std::int64_t> pairs(Shape{count}), triples(Shape{count});
    generator.fill_uniform(std::span(x.data(), x.size()), -2.f, 2.f);
    for (std::size_t i = 0; i < count; ++i) {
        numbers(i, 0) = static_cast<float>(scores(x(i, 0), x(i, 1))[0] + noise * generator.normal());
        pairs(i) = generator.uniform() < probability(x(i, 0), x(i, 1));
        const auto p = probabilities(x(i, 0), x(i, 1));
        const double u = generator.uniform();
        triples(i) = u < p[0] ? 0 : u < p[0] + p[1] ? 1 : 2;
    }
    return {{x, numbers}, {x, pairs}, {x, triples}};
}

// [tasks]
// The body is the same for each output function.
nn::Sequential<> network(std::size_t outputs) {
    return nn::Sequential{nn::Linear(2, 64), nn::Tanh(), nn::Linear(64, 64), nn::Tanh(), nn::Linear(64, outputs)};
}

// The losses take z, what comes before the output function: σ and Softmax are in them.
const auto squared_error = [](const Variable<>& z, const Variable<>& y) { return nn::mse_loss(z, y); };
const auto binary_cross_entropy = [](const Variable<>& z, const Array<std::int64_t>& labels) {
    return nn::binary_cross_entropy_with_logits(z, reshape(Variable<>(labels), {-1, 1}));
};
const auto cross_entropy = [](const Variable<>& z, const Array<std::int64_t>& labels) {
    return nn::cross_entropy(z, labels);
};
// [tasks]

template <class Set, class Loss>
void train(nn::Sequential<>& model, const Set& samples, Loss loss, std::int64_t steps, Generator& generator) {
    optim::Adam optimizer(model.parameters(), {.learning_rate = optim::cosine(5e-3, steps)});
    while (optimizer.step_count() < steps)
        for (auto [x, y] : samples.batches(100, generator)) {
            optimizer.minimize(loss(model(x), y));
            if (optimizer.step_count() == steps) break;
        }
}

// The logits, or the number, that would be right for each input.
Variable<> truth(const Array<float>& x, std::size_t outputs) {
    Array<float> z(Shape{x.shape()[0], outputs});
    for (std::size_t i = 0; i < x.shape()[0]; ++i)
        for (std::size_t c = 0; c < outputs; ++c) z(i, c) = static_cast<float>(scores(x(i, 0), x(i, 1))[c]);
    return z;
}

// The loss on unseen samples, and what it would be with the truth instead of the network.
struct Loss {
    double network, least;
};
template <class Set, class Function>
Loss loss_of(const nn::Sequential<>& model, const Set& samples, Function loss, std::size_t outputs) {
    const auto [x, y] = samples.batches(samples.size())[0];
    return {loss(model.predict(x), y).item(), loss(truth(x.value(), outputs), y).item()};
}

training::Calibration calibration(const nn::Sequential<>& model, const training::Dataset<>& samples) {
    training::Calibration counted;
    counted.add(sigmoid(model.predict(samples.inputs())), samples.targets());
    return counted;
}

// Along a line through the inputs: what a network of each kind says, and the truth.
class CrossSection {
public:
    CrossSection() : line_(Shape{points, 2}) {
        for (std::size_t i = 0; i < points; ++i) {
            along_.push_back(-2 + 4 * static_cast<double>(i) / (points - 1));
            line_(i, 0) = static_cast<float>(along_.back());
            line_(i, 1) = 0.5;
        }
    }

    template <class Output>
    void draw(training::Figure& figure, const char* title, const nn::Sequential<>& model, std::size_t outputs,
              Output output) const {
        training::Panel& panel = figure.panel({.title = title, .x_label = "x₀ at x₁ = ½", .y_label = "ŷ"});
        const Variable<> told = output(model.predict(line_)), right = output(truth(line_, outputs));
        for (std::size_t c = 0; c < outputs; ++c) {
            panel.curve(outputs > 1 ? fmt::format("class {}", c) : "network", along_, column(told, c), {.colour = c});
            panel.curve(c == 0 ? "truth" : "", along_, column(right, c), {.mark = training::Mark::dashes, .colour = 6});
        }
    }

private:
    static constexpr std::size_t points = 81;

    static std::vector<double> column(const Variable<>& values, std::size_t c) {
        std::vector<double> result;
        for (std::size_t i = 0; i < points; ++i) result.push_back(values.value()(i, c));
        return result;
    }

    Array<float> line_;
    std::vector<double> along_;
};

void draw_reliability(training::Panel& panel, const std::string& label, const training::Calibration& calibration) {
    std::vector<double> told, found;
    for (const training::Calibration::Bin& bin : calibration.bins()) {
        told.push_back(bin.probability);
        found.push_back(bin.frequency);
    }
    panel.curve(label, told, found);
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t samples = 20000, few = 200;
    std::int64_t steps = 4000;
    std::uint64_t seed = 1;
    std::string picture;
    Program program("Trains one body with the output functions I, σ and Softmax, and compares each with the truth.");
    program.option("--samples", samples, "to learn from");
    program.option("--few", few, "samples for a network that shall learn them by heart");
    program.option("--steps", steps, "batches of 100 to learn from");
    program.option("--seed", seed, "of the initial weights and the samples");
    program.option("--picture", picture, "file to draw the results into, .svg or .png");
    return program.run(argc, argv, [&] {
        xgrad::seed(seed);
        Generator generator(seed);
        const Samples seen = draw(samples, generator), unseen = draw(20000, generator);

        nn::Sequential<> identity = network(1), logistic = network(1), by_heart = network(1),
                         softmaxed = network(classes);
        train(identity, seen.numbers, squared_error, steps, generator);
        train(logistic, seen.pairs, binary_cross_entropy, steps, generator);
        train(by_heart, seen.pairs.take(few), binary_cross_entropy, steps, generator);
        train(softmaxed, seen.triples, cross_entropy, steps, generator);

        fmt::print("{:<12}{:<24}{:>16}{:>16}{:>10}\n", "ŷ", "loss", "unseen samples", "least possible", "ratio");
        const auto row = [](const char* output, const std::string& name, Loss loss) {
            fmt::print("{:<12}{:<24}{:>16.4f}{:>16.4f}{:>10.4f}\n", output, name, loss.network, loss.least,
                       loss.network / loss.least);
        };
        row("I(z)", "mean squared error", loss_of(identity, unseen.numbers, squared_error, 1));
        row("σ(z)", "binary cross-entropy", loss_of(logistic, unseen.pairs, binary_cross_entropy, 1));
        row("Softmax(z)", "cross-entropy", loss_of(softmaxed, unseen.triples, cross_entropy, classes));
        row("σ(z)", fmt::format("the same, {} samples", few), loss_of(by_heart, unseen.pairs, binary_cross_entropy, 1));

        const training::Calibration learnt = calibration(logistic, unseen.pairs),
                                    heart = calibration(by_heart, unseen.pairs);
        fmt::print("\nσ(z) on unseen samples\n\n{:>12}{:>12}{:>12}\n", "samples", "told", "found");
        for (const training::Calibration::Bin& bin : learnt.bins())
            fmt::print("{:>12}{:>12.3f}{:>12.3f}\n", bin.count, bin.probability, bin.frequency);
        fmt::print("\nexpected calibration error from {} samples {:.4f}\n", samples, learnt.error());
        fmt::print("expected calibration error when learnt by heart from {} samples {:.4f}\n", few, heart.error());
        if (picture.empty()) return;

        training::Figure figure({.columns = 2});
        const CrossSection section;
        const auto identical = [](const Variable<>& z) { return z; };
        const auto sigmoid_of = [](const Variable<>& z) { return sigmoid(z); };
        const auto softmax_of = [](const Variable<>& z) { return softmax(z, 1); };
        section.draw(figure, "ŷ = I(z): the mean of y", identity, 1, identical);
        section.draw(figure, "ŷ = σ(z): the probability of class 1", logistic, 1, sigmoid_of);
        section.draw(figure, "ŷ = Softmax(z): those of three classes", softmaxed, classes, softmax_of);
        training::Panel& reliability =
            figure.panel({.title = "Calibration of σ", .x_label = "probability told", .y_label = "frequency found"});
        draw_reliability(reliability, fmt::format("from {} samples", samples), learnt);
        draw_reliability(reliability, fmt::format("{} samples by heart", few), heart);
        reliability.curve("perfect", {0, 1}, {0, 1}, {.mark = training::Mark::dashes, .colour = 6});
        figure.save(picture);
    });
}
