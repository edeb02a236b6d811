// What docs/files.md shows: all that a run consists of, by name, and that a run which goes on from it goes on exactly.
#include <map>
#include <string>
#include <variant>

#include <xgrad/xgrad.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

struct Run {
    Generator generator{1};
    nn::Sequential<> model{nn::Linear(784, 16), nn::BatchNorm(16), nn::ReLU(), nn::Dropout(0.2), nn::Linear(16, 10)};
    optim::Adam<> optimizer{model.parameters()};

    void train(const training::Dataset<>& digits) {
        for (auto [images, labels] : digits.batches(32, generator))
            optimizer.minimize(nn::cross_entropy(model(images), labels));
    }
};

using Value = std::variant<Array<>, Array<std::int64_t>, std::int64_t>;

std::map<std::string, Value> saved(Run& run) {
    std::map<std::string, Value> values;
    // [save]
    for (const auto& [name, parameter] : run.model.named_parameters()) values["model." + name] = parameter.value();
    for (const auto& [name, buffer] : run.model.named_buffers())
        std::visit([&, &name = name](const auto* array) { values["model." + name] = *array; }, buffer);
    for (const auto& entry : run.optimizer.state())
        std::visit([&](const auto* value) { values["optimizer." + entry.name] = *value; }, entry.value);
    const Generator::State order = run.generator.state(), dropout = current_generator().state();  // three integers each
    // [save]
    values["order"] = static_cast<std::int64_t>(order.position);
    values["dropout"] = static_cast<std::int64_t>(dropout.position);
    return values;
}

void restore(Run& run, const std::map<std::string, Value>& values) {
    // [restore]
    for (auto& [name, parameter] : run.model.named_parameters())
        parameter.assign(std::get<Array<>>(values.at("model." + name)));
    for (auto& [name, buffer] : run.model.named_buffers())
        std::visit([&, &name = name]<class A>(A* array) { *array = std::get<A>(values.at("model." + name)); }, buffer);
    for (auto& entry : run.optimizer.state())
        std::visit([&]<class A>(A* value) { *value = std::get<A>(values.at("optimizer." + entry.name)); }, entry.value);
    // [restore]
    run.generator.set_state({.seed = 1, .position = static_cast<std::uint64_t>(std::get<std::int64_t>(values.at("order")))});
    current_generator().set_state(
        {.seed = 5, .position = static_cast<std::uint64_t>(std::get<std::int64_t>(values.at("dropout")))});
}

}  // namespace

TEST_CASE("a run that goes on from its parameters, buffers, optimizer state and generators goes on bit for bit", "[resume]") {
    const auto digits = training::synthetic_digits(128, 1);
    seed(5);
    Run run;
    run.train(digits);
    const auto values = saved(run);
    run.train(digits);

    Run resumed;
    restore(resumed, values);
    resumed.train(digits);
    CHECK(saved(resumed) == saved(run));
    CHECK(saved(resumed) != values);
}
