// Initialisers: the variances they promise, and orthogonality.
#include <algorithm>
#include <cmath>

#include "catch.hpp"
#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/parameter.hpp>
#include <xgrad/nn/init.hpp>
#include <xgrad/nn/linear.hpp>

using namespace xgrad;
namespace init = xgrad::nn::init;

namespace {

using Initialiser = void (*)(Variable<double>&, double);

double largest(const Variable<double>& x) { return std::max(max(x).item(), -min(x).item()); }

}  // namespace

TEST_CASE("Initialisers give weights the variance that they promise", "[nn][init]") {
    seed(11);
    const double fan_in = 300 * 2, fan_out = 200 * 2;
    const struct {
        const char* name;
        Initialiser normal, uniform;
        double variance;  // with a gain of 1
    } families[] = {
        {"he", init::he_normal, init::he_uniform, 1 / fan_in},
        {"glorot", init::glorot_normal, init::glorot_uniform, 2 / (fan_in + fan_out)},
        {"lecun", init::lecun_normal, init::lecun_uniform, 1 / fan_in},
    };
    for (const auto& family : families)
        for (const double gain : {1.0, 1.5}) {
            INFO(family.name << ", gain " << gain);
            const double expected = gain * gain * family.variance;
            Parameter<double> weight(Shape{200, 300, 2});
            family.normal(weight, gain);
            CHECK(variance(weight).item() == Approx(expected).epsilon(0.03));
            CHECK(std::abs(mean(weight).item()) < 0.02 * std::sqrt(expected));
            CHECK(largest(weight) > 3.5 * std::sqrt(expected));
            family.uniform(weight, gain);
            CHECK(variance(weight).item() == Approx(expected).epsilon(0.03));
            CHECK(largest(weight) <= std::sqrt(3 * expected));
            CHECK(largest(weight) > 0.99 * std::sqrt(3 * expected));
        }
}

TEST_CASE("The gain of He's initialisers is ReLU's when none is given, and 1 otherwise", "[nn][init]") {
    seed(12);
    Parameter<double> weight(Shape{100, 400});
    init::he_normal(weight);
    CHECK(variance(weight).item() == Approx(2.0 / 400).epsilon(0.03));
    init::lecun_uniform(weight);
    CHECK(variance(weight).item() == Approx(1.0 / 400).epsilon(0.03));
    init::glorot_normal(weight);
    CHECK(variance(weight).item() == Approx(2.0 / 500).epsilon(0.03));
}

TEST_CASE("Gains are PyTorch's", "[nn][init]") {
    CHECK(init::gain("linear") == 1);
    CHECK(init::gain("sigmoid") == 1);
    CHECK(init::gain("relu") == Approx(std::sqrt(2.0)));
    CHECK(init::gain("leaky_relu") == Approx(std::sqrt(2 / (1 + 1e-4))));
    CHECK(init::gain("leaky_relu", 0.2) == Approx(std::sqrt(2 / 1.04)));
    CHECK(init::gain("tanh") == Approx(5.0 / 3));
    CHECK(init::gain("selu") == Approx(0.75));
    REQUIRE_THROWS_WITH(init::gain("rellu"),
                        "init::gain: 'rellu' is unknown; expected linear, sigmoid, relu, leaky_relu, tanh or selu");
}

TEST_CASE("Fan-in and fan-out of a weight (out, in, …)", "[nn][init]") {
    CHECK(init::fan_in({5, 3}) == 3);
    CHECK(init::fan_out({5, 3}) == 5);
    CHECK(init::fan_in({5, 3, 2, 2}) == 12);
    CHECK(init::fan_out({5, 3, 2, 2}) == 20);
    REQUIRE_THROWS_AS(init::fan_in({5}), Error);
    Parameter<double> bias(Shape{5});
    REQUIRE_THROWS_AS(init::he_normal(bias), Error);
    REQUIRE_THROWS_AS(init::orthogonal(bias), Error);
}

TEST_CASE("Constants, zeros and ones", "[nn][init]") {
    Parameter<float> parameter(Shape{2, 2});
    init::constant(parameter, 0.5);
    CHECK(sum(parameter).item() == 2);
    init::ones(parameter);
    CHECK(sum(parameter).item() == 4);
    init::zeros(parameter);
    CHECK(sum(parameter).item() == 0);
}

TEST_CASE("Linear starts from U(−1/√in, 1/√in)", "[nn][init]") {
    seed(13);
    const nn::Linear<double> layer(100, 400);
    CHECK(variance(layer.weight()).item() == Approx(1.0 / 300).epsilon(0.03));
    CHECK(largest(layer.weight()) <= 0.1);
    CHECK(largest(layer.bias()) <= 0.1);
    CHECK(largest(layer.bias()) > 0.095);
}

TEMPLATE_TEST_CASE("orthogonal gives orthonormal rows or columns", "[nn][init]", float, double) {
    seed(14);
    const double tolerance = std::same_as<TestType, float> ? 1e-5 : 1e-13;
    for (const Shape& shape :
         {Shape{6, 6}, Shape{4, 9}, Shape{9, 4}, Shape{1, 5}, Shape{3, 2, 2, 2}, Shape{12, 2, 2}}) {
        INFO(describe(shape));
        Parameter<TestType> weight(shape);
        init::orthogonal(weight, 1.5);
        const std::size_t out = shape[0], in = weight.size() / out;
        const Variable<TestType> w = reshape(weight, Shape{out, in});
        const Variable<TestType> product =
            out < in ? matmul(w, w, {.transpose_b = true}) : matmul(w, w, {.transpose_a = true});
        for (std::size_t i = 0; i < product.shape()[0]; ++i)
            for (std::size_t j = 0; j < product.shape()[1]; ++j)
                CHECK(product.value()(i, j) == Approx(i == j ? 2.25 : 0).margin(tolerance));
    }
}

TEST_CASE("orthogonal prefers no sign", "[nn][init]") {
    seed(15);
    int positive = 0, positive_last = 0;
    for (int i = 0; i < 1000; ++i) {
        Parameter<double> weight(Shape{3, 3});
        init::orthogonal(weight);
        positive += weight.value()(0, 0) > 0;
        positive_last += weight.value()(2, 2) > 0;
    }
    CHECK(std::abs(positive - 500) < 80);
    CHECK(std::abs(positive_last - 500) < 80);
}

TEST_CASE("Initialisers repeat themselves from a seed", "[nn][init]") {
    const auto draw = [](std::uint64_t n) {
        seed(n);
        Parameter<float> a(Shape{3, 3}), b(Shape{3, 3});
        init::glorot_uniform(a);
        init::orthogonal(b);
        return Array<float>(concatenate<float>({a, b}).value());
    };
    CHECK((draw(1) == draw(1)));
    CHECK((draw(1) != draw(2)));
}
