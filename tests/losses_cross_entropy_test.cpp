#include <cmath>
#include <numeric>
#include <vector>

#include "catch.hpp"
#include "message.hpp"
#include "random.hpp"
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/nn/losses.hpp>

using namespace xgrad;
using nn::Reduction;
using testing::message;
using Labels = Array<std::int64_t>;

namespace {

// The definition, word for word: losses and weights of the samples, from logits (N, C).
struct Definition {
    std::vector<double> losses, weights;

    Definition(const Array<double>& z, const Labels& labels, const std::vector<double>& w, double smoothing,
               std::int64_t ignored) {
        const std::size_t classes = z.shape()[1];
        for (std::size_t n = 0; n < z.shape()[0]; ++n) {
            double total = 0, every = 0;
            for (std::size_t c = 0; c < classes; ++c) total += std::exp(z(n, c));
            for (std::size_t c = 0; c < classes; ++c) every += w[c] * (z(n, c) - std::log(total));
            const bool counts = labels(n) != ignored;
            const auto label = static_cast<std::size_t>(counts ? labels(n) : 0);
            const double log_p = z(n, label) - std::log(total), spread = smoothing / static_cast<double>(classes);
            losses.push_back(counts ? -(1 - smoothing) * w[label] * log_p - spread * every : 0);
            weights.push_back(counts ? w[label] : 0);
        }
    }
    double sum() const { return std::accumulate(losses.begin(), losses.end(), 0.0); }
    double mean() const { return sum() / std::accumulate(weights.begin(), weights.end(), 0.0); }
};

const Array<double> logits_44{
    {0.3, -1.2, 2.0, 0.1}, {1.5, 0.2, -0.7, 0.9}, {-0.4, 0.8, 0.6, -2.1}, {0.0, 1.0, 2.0, 3.0}};
const Labels labels_4{2, 0, -100, 1};

}  // namespace

TEST_CASE("cross_entropy is its definition, with weights, smoothing and ignored labels", "[losses]") {
    const Variable<double> z(logits_44);
    const std::vector<double> ones(4, 1.0), w{0.5, 2.0, 1.0, 0.25};
    for (const double smoothing : {0.0, 0.1, 1.0})
        for (const bool weighted : {false, true}) {
            const Definition expected(logits_44, labels_4, weighted ? w : ones, smoothing, -100);
            nn::CrossEntropyOptions<double> options{.label_smoothing = smoothing};
            if (weighted) options.weight = {0.5, 2.0, 1.0, 0.25};
            CHECK(nn::cross_entropy(z, labels_4, options).item() == Approx(expected.mean()).epsilon(1e-14));
            options.reduction = Reduction::sum;
            CHECK(nn::cross_entropy(z, labels_4, options).item() == Approx(expected.sum()).epsilon(1e-14));
            options.reduction = Reduction::none;
            const Variable<double> losses = nn::cross_entropy(z, labels_4, options);
            REQUIRE(losses.shape() == Shape{4});
            for (std::size_t n = 0; n < 4; ++n) CHECK(losses.value()(n) == Approx(expected.losses[n]).epsilon(1e-14));
        }
}

TEST_CASE("cross_entropy takes (N, C), (C) and (N, C, d…)", "[losses]") {
    const Variable<double> z = testing::random({2, 3, 2, 2}, 1);
    const Labels labels{{{0, 1}, {2, 1}}, {{1, 0}, {0, 2}}};
    const Variable<double> losses = nn::cross_entropy(z, labels, {.reduction = Reduction::none});
    REQUIRE(losses.shape() == Shape{2, 2, 2});
    double sum = 0;
    for (std::size_t n = 0; n < 2; ++n)
        for (std::size_t i = 0; i < 2; ++i)
            for (std::size_t j = 0; j < 2; ++j) {
                const Variable<double> sample = view(z, n, xt::all(), i, j);
                const Labels label(Shape{}, labels(n, i, j));
                const double loss = nn::cross_entropy(sample, label).item();
                CHECK(losses.value()(n, i, j) == Approx(loss).epsilon(1e-14));
                sum += loss;
            }
    CHECK(nn::cross_entropy(z, labels).item() == Approx(sum / 8).epsilon(1e-14));
}

TEST_CASE("cross_entropy has derivatives of every order", "[losses]") {
    const Labels labels{2, 0, -100, 1};
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
        for (const double smoothing : {0.0, 0.2})
            for (const bool weighted : {false, true}) {
                nn::CrossEntropyOptions<double> options{.label_smoothing = smoothing, .reduction = reduction};
                if (weighted) options.weight = {0.5, 2.0, 1.0};
                gradcheck([&](const auto& z) { return nn::cross_entropy(z, labels, options); },
                          {testing::random({4, 3}, 2)});
            }
    gradcheck([&](const auto& z) { return nn::cross_entropy(z, Labels{{1, 0, 1}}, {.label_smoothing = 0.1}); },
              {testing::random({1, 2, 3}, 3)});
    gradcheck([&](const auto& z) { return nn::cross_entropy(z, Labels(Shape{}, 2)); }, {testing::random({3}, 4)},
              {.order = 3});
}

TEST_CASE("cross_entropy's backward may be run again when the graph is retained", "[losses]") {
    Variable<double> z = testing::random({3, 4}, 5);
    z.requires_grad(true);
    const Variable<double> loss = nn::cross_entropy(z, {1, 3, 0}, {.label_smoothing = 0.1});
    loss.backward(BackwardOptions{.retain_graph = true});
    const Array<double> once = z.grad().value();
    loss.backward(BackwardOptions{.retain_graph = true});
    loss.backward();
    CHECK(xt::allclose(z.grad().value(), 3 * once, 1e-14, 0));
    CHECK(Tape::current().size() == 0);
}

TEST_CASE("cross_entropy of extreme logits is exact", "[losses]") {
    Variable<> z{{1e4, -1e4, 0}, {-1e4, -1e4, 1e4}};
    z.requires_grad(true);
    const Variable<> right = nn::cross_entropy(z, {0, 2});
    CHECK(right.item() == 0);
    const Variable<> wrong = nn::cross_entropy(z, {1, 2});
    CHECK(wrong.item() == 1e4f);
    wrong.backward();
    CHECK((z.grad().value() == Array<float>{{0.5, -0.5, 0}, {0, 0, 0}}));
}

TEST_CASE("cross_entropy keeps nothing of what the caller may change", "[losses]") {
    Variable<double> z = testing::random({2, 3}, 6);
    z.requires_grad(true);
    Labels labels{0, 2};
    nn::cross_entropy(z, labels).backward();
    const Array<double> expected = z.grad().value();
    z.zero_grad();
    const Variable<double> loss = nn::cross_entropy(z, labels);
    labels(0) = 1;
    loss.backward();
    CHECK((z.grad().value() == expected));
}

TEST_CASE("cross_entropy tells observers its labels", "[losses]") {
    struct Watch : Observer {
        void on_record(const Recorded& recorded) override {
            if (recorded.operation != "cross_entropy") return;
            for (const Attribute& attribute : recorded.attributes)
                if (attribute.name == "labels") labels = *std::get<const Labels*>(attribute.value);
        }
        Labels labels;
    } watch;
    nn::cross_entropy(testing::random({2, 3}, 6), {2, 1});
    CHECK((watch.labels == Labels{2, 1}));
}

TEST_CASE("cross_entropy says what is wrong with its arguments", "[losses]") {
    const Variable<double> z = testing::random({2, 3}, 7);
    CHECK(message([&] { nn::cross_entropy(z, {0, 3}); }) ==
          "cross_entropy: label 3 of sample 1 is out of range: with 3 classes labels are 0 to 2 (or "
          "ignore_index, -100)");
    CHECK(message([&] { nn::cross_entropy(z, {-1, 0}); }) ==
          "cross_entropy: label -1 of sample 0 is out of range: with 3 classes labels are 0 to 2 (or "
          "ignore_index, -100)");
    CHECK(message([&] { nn::cross_entropy(z, {0, 1, 2}); }) ==
          "cross_entropy: labels of shape (3,) do not fit an input of shape (2, 3); expected (2,), a label for "
          "each sample");
    CHECK(message([&] { nn::cross_entropy(z, Labels(Shape{2, 1}, 0)); }) ==
          "cross_entropy: labels of shape (2, 1) do not fit an input of shape (2, 3); expected (2,), a label for "
          "each sample");
    CHECK(message([&] { nn::cross_entropy(testing::random({2, 5, 3}, 7), Labels(Shape{2, 5}, 0)); }) ==
          "cross_entropy: labels of shape (2, 5) do not fit an input of shape (2, 5, 3); expected (2, 3), a label for "
          "each sample; the classes stand along axis 1");
    CHECK(message([&] { nn::cross_entropy(Variable<double>(1.0), Labels(Shape{}, 0)); }) ==
          "cross_entropy: an input of shape () has no classes; expected (N, C), (C) or (N, C, d…)");
    CHECK(message([&] { nn::cross_entropy(Variable<double>(empty<double>({2, 0})), {0, 0}); }) ==
          "cross_entropy: an input of shape (2, 0) has no classes");
    CHECK(message([&] { nn::cross_entropy(z, {0, 1}, {.weight = {1, 2}}); }) ==
          "cross_entropy: a weight of shape (2,) does not fit 3 classes; expected (3,)");
    CHECK(message([&] { nn::cross_entropy(z, {0, 1}, {.label_smoothing = 1.5}); }) ==
          "cross_entropy: label_smoothing is 1.5; expected 0 to 1");
    CHECK(message([&] { nn::cross_entropy(z, {-100, -100}); }) ==
          "cross_entropy: the mean over no sample: all labels are ignored, or their classes have weight 0");
    const Variable<double> nothing(empty<double>({0, 3}));
    CHECK(message([&] { nn::cross_entropy(nothing, empty<std::int64_t>({0})); }) ==
          "cross_entropy: the mean over no sample: the batch is empty");
    CHECK(nn::cross_entropy(nothing, empty<std::int64_t>({0}), {.reduction = Reduction::sum}).item() == 0);
    const Variable<double> weight = Variable<double>{1, 1, 1}.requires_grad(true);
    CHECK(message([&] { nn::cross_entropy(z, {0, 1}, {.weight = weight}); }) ==
          "cross_entropy: the weight requires a gradient, but has none here; give weight.detach()");
}
