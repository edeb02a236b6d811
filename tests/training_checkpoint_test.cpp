#include <catch.hpp>
#include <cstdint>
#include <filesystem>
#include <folder.hpp>
#include <memory>
#include <message.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <xgrad/xgrad.hpp>

namespace fs = std::filesystem;
using namespace xgrad;
using testing::content;
using testing::Folder;
using testing::message;
using training::Checkpoint;
using training::NamedArrays;

namespace {

template <class T> nn::Sequential<T> network(std::uint64_t from = 1) {
    seed(from);
    nn::Sequential<T> model{nn::Linear<T>(3, 4), nn::BatchNorm<T>(4), nn::ReLU<T>(), nn::Linear<T>(4, 2)};
    model(Array<T>{{1, 2, 3}, {0, 1, static_cast<T>(from)}});  // statistics of its own
    return model;
}

template <class T> NamedArrays values(const nn::Module<T>& model) {
    NamedArrays arrays;
    for (const auto& [name, parameter] : model.named_parameters()) arrays[name] = parameter.value();
    for (const auto& [name, buffer] : model.named_buffers())
        std::visit([&, &name = name](const auto* array) { arrays[name] = *array; }, buffer);
    return arrays;
}

// What docs/files.md shows: training that goes on where the file's run had stopped.
void train(const training::Dataset<>& digits, int epochs, const fs::path& path) {
    // [run]
    seed(5);             // initial weights, Dropout
    Generator order(1);  // of the samples
    nn::Sequential model{nn::Linear(784, 16), nn::BatchNorm(16), nn::ReLU(), nn::Dropout(0.2), nn::Linear(16, 10)};
    optim::Adam optimizer(model.parameters());
    int epoch = 0;

    training::Checkpoint run;
    run("model", model)("optimizer", optimizer)("order", order)("random", current_generator())("epoch", epoch);
    if (std::filesystem::exists(path)) run.load(path);
    while (epoch < epochs) {
        for (auto [images, labels] : digits.batches(32, order))
            optimizer.minimize(nn::cross_entropy(model(images), labels));
        ++epoch;
        run.save(path);
    }
    // [run]
}

template <class T> std::string without_folder(const Folder& folder, const T& action) {
    std::string text = message(action);
    const std::string path = fs::path(folder).string() + "/";
    REQUIRE(text.starts_with(path));
    return text.substr(path.size());
}

}  // namespace

TEST_CASE("A run that was stopped goes on bit for bit", "[files]") {
    Folder folder;
    const auto digits = training::synthetic_digits(128, 1);
    train(digits, 4, folder / "whole");
    train(digits, 2, folder / "stopped");
    CHECK(content(folder / "stopped") != content(folder / "whole"));
    train(digits, 4, folder / "stopped");
    CHECK(content(folder / "stopped") == content(folder / "whole"));
}

TEST_CASE("A model comes back from its file bit for bit, buffers too", "[files]") {
    Folder folder;
    const auto model = network<float>();
    training::save(model, folder / "model.safetensors");
    auto other = network<float>(2);
    REQUIRE(values(other) != values(model));
    training::load(other, folder / "model.safetensors");
    CHECK(values(other) == values(model));
    CHECK(training::read_safetensors(folder / "model.safetensors") == values(model));  // under their own names
}

TEST_CASE("What PyTorch has saved is the same network here, and its predictions", "[files][reference]") {
    const NamedArrays file = training::read_safetensors(XGRAD_FIXTURES "/pytorch.safetensors");
    auto model = network<double>();
    Checkpoint()("model", model).load(XGRAD_FIXTURES "/pytorch.safetensors");
    const Variable<double> y = model.predict(std::get<Array<float>>(file.at("x")));
    const auto& expected = std::get<Array<float>>(file.at("y"));
    REQUIRE(y.shape() == expected.shape());
    for (std::size_t i = 0; i < y.size(); ++i)
        CHECK(y.value().data()[i] == Approx(expected.data()[i]).epsilon(1e-6).margin(1e-6));
}

TEST_CASE("Floats of a file become doubles, doubles do not become floats", "[files]") {
    Folder folder;
    const auto narrow = network<float>();
    auto wide = network<double>(2);
    training::save(narrow, folder / "narrow");
    training::load(wide, folder / "narrow");
    for (const auto& [name, array] : values(narrow))
        if (const auto* floats = std::get_if<Array<float>>(&array)) {
            INFO(name);
            CHECK((std::get<Array<double>>(values(wide).at(name)) == *floats));
        }
    training::save(wide, folder / "wide");
    auto other = network<float>(3);
    CHECK(without_folder(folder, [&] { training::load(other, folder / "wide"); }) ==
          "wide: '0.weight' is float of 64 bits and shape (4, 3); expected float of 32 bits and shape (4, 3)");
}

TEST_CASE("A file of another model is refused in words, and nothing is changed", "[files]") {
    Folder folder;
    auto model = network<float>();
    const NamedArrays before = values(model);
    const auto load = [&](const NamedArrays& arrays) {
        training::write_safetensors(folder / "file", arrays);
        const std::string text = without_folder(folder, [&] { training::load(model, folder / "file"); });
        CHECK(values(model) == before);
        return text;
    };
    NamedArrays others = values(network<float>(2));
    const NamedArrays right = others;

    others["3.bias"] = full(Shape{3}, 0.0f);
    CHECK(load(others) ==
          "file: '3.bias' is float of 32 bits and shape (3,); expected float of 32 bits and shape (2,)");
    others["3.bias"] = full(Shape{2}, std::int64_t{0});
    CHECK(load(others) ==
          "file: '3.bias' is integer of 64 bits and shape (2,); expected float of 32 bits and shape (2,)");
    others.erase("3.bias");
    CHECK(load(others) ==
          "file: has no '3.bias'; it holds '0.bias', '0.weight', '1.bias', '1.num_batches_tracked', "
          "'1.running_mean', …");
    others = right;
    others["4.bias"] = full(Shape{2}, 0.0f);
    CHECK(load(others) ==
          "file: holds '4.bias', which is not in what is to be loaded; that has '0.bias', '0.weight', '1.bias', "
          "'1.num_batches_tracked', '1.running_mean', …");
    CHECK(load({}) == "file: has no '0.weight'; it holds nothing");

    training::write_safetensors(folder / "file", right);
    training::load(model, folder / "file");
    CHECK(values(model) == right);
}

TEST_CASE("A model can be loaded from the file of a run, and frozen parameters with it", "[files]") {
    Folder folder;
    auto model = network<float>();
    model.freeze("0.*");
    optim::Adam optimizer(model.parameters());
    int epoch = 3;
    Checkpoint()("model", model)("optimizer", optimizer)("epoch", epoch).save(folder / "run");

    auto other = network<float>(2);
    Checkpoint()("model", other).load(folder / "run");
    CHECK(values(other) == values(model));
    CHECK_THAT(without_folder(folder, [&] { training::load(other, folder / "run"); }),
               Catch::Matchers::StartsWith("run: holds 'epoch', which is not in what is to be loaded"));
    NamedArrays arrays = training::read_safetensors(folder / "run");
    arrays["model.4.bias"] = full(Shape{2}, 0.0f);
    arrays["models"] = full(Shape{2}, 0.0f);  // another name
    training::write_safetensors(folder / "run", arrays);
    CHECK_THAT(without_folder(folder, [&] { Checkpoint()("model", other).load(folder / "run"); }),
               Catch::Matchers::StartsWith("run: holds 'model.4.bias', which is not"));
}

TEST_CASE("Numbers and generators of a program are part of a checkpoint", "[files]") {
    Folder folder;
    struct Numbers {
        float rate = 0;
        double best = 0;
        int epoch = 0;
        std::int64_t step = 0;
        std::uint64_t seen = 0;
        std::uint8_t kind = 0;
        bool done = false;
        Generator generator{0};

        Checkpoint checkpoint() {
            Checkpoint c;
            c("rate", rate)("best", best)("epoch", epoch)("step", step)("seen", seen)("kind", kind)("done", done)(
                "order", generator);
            return c;
        }
    };
    Numbers written{0.1f, 1 / 3.0, -2, std::int64_t{1} << 40, ~std::uint64_t{0}, 200, true, Generator(7)};
    Generator other = written.generator.split();
    written.generator = other;
    written.generator.bits();
    written.checkpoint().save(folder / "run");
    Numbers read;
    read.checkpoint().load(folder / "run");
    CHECK(
        std::tuple(read.rate, read.best, read.epoch, read.step, read.seen, read.kind, read.done) ==
        std::tuple(written.rate, written.best, written.epoch, written.step, written.seen, written.kind, written.done));
    CHECK(read.generator.state() == written.generator.state());
    CHECK(read.generator.bits() == written.generator.bits());
}

TEST_CASE("When one part of a run does not fit, no part is loaded", "[files]") {
    Folder folder;
    auto model = network<float>();
    optim::SGD optimizer(model.parameters(), {.learning_rate = 0.1, .momentum = 0.9});
    Generator generator(5);
    std::int64_t seen = 7;
    Checkpoint()("model", model)("optimizer", optimizer)("order", generator)("seen", seen).save(folder / "run");
    auto other = network<float>(2);
    optim::SGD fresh(other.parameters(), {.learning_rate = 0.1, .momentum = 0.9});
    const NamedArrays before = values(other);
    Generator order(6);
    std::uint64_t unsigned_seen = 8;
    CHECK(without_folder(folder, [&] {
              Checkpoint()("model", other)("optimizer", fresh)("order", order)("seen", unsigned_seen)
                  .load(folder / "run");
          }) == "run: 'seen' is integer of 64 bits and shape (); expected unsigned integer of 64 bits and shape ()");
    CHECK(values(other) == before);
    CHECK(order.state() == Generator(6).state());
    CHECK(unsigned_seen == 8);
}

TEST_CASE("A part of a network, or one whose names differ, is loaded by name", "[files]") {
    Folder folder;
    const fs::path path = folder / "other";
    auto model = network<float>(), encoder = network<float>(2);
    Checkpoint()("encoder", encoder).save(path);
    // [part]
    const auto arrays = training::read_safetensors(path);
    for (auto& [name, parameter] : model.named_parameters("0.*"))
        parameter.assign(std::get<Array<>>(arrays.at("encoder." + name)));
    // [part]
    CHECK(values(model).at("0.weight") == values(encoder).at("0.weight"));
    CHECK(values(model).at("3.weight") == values(network<float>()).at("3.weight"));
}

namespace {

// An optimizer whose state has another shape than its parameters: a mean square for each row.
class RowSquares : public optim::Optimizer<> {
public:
    explicit RowSquares(std::vector<Variable<>> parameters)
        : Optimizer(std::move(parameters), {.learning_rate = 0.1, .checks_state = false}, {"square"}) {}

protected:
    void update(Variable<>& parameter, const Array<>& gradient, optim::State<>& state) override {
        if (state.step == 1) state[0] = full(Shape{gradient.shape()[0]}, 0.0f);
        for (float& square : state[0]) square += 1;
        parameter.update([&](Array<>& values) { values -= 0.1f / state[0](0) * gradient; });
    }
};

}  // namespace

TEST_CASE("An optimizer goes on from its checkpoint exactly, and says when it is that of other parameters", "[files]") {
    Folder folder;
    const auto steps = [](auto& optimizer, nn::Module<float>& model, int count) {
        for (int i = 0; i < count; ++i) {
            Variable<> loss = 0;
            for (const Variable<>& parameter : model.parameters()) loss = loss + sum(square(sin(parameter) + 0.1 * i));
            optimizer.minimize(loss);
        }
    };
    const auto goes_on = [&](auto make) {
        auto model = network<float>();
        auto optimizer = make(model);
        Checkpoint run;
        run("model", model)("optimizer", *optimizer);
        steps(*optimizer, model, 3);
        run.save(folder / "run");
        steps(*optimizer, model, 3);

        auto other = network<float>(2);
        auto resumed = make(other);
        steps(*resumed, other, 1);  // what it had is replaced
        Checkpoint()("model", other)("optimizer", *resumed).load(folder / "run");
        CHECK(resumed->step_count() == 3);
        steps(*resumed, other, 3);
        CHECK(values(other) == values(model));
    };
    goes_on([](auto& model) {
        return std::make_unique<optim::SGD<>>(model.parameters(),
                                              optim::SGDOptions{.learning_rate = 0.1, .momentum = 0.9});
    });
    goes_on([](auto& model) {
        return std::make_unique<optim::Adam<>>(model.parameters(), optim::AdamOptions{.amsgrad = true});
    });
    goes_on([](auto& model) { return std::make_unique<RowSquares>(model.parameters()); });

    auto model = network<float>();
    optim::SGD sgd(model.parameters(), {.learning_rate = 0.1, .momentum = 0.9});
    Checkpoint()("model", model)("optimizer", sgd).save(folder / "run");
    optim::Adam adam(model.parameters());
    const std::string text =
        without_folder(folder, [&] { Checkpoint()("model", model)("optimizer", adam).load(folder / "run"); });
    CHECK_THAT(text, Catch::Matchers::StartsWith("run: holds 'optimizer.0.momentum', which is not in what"));
    nn::Linear small(2, 2);
    optim::SGD other(small.parameters(), {.learning_rate = 0.1, .momentum = 0.9});
    CHECK_THAT(without_folder(folder, [&] { Checkpoint()("optimizer", other).load(folder / "run"); }),
               Catch::Matchers::StartsWith("run: holds 'optimizer.2."));
}

TEST_CASE("Two things of one name cannot be saved, nor loaded", "[files]") {
    Folder folder;
    auto model = network<float>(), other = network<float>(2);
    Checkpoint twice;
    twice("model", model)("model", other);
    const std::string expected = "Checkpoint: 'model.0.weight' is listed twice; names must differ";
    CHECK(message([&] { twice.save(folder / "run"); }) == expected);
    Checkpoint()("model", model).save(folder / "run");
    CHECK(message([&] { twice.load(folder / "run"); }) == expected);
}

TEST_CASE("A value that was loaded after forward is noticed by backward", "[files]") {
    Folder folder;
    nn::Linear model(3, 1);
    training::save(model, folder / "model");
    const Variable loss = sum(square(model.weight()));
    training::load(model, folder / "model");
    CHECK_THAT(message([&] { loss.backward(); }), ContainsSubstring("was changed in place afterwards"));
}
