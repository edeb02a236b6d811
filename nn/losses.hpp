// Losses L(ŷ, y): how far a prediction is from its target. The names, the order of the arguments and the defaults are
// PyTorch's. Which loss belongs to which output function ψ of the last layer:
//
//     regression, ψ = I:        mse_loss, l1_loss, huber_loss
//     two classes, ψ = σ:       binary_cross_entropy_with_logits, which applies σ itself
//     many classes, ψ = Softmax: cross_entropy, which applies Softmax itself; nll_loss after LogSoftmax
//     distributions:            kl_div after LogSoftmax
#pragma once

#include <cstdint>
#include <type_traits>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad::nn {

/// What is made of the losses of the samples: their mean, their sum, or nothing.
enum class Reduction { mean, sum, none };

template <class T = float>
struct CrossEntropyOptions {
    Variable<T> weight = {};           ///< (C): how much each class counts; empty when all count the same
    double label_smoothing = 0;        ///< this share of the target is spread evenly over all classes
    std::int64_t ignore_index = -100;  ///< samples with this label do not count
    Reduction reduction = Reduction::mean;
};

/// −log Softmax(z)[label] of logits z of shape (N, C), (C) or (N, C, d…), the classes C standing along axis 1, and labels
/// (N), () or (N, d…) in [0, C). With weights w and smoothing ε the loss of a sample with label c is
///     −(1 − ε)·w[c]·log Softmax(z)[c] − ε/C · Σⱼ w[j]·log Softmax(z)[j] ,
/// and the mean divides the sum by Σ w[c] over the samples that are not ignored (Szegedy et al. 2016 for ε).
/// Throws Error for shapes that do not fit, a label outside of the range, and a mean over no sample.
template <class T>
Variable<T> cross_entropy(const Variable<T>& logits, const Array<std::int64_t>& labels,
                          const std::type_identity_t<CrossEntropyOptions<T>>& options = {});

}  // namespace xgrad::nn
