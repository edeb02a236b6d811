// What a training loop counts along the way.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xgrad/autodiff/array.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad::training {

/// The mean of numbers that come one by one, such as the losses of batches.
class Mean {
public:
    /// Counts a number as often as `weight` says, for instance a batch's mean loss by the batch's size.
    void add(double value, double weight = 1);
    /// The mean so far. Throws Error when there were no numbers.
    double value() const;
    bool empty() const { return weight_ == 0; }
    void reset() { *this = {}; }

private:
    double mean_ = 0;
    double weight_ = 0;
};

/// The share of samples whose class was found.
class Accuracy {
public:
    /// `threshold` matters where each sample has one score: above it the class is 1, else 0. It is 0 for logits and ½
    /// for probabilities.
    explicit Accuracy(double threshold = 0) : threshold_(threshold) {}

    /// Counts samples with scores (n, classes), of which the largest decides, so that logits and probabilities are the
    /// same; or (n) or (n, 1) for two classes. A score that is not a number is a mistake. Throws Error, and counts
    /// nothing, when there are not as many labels as samples or when a label is out of range.
    template <class T>
    void add(const Array<T>& scores, const Array<std::int64_t>& labels);
    template <class T>
    void add(const Variable<T>& scores, const Array<std::int64_t>& labels) {
        add(scores.value(), labels);
    }
    /// From 0 to 1. Throws Error when there were no samples.
    double value() const;
    std::size_t correct() const { return correct_; }
    std::size_t count() const { return count_; }
    void reset() { correct_ = count_ = 0; }

private:
    double threshold_;
    std::size_t correct_ = 0;
    std::size_t count_ = 0;
};

extern template void Accuracy::add(const Array<float>&, const Array<std::int64_t>&);
extern template void Accuracy::add(const Array<double>&, const Array<std::int64_t>&);

}  // namespace xgrad::training
