// Representations taken out of a network, and its Jacobian ∂ŷ/∂x.
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "message.hpp"
#include "random.hpp"
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn.hpp>

using namespace xgrad;
using xgrad::testing::close;
using xgrad::testing::message;
using xgrad::testing::random;
using xgrad::testing::same;

namespace {

template <class T> nn::Sequential<T> make_model() {
    seed(2);
    nn::Sequential<T> model{nn::Linear<T>(6, 5),
                            nn::BatchNorm<T>(5),
                            nn::ReLU<T>(),
                            nn::Dropout<T>(0.5),
                            nn::Sequential<T>{nn::Linear<T>(5, 4), nn::Tanh<T>()},
                            nn::Linear<T>(4, 3)};
    model(random<T>({16, 6}, 3));  // running statistics that are not the first ones
    return model;
}

std::vector<std::string> names_of(const auto& representations) {
    std::vector<std::string> names;
    for (const auto& [name, h] : representations) names.push_back(name);
    return names;
}

// Has a layer that its forward does not call, and calls another one twice.
class Twice : public nn::Layer<> {
public:
    void fields(nn::Fields<>& f) override { f("used", used_)("unused", unused_); }

protected:
    Variable<> forward(const Variable<>& x) override { return used_(used_(x)); }

private:
    nn::Linear<> used_{3, 3}, unused_{3, 3};
};

}  // namespace

TEMPLATE_TEST_CASE("Representations are the outputs of layers by name, in the order of execution",
                   "[nn][representations]", float, double) {
    using T = TestType;
    const nn::Sequential<T> model = make_model<T>();
    const Variable<T> x = random<T>({7, 6});

    const auto all = nn::representations(model, x);
    CHECK(names_of(all) == std::vector<std::string>{"0", "1", "2", "3", "4.0", "4.1", "4", "5", ""});
    Variable<T> h = x;
    for (const char* name : {"0", "1", "2", "3", "4", "5", ""}) {
        INFO(name);
        if (*name) h = model[static_cast<std::size_t>(*name - '0')].predict(h);
        const auto one = nn::representations(model, x, name);
        REQUIRE(one.size() == 1);
        CHECK(one[0].first == name);
        CHECK(same(one[0].second, h.value()));
    }
    CHECK(names_of(nn::representations(model, x, "4.*")) == std::vector<std::string>{"4.0", "4.1"});
    CHECK(names_of(nn::representations(model, x, "*1")) == std::vector<std::string>{"1", "4.1"});
    CHECK(model.training());
    CHECK(Tape::current().size() == 0);
}

TEST_CASE("A representation stays as it was when the model runs again", "[nn][representations]") {
    const nn::Sequential<float> model = make_model<float>();
    const auto first = nn::representations(model, random<float>({7, 6}, 1));
    std::vector<Array<float>> copies;
    for (const auto& [name, h] : first) copies.push_back(h);
    nn::representations(model, random<float>({7, 6}, 2));
    for (std::size_t i = 0; i < first.size(); ++i) CHECK(same(first[i].second, copies[i]));
}

TEST_CASE("A representation is the caller's own, also where a layer hands on its input or a parameter",
          "[nn][representations]") {
    struct Constant : nn::Layer<> {
        Parameter<> value{Shape{2, 3}};
        void fields(nn::Fields<>& f) override { f("value", value); }
        Variable<> forward(const Variable<>&) override { return value; }
    };
    const nn::Sequential<> model{nn::Dropout(0.5), nn::Identity(), nn::Flatten(), nn::Linear(3, 3), nn::Dropout(0.5),
                                 Constant()};
    const Variable<> x = random<float>({2, 3});
    const Array<float> x_before = x.value(), parameter_before = model.parameters().back().value();
    auto all = nn::representations(model, x);
    REQUIRE(all.size() == 7);
    std::vector<Array<float>> copies;
    for (const auto& [name, h] : all) copies.push_back(h);
    for (std::size_t i = 0; i < all.size(); ++i) {
        INFO(all[i].first);
        all[i].second.fill(7);
        for (std::size_t j = i + 1; j < all.size(); ++j) CHECK(same(all[j].second, copies[j]));
    }
    CHECK(same(x, x_before));
    CHECK(same(model.parameters().back(), parameter_before));
}

TEST_CASE("A layer called twice has two representations, one not called has none", "[nn][representations]") {
    const Twice model;
    const Variable<> x = random<float>({2, 3});
    CHECK(names_of(nn::representations(model, x)) == std::vector<std::string>{"used", "used", ""});
    CHECK(message([&] { nn::representations(model, x, "unused"); }) ==
          "representations: 'unused' is a part of the model, but no layer that its forward calls");
    CHECK(message([&] { nn::representations(model, x, "3"); }) ==
          "representations: no layer is named '3'; there are used, unused");
}

TEST_CASE("The Jacobian of a linear layer is its weight, that of two their product", "[nn][jacobian]") {
    seed(3);
    const nn::Linear<double> first(4, 5), second(5, 3);
    const Variable<double> x = random<double>({1, 4});
    CHECK(close(nn::input_jacobian(first, x).matrix, first.weight().value()));
    const nn::Sequential<double> both{first, nn::Identity<double>(), second};
    CHECK(close(nn::input_jacobian(both, x).matrix, matmul(second.weight(), first.weight()).value()));
}

TEMPLATE_TEST_CASE("The Jacobian agrees with differences, and nothing is changed by it", "[nn][jacobian]", float,
                   double) {
    using T = TestType;
    nn::Sequential<T> model = make_model<T>();
    const Array<T> running = dynamic_cast<nn::BatchNorm<T>&>(model[1]).running_mean();
    const Variable<T> x = random<T>({1, 6}, 4);
    const NoGrad no_grad;
    const auto jacobian = nn::input_jacobian(model, x).matrix;
    REQUIRE(jacobian.shape() == Shape{3, 6});
    const T step = std::same_as<T, float> ? T(1e-2) : T(1e-6);
    for (std::size_t j = 0; j < 6; ++j) {
        Array<T> above = x.value(), below = x.value();
        above(0, j) += step;
        below(0, j) -= step;
        const Array<T> difference = (model.predict(above) - model.predict(below)).value();
        for (std::size_t i = 0; i < 3; ++i)
            CHECK(jacobian(i, j) == Approx(difference(0, i) / (2 * step)).margin(std::same_as<T, float> ? 1e-3 : 1e-8));
    }
    CHECK(model.training());
    CHECK(same(dynamic_cast<nn::BatchNorm<T>&>(model[1]).running_mean(), running));
    for (const Variable<T>& parameter : model.parameters()) CHECK_FALSE(parameter.grad().defined());
    CHECK_FALSE(x.requires_grad());
    CHECK(Tape::current().size() == 0);
}

TEST_CASE("Norms and singular values of a Jacobian", "[nn][jacobian]") {
    nn::Linear<double> layer(3, 2);
    layer.weight() = Variable<double>{{3, 0, 0}, {0, 0, 4}};
    const auto diagonal = nn::input_jacobian(layer, random<double>({1, 3}));
    CHECK(diagonal.frobenius_norm() == Approx(5));
    CHECK(diagonal.spectral_norm() == Approx(4));
    REQUIRE(diagonal.singular_values().size() == 2);
    CHECK(diagonal.singular_values()[0] == Approx(4));
    CHECK(diagonal.singular_values()[1] == Approx(3));

    // An orthogonal network without activations is an isometry.
    seed(5);
    nn::Sequential<float> isometry{nn::Linear<float>(20, 20), nn::Linear<float>(20, 20), nn::Linear<float>(20, 20)};
    for (auto& [name, weight] : isometry.named_parameters("*.weight")) nn::init::orthogonal(weight);
    for (const double value : nn::input_jacobian(isometry, random<float>({1, 20})).singular_values())
        CHECK(value == Approx(1).epsilon(1e-5));
}

TEST_CASE("A constant output has the Jacobian 0, and an infinite Jacobian has no singular values", "[nn][jacobian]") {
    struct Constant : nn::Layer<double> {
        Variable<double> forward(const Variable<double>& x) override { return x.detach(); }
    };
    const auto zero = nn::input_jacobian(Constant(), random<double>({1, 3}));
    CHECK(zero.frobenius_norm() == 0);
    CHECK(zero.spectral_norm() == 0);
    nn::Linear<double> layer(2, 2);
    nn::init::constant(layer.weight(), INFINITY);
    CHECK(message([&] {
              nn::input_jacobian(layer, random<double>({1, 2})).singular_values();
          }) == "singular_values: the Jacobian is not finite");
}
