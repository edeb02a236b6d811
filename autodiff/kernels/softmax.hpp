// Softmax, its logarithm and the cross-entropy of both with labels, over the middle of an array seen as (outer, count,
// inner). All are stable for any finite input: the largest element of a slice is taken out before exp.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xgrad/autodiff/kernels/level.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>

namespace xgrad::kernels {

/// y = exp(x) / sum(exp(x)) over each slice. y may be x.
template <class T> void softmax(const T* x, const Slices& slices, T* y);

/// The same with log(sum(exp(x))) of each slice, (outer, inner), whose derivatives these are. (Where the largest
/// element is infinite, its own is NaN, and others' are 0 or NaN.)
template <class T> void softmax_and_logsumexp(const T* x, const Slices& slices, T* y, T* sums);

/// y = x - log(sum(exp(x))) over each slice. y may be x.
template <class T> void log_softmax(const T* x, const Slices& slices, T* y);

/// From the result y of softmax and its cotangent g: dx = y·(g - sum(g·y)). dx may be g.
template <class T> void softmax_backward(const T* y, const T* g, const Slices& slices, T* dx);

/// From the result y of log_softmax and its cotangent g: dx = g - exp(y)·sum(g). dx may be g.
template <class T> void log_softmax_backward(const T* y, const T* g, const Slices& slices, T* dx);

/// What the labels of a cross-entropy mean. A sample n with label c has the target distribution
/// q = (1 - label_smoothing)·w[c]·onehot(c) + label_smoothing/count·w, and the loss -sum(q·log_softmax(x)).
template <class T> struct CrossEntropyTarget {
    const std::int64_t* labels;        ///< (outer, inner), each in [0, count) or ignore_index
    const T* class_weights = nullptr;  ///< (count): w; null means all 1
    T label_smoothing = 0;
    std::int64_t ignore_index = -100;  ///< samples with this label have loss 0, weight 0 and gradient 0

    /// The samples from this one on. (Inlined, as it must not be a function that two levels share.)
    [[gnu::always_inline]] CrossEntropyTarget from(std::size_t sample) const {
        CrossEntropyTarget rest = *this;
        rest.labels += sample;
        return rest;
    }
};

/// The first sample whose label is neither in [0, classes) nor ignore_index; `samples` when all are fine. The other
/// functions do not check.
std::size_t find_invalid_label(const std::int64_t* labels, std::size_t samples, std::size_t classes,
                               std::int64_t ignore_index);

/// What softmax_cross_entropy writes.
template <class T> struct CrossEntropyResult {
    T* losses;                   ///< (outer, inner)
    T* probabilities = nullptr;  ///< (outer, count, inner): softmax(x) for the backward; null when there is none
    T* weights = nullptr;        ///< (outer, inner): w[label], whose sum the weighted mean divides by; may be null

    /// Where what belongs to the samples from this one on is written, the probabilities to a place of their own.
    [[gnu::always_inline]] CrossEntropyResult from(std::size_t sample, T* its_probabilities) const {
        return {losses + sample, its_probabilities, weights ? weights + sample : nullptr};
    }
};

/// The loss of each sample for logits x of (outer, count, inner), count being the classes. The values are those of
/// PyTorch's CrossEntropyLoss with reduction none; its mean is sum(losses) / sum(weights).
template <class T>
void softmax_cross_entropy(const T* x, const Slices& slices, const CrossEntropyTarget<T>& target,
                           const CrossEntropyResult<T>& result);

/// dx = scale·(probabilities·sum(q) - q) with the sample's scale: `scales` is (outer, inner), or one number for all
/// samples if `one_scale`. dx may be `probabilities`.
template <class T>
void softmax_cross_entropy_backward(const T* probabilities, const Slices& slices, const CrossEntropyTarget<T>& target,
                                    const T* scales, bool one_scale, T* dx);

/// The level's share of the work: one thread's piece, a range of outer, of whose arrays it takes the first columns.
template <class T> struct SoftmaxKernels {
    void (*softmax)(const T* x, const Slices& slices, std::size_t columns, T* y, T* logsumexp);  // which may be null
    void (*log_softmax)(const T* x, const Slices& slices, std::size_t columns, T* y);
    void (*softmax_backward)(const T* y, const T* g, const Slices& slices, std::size_t columns, T* dx);
    void (*log_softmax_backward)(const T* y, const T* g, const Slices& slices, std::size_t columns, T* dx);
    void (*cross_entropy)(const T* x, const Slices& slices, std::size_t columns, const CrossEntropyTarget<T>& target,
                          const CrossEntropyResult<T>& result);
    void (*cross_entropy_backward)(const T* probabilities, const Slices& slices, std::size_t columns,
                                   const CrossEntropyTarget<T>& target, T weight_sum, const T* scales, bool one_scale,
                                   T* dx);
};

XGRAD_AT_EVERY_LEVEL(template <class T> const SoftmaxKernels<T>& softmax_kernels();)

/// The table of the level in use.
template <class T> const SoftmaxKernels<T>& softmax_kernels() { XGRAD_SELECT(softmax_kernels<T>()) }

}  // namespace xgrad::kernels
