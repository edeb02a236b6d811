#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/training/metrics.hpp>

namespace xgrad::training {

void Mean::add(double value, double weight) {
    if (!(weight >= 0)) throw Error(fmt::format("Mean: the weight {} is negative or not a number", weight));
    if (weight == 0) return;
    weight_ += weight;
    mean_ += (value - mean_) * (weight / weight_);
}

double Mean::value() const {
    if (weight_ == 0) throw Error("Mean: there were no numbers");
    return mean_;
}

template <class T> void Accuracy::add(const Array<T>& scores, const Array<std::int64_t>& labels) {
    const Shape& shape = scores.shape();
    const bool fits =
        (shape.size() == 1 || shape.size() == 2) && labels.dimension() == 1 && labels.shape()[0] == shape[0];
    if (!fits)
        throw Error(fmt::format("Accuracy: labels {} do not belong to scores {}; they should be (n,) and (n, classes)",
                                describe(labels.shape()), describe(shape)));
    const std::size_t columns = shape.size() == 1 ? 1 : shape[1];
    if (columns == 0) throw Error(fmt::format("Accuracy: scores {} of no class", describe(shape)));
    const auto classes = static_cast<std::int64_t>(std::max<std::size_t>(columns, 2));
    for (std::int64_t label : labels)
        if (label < 0 || label >= classes)
            throw Error(fmt::format("Accuracy: label {} is not one of the {} classes", label, classes));

    Array<std::int64_t> largest;
    if (columns > 1) {
        largest = empty<std::int64_t>(labels.shape());
        kernels::argmax(scores.data(), {labels.size(), columns, 1}, largest.data());
    }
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const std::int64_t place = columns > 1 ? largest.data()[i] : 0;  // of a NaN, where there is one
        const T score = scores.data()[i * columns + static_cast<std::size_t>(place)];
        const std::int64_t found = columns > 1 ? place : score > threshold_;
        correct_ += !std::isnan(score) && found == labels.data()[i];
    }
    count_ += labels.size();
}

double Accuracy::value() const {
    if (count_ == 0) throw Error("Accuracy: there were no samples");
    return static_cast<double>(correct_) / static_cast<double>(count_);
}

Calibration::Calibration(std::size_t bins) : bins_(bins) {
    if (bins == 0) throw Error("Calibration: there must be at least one bin");
}

template <class T> void Calibration::add(const Array<T>& probabilities, const Array<std::int64_t>& labels) {
    const Shape& shape = probabilities.shape();
    const bool fits = (shape.size() == 1 || (shape.size() == 2 && shape[1] == 1)) && labels.dimension() == 1 &&
                      labels.shape()[0] == shape[0];
    if (!fits)
        throw Error(
            fmt::format("Calibration: labels {} do not belong to probabilities {}; they should be (n,) and (n,) or "
                        "(n, 1)",
                        describe(labels.shape()), describe(shape)));
    for (T probability : probabilities)
        if (!(probability >= 0 && probability <= 1))
            throw Error(fmt::format("Calibration: {} is no probability", probability));
    for (std::int64_t label : labels)
        if (label != 0 && label != 1) throw Error(fmt::format("Calibration: label {} is neither 0 nor 1", label));

    const auto count = static_cast<double>(bins_.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const double probability = probabilities.data()[i];
        Bin& bin = bins_[std::min(static_cast<std::size_t>(probability * count), bins_.size() - 1)];
        const double weight = 1 / static_cast<double>(++bin.count);
        bin.probability += (probability - bin.probability) * weight;
        bin.frequency += (static_cast<double>(labels.data()[i]) - bin.frequency) * weight;
    }
}

std::vector<Calibration::Bin> Calibration::bins() const {
    std::vector<Bin> filled;
    for (const Bin& bin : bins_)
        if (bin.count > 0) filled.push_back(bin);
    return filled;
}

double Calibration::error() const {
    Mean distance;
    for (const Bin& bin : bins())
        distance.add(std::abs(bin.frequency - bin.probability), static_cast<double>(bin.count));
    if (distance.empty()) throw Error("Calibration: there were no samples");
    return distance.value();
}

template <class T> double accuracy(const nn::Layer<T>& model, const Dataset<T>& samples, std::size_t batch_size) {
    Accuracy counted;
    for (auto [inputs, labels] : samples.batches(batch_size)) counted.add(model.predict(inputs), labels);
    return counted.value();
}

template double accuracy(const nn::Layer<float>&, const Dataset<float>&, std::size_t);
template double accuracy(const nn::Layer<double>&, const Dataset<double>&, std::size_t);
template void Calibration::add(const Array<float>&, const Array<std::int64_t>&);
template void Calibration::add(const Array<double>&, const Array<std::int64_t>&);
template void Accuracy::add(const Array<float>&, const Array<std::int64_t>&);
template void Accuracy::add(const Array<double>&, const Array<std::int64_t>&);

}  // namespace xgrad::training
