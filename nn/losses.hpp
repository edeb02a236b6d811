// Losses L(ŷ, y): how far a prediction is from its target. The names, the order of the arguments and the defaults are
// PyTorch's. Which loss belongs to which output function φ of the last layer:
//
//     regression, φ = I:        mse_loss, l1_loss, huber_loss
//     two classes, φ = σ:       binary_cross_entropy_with_logits, which applies σ itself
//     many classes, φ = Softmax: cross_entropy, which applies Softmax itself; nll_loss after LogSoftmax
//     distributions:            kl_div after LogSoftmax
#pragma once

#include <cstdint>
#include <type_traits>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad::nn {

/// What is made of the losses: their mean, their sum, nothing, or (kl_div only) their sum divided by the batch size.
enum class Reduction { mean, sum, none, batchmean };

/// The settings of `mse_loss` and `l1_loss`.
struct LossOptions {
    Reduction reduction = Reduction::mean;
};

// Predictions and targets must have equal shapes: to broadcast (n) against (n, 1) would silently average over all n²
// pairs. Both receive gradients. These throw Error when the shapes differ, and for a mean over no element.

/// (ŷ − y)². Throws Error, as all losses but those of labels do, when the shapes of prediction and target differ.
template <class T>
Variable<T> mse_loss(const Variable<T>& prediction, const std::type_identity_t<Variable<T>>& target,
                     LossOptions options = {});

/// |ŷ − y|
template <class T>
Variable<T> l1_loss(const Variable<T>& prediction, const std::type_identity_t<Variable<T>>& target,
                    LossOptions options = {});

/// The settings of `huber_loss`.
struct HuberOptions {
    double delta = 1;  ///< where the parabola goes over into lines, above 0
    Reduction reduction = Reduction::mean;
};

/// ½(ŷ − y)² where |ŷ − y| < δ, otherwise δ(|ŷ − y| − ½δ) (Huber 1964). Throws Error also when δ is not above 0.
template <class T>
Variable<T> huber_loss(const Variable<T>& prediction, const std::type_identity_t<Variable<T>>& target,
                       HuberOptions options = {});

/// The settings of `smooth_l1_loss`.
struct SmoothL1Options {
    double beta = 1;  ///< where the parabola goes over into lines; with 0 there is none: l1_loss
    Reduction reduction = Reduction::mean;
};

/// ½(ŷ − y)²/β where |ŷ − y| < β, otherwise |ŷ − y| − ½β: huber_loss divided by its δ (Girshick 2015). Throws Error
/// also when β is below 0.
template <class T>
Variable<T> smooth_l1_loss(const Variable<T>& prediction, const std::type_identity_t<Variable<T>>& target,
                           SmoothL1Options options = {});

/// The settings of `binary_cross_entropy_with_logits`.
template <class T = float> struct BinaryCrossEntropyOptions {
    Variable<T> weight = {};      ///< how much each element counts; broadcast to the logits
    Variable<T> pos_weight = {};  ///< how much more the class 1 counts, p; broadcast to the logits
    Reduction reduction = Reduction::mean;
};

/// −w·(p·y·log σ(z) + (1 − y)·log(1 − σ(z))) of logits z and targets y, which are 0, 1 or a probability in between.
/// Exact for any finite z. The mean divides by the number of elements, whatever the weights.
/// Throws Error also for weights that require a gradient, or that do not broadcast to the logits.
template <class T>
Variable<T> binary_cross_entropy_with_logits(const Variable<T>& logits, const std::type_identity_t<Variable<T>>& target,
                                             const std::type_identity_t<BinaryCrossEntropyOptions<T>>& options = {});

/// The settings of `kl_div`.
struct KlDivOptions {
    bool log_target = false;                ///< the target holds log-probabilities as well
    Reduction reduction = Reduction::mean;  ///< `batchmean` gives the divergence KL(y‖ŷ); `mean` is PyTorch's default
};

/// y·(log y − ŷ), where ŷ holds log-probabilities and y probabilities (0·log 0 = 0): Kullback and Leibler 1951.
template <class T>
Variable<T> kl_div(const Variable<T>& log_prediction, const std::type_identity_t<Variable<T>>& target,
                   KlDivOptions options = {});

/// The settings of `nll_loss`.
template <class T = float> struct NllOptions {
    Variable<T> weight = {};           ///< (C): how much each class counts; empty when all count the same
    std::int64_t ignore_index = -100;  ///< samples with this label do not count
    Reduction reduction = Reduction::mean;
};

/// −w[label]·ŷ[label] of log-probabilities ŷ, as LogSoftmax gives them. Shapes, labels and the mean are those of
/// cross_entropy, which does the two in one.
template <class T>
Variable<T> nll_loss(const Variable<T>& log_probabilities, const Array<std::int64_t>& labels,
                     const std::type_identity_t<NllOptions<T>>& options = {});

/// The settings of `cross_entropy`.
template <class T = float> struct CrossEntropyOptions {
    Variable<T> weight = {};           ///< (C): how much each class counts; empty when all count the same
    double label_smoothing = 0;        ///< this share of the target is spread evenly over all classes
    std::int64_t ignore_index = -100;  ///< samples with this label do not count
    Reduction reduction = Reduction::mean;
};

/// −log Softmax(z)[label] of logits z of shape (N, C), (C) or (N, C, d…), the classes C standing along axis 1, and
/// labels (N), () or (N, d…) in [0, C). With weights w and smoothing ε the loss of a sample with label c is
///     −(1 − ε)·w[c]·log Softmax(z)[c] − ε/C · Σⱼ w[j]·log Softmax(z)[j] ,
/// and the mean divides the sum by Σ w[c] over the samples that are not ignored (Szegedy et al. 2016 for ε).
/// Throws Error for shapes that do not fit, a label outside of the range, weights that require a gradient, an ε that is
/// not in [0, 1], and a mean over no sample.
template <class T>
Variable<T> cross_entropy(const Variable<T>& logits, const Array<std::int64_t>& labels,
                          const std::type_identity_t<CrossEntropyOptions<T>>& options = {});

// Labels of other numbers than integers would be truncated.
template <class T, FractionalArray Labels>
Variable<T> nll_loss(const Variable<T>&, const Labels&, const std::type_identity_t<NllOptions<T>>& = {}) = delete;
template <class T, FractionalArray Labels>
Variable<T> cross_entropy(const Variable<T>&, const Labels&,
                          const std::type_identity_t<CrossEntropyOptions<T>>& = {}) = delete;

}  // namespace xgrad::nn
