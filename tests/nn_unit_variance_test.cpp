// Layer-sequential unit-variance initialisation from data.
#include <cmath>

#include "catch.hpp"
#include "message.hpp"
#include "random.hpp"
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/nn.hpp>

using namespace xgrad;
using xgrad::testing::message;
using xgrad::testing::random;
using xgrad::testing::same;
namespace init = xgrad::nn::init;

namespace {

// Its own activations are no layers, and it goes around its inner part.
class Block : public nn::Layer<> {
public:
    explicit Block(std::size_t width) : inner_(width, width), outer_(width, width) {}
    void fields(nn::Fields<>& f) override { f("outer", outer_)("inner", inner_); }  // not in the order of execution

protected:
    Variable<> forward(const Variable<>& x) override { return x + outer_(square(inner_(x))); }

private:
    nn::Linear<> inner_, outer_;
};

nn::Sequential<float> make_model() {
    seed(31);
    return nn::Sequential{nn::Linear(8, 30),
                          nn::ReLU(),
                          nn::Linear(30, 20, {.bias = false}),
                          nn::BatchNorm(20),
                          nn::Tanh(),
                          Block(20),
                          nn::LayerNorm(Shape{20}),
                          nn::Sequential{nn::Linear(20, 4)}};
}

// The variance of the first output of a layer in a forward in training mode.
struct VarianceOf : nn::LayerWatcher<float> {
    VarianceOf(nn::Layer<float>& model, const Variable<>& x, const nn::Module<float>* which) : layer(which) {
        model(x);
    }
    void on_call(const nn::Layer<float>& called, const Variable<>&, const Variable<>& output) override {
        if (&called == layer && !(value >= 0)) value = variance(output).item();
    }
    const nn::Module<float>* layer;
    double value = NAN;
};

}  // namespace

TEST_CASE("Layer-sequential initialisation makes the variance of each layer with a weight 1, through any layers",
          "[nn][init][unit_variance]") {
    nn::Sequential<float> model = make_model();
    const Variable<> x = random<float>({64, 8}, 1, 0, 100);
    init::layer_sequential_unit_variance(model, x, {.tolerance = 1e-3});
    int layers = 0;
    for (const auto& [name, module] : model.named_modules())
        if (dynamic_cast<nn::Linear<float>*>(module)) {
            INFO(name);
            ++layers;
            CHECK(VarianceOf(model, x, module).value == Approx(1).margin(2e-3));
        }
    CHECK(layers == 5);
}

TEST_CASE("Layer-sequential initialisation makes weights orthogonal up to a factor", "[nn][init][unit_variance]") {
    seed(32);
    nn::Sequential<double> model{nn::Linear<double>(6, 4), nn::Tanh<double>(), nn::Linear<double>(4, 4)};
    init::layer_sequential_unit_variance(model, random<double>({32, 6}));
    for (const auto& [name, weight] : model.named_parameters("*.weight")) {
        const Array<double> product = matmul(weight, weight, {.transpose_b = true}).value();
        for (std::size_t i = 0; i < 4; ++i)
            for (std::size_t j = 0; j < 4; ++j)
                CHECK(product(i, j) == Approx(i == j ? product(0, 0) : 0).margin(1e-12 * product(0, 0)));
    }
}

TEST_CASE("Layer-sequential initialisation changes weights and nothing else", "[nn][init][unit_variance]") {
    nn::Sequential<float> model = make_model();
    model(random<float>({64, 8}, 2));
    model[7].freeze();
    const nn::Sequential<float> before = model;
    init::layer_sequential_unit_variance(model, random<float>({64, 8}, 1));
    const auto was = before.named_parameters(), is = model.named_parameters();
    for (std::size_t i = 0; i < is.size(); ++i) {
        const std::string& name = is[i].first;
        INFO(name);
        const bool changes = is[i].second.dimension() == 2 && name != "7.0.weight";
        CHECK(same(is[i].second, was[i].second.value()) == !changes);
        CHECK_FALSE(is[i].second.grad().defined());
    }
    const auto& norm = dynamic_cast<const nn::BatchNorm<float>&>(model[3]);
    const auto& old = dynamic_cast<const nn::BatchNorm<float>&>(before[3]);
    CHECK(same(norm.running_mean(), old.running_mean()));
    CHECK(same(norm.running_var(), old.running_var()));
    CHECK(norm.num_batches_tracked() == old.num_batches_tracked());
    CHECK(model.training());
}

TEST_CASE("Layer-sequential initialisation that cannot succeed says why, with no weight changed",
          "[nn][init][unit_variance]") {
    const auto refused = [](nn::Layer<float>& model, const Variable<>& x, const std::string& expected) {
        std::vector<Array<float>> before;
        for (const auto& parameter : model.parameters()) before.push_back(parameter.value());
        CHECK(message([&] { init::layer_sequential_unit_variance(model, x); }) == expected);
        const auto after = model.parameters();
        for (std::size_t i = 0; i < after.size(); ++i) CHECK(same(after[i], before[i]));
    };
    seed(33);
    const Variable<> x = random<float>({16, 3});

    struct Unused : nn::Layer<float> {
        nn::Linear<> used{3, 3}, unused{3, 2};
        void fields(nn::Fields<>& f) override { f("used", used)("unused", unused); }
        Variable<> forward(const Variable<>& input) override { return used(input); }
    } unused;
    refused(unused, x, "layer_sequential_unit_variance: the forward does not reach layer 'unused', Linear(3, 2)");

    // The second layer's input is 0 for all samples.
    nn::Sequential<float> dead{nn::Linear(3, 3), nn::Sequential{nn::ReLU(), nn::Linear(3, 2, {.bias = false})}};
    init::constant(dynamic_cast<nn::Linear<>&>(dead[0]).bias(), -100);
    refused(dead, x,
            "layer_sequential_unit_variance: on this batch the output of layer '1.1', Linear(3, 2, no bias), has the "
            "variance 0, which no factor makes 1");

    nn::Sequential<float> biased{nn::Linear(3, 2)};
    dynamic_cast<nn::Linear<>&>(biased[0]).bias() = Variable<>{-10, 10};
    CHECK(message([&] { init::layer_sequential_unit_variance(biased, x); }).find("after 20 steps; expected 1") !=
          std::string::npos);

    nn::Sequential<float> fits{nn::Linear(3, 2)};
    refused(fits, random<float>({16, 4}),
            "linear: an input of shape (16, 4) does not fit a weight of shape (2, 3): the last size must be 3 (in 0: "
            "Linear(3, 2))");
}
