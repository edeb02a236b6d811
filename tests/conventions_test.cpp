// The conventions that docs/numerics.md states, row by row: values and derivatives at kinks, poles and for NaN, and what
// results depend on.
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include <xgrad/xgrad.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

using V = Variable<double>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double none = std::numeric_limits<double>::quiet_NaN();

struct Row {
    const char* what;
    std::function<V(const V&)> function;
    double x, value, slope;
};

bool same(double a, double b) { return std::isnan(b) ? std::isnan(a) : a == b; }

void check(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
        V x = row.x;
        x.requires_grad(true);
        const V y = row.function(x);
        y.backward();
        const double slope = x.grad() ? x.grad().item() : 0;
        INFO(row.what << " at " << row.x << " is " << y.item() << " with slope " << slope << ", not " << row.value << " with "
                      << row.slope);
        CHECK(same(y.item(), row.value));
        CHECK(same(slope, row.slope));
    }
}

std::vector<double> gradient(const std::function<V(const V&)>& function, V x) {
    x.requires_grad(true);
    function(x).backward();
    return {x.grad().value().begin(), x.grad().value().end()};
}

V number(std::vector<double> values) {
    Array<double> array(Shape{values.size()});
    std::copy(values.begin(), values.end(), array.begin());
    return array;
}

}  // namespace

TEST_CASE("at kinks derivatives are what the numerics page says", "[conventions]") {
    check({{"abs", [](const V& x) { return abs(x); }, 0, 0, 0},
           {"sign", [](const V& x) { return sign(x) + 0 * x; }, 0, 0, 0},
           {"floor", [](const V& x) { return floor(x) + 0 * x; }, 1, 1, 0},
           {"relu", [](const V& x) { return relu(x); }, 0, 0, 0},
           {"leaky_relu", [](const V& x) { return leaky_relu(x, 0.1); }, 0, 0, 0.1},
           {"prelu", [](const V& x) { return prelu(x, V{0.1}); }, 0, 0, 0.1},
           {"elu", [](const V& x) { return elu(x, 2); }, 0, 0, 2},
           {"celu", [](const V& x) { return celu(x, 2); }, 0, 0, 1},
           {"hardtanh", [](const V& x) { return hardtanh(x); }, -1, -1, 0},
           {"hardtanh", [](const V& x) { return hardtanh(x); }, 1, 1, 0},
           {"hardsigmoid", [](const V& x) { return hardsigmoid(x); }, -3, 0, 0},
           {"hardsigmoid", [](const V& x) { return hardsigmoid(x); }, 3, 1, 0},
           {"hardswish", [](const V& x) { return hardswish(x); }, -3, 0, 0},
           {"hardswish", [](const V& x) { return hardswish(x); }, 3, 3, 1},
           {"clip", [](const V& x) { return clip(x, -1, 1); }, -1, -1, 0},
           {"clip", [](const V& x) { return clip(x, -1, 1); }, 1, 1, 0},
           {"maximum of x and a number", [](const V& x) { return maximum(x, 0); }, 0, 0, 0.5},
           {"minimum of x and a variable", [](const V& x) { return minimum(x, V(0.0)); }, 0, 0, 0.5},
           {"maximum of x and x", [](const V& x) { return maximum(x, x); }, 0, 0, 1}});
    CHECK(gradient([](const V& x) { return max(x); }, {1, 3, 3}) == std::vector<double>{0, 0.5, 0.5});
    CHECK(gradient([](const V& x) { return min(x); }, {1, 1, 3}) == std::vector<double>{0.5, 0.5, 0});
    CHECK(gradient([](const V& x) { return prod(x); }, {2, 0, 3}) == std::vector<double>{0, 6, 0});
    CHECK(argmax(V{1, 3, 3})() == 1);
    CHECK(argmin(V{1, 1, 3})() == 0);
}

TEST_CASE("at poles and ends of their range functions are what the numerics page says", "[conventions]") {
    check({{"x^0", [](const V& x) { return pow(x, 0); }, 0, 1, 0},
           {"x^0", [](const V& x) { return pow(x, 0); }, none, 1, 0},
           {"x^1", [](const V& x) { return pow(x, 1); }, 0, 0, 1},
           {"x^0.5", [](const V& x) { return pow(x, 0.5); }, 0, 0, infinity},
           {"x^1.5", [](const V& x) { return pow(x, 1.5); }, -1, none, none},
           {"0^x", [](const V& x) { return pow(V(0.0), x); }, 2, 0, 0},
           {"0^x", [](const V& x) { return pow(V(0.0), x); }, 0, 1, 0},
           {"0^x", [](const V& x) { return pow(0, x); }, 0.5, 0, 0},
           {"0^x", [](const V& x) { return pow(V(0.0), x); }, -1, infinity, -infinity},
           {"(-2)^x", [](const V& x) { return pow(V(-2.0), x); }, 2, 4, none},
           {"(-2)^x", [](const V& x) { return pow(-2, x); }, 2, 4, none},
           {"sqrt", [](const V& x) { return sqrt(x); }, 0, 0, infinity},
           {"sqrt", [](const V& x) { return sqrt(x); }, -1, none, none},
           {"sqrt of the square", [](const V& x) { return sqrt(x * x); }, 0, 0, none},
           {"deviation of equal numbers", [](const V& x) { return sqrt(variance(x * V{1, 1, 1})); }, 2, 0, none},
           {"the same with epsilon", [](const V& x) { return sqrt(variance(x * V{1, 1, 1}) + 1e-6); }, 2, 1e-3, 0},
           {"rsqrt", [](const V& x) { return rsqrt(x); }, 0, infinity, -infinity},
           {"reciprocal", [](const V& x) { return reciprocal(x); }, 0, infinity, -infinity},
           {"log", [](const V& x) { return log(x); }, 0, -infinity, infinity},
           {"log1p", [](const V& x) { return log1p(x); }, -1, -infinity, infinity}});
}

TEST_CASE("NaN comes through, and a branch that is not taken may bring one into derivatives", "[conventions]") {
    for (const auto& function : std::vector<std::function<V(const V&)>>{
             [](const V& x) { return abs(x); }, [](const V& x) { return relu(x); }, [](const V& x) { return sign(x); },
             [](const V& x) { return elu(x); }, [](const V& x) { return hardtanh(x); },
             [](const V& x) { return hardswish(x); }, [](const V& x) { return clip(x, -1, 1); },
             [](const V& x) { return maximum(x, 0); }, [](const V& x) { return minimum(V(0.0), x); },
             [](const V& x) { return max(stack({V(1.0), x})); }, [](const V& x) { return min(stack({x, V(1.0)})); },
             [](const V& x) { return sum(softmax(stack({x, V(1.0)}))); }})
        CHECK(std::isnan(function(V(none)).item()));
    CHECK(gradient([](const V& x) { return relu(x); }, {none}) == std::vector<double>{1});  // as in a formula
    CHECK(gradient([](const V& x) { return elementwise([](auto z) { return relu(z); })(x); }, {none}) ==
          std::vector<double>{1});
    const V one = {{1}};
    CHECK(gradient([&](const V& x) { return sum(linear(reshape(x, {1, 1}), one, V(), Activation::relu)); }, {none}) ==
          std::vector<double>{1});
    CHECK(gradient([&](const V& x) {
              return sum(batch_norm_inference(reshape(x, {1, 1}), V{0}, V{1}, V{2}, V{0}, 0, Activation::relu));
          }, {none}) == std::vector<double>{2});
    CHECK(argmax(number({1, none, 5}))() == 1);
    CHECK_FALSE((V(none) == V(none))());
    CHECK_FALSE((V(none) < V(1.0))());
    CHECK((V(none) != V(none))());

    const auto formula = elementwise([](auto x) { return where(x > 0, sqrt(x), 0); });
    const auto guarded = elementwise([](auto x) { return where(x > 0, sqrt(where(x > 0, x, 1)), 0); });
    check({{"where over operations", [](const V& x) { return where(x > 0, sqrt(x), 0); }, 0, 0, none},
           {"where in a formula", formula, 0, 0, 0},
           {"its second derivative", [&](const V& x) { return grad(formula(x), x, {.create_graph = true}); }, 0, 0, none},
           {"that of a guarded one", [&](const V& x) { return grad(guarded(x), x, {.create_graph = true}) + 0 * x; }, 0, 0, 0}});
}

TEST_CASE("softmax takes infinite scores, and logsumexp does not overflow", "[conventions]") {
    CHECK(softmax(number({-infinity, 0})).value() == Array<double>{0, 1});
    CHECK(log_softmax(number({-infinity, 0})).value() == Array<double>{-infinity, 0});
    CHECK(gradient([](const V& x) { return sum(softmax(x) * V{1, 2}); }, {-infinity, 0}) == std::vector<double>{0, 0});
    CHECK(gradient([](const V& x) { return sum(log_softmax(x) * V{1, 2}); }, {-infinity, 0}) ==
          std::vector<double>{1, -1});
    CHECK(log_softmax(V{-1000, 1000}).value() == Array<double>{-2000, 0});
    CHECK(logsumexp(number({-infinity, -infinity})).item() == -infinity);
    CHECK(logsumexp(V{1000, 1000}).item() == Approx(1000 + std::log(2)));
}

TEST_CASE("reductions over no elements and over one are what the numerics page says", "[conventions]") {
    const V nothing(Array<double>(Shape{0}));
    CHECK(sum(nothing).item() == 0);
    CHECK(prod(nothing).item() == 1);
    CHECK_THROWS_AS(mean(nothing), Error);
    CHECK_THROWS_AS(variance(nothing), Error);
    CHECK_THROWS_AS(max(nothing), Error);
    CHECK_THROWS_AS(min(nothing), Error);
    CHECK(variance(V{3}).item() == 0);
    CHECK_THROWS_AS(variance(V{3}, {}, false, 1), Error);
}

TEST_CASE("sums of a million floats are right to the last places, and so is a variance far from 0", "[conventions]") {
    Array<float> values(Shape{1000000});
    Generator generator(1);
    generator.fill_uniform(std::span(values.data(), values.size()));
    double exact = 0;
    for (float value : values) exact += value;
    CHECK(sum(Variable<>(values)).item() == Approx(exact).epsilon(2e-7));

    generator.fill_normal(std::span(values.data(), values.size()), 1e3f, 1.f);
    double mean = 0, variance_of_values = 0;
    for (float value : values) mean += value / 1e6;
    for (float value : values) variance_of_values += (value - mean) * (value - mean) / 1e6;
    CHECK(variance(Variable<>(values)).item() == Approx(variance_of_values).epsilon(1e-5));
}

TEST_CASE("a training run gives the same bits with any number of threads", "[conventions]") {
    const std::size_t before = threads();
    const auto trained = [](std::size_t count) {
        set_threads(count);
        seed(1);
        Generator generator(2);
        nn::Sequential model{nn::Linear(784, 192), nn::BatchNorm(192), nn::GELU(), nn::Dropout(0.1), nn::Linear(192, 10)};
        optim::Adam optimizer(model.parameters());
        const auto digits = training::synthetic_digits(768, 3);
        for (auto [images, labels] : digits.batches(256, generator))
            optimizer.minimize(nn::cross_entropy(model(images), labels));
        return model;
    };
    const auto one = trained(1), three = trained(3);
    set_threads(before);
    for (std::size_t i = 0; i < one.parameters().size(); ++i)
        CHECK(one.parameters()[i].value() == three.parameters()[i].value());
}
