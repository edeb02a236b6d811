#include <algorithm>
#include <catch.hpp>
#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/training/dataset.hpp>
#include <xgrad/training/synthetic_digits.hpp>

using namespace xgrad;
using training::Dataset;

namespace {

// Sample i is (10 i, 10 i + 1) with label i.
template <class T = float> Dataset<T> numbered(std::size_t n) {
    Array<T> inputs = empty<T>({n, 2});
    Array<std::int64_t> labels = empty<std::int64_t>({n});
    for (std::size_t i = 0; i < n; ++i) {
        inputs(i, 0) = static_cast<T>(10 * i);
        inputs(i, 1) = static_cast<T>(10 * i + 1);
        labels(i) = static_cast<std::int64_t>(i);
    }
    return {std::move(inputs), std::move(labels)};
}

// The labels of all batches, after checking that each has its own inputs.
template <class T> std::vector<std::int64_t> labels_of(const training::Batches<T, std::int64_t>& batches) {
    std::vector<std::int64_t> all;
    for (auto [inputs, labels] : batches) {
        REQUIRE(inputs.shape() == Shape{labels.size(), 2});
        for (std::size_t i = 0; i < labels.size(); ++i) {
            REQUIRE(inputs.value()(i, 0) == static_cast<T>(10 * labels(i)));
            REQUIRE(inputs.value()(i, 1) == static_cast<T>(10 * labels(i) + 1));
            all.push_back(labels(i));
        }
    }
    return all;
}

std::vector<std::int64_t> counting(std::size_t n) {
    std::vector<std::int64_t> numbers(n);
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
}

}  // namespace

TEST_CASE("Batches in order cover the set once and copy no inputs", "[dataset]") {
    const auto set = numbered(10);
    const auto batches = set.batches(4);
    CHECK(batches.size() == 3);
    CHECK(batches.samples() == 10);
    CHECK(labels_of(batches) == counting(10));
    CHECK(batches[2].inputs.shape() == Shape{2, 2});
    CHECK(batches[1].inputs.value().data() == set.inputs().data() + 8);
    CHECK_FALSE(batches[0].inputs.requires_grad());
}

TEMPLATE_TEST_CASE("Shuffled batches cover the set once, in an order that the generator decides", "[dataset]", float,
                   double) {
    const auto set = numbered<TestType>(1000);
    Generator generator(1), again(1);
    const auto first = labels_of(set.batches(64, generator));
    const auto second = labels_of(set.batches(64, generator));
    CHECK(first == labels_of(set.batches(64, again)));
    CHECK(first != second);
    auto sorted = first;
    CHECK_FALSE(std::is_sorted(sorted.begin(), sorted.end()));
    std::sort(sorted.begin(), sorted.end());
    CHECK(sorted == counting(1000));
}

TEST_CASE("A batch does not change the set that it looks at", "[dataset]") {
    Dataset<float, float> set(full(Shape{4, 2}, 1.f), full(Shape{4}, 2.f));
    Generator generator(1);
    const auto add_one = [](Array<>& values) { values += 1; };
    for (auto [inputs, targets] : set.batches(2)) {
        CHECK_THROWS_AS(inputs.update(add_one), Error);
        CHECK_THROWS_AS(targets.assign({0, 0}), Error);
        CHECK_THROWS_AS(inputs.detach().update(add_one), Error);
        CHECK_THROWS_AS(reshape(inputs, {-1}).update(add_one), Error);
        Variable<> copy(inputs.value());
        copy.update(add_one);
        CHECK(copy.value()(0, 0) == 2);
        inputs.requires_grad(true);  // its gradient is wanted, as for an adversarial example
        sum(square(inputs)).backward();
        CHECK(inputs.grad().value()(1, 1) == 2);
    }
    for (auto [inputs, targets] : set.batches(2, generator)) inputs.update(add_one);
    CHECK(set.inputs() == full(Shape{4, 2}, 1.f));
    CHECK(set.targets() == full(Shape{4}, 2.f));

    const Dataset<double, double> precise(full(Shape{4, 2}, 1.0), full(Shape{4}, 2.0));
    for (auto [inputs, targets] : precise.batches(2))
        CHECK_THROWS_AS(gradcheck([&x = inputs] { return sum(square(x)); }, std::vector{inputs}), Error);

    Dataset<> labelled(full(Shape{4, 2}, 1.f), full(Shape{4}, std::int64_t{3}));
    for (auto [inputs, labels] : labelled.batches(4)) labels.fill(0);
    CHECK(labelled.targets()(0) == 3);
}

TEST_CASE("A range of batches can be gone over again in the same order", "[dataset]") {
    Generator generator(2);
    const auto batches = numbered(100).batches(7, generator);  // and outlives the set
    CHECK(labels_of(batches) == labels_of(batches));
}

TEST_CASE("The last short batch can be dropped", "[dataset]") {
    Generator generator(3);
    const auto set = numbered(10);
    CHECK(set.batches(4, {.drop_last = true}).size() == 2);
    CHECK(labels_of(set.batches(4, {.drop_last = true})) == counting(8));
    CHECK(labels_of(set.batches(4, generator, {.drop_last = true})).size() == 8);
    CHECK(set.batches(5, {.drop_last = true}).size() == 2);
    CHECK(set.batches(100).size() == 1);
}

TEST_CASE("Parts of a set look at its memory", "[dataset]") {
    const auto set = numbered(10);
    const auto head = set.take(3), tail = set.drop(3);
    CHECK(head.size() == 3);
    CHECK(tail.size() == 7);
    CHECK(tail.inputs().data() == set.inputs().data() + 6);
    CHECK(labels_of(tail.batches(2)).front() == 3);
    CHECK(set.take(10).size() == 10);
    CHECK(set.drop(0).size() == 10);
}

TEST_CASE("A subset has the samples that it names, and memory of its own", "[dataset]") {
    const training::Dataset<> set(Array<>{{1, 2}, {3, 4}, {5, 6}}, Array<std::int64_t>{0, 1, 2});
    const std::vector<std::int64_t> samples{2, 0, 2};
    const auto subset = set.subset(samples);
    CHECK((subset.inputs() == Array<>{{5, 6}, {1, 2}, {5, 6}}));
    CHECK((subset.targets() == Array<std::int64_t>{2, 0, 2}));
    CHECK_FALSE(subset.batches(3)[0].inputs.value().data() == set.batches(3)[0].inputs.value().data());
    CHECK_THROWS_AS(set.subset(std::span<const std::int64_t>()), Error);
}

TEST_CASE("Targets of a regression come as variables, samples in any shape", "[dataset]") {
    Array<double> inputs({4, 1, 3}, 0.5);
    Array<double> targets({4, 2}, 0.25);
    targets(3, 1) = 9;
    const Dataset<double, double> set(std::move(inputs), std::move(targets));
    for (auto [x, y] : set.batches(4)) {
        CHECK(x.shape() == Shape{4, 1, 3});
        CHECK(y.shape() == Shape{4, 2});
        const Variable<double>& variable = y;
        CHECK(variable.value()(3, 1) == 9);
    }
}

TEST_CASE("A set refuses counts that differ, and batches of nothing", "[dataset]") {
    const auto make = [](Shape inputs, Shape labels) {
        return Dataset(Array<float>(inputs, 0.f), Array<std::int64_t>(labels, 0));
    };
    CHECK_THROWS_WITH(make({3, 2}, {4}), "Dataset: 3 inputs (3, 2) but 4 targets (4,)");
    CHECK_THROWS_WITH(make({0, 2}, {0}), "Dataset: there are no samples");
    CHECK_THROWS_WITH(make({3, 2}, {3, 1}), "Dataset: labels must have the shape (n,), not (3, 1)");
    CHECK_THROWS_AS(make({}, {}), Error);
    const auto set = numbered(5);
    CHECK_THROWS_WITH(set.batches(0), "batches: the batch size is 0; it must be at least 1");
    CHECK_THROWS_WITH(set.batches(6, {.drop_last = true}),
                      "batches: 5 samples make no full batch of 6, and shorter ones are dropped");
    CHECK_THROWS_WITH(set.take(6), "take: 6 samples of a set of 5; it must be 1 to 5");
    CHECK_THROWS_AS(set.take(0), Error);
    CHECK_THROWS_AS(set.drop(5), Error);
    CHECK_THROWS_AS(set.batches(2)[3], Error);
}

TEST_CASE("Synthetic digits are the same for the same seed, whatever their count", "[dataset]") {
    const auto some = training::synthetic_digits(50, 1), more = training::synthetic_digits(80, 1);
    CHECK(std::equal(some.inputs().begin(), some.inputs().end(), more.inputs().begin()));
    CHECK(std::equal(some.targets().begin(), some.targets().end(), more.targets().begin()));
    const auto other = training::synthetic_digits(50, 2);
    CHECK_FALSE(std::equal(some.inputs().begin(), some.inputs().end(), other.inputs().begin()));
    CHECK_THROWS_AS(training::synthetic_digits(0, 1), Error);
}

TEST_CASE("Synthetic digits are pixels in [0, 1] of ten classes equally often", "[dataset]") {
    const auto set = training::synthetic_digits<double>(5000, 3);
    REQUIRE(set.inputs().shape() == Shape{5000, 784});
    CHECK(*std::min_element(set.inputs().begin(), set.inputs().end()) == 0);
    CHECK(*std::max_element(set.inputs().begin(), set.inputs().end()) == 1);
    double ink = 0;
    for (double value : set.inputs()) ink += value / static_cast<double>(set.inputs().size());
    CHECK(ink == Approx(0.13).margin(0.03));  // MNIST's is 0.1307
    std::vector<int> counts(10);
    for (std::int64_t label : set.targets()) ++counts.at(static_cast<std::size_t>(label));
    for (int count : counts) CHECK(std::abs(count - 500) < 110);
}

TEST_CASE("Synthetic digits of a class are more alike than those of different classes, but not by much", "[dataset]") {
    // Classified by the nearest of the classes' means, which a network has to beat.
    const auto train = training::synthetic_digits(4000, 4), test = training::synthetic_digits(1000, 5);
    std::vector<std::vector<double>> means(10, std::vector<double>(784));
    std::vector<double> counts(10);
    for (std::size_t i = 0; i < train.size(); ++i) {
        const auto label = static_cast<std::size_t>(train.targets()(i));
        counts[label] += 1;
        for (std::size_t j = 0; j < 784; ++j) means[label][j] += train.inputs()(i, j);
    }
    int correct = 0;
    for (std::size_t i = 0; i < test.size(); ++i) {
        std::optional<double> best;
        std::int64_t found = 0;
        for (std::size_t c = 0; c < 10; ++c) {
            double distance = 0;
            for (std::size_t j = 0; j < 784; ++j) {
                const double d = test.inputs()(i, j) - means[c][j] / counts[c];
                distance += d * d;
            }
            if (!best || distance < *best) best = distance, found = static_cast<std::int64_t>(c);
        }
        correct += found == test.targets()(i);
    }
    CHECK(correct > 500);
    CHECK(correct < 900);
}
