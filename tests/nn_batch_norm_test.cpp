// Batch normalisation: the statistics of its output, its running estimates, its modes.
#include <cmath>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "catch.hpp"
#include "message.hpp"
#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/normalization.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/nn/activations.hpp>
#include <xgrad/nn/batch_norm.hpp>
#include <xgrad/nn/sequential.hpp>

using namespace xgrad;

namespace {

template <class T = double>
Variable<T> random(const Shape& shape, double mean = 0, double deviation = 1, std::uint64_t seed = 1) {
    Array<T> values = empty<T>(shape);
    Generator generator(seed);
    generator.fill_normal(std::span<T>(values.data(), values.size()), static_cast<T>(mean), static_cast<T>(deviation));
    return Variable<T>(std::move(values));
}

template <class T> bool same(const Variable<T>& a, const Variable<T>& b) {
    return a.shape() == b.shape() && std::equal(a.value().begin(), a.value().end(), b.value().begin());
}

void require_close(const Variable<double>& a, const Variable<double>& b, double tolerance = 1e-12) {
    REQUIRE(a.shape() == b.shape());
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double left = a.value().data()[i], right = b.value().data()[i];
        INFO("element " << i);
        REQUIRE(std::abs(left - right) <= tolerance * (1 + std::abs(right)));
    }
}

}  // namespace

TEST_CASE("BatchNorm gives each feature mean 0 and variance 1 in training", "[nn][batch_norm]") {
    nn::BatchNorm<double> norm(5, {.epsilon = 0});
    for (const Shape& shape : {Shape{64, 5}, Shape{8, 5, 9}, Shape{4, 5, 3, 7}}) {
        const Variable<double> y = norm(random(shape, 3, 2));
        const Axes axes = shape.size() == 2 ? Axes{0} : shape.size() == 3 ? Axes{0, 2} : Axes{0, 2, 3};
        require_close(mean(y, axes), full(Shape{5}, 0.0));
        require_close(variance(y, axes), full(Shape{5}, 1.0));
    }
}

TEST_CASE("BatchNorm's running estimates follow the batches in convex form, the variance unbiased",
          "[nn][batch_norm]") {
    nn::BatchNorm<double> norm(3, {.momentum = 0.25});
    const Variable<double> first = random({10, 3}, 5, 2, 1), second = random({6, 3}, -1, 3, 2);
    norm(first);
    norm(second);
    require_close(norm.running_mean(), 0.75 * (0.25 * mean(first, 0)) + 0.25 * mean(second, 0));
    require_close(norm.running_var(),
                  0.75 * (0.75 + 0.25 * variance(first, 0, false, 1)) + 0.25 * variance(second, 0, false, 1));
    REQUIRE(norm.num_batches_tracked() == 2);
}

TEST_CASE("BatchNorm without momentum averages over all batches", "[nn][batch_norm]") {
    nn::BatchNorm<double> norm(2, {.momentum = std::nullopt});
    Variable<double> means = full(Shape{2}, 0.0), variances = means;
    for (std::uint64_t batch = 1; batch <= 4; ++batch) {
        const Variable<double> x = random({5, 2}, 1, 2, batch);
        norm(x);
        means += mean(x, 0) / 4;
        variances += variance(x, 0, false, 1) / 4;
    }
    require_close(norm.running_mean(), means);
    require_close(norm.running_var(), variances);
}

TEST_CASE("BatchNorm of (N,C,L) and (N,C,H,W) is that of the reshaped (N,C)", "[nn][batch_norm]") {
    const Variable<double> x = random({4, 3, 5, 2});
    nn::BatchNorm<double> images(3), sequences(3), rows(3);
    const Variable<double> y = images(x);
    require_close(sequences(reshape(x, Shape{4, 3, 10})), reshape(y, Shape{4, 3, 10}));
    const auto as_rows = [](const Variable<double>& a) { return reshape(transpose(a, {0, 2, 3, 1}), Shape{40, 3}); };
    require_close(rows(as_rows(x)), as_rows(y));
    require_close(sequences.running_var(), images.running_var());
    require_close(rows.running_var(), images.running_var());
}

TEST_CASE("BatchNorm uses its running estimates in evaluation and changes nothing", "[nn][batch_norm]") {
    nn::BatchNorm<double> norm(3);
    norm(random({10, 3}, 5, 2));
    norm.eval();
    const Variable<double> x = random({1, 3}, 0, 1, 7);
    const Variable<double> y = norm(x);
    require_close(y, (x - norm.running_mean()) * rsqrt(Variable<double>(norm.running_var()) + 1e-5));
    REQUIRE(norm.num_batches_tracked() == 1);
    norm.train();
    REQUIRE(same(norm.predict(x), y));
    REQUIRE(norm.num_batches_tracked() == 1);
    {
        const nn::EvalMode eval_mode;
        REQUIRE(same(norm(x), y));
    }
    REQUIRE(norm.num_batches_tracked() == 1);
    norm(random({4, 3}));
    REQUIRE(norm.num_batches_tracked() == 2);
}

TEST_CASE("A batch of one is refused in BatchNorm's training before any statistic changes", "[nn][batch_norm]") {
    nn::BatchNorm<double> norm(3);
    for (const Shape& shape : {Shape{1, 3}, Shape{1, 3, 1}, Shape{0, 3}}) {
        INFO(describe(shape));
        REQUIRE_THROWS_AS(norm(random(shape)), Error);
    }
    REQUIRE(norm.num_batches_tracked() == 0);
    require_close(norm.running_mean(), full(Shape{3}, 0.0));
    require_close(norm.running_var(), full(Shape{3}, 1.0));
    norm(random({1, 3, 2}));  // two values per channel
    REQUIRE(norm.num_batches_tracked() == 1);
}

TEST_CASE("BatchNorm fused with ReLU equals the two layers, forward and backward", "[nn][batch_norm]") {
    nn::Sequential<double> fused{nn::BatchNorm<double>(4), nn::ReLU<double>()};
    nn::Sequential<double> watched = fused;
    std::size_t calls = 0;
    watched[0].on_forward([&](const auto&, const auto&, const auto&) { ++calls; });
    for (const bool training : {true, false}) {
        fused.train(training);
        watched.train(training);
        Variable<double> a = random({6, 4, 3}, 1), b = random({6, 4, 3}, 1);
        a.requires_grad(true);
        b.requires_grad(true);
        const Variable<double> y = fused(a), z = watched(b);
        require_close(y, z);
        const Variable<double> g = random({6, 4, 3}, 0, 1, 3);
        y.backward(g);
        z.backward(g);
        require_close(a.grad(), b.grad());
        for (std::size_t i = 0; i < 2; ++i) require_close(fused.parameters()[i].grad(), watched.parameters()[i].grad());
        fused.zero_grad();
        watched.zero_grad();
    }
    REQUIRE(calls == 2);
}

TEST_CASE("BatchNorm without running statistics normalises each batch in evaluation too", "[nn][batch_norm]") {
    nn::BatchNorm<double> norm(3, {.affine = false, .track_running_stats = false});
    REQUIRE(norm.parameters().empty());
    REQUIRE(norm.named_buffers().empty());
    const Variable<double> x = random({8, 3}, 5);
    const Variable<double> y = norm(x);
    require_close(mean(y, 0), full(Shape{3}, 0.0));
    require_close(norm.predict(x), y);
}

TEST_CASE("BatchNorm's parameters and buffers have PyTorch's names and first values", "[nn][batch_norm]") {
    const nn::BatchNorm<float> norm(7);
    const auto parameters = norm.named_parameters();
    REQUIRE(parameters.size() == 2);
    REQUIRE(parameters[0].first == "weight");
    REQUIRE(parameters[1].first == "bias");
    REQUIRE(same(parameters[0].second, Variable<float>(full(Shape{7}, 1.0f))));
    const auto buffers = norm.named_buffers();
    REQUIRE(buffers.size() == 3);
    REQUIRE(buffers[0].first == "running_mean");
    REQUIRE(buffers[1].first == "running_var");
    REQUIRE(buffers[2].first == "num_batches_tracked");
    const auto& count = *std::get<const Array<std::int64_t>*>(buffers[2].second);
    REQUIRE(count.dimension() == 0);
    REQUIRE(count() == 0);
}

TEST_CASE("A backward after evaluation is right even when running estimates have gone on", "[nn][batch_norm]") {
    nn::BatchNorm<double> norm(3);
    norm(random({10, 3}, 5, 2));
    const Variable<double> scale = rsqrt(Variable<double>(norm.running_var()) + 1e-5);
    Variable<double> x = random({4, 3});
    x.requires_grad(true);
    norm.eval();
    const Variable<double> y = norm(x);
    norm.train();
    norm(random({10, 3}, -5, 1, 2));
    sum(y).backward();
    require_close(x.grad(), broadcast_to(scale, {4, 3}));
}

TEST_CASE("BatchNorm's errors say which input and which shapes would fit", "[nn][batch_norm]") {
    nn::BatchNorm<float> norm(7);
    REQUIRE_THROWS_WITH(norm(random<float>({4, 6})),
                        "BatchNorm: an input of shape (4, 6) does not fit 7 features; expected (N, 7), (N, 7, L) or "
                        "(N, 7, H, W) (in BatchNorm(7))");
    REQUIRE_THROWS_AS(norm(random<float>({7})), Error);
    REQUIRE_THROWS_AS(nn::BatchNorm(0), Error);
    REQUIRE_THROWS_AS(nn::BatchNorm(3, {.momentum = 1.5}), Error);
    REQUIRE_THROWS_AS(batch_norm(random({4, 3}), random({2})), Error);
}

TEST_CASE("BatchNorm refuses buffers of another shape, in training and in evaluation", "[nn][batch_norm]") {
    const Variable<> x = {{1, 2, 3}, {4, 5, 6}, {0, 1, 0}};
    for (const char* name : {"running_mean", "running_var", "num_batches_tracked"}) {
        nn::BatchNorm<> layer(3);
        for (auto& [path, buffer] : layer.named_buffers())
            if (path == name)
                std::visit([]<class A>(A* array) { *array = full(Shape{2}, typename A::value_type{0}); }, buffer);
        CHECK(testing::message([&] { layer(x); }).find(fmt::format("BatchNorm: {} has shape (2,); expected (", name)) ==
              0);
        if (std::string(name) != "num_batches_tracked") CHECK_THROWS_AS(layer.predict(x), Error);
    }
}

TEST_CASE("BatchNorm's derivatives agree with differences to second order", "[nn][batch_norm][gradcheck]") {
    const bool training = GENERATE(true, false);
    const bool fused = GENERATE(false, true);
    const bool affine = GENERATE(true, false);
    nn::BatchNorm<double> norm(2, {.affine = affine, .track_running_stats = true});
    norm(random({10, 2}, 1, 2));
    norm.train(training);
    nn::Sequential<double> net{norm};
    if (fused) net.add(nn::ReLU<double>());
    for (const Shape& shape : {Shape{5, 2}, Shape{3, 2, 2}, Shape{2, 2, 1, 3}}) {
        Variable<double> x = random(shape, 0.5, 2, 5);
        x.requires_grad(true);
        std::vector<Variable<double>> inputs = net.parameters();
        for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i].assign(random({2}, 1, 0.5, i + 9));
        inputs.push_back(x);
        REQUIRE_NOTHROW(gradcheck([&] { return net(x); }, inputs));
    }
}

TEST_CASE("batch_norm_inference can be differentiated by a given mean and variance", "[nn][batch_norm][gradcheck]") {
    REQUIRE_NOTHROW(
        gradcheck([](const auto& x, const auto& mean, const auto& variance, const auto& weight,
                     const auto& bias) { return batch_norm_inference(x, mean, square(variance), weight, bias); },
                  {random({4, 3}), random({3}), 1 + square(random({3})), random({3}), random({3})}));
}

TEST_CASE("batch_norm_inference takes what makes a Variable", "[nn][batch_norm]") {
    const Variable<> x = {{1, 2}, {3, 6}};
    const Array<> expected = batch_norm_inference(x, Variable<>{1, 2}, Variable<>{4, 4}, {}, {}, 0).value();
    CHECK(expected == Array<>{{0, 0}, {1, 2}});
    const Array<> mean = {1, 2};
    CHECK(batch_norm_inference(x, {1, 2}, {4, 4}, {}, {}, 0).value() == expected);
    CHECK(batch_norm_inference(x, mean, Variable<>{4, 4}, {}, {}, 0).value() == expected);
    CHECK(batch_norm_inference(x, Variable<>{1, 2}, xt::square(mean) * 0 + 4, {}, {}, 0).value() == expected);
}

TEST_CASE("observers see the statistics that evaluation uses: as inputs or, of a layer, as settings",
          "[nn][batch_norm][observer]") {
    struct Reader : Observer {
        void on_record(const Recorded& recorded) override {
            inputs.assign(recorded.inputs.begin(), recorded.inputs.end());
            arrays.clear();
            for (const Attribute& attribute : recorded.attributes)
                if (const auto* array = std::get_if<const Array<float>*>(&attribute.value)) arrays.push_back(*array);
        }
        std::vector<const detail::Node*> inputs;
        std::vector<const Array<float>*> arrays;
    } reader;
    const Variable<> x = {{1, 2}, {3, 6}}, mean = {1, 2}, variance = {4, 4};
    batch_norm_inference(x, mean, variance);
    CHECK(reader.inputs == std::vector<const detail::Node*>{x.node(), mean.node(), variance.node()});
    CHECK(reader.arrays.empty());
    nn::BatchNorm<> norm(2);
    norm.eval();
    norm(x);
    CHECK(reader.inputs == std::vector<const detail::Node*>{x.node(), norm.weight().node(), norm.bias().node()});
    CHECK(reader.arrays == std::vector<const Array<float>*>{&norm.running_mean(), &norm.running_var()});
}

TEST_CASE("The statistics that batch_norm hands out are nobody else's", "[nn][batch_norm]") {
    const auto gradient = [](double factor) {
        Variable<double> x = random({5, 2});
        x.requires_grad(true);
        auto result = batch_norm(x);
        result.mean *= factor;
        result.variance *= factor;
        sum(result.output * random({5, 2}, 1)).backward();
        return Array<double>(x.grad().value());
    };
    CHECK((gradient(0) == gradient(1)));
}
