// The layers: their derivatives, what they are named, and what is particular to each.
#include <vector>

#include "catch.hpp"
#include "random.hpp"
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/dropout.hpp>
#include <xgrad/autodiff/operations/embedding.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/nn.hpp>

using namespace xgrad;
using xgrad::testing::random;

namespace {

using Net = nn::Sequential<double>;

bool same(const Variable<double>& a, const Variable<double>& b) {
    return a.shape() == b.shape() && std::equal(a.value().begin(), a.value().end(), b.value().begin());
}

void require_close(const Variable<double>& a, const Variable<double>& b, double tolerance = 1e-12) {
    REQUIRE(a.shape() == b.shape());
    for (std::size_t i = 0; i < a.size(); ++i) {
        INFO("element " << i);
        REQUIRE(a.value().data()[i] == Approx(b.value().data()[i]).epsilon(tolerance).margin(tolerance));
    }
}

}  // namespace

TEST_CASE("Every layer's derivatives agree with differences to second order, in training and evaluation",
          "[nn][gradcheck]") {
    const std::vector<Net> layers{
        Net{nn::Linear<double>(3, 4)},
        Net{nn::Linear<double>(3, 2, {.bias = false})},
        Net{nn::Linear<double>(3, 4), nn::ReLU<double>()},
        Net{nn::LayerNorm<double>(3)},
        Net{nn::LayerNorm<double>({4, 3}, {.bias = false})},
        Net{nn::LayerNorm<double>(3, {.affine = false})},
        Net{nn::Dropout<double>(0.5)},
        Net{nn::Identity<double>()},
        Net{nn::Flatten<double>()},
        Net{nn::ReLU<double>()},
        Net{nn::LeakyReLU<double>(0.1)},
        Net{nn::PReLU<double>()},
        Net{nn::PReLU<double>(4)},
        Net{nn::ELU<double>(1.5)},
        Net{nn::SELU<double>()},
        Net{nn::CELU<double>(0.5)},
        Net{nn::GELU<double>()},
        Net{nn::GELU<double>({.approximate = true})},
        Net{nn::SiLU<double>()},
        Net{nn::Mish<double>()},
        Net{nn::Softplus<double>(2, 3)},
        Net{nn::Softsign<double>()},
        Net{nn::Hardtanh<double>(-0.5, 1.5)},
        Net{nn::HardSigmoid<double>()},
        Net{nn::HardSwish<double>()},
        Net{nn::Tanh<double>()},
        Net{nn::Sigmoid<double>()},
        Net{nn::LogSigmoid<double>()},
        Net{nn::Softmax<double>(1)},
        Net{nn::LogSoftmax<double>()},
    };
    for (Net net : layers) {
        INFO(net[0].description());
        Variable<double> x = random({2, 4, 3}, 3, -2, 2, 0.01);
        x.requires_grad(true);
        std::vector<Variable<double>> inputs = net.parameters();
        inputs.push_back(x);
        for (const bool training : {true, false}) {
            net.train(training);
            REQUIRE_NOTHROW(gradcheck(
                [&] {
                    seed(5);  // Dropout must do the same each time
                    return net(x);
                },
                inputs));
        }
    }
}

TEST_CASE("Layers of a function give what the function gives", "[nn][activations]") {
    const Variable<double> x = random({3, 4}, 1, -4, 4);
    CHECK(same(nn::LeakyReLU<double>()(x), leaky_relu(x, 0.01)));
    CHECK(same(nn::ELU<double>(2)(x), elu(x, 2)));
    CHECK(same(nn::CELU<double>(2)(x), celu(x, 2)));
    CHECK(same(nn::GELU<double>()(x), gelu(x)));
    CHECK(same(nn::GELU<double>({.approximate = true})(x), gelu_tanh(x)));
    CHECK(same(nn::Softplus<double>(2, 1)(x), softplus(x, 2, 1)));
    CHECK(same(nn::Hardtanh<double>(-2, 1)(x), hardtanh(x, -2, 1)));
    CHECK(same(nn::Softmax<double>(0)(x), softmax(x, 0)));
    CHECK(same(nn::LogSoftmax<double>()(x), log_softmax(x, -1)));
    CHECK(same(nn::PReLU<double>()(x), leaky_relu(x, 0.25)));
    CHECK(same(nn::Identity<double>()(x), x));
    CHECK(nn::Flatten<double>()(random({2, 3, 4, 5})).shape() == Shape{2, 60});
    CHECK(nn::Flatten<double>(0, 1)(random({2, 3, 4, 5})).shape() == Shape{6, 4, 5});
}

TEST_CASE("A layer made without its precision is one of float", "[nn]") {
    const nn::Sequential net{nn::Linear(6, 8),
                             nn::LayerNorm(8),
                             nn::LayerNorm(Shape{8}),
                             nn::ReLU(),
                             nn::LeakyReLU(),
                             nn::PReLU(8),
                             nn::ELU(),
                             nn::SELU(),
                             nn::CELU(),
                             nn::GELU(),
                             nn::SiLU(),
                             nn::Mish(),
                             nn::Softplus(),
                             nn::Softsign(),
                             nn::Hardtanh(),
                             nn::HardSigmoid(),
                             nn::HardSwish(),
                             nn::Tanh(),
                             nn::Sigmoid(),
                             nn::LogSigmoid(),
                             nn::Softmax(),
                             nn::LogSoftmax(),
                             nn::Dropout(),
                             nn::Identity(),
                             nn::Flatten(),
                             nn::GELU({.approximate = true}),
                             nn::BatchNorm(8, {.momentum = std::nullopt})};
    STATIC_REQUIRE(std::same_as<decltype(net), const nn::Sequential<float>>);
    REQUIRE(net.predict(random<float>({4, 6})).shape() == Shape{4, 8});
    const nn::Embedding words(10, 3);
    STATIC_REQUIRE(std::same_as<decltype(words), const nn::Embedding<float>>);
}

TEST_CASE("A layer's description has its settings", "[nn]") {
    CHECK(nn::Linear(784, 256).description() == "Linear(784, 256)");
    CHECK(nn::Linear(784, 256, {.bias = false}).description() == "Linear(784, 256, no bias)");
    CHECK(nn::BatchNorm(256).description() == "BatchNorm(256)");
    CHECK(nn::BatchNorm(256, {.affine = false}).description() == "BatchNorm(256, not affine)");
    CHECK(nn::LayerNorm(8).description() == "LayerNorm(8)");
    CHECK(nn::LayerNorm({8, 3}, {.bias = false}).description() == "LayerNorm((8, 3), no bias)");
    CHECK(nn::Embedding(10, 3).description() == "Embedding(10, 3)");
    CHECK(nn::Dropout(0.25).description() == "Dropout(0.25)");
    CHECK(nn::PReLU(3).description() == "PReLU(3)");
    CHECK(nn::ReLU().description() == "ReLU");
    CHECK(nn::LeakyReLU().description() == "LeakyReLU(0.01)");
    CHECK(nn::GELU({.approximate = true}).description() == "GELU(tanh)");
    CHECK(nn::Hardtanh().description() == "Hardtanh(-1, 1)");
    CHECK(nn::Softmax(1).description() == "Softmax(1)");
    CHECK(nn::Flatten().description() == "Flatten(1, -1)");
}

TEST_CASE("Layers refuse settings that make no sense", "[nn]") {
    CHECK_THROWS_AS(nn::Linear(0, 3), Error);
    CHECK_THROWS_AS(nn::LayerNorm(0), Error);
    CHECK_THROWS_AS(nn::LayerNorm(3, {.epsilon = -1}), Error);
    CHECK_THROWS_AS(nn::Embedding(0, 3), Error);
    CHECK_THROWS_AS(nn::Embedding(4, 3, {.padding_index = 4}), Error);
    CHECK_THROWS_AS(nn::Dropout(1.5), Error);
    CHECK_THROWS_AS(nn::Dropout(-0.1), Error);
    CHECK_THROWS_AS(nn::PReLU(0), Error);
    CHECK_THROWS_AS(nn::Hardtanh(1, -1), Error);
    CHECK_THROWS_AS(nn::Softplus(0), Error);
}

TEST_CASE("LayerNorm gives each sample mean 0 and variance 1", "[nn][layer_norm]") {
    nn::LayerNorm<double> norm({4, 5}, {.epsilon = 0});
    const Variable<double> y = norm(random({3, 4, 5}, 1, 1, 9));
    require_close(mean(y, {1, 2}), full(Shape{3}, 0.0));
    require_close(variance(y, {1, 2}), full(Shape{3}, 1.0));
    REQUIRE(norm.named_parameters("weight").size() == 1);
    REQUIRE(norm.weight().shape() == Shape{4, 5});
    REQUIRE(nn::LayerNorm<double>(5)(random({0, 5})).shape() == Shape{0, 5});
    REQUIRE_THROWS_WITH(norm(random({3, 4, 6})),
                        "layer_norm: an input of shape (3, 4, 6) does not end in the normalized shape (4, 5) (in "
                        "LayerNorm((4, 5)))");
}

TEST_CASE("Embedding takes rows of its weight, and its padding is not trained", "[nn][embedding]") {
    seed(1);
    nn::Embedding<double> words(5, 3, {.padding_index = 2});
    const Array<std::int64_t> indices{{0, 2, 4}, {4, 2, 4}};
    const Variable<double> y = words(indices);
    REQUIRE(y.shape() == Shape{2, 3, 3});
    for (std::size_t i = 0; i < 3; ++i) {
        REQUIRE(y.value()(1, 2, i) == words.weight().value()(4, i));
        REQUIRE(y.value()(0, 1, i) == 0);
    }
    sum(y).backward();
    const Array<double> expected{{1, 1, 1}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {3, 3, 3}};
    REQUIRE(same(words.weight().grad(), Variable<double>(expected)));
}

TEST_CASE("embedding's derivatives agree with differences to second order", "[nn][embedding][gradcheck]") {
    const Array<std::int64_t> indices{{0, 3}, {3, 1}};
    for (const std::optional<std::int64_t> padding : {std::optional<std::int64_t>(), std::optional<std::int64_t>(3)}) {
        Variable<double> weight = random({4, 2});
        weight.requires_grad(true);
        // What is padded has no derivative by the weight, though it has a value.
        const auto f = [&](const Variable<double>& w) { return square(take(embedding(w, indices, padding), 0, 1)); };
        if (padding) {
            sum(f(weight)).backward();
            REQUIRE(weight.grad().value()(3, 0) == 0);
            REQUIRE(weight.grad().value()(0, 0) == Approx(2 * weight.value()(0, 0)));
        } else {
            REQUIRE_NOTHROW(gradcheck(f, {weight}));
        }
    }
}

TEST_CASE("Embedding refuses an index without a row", "[nn][embedding]") {
    const nn::Embedding<float> words(5, 3);
    REQUIRE_THROWS_WITH(words(Array<std::int64_t>{0, 5}),
                        "embedding: index 5 is out of range for a weight of shape (5, 3); expected 0 to 4");
    REQUIRE_THROWS_AS(words(Array<std::int64_t>{-1}), Error);
}

TEST_CASE("Dropout leaves out the given share and keeps the mean", "[nn][dropout]") {
    seed(7);
    nn::Dropout<double> dropout(0.3);
    const Variable<double> y = dropout(full(Shape{100, 1000}, 1.0));
    const auto zeros = std::count(y.value().begin(), y.value().end(), 0.0);
    REQUIRE(static_cast<double>(zeros) / 1e5 == Approx(0.3).margin(0.01));
    REQUIRE(mean(y).item() == Approx(1).margin(0.01));
    REQUIRE(max(y).item() == Approx(1 / 0.7));
}

TEST_CASE("Dropout's gradient passes where its output does", "[nn][dropout]") {
    seed(7);
    nn::Dropout<double> dropout(0.5);
    Variable<double> x = full(Shape{50}, 1.0);
    x.requires_grad(true);
    const Variable<double> y = dropout(x);
    sum(y).backward();
    REQUIRE(same(x.grad(), y));
}

TEST_CASE("Dropout repeats itself from a seed, and differs from call to call", "[nn][dropout]") {
    nn::Dropout<double> dropout(0.5);
    const Variable<double> x = random({100});
    seed(3);
    const Variable<double> first = dropout(x), second = dropout(x);
    seed(3);
    REQUIRE(same(dropout(x), first));
    REQUIRE(same(dropout(x), second));
    REQUIRE_FALSE(same(first, second));
}

TEST_CASE("Dropout does nothing in evaluation, and draws no number", "[nn][dropout]") {
    nn::Dropout<double> dropout(0.5);
    const Variable<double> x = random({100});
    const Generator::State before = current_generator().state();
    REQUIRE(same(dropout.predict(x), x));
    dropout.eval();
    REQUIRE(same(dropout(x), x));
    REQUIRE((current_generator().state() == before));
}

TEST_CASE("Dropout of nothing and of everything", "[nn][dropout]") {
    Variable<double> x = random({100});
    REQUIRE(same(nn::Dropout<double>(0)(x), x));
    x.requires_grad(true);
    const Variable<double> y = nn::Dropout<double>(1)(x);
    REQUIRE(same(abs(y), full(Shape{100}, 0.0)));
    sum(y).backward();
    REQUIRE(same(abs(x.grad()), full(Shape{100}, 0.0)));
}
