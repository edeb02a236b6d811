#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
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

template <class T>
void Accuracy::add(const Array<T>& scores, const Array<std::int64_t>& labels) {
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

    for (std::size_t i = 0; i < labels.size(); ++i) {
        const T* row = scores.data() + i * columns;
        std::int64_t found = row[0] > threshold_;
        if (columns > 1) found = std::max_element(row, row + columns) - row;
        const bool numbers = std::none_of(row, row + columns, [](T score) { return std::isnan(score); });
        correct_ += numbers && found == labels.data()[i];
    }
    count_ += labels.size();
}

double Accuracy::value() const {
    if (count_ == 0) throw Error("Accuracy: there were no samples");
    return static_cast<double>(correct_) / static_cast<double>(count_);
}

template void Accuracy::add(const Array<float>&, const Array<std::int64_t>&);
template void Accuracy::add(const Array<double>&, const Array<std::int64_t>&);

}  // namespace xgrad::training
