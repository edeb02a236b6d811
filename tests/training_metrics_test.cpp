#include <catch.hpp>
#include <cmath>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/nn/dropout.hpp>
#include <xgrad/training/metrics.hpp>

using namespace xgrad;
using training::Accuracy;
using training::Mean;

namespace {

using Labels = Array<std::int64_t>;

}  // namespace

TEST_CASE("Accuracy counts samples whose largest score is their label's", "[metrics]") {
    Accuracy accuracy;
    accuracy.add(Array<float>{{1, 5, 2}, {-3, -2, -1}}, Labels{1, 0});
    CHECK(accuracy.value() == 0.5);
    accuracy.add(Variable<float>(Array<float>{{9, 5, 2}, {-3, -2, -1}}), Labels{0, 2});
    CHECK(accuracy.value() == 0.75);
    CHECK(accuracy.correct() == 3);
    CHECK(accuracy.count() == 4);
    accuracy.reset();
    CHECK_THROWS_AS(accuracy.value(), Error);
}

TEST_CASE("Accuracy of two classes compares one score with a threshold", "[metrics]") {
    Accuracy logits, probabilities(0.5);
    logits.add(Array<double>{-1, 0.2, 3}, Labels{0, 1, 0});
    CHECK(logits.correct() == 2);
    probabilities.add(Array<double>({3, 1}, 0.6), Labels{0, 1, 1});
    CHECK(probabilities.correct() == 2);
}

TEST_CASE("Accuracy of a model counts all samples, in evaluation mode, however many at a time", "[metrics]") {
    // A layer that lets scores through in evaluation and zeroes them all in training.
    nn::Dropout model(1.0);
    REQUIRE(model.training());
    const training::Dataset<> samples(Array<float>{{-1, -2}, {-2, -1}, {-5, -3}, {1, 0}, {3, 4}},
                                      Labels{1, 1, 1, 0, 1});
    for (std::size_t batch_size : {1, 2, 5, 1000}) CHECK(training::accuracy(model, samples, batch_size) == 0.8);
    CHECK(model.training());
    CHECK_THROWS_AS(training::accuracy(model, samples, 0), Error);
}

TEST_CASE("A score that is not a number is never right", "[metrics]") {
    Accuracy accuracy;
    accuracy.add(Array<float>{{NAN, 1, 0}, {2, NAN, 0}, {0, 1, 0}}, Labels{0, 0, 1});
    accuracy.add(Array<float>{NAN, NAN}, Labels{0, 1});
    CHECK(accuracy.correct() == 1);
    CHECK(accuracy.count() == 5);
}

TEST_CASE("Accuracy refuses labels that do not belong to the scores, and counts nothing", "[metrics]") {
    Accuracy accuracy;
    const Array<float> scores{{1, 2}, {3, 4}};
    CHECK_THROWS_WITH(accuracy.add(scores, Labels{0, 1, 0}),
                      "Accuracy: labels (3,) do not belong to scores (2, 2); they should be (n,) and (n, classes)");
    CHECK_THROWS_WITH(accuracy.add(scores, Labels{0, 2}), "Accuracy: label 2 is not one of the 2 classes");
    CHECK_THROWS_AS(accuracy.add(scores, Labels{0, -1}), Error);
    CHECK_THROWS_AS(accuracy.add(Array<float>(Shape{}, 1.f), Labels{0}), Error);
    CHECK_THROWS_AS(accuracy.add(Array<float>(Shape{2, 0}), Labels{0, 0}), Error);
    CHECK(accuracy.count() == 0);
}

TEST_CASE("Mean weighs its numbers and stays exact over many", "[metrics]") {
    Mean mean;
    CHECK_THROWS_AS(mean.value(), Error);
    CHECK(mean.empty());
    mean.add(1, 3);
    mean.add(5);
    mean.add(100, 0);
    CHECK(mean.value() == 2);
    CHECK_THROWS_AS(mean.add(1, -1), Error);
    mean.reset();
    for (int i = 0; i < 1'000'000; ++i) mean.add(0.1);
    CHECK(mean.value() == Approx(0.1).epsilon(1e-12));
    mean.add(NAN);
    CHECK(std::isnan(mean.value()));
}

TEST_CASE("Calibration compares probabilities with frequencies, bin by bin", "[metrics]") {
    training::Calibration calibration(4);
    CHECK_THROWS_AS(calibration.error(), Error);
    calibration.add(Array<double>{0.1, 0.2, 1.0}, Labels{0, 1, 1});
    calibration.add(Array<float>({2, 1}, 0.75f), Labels{1, 0});
    const auto bins = calibration.bins();
    REQUIRE(bins.size() == 2);  // the two in the middle are empty
    CHECK(bins[0].count == 2);
    CHECK(bins[0].probability == Approx(0.15));
    CHECK(bins[0].frequency == Approx(0.5));
    CHECK(bins[1].count == 3);  // the bounds 0.75 and 1 belong to the last bin
    CHECK(bins[1].probability == Approx(2.5 / 3));
    CHECK(bins[1].frequency == Approx(2.0 / 3));
    CHECK(calibration.error() == Approx((2 * 0.35 + 3 * 0.5 / 3) / 5));
}

TEST_CASE("Calibration refuses what is no probability or no label, and counts nothing then", "[metrics]") {
    training::Calibration calibration;
    CHECK_THROWS_AS(calibration.add(Array<float>{0.5f, 1.1f}, Labels{0, 1}), Error);
    CHECK_THROWS_AS(calibration.add(Array<float>{0.5f, NAN}, Labels{0, 1}), Error);
    CHECK_THROWS_AS(calibration.add(Array<float>{0.5f, 0.1f}, Labels{0, 2}), Error);
    CHECK_THROWS_AS(calibration.add(Array<float>{0.5f, 0.1f}, Labels{0}), Error);
    CHECK_THROWS_AS(calibration.add(Array<float>({1, 2}, 0.5f), Labels{0}), Error);
    CHECK(calibration.bins().empty());
    CHECK_THROWS_AS(training::Calibration(0), Error);
}
