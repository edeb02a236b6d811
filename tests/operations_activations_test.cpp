#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "random.hpp"
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/activations.hpp>

using namespace xgrad;
using xgrad::testing::check_refused;
using xgrad::testing::random;
using xgrad::testing::same;

namespace {

using V = Variable<double>;

struct Activation {
    std::string name;
    std::function<V(const V&)> function;
    std::function<double(double)> formula;
    std::vector<double> kinks;  // where the first or second derivative jumps
};

double unit(double x) { return std::exp(x) - 1; }
double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double hard(double x) { return std::min(std::max(x / 6 + 0.5, 0.0), 1.0); }

const std::vector<Activation> activations{
    {"relu", [](const V& x) { return relu(x); }, [](double x) { return std::max(x, 0.0); }, {0}},
    {"leaky_relu", [](const V& x) { return leaky_relu(x); }, [](double x) { return x > 0 ? x : 0.01 * x; }, {0}},
    {"leaky_relu 0.3",
     [](const V& x) { return leaky_relu(x, 0.3); },
     [](double x) { return x > 0 ? x : 0.3 * x; },
     {0}},
    {"elu", [](const V& x) { return elu(x); }, [](double x) { return x > 0 ? x : unit(x); }, {0}},
    {"elu 0.5", [](const V& x) { return elu(x, 0.5); }, [](double x) { return x > 0 ? x : 0.5 * unit(x); }, {0}},
    {"selu",
     [](const V& x) { return selu(x); },
     [](double x) { return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * unit(x)); },
     {0}},
    {"celu", [](const V& x) { return celu(x); }, [](double x) { return x > 0 ? x : unit(x); }, {0}},
    {"celu 2", [](const V& x) { return celu(x, 2); }, [](double x) { return x > 0 ? x : 2 * unit(x / 2); }, {0}},
    {"gelu", [](const V& x) { return gelu(x); }, [](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2)); }, {}},
    {"gelu_tanh",
     [](const V& x) { return gelu_tanh(x); },
     [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1)) * (x + 0.044715 * x * x * x))); },
     {}},
    {"silu", [](const V& x) { return silu(x); }, [](double x) { return x * logistic(x); }, {}},
    {"mish", [](const V& x) { return mish(x); }, [](double x) { return x * std::tanh(std::log1p(std::exp(x))); }, {}},
    {"softplus", [](const V& x) { return softplus(x); }, [](double x) { return std::log1p(std::exp(x)); }, {}},
    {"softplus 2, 3",
     [](const V& x) { return softplus(x, 2, 3); },
     [](double x) { return 2 * x > 3 ? x : std::log1p(std::exp(2 * x)) / 2; },
     {1.5}},
    {"softsign", [](const V& x) { return softsign(x); }, [](double x) { return x / (1 + std::abs(x)); }, {0}},
    {"hardtanh",
     [](const V& x) { return hardtanh(x); },
     [](double x) { return std::min(std::max(x, -1.0), 1.0); },
     {-1, 1}},
    {"hardtanh -2, 0.5",
     [](const V& x) { return hardtanh(x, -2, 0.5); },
     [](double x) { return std::min(std::max(x, -2.0), 0.5); },
     {-2, 0.5}},
    {"hardsigmoid", [](const V& x) { return hardsigmoid(x); }, hard, {-3, 3}},
    {"hardswish", [](const V& x) { return hardswish(x); }, [](double x) { return x * hard(x); }, {-3, 3}},
    {"log_sigmoid", [](const V& x) { return log_sigmoid(x); }, [](double x) { return -std::log1p(std::exp(-x)); }, {0}},
};

// Random numbers in [−5, 5), moved away from the kinks.
V input(const Shape& shape, const std::vector<double>& kinks) {
    Array<double> values = random(shape, 5, -5, 5).value();
    for (double& x : values)
        for (double kink : kinks)
            if (std::abs(x - kink) < 0.01) x += 0.05;
    return values;
}

}  // namespace

TEST_CASE("activations have the values of their definitions", "[operations][activations]") {
    for (const auto& [name, function, formula, kinks] : activations) {
        INFO(name);
        const V x = random({4, 5}, 5, -5, 5);
        const V y = function(x);
        REQUIRE(y.shape() == x.shape());
        for (std::size_t i = 0; i < x.size(); ++i)
            CHECK(y.value().data()[i] == Approx(formula(x.value().data()[i])).epsilon(1e-12).margin(1e-14));
    }
}

TEST_CASE("activations have right derivatives to second order", "[operations][activations]") {
    for (const auto& [name, function, formula, kinks] : activations) {
        INFO(name);
        for (const Shape& shape : std::vector<Shape>{{}, {1, 1}, {0, 3}, {3, 7}})
            gradcheck([&function = function](auto& x) { return function(x); }, {input(shape, kinks)});
    }
}

TEST_CASE("activations have right derivatives of third order", "[operations][activations]") {
    for (const auto& [name, function, formula, kinks] : activations) {
        INFO(name);
        gradcheck([&function = function](auto& x) { return function(x); }, {input({3}, kinks)},
                  {.order = 3, .relative_tolerance = 1e-5});
    }
}

TEST_CASE("activations and their gradients stay finite far out, and carry NaN", "[operations][activations]") {
    for (const auto& [name, function, formula, kinks] : activations) {
        INFO(name);
        V x{-1e100, -1e4, -800, 800, 1e4, 1e100};
        x.requires_grad(true);
        const V y = function(x);
        y.backward(full(x.shape(), 1.0));
        const V g = x.grad();
        CHECK(std::isfinite(xt::amax(xt::abs(y.value()))()));
        CHECK(std::isfinite(xt::amax(xt::abs(g.value()))()));
        CHECK(std::isnan(function(V(std::numeric_limits<double>::quiet_NaN())).item()));
    }
}

TEST_CASE("relu has derivative 0 at 0, and its second derivative is 0", "[operations][activations]") {
    V x{-1, 0, 2};
    x.requires_grad(true);
    relu(x).backward(V{1, 1, 1});
    CHECK(same(x.grad(), {0, 0, 1}));
    x.zero_grad();
    const V g = grad<double>({relu(x)}, {x}, {V{1, 1, 1}}, {.create_graph = true})[0];
    CHECK(same(g, {0, 0, 1}));
}

TEST_CASE("prelu learns one slope for all, or one for each channel", "[operations][activations]") {
    const V x = random({2, 3, 2}, 1, -2, 2, 0.1);
    CHECK(same(prelu(V{-2, 3}, V(0.5)), {-1, 3}));
    CHECK(same(prelu(V{{-2, -2, 1}}, V{1, 0.5, 0.25}), {{-2, -1, 1}}));
    const auto apply = [](auto& a, auto& slope) { return prelu(a, slope); };
    gradcheck(apply, {x, V(0.25)});
    gradcheck(apply, {x, V{0.25}});
    gradcheck(apply, {x, random({3}, 2)});
    gradcheck(apply, {random({4, 3}, 3, -2, 2, 0.1), random({3}, 2)});
    gradcheck(apply, {random({5}, 3, -2, 2, 0.1), V{0.25}});
    gradcheck(apply, {random({0, 3}), random({3}, 2)});
    check_refused([&] { return prelu(x, random({2})); }, {"prelu", "(2,)", "(2, 3, 2)", "axis 1"});
    check_refused([] { return prelu(random({3}), random({3})); }, {"prelu", "(3,)"});
    check_refused([&] { return prelu(x, random({3, 1})); }, {"prelu", "(3, 1)", "(2, 3, 2)"});
}

TEST_CASE("activations refuse settings that make no sense", "[operations][activations][errors]") {
    check_refused([] { return hardtanh(V(1), 2, -2); }, {"hardtanh", "2 and -2"});
    check_refused([] { return gelu(V()); }, {"empty"});
}
