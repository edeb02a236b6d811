// Fifty steps of training beside PyTorch's: tests/reference/make_training.py says how the numbers are made.
#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include <xgrad/nn/activations.hpp>
#include <xgrad/nn/batch_norm.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/losses.hpp>
#include <xgrad/nn/sequential.hpp>
#include <xgrad/optim/adam.hpp>
#include <xgrad/optim/sgd.hpp>

using namespace xgrad;
using nlohmann::json;

namespace {

std::uint64_t hash(std::uint64_t stream, std::uint64_t i) {
    std::uint64_t z = (stream << 40) + i + 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

double value(std::uint64_t stream, std::uint64_t i) {
    return static_cast<double>(hash(stream, i) >> 11) / static_cast<double>(std::uint64_t{1} << 52) - 1;
}

Array<double> values(std::uint64_t stream, const Shape& shape, double factor = 1) {
    Array<double> result = empty<double>(shape);
    for (std::size_t i = 0; i < result.size(); ++i) result.data()[i] = value(stream, i) * factor;
    return result;
}

Array<std::int64_t> labels_of(std::uint64_t step, std::size_t batch) {
    Array<std::int64_t> labels = empty<std::int64_t>({batch});
    for (std::size_t i = 0; i < batch; ++i) labels(i) = static_cast<std::int64_t>(hash(500 + step, i) % 10);
    return labels;
}

nn::Sequential<double> network(const json& initial) {
    nn::Sequential net{nn::Linear<double>(784, 256, {.bias = false}), nn::BatchNorm<double>(256), nn::ReLU<double>(),
                       nn::Linear<double>(256, 128, {.bias = false}), nn::BatchNorm<double>(128), nn::ReLU<double>(),
                       nn::Linear<double>(128, 10)};
    for (auto& [name, parameter] : net.named_parameters())
        if (initial.contains(name))
            parameter.assign(values(initial[name]["stream"], parameter.shape(), initial[name]["factor"]));
    return net;
}

std::unique_ptr<optim::Optimizer<double>> optimizer_of(const json& run, std::vector<Variable<double>> parameters) {
    const json& options = run["options"];
    const double rate = options["lr"], decay = options.value("weight_decay", 0.0);
    if (run["optimizer"] == "SGD")
        return std::make_unique<optim::SGD<double>>(
            parameters, optim::SGDOptions{.learning_rate = rate,
                                          .momentum = options["momentum"],
                                          .weight_decay = decay,
                                          .nesterov = options.value("nesterov", false)});
    if (run["optimizer"] == "AdamW")
        return std::make_unique<optim::AdamW<double>>(
            parameters, optim::AdamWOptions{.learning_rate = rate, .weight_decay = decay});
    return std::make_unique<optim::Adam<double>>(
        parameters, optim::AdamOptions{.learning_rate = rate, .amsgrad = options.value("amsgrad", false)});
}

/// The largest deviation that was found, relative to a scale.
struct Deviation {
    double largest = 0;
    std::string where;

    void compare(const std::string& what, double actual, double expected, double scale) {
        const double deviation = std::abs(actual - expected) / scale;
        if (!(deviation > largest) && !std::isnan(deviation)) return;
        largest = deviation;
        where = what;
    }
};

// Sum, dot product and samples of an array. Elements are compared on the scale of the array's samples; sums, in which
// positive and negative numbers cancel, on that of the square root of so many of them.
void compare(Deviation& deviation, const std::string& name, const double* x, std::size_t size, const json& expected) {
    const std::vector<double> samples = expected["samples"];
    long double sum = 0, dot = 0;
    for (std::size_t i = 0; i < size; ++i) {
        sum += x[i];
        dot += static_cast<long double>(x[i]) * value(999, i);
    }
    double scale = 0;
    for (const double sample : samples) scale = std::max(scale, std::abs(sample));
    const std::size_t stride = std::max<std::size_t>(1, size / 16);
    for (std::size_t k = 0; k < samples.size(); ++k)
        deviation.compare(name + " samples", x[k * stride], samples[k], scale);
    const double root = std::sqrt(static_cast<double>(size));
    deviation.compare(name + " sum", static_cast<double>(sum), expected["sum"], scale * root);
    deviation.compare(name + " dot", static_cast<double>(dot), expected["dot"], scale * root);
}

}  // namespace

TEST_CASE("Training is PyTorch's: fifty steps of SGD, Adam and AdamW agree in every loss, parameter and statistic",
          "[reference][training]") {
    const json reference = json::parse(std::ifstream(XGRAD_FIXTURES "/training.json"));
    CHECK(std::to_string(hash(999, 12345)) == reference["generator"]["check"]["hash(999, 12345)"]);
    CHECK(value(1, 2) == reference["generator"]["check"]["value(1, 2)"].get<double>());
    const std::size_t batch = reference["batch"], steps = reference["steps"];

    for (const auto& [run_name, run] : reference["runs"].items()) {
        nn::Sequential<double> net = network(reference["generator"]["parameters"]);
        const auto optimizer = optimizer_of(run, net.parameters());
        Deviation losses, state;
        for (std::size_t step = 0; step < steps; ++step) {
            const Variable<double> x(values(step, {batch, 784}));
            const double loss = optimizer->minimize(nn::cross_entropy(net(x), labels_of(step, batch)));
            const double expected = run["losses"][step];
            losses.compare("step " + std::to_string(step), loss, expected, expected);
        }
        for (const auto& [name, parameter] : net.named_parameters())
            compare(state, name, parameter.value().data(), parameter.size(), run["state"][name]);
        for (const auto& [name, buffer] : net.named_buffers()) {
            if (const auto* statistic = std::get_if<Array<double>*>(&buffer))
                compare(state, name, (*statistic)->data(), (*statistic)->size(), run["state"][name]);
            else
                CHECK(static_cast<double>(*std::get<Array<std::int64_t>*>(buffer)->data()) ==
                      run["state"][name]["sum"].get<double>());
        }
        CAPTURE(run_name, losses.where, state.where);
        CHECK(losses.largest < 1e-9);
        CHECK(state.largest < 1e-9);
        INFO("largest deviations: losses " << losses.largest << ", state " << state.largest);
        CHECK(run["state"].size() == net.named_parameters().size() + net.named_buffers().size());
    }
}
