#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "message.hpp"
#include "random.hpp"
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>
#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/softmax.hpp>
#include <xgrad/nn/losses.hpp>

using namespace xgrad;
using nn::Reduction;
using testing::message;
using testing::random;

namespace {

using Loss = std::function<Variable<double>(const Variable<double>&, const Variable<double>&, Reduction)>;

// A loss with its definition for one element.
struct Case {
    std::string name;
    Loss loss;
    std::function<double(double, double)> definition;
    double low = -2, high = 2;  // of targets
};

std::vector<Case> cases() {
    const auto sigma = [](double x) { return 1 / (1 + std::exp(-x)); };
    return {
        {"mse_loss", [](auto& x, auto& t, Reduction r) { return nn::mse_loss(x, t, {r}); },
         [](double x, double t) { return (x - t) * (x - t); }},
        {"l1_loss", [](auto& x, auto& t, Reduction r) { return nn::l1_loss(x, t, {r}); },
         [](double x, double t) { return std::abs(x - t); }},
        {"huber_loss",
         [](auto& x, auto& t, Reduction r) { return nn::huber_loss(x, t, {.delta = 1.3, .reduction = r}); },
         [](double x, double t) {
             const double d = std::abs(x - t);
             return d < 1.3 ? d * d / 2 : 1.3 * (d - 0.65);
         }},
        {"smooth_l1_loss",
         [](auto& x, auto& t, Reduction r) { return nn::smooth_l1_loss(x, t, {.beta = 0.7, .reduction = r}); },
         [](double x, double t) {
             const double d = std::abs(x - t);
             return d < 0.7 ? d * d / 1.4 : d - 0.35;
         }},
        {"binary_cross_entropy_with_logits",
         [](auto& x, auto& t, Reduction r) { return nn::binary_cross_entropy_with_logits(x, t, {.reduction = r}); },
         [=](double x, double t) { return -t * std::log(sigma(x)) - (1 - t) * std::log(1 - sigma(x)); }, 0, 1},
        {"kl_div", [](auto& x, auto& t, Reduction r) { return nn::kl_div(x, t, {.reduction = r}); },
         [](double x, double t) { return t == 0 ? 0 : t * (std::log(t) - x); }, 0.1, 1},
        {"kl_div of log_target",
         [](auto& x, auto& t, Reduction r) { return nn::kl_div(x, t, {.log_target = true, .reduction = r}); },
         [](double x, double t) { return std::exp(t) * (t - x); }},
    };
}

}  // namespace

TEST_CASE("Losses are their definitions, over odd sizes and with every reduction", "[losses]") {
    for (const Case& c : cases())
        for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{5, 13}, Shape{3, 700, 2}, Shape{70001}}) {
            CAPTURE(c.name, describe(shape));
            const Variable<double> x = random(shape, 1), t = random(shape, 2, c.low, c.high);
            const Variable<double> losses = c.loss(x, t, Reduction::none);
            REQUIRE(losses.shape() == shape);
            long double sum = 0;
            double worst = 0;
            for (std::size_t i = 0; i < x.size(); ++i) {
                const double expected = c.definition(x.value().data()[i], t.value().data()[i]);
                worst = std::max(worst, std::abs(losses.value().data()[i] - expected));
                sum += expected;
            }
            CHECK(worst < 1e-14);
            const auto total = static_cast<double>(sum);
            CHECK(c.loss(x, t, Reduction::sum).item() == Approx(total).epsilon(1e-13));
            CHECK(c.loss(x, t, Reduction::mean).item() == Approx(total / static_cast<double>(x.size())).epsilon(1e-13));
        }
}

TEST_CASE("Losses have derivatives by prediction and target, of every order", "[losses]") {
    for (const Case& c : cases())
        for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
            CAPTURE(c.name);
            gradcheck([&](const auto& x, const auto& t) { return c.loss(x, t, reduction); },
                      {random({3, 5}, 3), random({3, 5}, 4, c.low, c.high)});
        }
}

TEST_CASE("Where a loss is smooth, its second derivative is right also at 0", "[losses]") {
    const auto second = [](const Loss& loss, double at) {
        Variable<double> x(at);
        x.requires_grad(true);
        const Variable<double> first = grad(loss(x, Variable<double>(at), Reduction::sum), x, {.create_graph = true});
        return grad(first, x).item();
    };
    CHECK(second([](auto& x, auto& t, Reduction) { return nn::mse_loss(x, t); }, 0) == 2);
    CHECK(second([](auto& x, auto& t, Reduction) { return nn::huber_loss(x, t); }, 0) == 1);
    CHECK(second([](auto& x, auto& t, Reduction) { return nn::smooth_l1_loss(x, t); }, 0.5) == 1);
    CHECK(second([](auto& x, auto& t, Reduction) { return nn::binary_cross_entropy_with_logits(x, t); }, 0) == 0.25);
}

TEST_CASE("smooth_l1_loss is huber_loss divided by its delta, and with beta 0 it is l1_loss", "[losses]") {
    const Variable<double> x = random({40}, 5), t = random({40}, 6);
    CHECK(nn::smooth_l1_loss(x, t, {.beta = 0.4}).item() == Approx(nn::huber_loss(x, t, {.delta = 0.4}).item() / 0.4));
    CHECK(nn::smooth_l1_loss(x, t, {.beta = 0}).item() == nn::l1_loss(x, t).item());
}

TEST_CASE("Binary cross entropy weighs elements and the class 1", "[losses]") {
    const Variable<double> x = random({4, 3}, 7), t = random({4, 3}, 8, 0, 1);
    const Variable<double> weight = random({4, 1}, 9, 0.5, 2), pos_weight = random({3}, 10, 0.5, 2);
    const auto loss = [&](const Variable<double>& logits, const Variable<double>& target, Reduction reduction) {
        return nn::binary_cross_entropy_with_logits(
            logits, target, {.weight = weight, .pos_weight = pos_weight, .reduction = reduction});
    };
    double sum = 0;
    for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t j = 0; j < 3; ++j) {
            const double s = 1 / (1 + std::exp(-x.value()(i, j))), y = t.value()(i, j);
            const double expected =
                -weight.value()(i, 0) * (pos_weight.value()(j) * y * std::log(s) + (1 - y) * std::log(1 - s));
            CHECK(loss(x, t, Reduction::none).value()(i, j) == Approx(expected).epsilon(1e-13));
            sum += expected;
        }
    CHECK(loss(x, t, Reduction::mean).item() == Approx(sum / 12).epsilon(1e-13));
    for (const Reduction reduction : {Reduction::mean, Reduction::none})
        gradcheck([&](const auto& a, const auto& b) { return loss(a, b, reduction); }, {x, t});
}

TEST_CASE("Binary cross entropy of extreme logits is exact", "[losses]") {
    Variable<> x{1e4, -1e4, 1e4, -1e4, 30, -30};
    x.requires_grad(true);
    const Variable<> t{1, 0, 0, 1, 1, 0};
    const Variable<> losses = nn::binary_cross_entropy_with_logits(x, t, {.reduction = Reduction::none});
    const auto tiny = static_cast<float>(std::log1p(std::exp(-30.0)));
    const std::vector<float> expected{0, 0, 1e4, 1e4, tiny, tiny};
    for (std::size_t i = 0; i < 6; ++i) CHECK(losses.value()(i) == Approx(expected[i]));
    sum(losses).backward();
    const std::vector<float> gradient{0, 0, 1, -1, -tiny, tiny};
    for (std::size_t i = 0; i < 6; ++i) CHECK(x.grad().value()(i) == Approx(gradient[i]));
}

TEST_CASE("kl_div with batchmean is the divergence; a target of 0 adds nothing", "[losses]") {
    const Variable<double> p{{0.5, 0.5, 0.0}, {0.2, 0.3, 0.5}}, q{{0.25, 0.5, 0.25}, {0.2, 0.2, 0.6}};
    double divergence = 0;
    for (std::size_t i = 0; i < 6; ++i) {
        const double a = p.value().data()[i], b = q.value().data()[i];
        if (a > 0) divergence += a * std::log(a / b);
    }
    CHECK(nn::kl_div(log(q), p, {.reduction = Reduction::batchmean}).item() == Approx(divergence / 2).epsilon(1e-14));
    CHECK(nn::kl_div(log(q), p).item() == Approx(divergence / 6).epsilon(1e-14));
}

TEST_CASE("nll_loss after log_softmax is cross_entropy", "[losses]") {
    const Array<std::int64_t> labels{{{0, 1}, {-100, 1}}, {{1, 0}, {0, 2}}};
    const Variable<double> z = random({2, 3, 2, 2}, 11);
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
        for (const bool weighted : {false, true}) {
            const Variable<double> weight = weighted ? Variable<double>{0.5, 1.0, 2.0} : Variable<double>();
            const auto nll = [&](const Variable<double>& x) {
                return nn::nll_loss(x, labels, {.weight = weight, .reduction = reduction});
            };
            const Variable<double> expected = nn::cross_entropy(z, labels, {.weight = weight, .reduction = reduction});
            const Variable<double> actual = nll(log_softmax(z, 1));
            REQUIRE(actual.shape() == expected.shape());
            CHECK(xt::allclose(actual.value(), expected.value(), 1e-14, 1e-15));
            gradcheck(nll, {z});
        }
    CHECK(message([&] { nn::nll_loss(z, {0, 1}); }) ==
          "nll_loss: labels of shape (2,) do not fit an input of shape (2, 3, 2, 2); expected (2, 2, 2), a label for "
          "each sample; the classes stand along axis 1");
}

TEST_CASE("A float sum of a million losses is right to a few roundings, with any number of threads", "[losses]") {
    const Variable<> x = random<float>({1 << 20}, 12), t = random<float>({1 << 20}, 13);
    long double expected = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const long double e = static_cast<long double>(x.value()(i)) - t.value()(i);
        expected += e * e;
    }
    const std::size_t before = threads();
    set_threads(1);
    const float one = nn::mse_loss(x, t, {Reduction::sum}).item();
    set_threads(2);
    const float two = nn::mse_loss(x, t, {Reduction::sum}).item();
    set_threads(before);
    CHECK(one == two);
    CHECK(std::abs(one / static_cast<double>(expected) - 1) < 4e-7);
}

TEST_CASE("Targets may be expressions, numbers of another kind, or braces", "[losses]") {
    const Variable<> x{1, 2, 3};
    CHECK(nn::mse_loss(x, {1, 2, 5}).item() == Approx(4.0 / 3));
    CHECK(nn::mse_loss(x, Array<std::int64_t>{1, 2, 5}).item() == Approx(4.0 / 3));
    CHECK(nn::mse_loss(x, x.value() + 1).item() == 1);
}

TEST_CASE("Losses say what is wrong with their arguments", "[losses]") {
    const Variable<double> column = random({32, 1}, 1), row = random({32}, 2), other = random({31}, 3);
    CHECK(message([&] { nn::mse_loss(column, row); }) ==
          "mse_loss: the shapes of the prediction, (32, 1), and the target, (32,), differ; broadcasting would go over "
          "1024 pairs, (32, 32): reshape one of them");
    CHECK(message([&] { nn::l1_loss(row, other); }) ==
          "l1_loss: the shapes of the prediction, (32,), and the target, (31,), differ");
    CHECK_THROWS_AS(nn::huber_loss(column, row), Error);
    CHECK_THROWS_AS(nn::smooth_l1_loss(column, row), Error);
    CHECK_THROWS_AS(nn::kl_div(column, row), Error);
    CHECK_THROWS_AS(nn::binary_cross_entropy_with_logits(column, row), Error);
    const Variable<double> nothing(empty<double>({0, 3}));
    CHECK(message([&] { nn::mse_loss(nothing, nothing); }) ==
          "mse_loss: the mean over no element: the shape is (0, 3)");
    CHECK(nn::mse_loss(nothing, nothing, {Reduction::sum}).item() == 0);
    CHECK(nn::mse_loss(nothing, nothing, {Reduction::none}).shape() == Shape{0, 3});
    CHECK(message([&] { nn::mse_loss(row, row, {Reduction::batchmean}); }) ==
          "mse_loss: the reduction batchmean is for kl_div only; expected mean, sum or none");
    CHECK(message([&] { nn::kl_div(Variable<double>(1.0), 1, {.reduction = Reduction::batchmean}); }) ==
          "kl_div: a prediction of shape () has no batch to take the mean over");
    CHECK(message([&] { nn::huber_loss(row, row, {.delta = 0}); }) == "huber_loss: delta is 0; expected above 0");
    CHECK(message([&] { nn::smooth_l1_loss(row, row, {.beta = -1}); }) ==
          "smooth_l1_loss: beta is -1; expected at least 0");
    CHECK(message([&] { nn::binary_cross_entropy_with_logits(row, row, {.pos_weight = other}); }) ==
          "binary_cross_entropy_with_logits: a pos_weight of shape (31,) does not broadcast to logits of shape (32,)");
    CHECK(
        message([&] { nn::mse_loss(row, Variable<double>()); }) ==
        "this Variable is empty: it stands for no value, or was moved from; x.grad() is empty until backward has run, "
        "and grad() gives an empty one for an input that the output does not depend on");
}
