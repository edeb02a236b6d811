// Batch normalisation: the first experiment of Ioffe and Szegedy 2015, "Batch normalization: accelerating deep network
// training by reducing internal covariate shift". Three hidden layers of 100 sigmoid units learn digits from batches of
// 60, with and without BatchNorm; then what becomes of the running statistics, and what they do in inference.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "common/digits_options.hpp"
#include "common/program.hpp"
#include <xgrad/xgrad.hpp>

using namespace xgrad;

namespace {

constexpr std::size_t units = 100, batch_size = 60;

nn::Sequential<> network(bool normalise, double deviation) {
    nn::Sequential<> model;
    for (std::size_t inputs : {std::size_t{784}, units, units}) {
        nn::Linear layer(inputs, units, {.bias = !normalise});
        nn::init::normal(layer.weight(), 0, deviation);
        if (!normalise) nn::init::zeros(layer.bias());
        model.add(std::move(layer));
        if (normalise) model.add(nn::BatchNorm(units));
        model.add(nn::Sigmoid());
    }
    nn::Linear output(units, 10);
    nn::init::normal(output.weight(), 0, deviation);
    nn::init::zeros(output.bias());
    model.add(std::move(output));
    return model;
}

// The name of a layer of the network, so many places before its last one.
std::string before_last(const nn::Sequential<>& model, std::size_t places) {
    return std::to_string(model.size() - 1 - places);
}

// How a training went: the accuracy on unseen digits, and the 15th, 50th and 85th percentile of the input of one
// sigmoid of the last hidden layer.
struct Course {
    std::vector<double> steps, accuracies, low, middle, high;

    double best() const { return *std::max_element(accuracies.begin(), accuracies.end()); }
};

double percentile(std::vector<float> values, double percent) {
    const auto place =
        values.begin() + static_cast<std::ptrdiff_t>(percent / 100 * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), place, values.end());
    return *place;
}

void measure(Course& course, std::size_t step, const nn::Sequential<>& model, const Digits& digits, std::size_t unit) {
    course.steps.push_back(static_cast<double>(step));
    course.accuracies.push_back(training::accuracy(model, digits.test));
    const Array<float> seen = digits.test.take(std::min<std::size_t>(1000, digits.test.size())).inputs();
    const Array<float> z = nn::representations(model, seen, before_last(model, 2)).front().second;
    std::vector<float> inputs;
    for (std::size_t i = 0; i < z.shape()[0]; ++i) inputs.push_back(z(i, unit));
    course.low.push_back(percentile(inputs, 15));
    course.middle.push_back(percentile(inputs, 50));
    course.high.push_back(percentile(inputs, 85));
}

Course train(nn::Sequential<>& model, const Digits& digits, std::size_t steps, std::size_t points, double learning_rate,
             std::size_t unit, std::uint64_t seed) {
    optim::SGD optimizer(model.parameters(), {.learning_rate = learning_rate});
    Generator generator(seed);
    const std::size_t every = std::max<std::size_t>(1, steps / points);
    Course course;
    measure(course, 0, model, digits, unit);
    for (std::size_t step = 0; step < steps;)
        for (auto [images, labels] : digits.train.batches(batch_size, generator, {.drop_last = true})) {
            optimizer.minimize(nn::cross_entropy(model(images), labels));
            if (++step % every == 0 || step == steps) measure(course, step, model, digits, unit);
            if (step == steps) break;
        }
    return course;
}

// Mean and variance of each feature of some samples.
struct Statistics {
    std::vector<double> mean, variance;

    explicit Statistics(const Array<float>& z) : mean(z.shape()[1]), variance(z.shape()[1]) {
        const auto count = static_cast<double>(z.shape()[0]);
        for (std::size_t i = 0; i < z.shape()[0]; ++i)
            for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += z(i, c) / count;
        for (std::size_t i = 0; i < z.shape()[0]; ++i)
            for (std::size_t c = 0; c < mean.size(); ++c)
                variance[c] += (z(i, c) - mean[c]) * (z(i, c) - mean[c]) / count;
    }
    // The root of the features' mean squared distance of `other` from the mean, each in standard deviations.
    double distance(const Array<float>& other) const {
        double sum = 0;
        for (std::size_t c = 0; c < mean.size(); ++c) sum += (other(c) - mean[c]) * (other(c) - mean[c]) / variance[c];
        return std::sqrt(sum / static_cast<double>(mean.size()));
    }
};

// How the running mean of a BatchNorm comes to that of the data, batch by batch.
struct Convergence {
    std::string name;
    std::vector<double> batches, distances, theory;
    double variance_ratio = 0;  // running over true variance at the end, the mean over the features

    // Measured over expected distance in the second quarter of the batches: after the start, and before an average over
    // all of the data gets exact.
    double over_theory() const {
        double measured = 0, expected = 0;
        for (std::size_t i = batches.size() / 4; i < batches.size() / 2; ++i) {
            measured += distances[i] * distances[i];
            expected += theory[i] * theory[i];
        }
        return std::sqrt(measured / expected);
    }
    // As many points as a logarithmic axis can show.
    Convergence thinned() const {
        Convergence thin;
        thin.name = name;
        for (std::size_t i = 0; i < batches.size(); i += 1 + i / 20) {
            thin.batches.push_back(batches[i]);
            thin.distances.push_back(distances[i]);
            thin.theory.push_back(theory[i]);
        }
        return thin;
    }
};

// With the momentum m = 1 − β the start, 0, weighs βᵗ after t batches, and the batches' noise leaves m/(2 − m)·(1 −
// β²ᵗ) of its variance 1/B; the average over all batches leaves 1/(tB), less what it has already seen of the N samples.
double expected_distance(std::optional<double> momentum, double batch, double start, double samples) {
    if (!momentum) return std::sqrt((samples - batch * batch_size) / (samples - 1) / (batch * batch_size));
    const double kept = std::pow(1 - *momentum, batch);
    return std::sqrt(kept * kept * start * start + *momentum / (2 - *momentum) * (1 - kept * kept) / batch_size);
}

Convergence converge(const std::string& name, std::optional<double> momentum, const training::Dataset<>& z,
                     const Statistics& truth, std::uint64_t seed) {
    const NoGrad no_grad;
    Generator generator(seed);
    nn::BatchNorm<> layer(units, {.momentum = momentum});
    const double start = truth.distance(layer.running_mean());
    Convergence course;
    course.name = name;
    for (auto [inputs, labels] : z.batches(batch_size, generator, {.drop_last = true})) {
        layer(inputs);
        const double batch = static_cast<double>(course.batches.size() + 1);
        course.batches.push_back(batch);
        course.distances.push_back(truth.distance(layer.running_mean()));
        course.theory.push_back(expected_distance(momentum, batch, start, static_cast<double>(z.size())));
    }
    for (std::size_t c = 0; c < units; ++c)
        course.variance_ratio += layer.running_var()(c) / truth.variance[c] / static_cast<double>(units);
    return course;
}

// Whether the samples come in any order, or those of a class together.
enum class Order { mixed, by_class };

// The accuracy when each batch is normalised with its own statistics.
double accuracy_by_batch(nn::Sequential<> model, const training::Dataset<>& samples, std::size_t size, Order order_of) {
    const NoGrad no_grad;
    model.train();
    std::vector<std::int64_t> order = Generator(0).permutation(samples.size());
    if (order_of == Order::by_class)
        std::stable_sort(order.begin(), order.end(),
                         [&](auto a, auto b) { return samples.targets()(a) < samples.targets()(b); });
    training::Accuracy accuracy;
    for (auto [images, labels] : training::Batches<float, std::int64_t>(samples, size, order, {.drop_last = true}))
        accuracy.add(model(images), labels);
    return accuracy.value();
}

// The accuracy with running statistics that start anew and see so many batches.
double accuracy_after(nn::Sequential<> model, const Digits& digits, std::size_t batches) {
    const NoGrad no_grad;
    for (auto& [name, buffer] : model.named_buffers())
        if (auto* statistic = std::get_if<Array<float>*>(&buffer))
            (*statistic)->fill(name.ends_with("var") ? 1.f : 0.f);
    Generator generator(0);
    const auto all = digits.train.batches(batch_size, generator);
    for (std::size_t i = 0; i < std::min(batches, all.size()); ++i) model(all[i].inputs);
    return training::accuracy(model, digits.test);
}

void print_accuracies(const Course& without, const Course& with) {
    fmt::print("accuracy on unseen digits\n\n{:>12}{:>12}{:>12}\n", "step", "without", "with");
    for (double share : {0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0}) {
        const auto i = static_cast<std::size_t>(std::lround(share * static_cast<double>(with.steps.size() - 1)));
        fmt::print("{:>12}{:>12.4f}{:>12.4f}\n", with.steps[i], without.accuracies[i], with.accuracies[i]);
    }
    fmt::print("{:>12}{:>12.4f}{:>12.4f}\n\n", "best", without.best(), with.best());
    const double best_without = without.best();
    for (std::size_t i = 0; i < with.steps.size(); ++i)
        if (with.accuracies[i] > best_without) {
            fmt::print("share of the steps until BatchNorm is better than the best without {:.4f}\n",
                       with.steps[i] / with.steps.back());
            break;
        }
    fmt::print("accuracy with BatchNorm at the end {:.4f}\n\n", with.accuracies.back());
}

// What becomes of the running statistics of the last BatchNorm, with the weights as they are now.
std::vector<Convergence> follow_running_statistics(const nn::Sequential<>& model, const Digits& digits,
                                                   std::uint64_t seed) {
    const std::string input = before_last(model, 3);
    const training::Dataset<> z(nn::representations(model, digits.train.inputs(), input).front().second,
                                digits.train.targets());
    const Statistics truth(z.inputs());
    return {converge("momentum 0.1", 0.1, z, truth, seed), converge("momentum 0.01", 0.01, z, truth, seed),
            converge("average of all", std::nullopt, z, truth, seed)};
}

void print(const std::vector<Convergence>& courses) {
    fmt::print("running mean of the last hidden layer: its distance from that of the data, in standard deviations\n\n");
    fmt::print("{:>10}", "batches");
    for (const Convergence& course : courses) fmt::print("{:>16}{:>9}", course.name, "theory");
    fmt::print("\n");
    const std::size_t last = courses[0].batches.size();
    for (std::size_t batch : std::set<std::size_t>{1, 10, 100, last}) {
        if (batch > last) break;
        fmt::print("{:>10}", batch);
        for (const Convergence& course : courses)
            fmt::print("{:>16.4f}{:>9.4f}", course.distances[batch - 1], course.theory[batch - 1]);
        fmt::print("\n");
    }
    fmt::print("{:>10}", "σ*²/σ²");
    for (const Convergence& course : courses) fmt::print("{:>16.4f}{:>9}", course.variance_ratio, 1);
    fmt::print("\n\n");
    for (const Convergence& course : courses)
        fmt::print("measured over expected distance, {}: {:.3f}\n", course.name, course.over_theory());
    fmt::print("distance of the average of all after all of the data {:.5f}\n\n", courses.back().distances.back());
}

void print_inference(const nn::Sequential<>& model, const Digits& digits) {
    fmt::print("accuracy of the same network when it is normalised by\n\n");
    const auto row = [](const std::string& by, double accuracy) { fmt::print("  {:<56}{:.4f}\n", by, accuracy); };
    row("running statistics", training::accuracy(model, digits.test));
    for (std::size_t size : {1000, 60, 10, 2})
        row(fmt::format("statistics of batches of {}", size),
            accuracy_by_batch(model, digits.test, size, Order::mixed));
    row("statistics of batches of 60, a class at a time", accuracy_by_batch(model, digits.test, 60, Order::by_class));
    for (std::size_t count : {0, 1, 10, 100})
        row(fmt::format("running statistics from 0 and 1, batches seen: {}", count),
            accuracy_after(model, digits, count));
}

void draw(const std::string& picture, const Course& without, const Course& with,
          const std::vector<Convergence>& courses) {
    using training::Mark;
    // The paper's range, where both networks come into it.
    std::optional<std::array<double, 2>> range;
    if (std::min(without.best(), with.best()) > 0.8) range = {0.7, 1};
    training::Figure figure({.columns = 2});
    figure
        .panel({.title = "Three hidden layers of 100 sigmoid units",
                .x_label = "step",
                .y_label = "accuracy on unseen digits",
                .y_range = range})
        .curve("with BatchNorm", with.steps, with.accuracies)
        .curve("without", without.steps, without.accuracies, {.mark = Mark::dashes});
    const auto percentiles = [&](const char* title, const Course& course) {
        figure.panel({.title = title, .x_label = "step", .y_label = "z"})
            .band("15th to 85th percentile", course.steps, course.low, course.high, 0)
            .curve("median", course.steps, course.middle, {.colour = 0});
    };
    percentiles("A sigmoid's input, without BatchNorm", without);
    percentiles("A sigmoid's input, with BatchNorm", with);
    training::Panel& panel = figure.panel({.title = "Running mean of a trained layer",
                                           .x_label = "batches of 60",
                                           .y_label = "distance from the data's mean",
                                           .log_x = true,
                                           .log_y = true,
                                           .y_range = {{1e-4, 10}}});
    for (const Convergence& all : courses) {
        const Convergence course = all.thinned();
        panel.curve(course.name, course.batches, course.distances);
        const bool last = &all == &courses.back();
        panel.curve(last ? "theory" : "", course.batches, course.theory, {.mark = Mark::dashes, .colour = 6});
    }
    figure.save(picture);
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t steps = 50000, points = 200, unit = 0;
    double learning_rate = 0.06, deviation = 0.02;
    std::string picture;
    Program program("Trains a network of sigmoid units with and without BatchNorm.");
    program.option("--steps", steps, "batches of 60 to learn from", {.least = 1});
    program.option("--points", points, "how many times to measure on the way", {.least = 1});
    program.option("--learning-rate", learning_rate, "of stochastic gradient descent, for both networks");
    program.option("--deviation", deviation, "of the normal distribution that the first weights come from");
    program.option("--unit", unit, "the unit of the last hidden layer to look at", {.least = 0, .most = units - 1});
    program.option("--picture", picture, "file to draw the results into, .svg or .png");
    const DigitsOptions options(program);
    return program.run(argc, argv, [&] {
        const Digits digits = options.load();
        nn::Sequential<> plain = network(false, deviation), normalised = network(true, deviation);
        const Course without = train(plain, digits, steps, points, learning_rate, unit, options.seed);
        const Course with = train(normalised, digits, steps, points, learning_rate, unit, options.seed);
        print_accuracies(without, with);

        const std::vector<Convergence> courses = follow_running_statistics(normalised, digits, options.seed);
        print(courses);
        print_inference(normalised, digits);
        if (!picture.empty()) draw(picture, without, with, courses);
    });
}
