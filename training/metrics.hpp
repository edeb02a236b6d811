// What a training loop counts along the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <xgrad/autodiff/array.hpp>
#include <xgrad/autodiff/variable.hpp>
#include <xgrad/nn/layer.hpp>
#include <xgrad/training/dataset.hpp>

namespace xgrad::training {

/// The mean of numbers that come one by one, such as the losses of batches.
class Mean {
public:
    /// Counts a number as often as `weight` says, for instance a batch's mean loss by the batch's size. Throws Error
    /// unless that is a number from 0 on.
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

    /// Counts samples by scores (n, classes), logits or probabilities, of which the largest decides; for two classes
    /// (n) or (n, 1) by the threshold. A NaN score counts as a mistake. Throws Error, and counts nothing, when there
    /// are not as many labels as samples or when a label is out of range.
    template <class T> void add(const Array<T>& scores, const Array<std::int64_t>& labels);
    template <class T> void add(const Variable<T>& scores, const Array<std::int64_t>& labels) {
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

/// Whether a probability means what it says: of the samples predicted to be of class 1 with probability p, a share of p
/// should be. Probabilities are sorted into bins of equal width over [0, 1] (DeGroot and Fienberg 1983, "The comparison
/// and evaluation of forecasters"; Guo et al. 2017, "On calibration of modern neural networks").
class Calibration {
public:
    struct Bin {
        double probability = 0;  ///< the mean of those told
        double frequency = 0;    ///< the share of samples of the class 1
        std::size_t count = 0;   ///< of samples
    };

    /// Throws Error for 0 bins.
    explicit Calibration(std::size_t bins = 10);

    /// Counts samples with the probability of the class 1, (n) or (n, 1), and labels 0 and 1. Throws Error, and counts
    /// nothing, when there are not as many labels as probabilities, or one of them is out of range.
    template <class T> void add(const Array<T>& probabilities, const Array<std::int64_t>& labels);
    template <class T> void add(const Variable<T>& probabilities, const Array<std::int64_t>& labels) {
        add(probabilities.value(), labels);
    }
    /// The bins that samples fell into, the reliability diagram.
    std::vector<Bin> bins() const;
    /// The expected calibration error Σ count/n·|frequency − probability|. Throws Error when there were no samples.
    double error() const;

private:
    std::vector<Bin> bins_;
};

/// The share of samples whose class a model finds in evaluation mode, from 0 to 1; so many samples at a time. Throws
/// Error as Accuracy does.
template <class T> double accuracy(const nn::Layer<T>& model, const Dataset<T>& samples, std::size_t batch_size = 1000);

extern template double accuracy(const nn::Layer<float>&, const Dataset<float>&, std::size_t);
extern template double accuracy(const nn::Layer<double>&, const Dataset<double>&, std::size_t);
extern template void Calibration::add(const Array<float>&, const Array<std::int64_t>&);
extern template void Calibration::add(const Array<double>&, const Array<std::int64_t>&);
extern template void Accuracy::add(const Array<float>&, const Array<std::int64_t>&);
extern template void Accuracy::add(const Array<double>&, const Array<std::int64_t>&);

}  // namespace xgrad::training
