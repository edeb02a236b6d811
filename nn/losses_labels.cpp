#include <array>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/kernels/softmax.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/operations/softmax.hpp>
#include <xgrad/autodiff/record.hpp>
#include <xgrad/nn/losses.hpp>
#include <xgrad/nn/losses_reduction.hpp>

namespace xgrad::nn {
namespace {

using xgrad::detail::thread_state;
using Labels = Array<std::int64_t>;

// Where the classes stand, and how the kernels see the logits.
struct Classes {
    std::ptrdiff_t axis;
    kernels::Slices slices;  // (outer, classes, inner)
    Shape samples;           // the logits' shape without the classes

    explicit Classes(const Shape& logits)
        : axis(logits.size() == 1 ? 0 : 1), slices(kernels::slices_along(logits, static_cast<std::size_t>(axis))) {
        for (std::size_t i = 0; i < logits.size(); ++i)
            if (static_cast<std::ptrdiff_t>(i) != axis) samples.push_back(logits[i]);
    }
};

template <class T>
void check(const char* loss, const Variable<T>& logits, const Labels& labels, const CrossEntropyOptions<T>& options) {
    detail::refuse_batchmean(loss, options.reduction);
    if (logits.dimension() == 0)
        throw Error(fmt::format("{}: an input of shape () has no classes; expected (N, C), (C) or (N, C, d…)", loss));
    const Classes classes(logits.shape());
    const std::size_t count = classes.slices.count;
    if (count == 0) throw Error(fmt::format("{}: an input of shape {} has no classes", loss, describe(logits.shape())));
    if (labels.shape() != classes.samples)
        throw Error(fmt::format("{}: labels of shape {} do not fit an input of shape {}; expected {}, a label for each "
                                "sample{}",
                                loss, describe(labels.shape()), describe(logits.shape()), describe(classes.samples),
                                logits.dimension() > 2 ? "; the classes stand along axis 1" : ""));
    if (options.weight.defined() && options.weight.shape() != Shape{count})
        throw Error(fmt::format("{}: a weight of shape {} does not fit {} classes; expected ({},)", loss,
                                describe(options.weight.shape()), count, count));
    if (options.weight.requires_grad())
        throw Error(fmt::format("{}: the weight requires a gradient, but has none here; give weight.detach()", loss));
    if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1))
        throw Error(fmt::format("{}: label_smoothing is {}; expected 0 to 1", loss, options.label_smoothing));
    const std::size_t bad = kernels::find_invalid_label(labels.data(), labels.size(), count, options.ignore_index);
    if (bad < labels.size())
        throw Error(fmt::format("{}: label {} of sample {} is out of range: with {} classes labels are 0 to {} (or "
                                "ignore_index, {})",
                                loss, labels.data()[bad], bad, count, count - 1, options.ignore_index));
}

// How the kernels see the labels and what they mean.
template <class T>
kernels::CrossEntropyTarget<T> target_of(const Labels& labels, const CrossEntropyOptions<T>& options) {
    return {.labels = labels.data(),
            .class_weights = options.weight.defined() ? options.weight.value().data() : nullptr,
            .label_smoothing = static_cast<T>(options.label_smoothing),
            .ignore_index = options.ignore_index};
}

// The distribution q of which the loss is −Σ q·log Softmax(z), as an array of the logits' shape: what the kernel gives
// for probabilities 0 and a scale of −1.
template <class T>
Variable<T> target_distribution(const Shape& shape, const Labels& labels, const CrossEntropyOptions<T>& options) {
    const T minus_one = -1;
    Array<T> q = full(shape, T{0});
    kernels::softmax_cross_entropy_backward(q.data(), Classes(shape).slices, target_of(labels, options), &minus_one,
                                            true, q.data());
    return q;
}

// The cotangent of the logits. The probabilities are overwritten by it; a graph that is used again computes them again.
template <class T> class CrossEntropyVjp {
public:
    CrossEntropyVjp(const Variable<T>& logits, Array<T>&& probabilities, const Labels& labels,
                    const CrossEntropyOptions<T>& options, T scale)
        : logits_(logits),
          probabilities_(std::move(probabilities)),
          labels_(labels),
          options_(options),
          scale_(scale) {}

    std::array<Variable<T>, 2> operator()(const Variable<T>& g, const Needs&) {
        return {thread_state.recording ? recorded(g) : fused(g), Variable<T>()};
    }

private:
    Variable<T> fused(const Variable<T>& g) {
        const kernels::Slices slices = Classes(logits_.shape()).slices;
        Array<T> dz = std::exchange(probabilities_, Array<T>());
        if (dz.shape() != logits_.shape()) {
            dz = empty<T>(logits_.shape());
            kernels::softmax(logits_.value().data(), slices, dz.data());
        }
        const bool one_scale = options_.reduction != Reduction::none;
        const T scale = one_scale ? scale_ * g.item() : T{1};
        kernels::softmax_cross_entropy_backward(dz.data(), slices, target_of(labels_, options_),
                                                one_scale ? &scale : g.value().data(), one_scale, dz.data());
        return dz;
    }

    // g·(Softmax(z)·Σq − q)
    Variable<T> recorded(const Variable<T>& g) {
        const std::ptrdiff_t axis = Classes(logits_.shape()).axis;
        const Variable<T> q = target_distribution(logits_.shape(), labels_, options_);
        const Variable<T> dz = softmax(logits_, axis) * sum(q, axis, keep_dims) - q;
        return options_.reduction == Reduction::none ? expand_dims(g, axis) * dz : g * scale_ * dz;
    }

    Variable<T> logits_;
    Array<T> probabilities_;
    Labels labels_;
    CrossEntropyOptions<T> options_;
    T scale_;
};

template <class T> T total(const Array<T>& x) {
    T result;
    kernels::sum(x.data(), {1, x.size(), 1}, &result);
    return result;
}

// What the sum of the losses is divided by.
template <class T> T divisor(const char* loss, Reduction reduction, const Array<T>& weights) {
    if (reduction != Reduction::mean) return 1;
    const T sum = total(weights);
    if (sum == 0)
        throw Error(fmt::format("{}: the mean over no sample: {}", loss,
                                weights.size() == 0 ? "the batch is empty"
                                                    : "all labels are ignored, or their classes have weight 0"));
    return sum;
}

template <class T> Array<T> reduced(Array<T>&& losses, Reduction reduction, T divisor) {
    return reduction == Reduction::none ? std::move(losses) : full(Shape{}, total(losses) / divisor);
}

// Calls run(sample, place of its label, weight of that class) for all samples, and ignored(sample) for those that are
// ignored.
template <class T, class Run, class Ignored>
void each_labelled(const Shape& shape, const Labels& labels, const CrossEntropyOptions<T>& options, const Run& run,
                   const Ignored& ignored) {
    const kernels::Slices slices = Classes(shape).slices;
    const T* const weights = options.weight.defined() ? options.weight.value().data() : nullptr;
    for (std::size_t sample = 0; sample < labels.size(); ++sample) {
        const std::int64_t label = labels.data()[sample];
        if (label == options.ignore_index) {
            ignored(sample);
            continue;
        }
        const auto c = static_cast<std::size_t>(label);
        const std::size_t place = (sample / slices.inner * slices.count + c) * slices.inner + sample % slices.inner;
        run(sample, place, weights ? weights[c] : T{1});
    }
}

// The losses −w[label]·x[label] and their weights.
template <class T>
void negative_log_likelihood(const Variable<T>& x, const Labels& labels, const CrossEntropyOptions<T>& options,
                             Array<T>& losses, Array<T>& weights) {
    const T* const log_probability = x.value().data();
    T *const loss = losses.data(), *const weight = weights.data();
    each_labelled(
        x.shape(), labels, options,
        [=](std::size_t sample, std::size_t place, T of_class) {
            weight[sample] = of_class;
            loss[sample] = -of_class * log_probability[place];
        },
        [=](std::size_t sample) { weight[sample] = loss[sample] = 0; });
}

// Their cotangent, from one for each sample or one for all.
template <class T>
Array<T> negative_log_likelihood_cotangent(const Shape& shape, const Labels& labels,
                                           const CrossEntropyOptions<T>& options, const Array<T>& g, T scale) {
    Array<T> dx = full(shape, T{0});
    const bool is_one = options.reduction != Reduction::none;
    each_labelled(
        shape, labels, options,
        [is_one, scale, to = dx.data(), from = g.data()](std::size_t sample, std::size_t place, T weight) {
            to[place] = -weight * (from[is_one ? 0 : sample] * scale);
        },
        [](std::size_t) {});
    return dx;
}

}  // namespace

template <class T>
Variable<T> cross_entropy(const Variable<T>& logits, const Labels& labels,
                          const std::type_identity_t<CrossEntropyOptions<T>>& options) {
    check("cross_entropy", logits, labels, options);
    const bool needed = xgrad::detail::is_differentiated(logits);
    Array<T> losses = empty<T>(labels.shape()), weights, probabilities;
    if (options.reduction == Reduction::mean) weights = empty<T>(labels.shape());
    if (needed) probabilities = empty<T>(logits.shape());
    kernels::softmax_cross_entropy(logits.value().data(), Classes(logits.shape()).slices, target_of(labels, options),
                                   {.losses = losses.data(),
                                    .probabilities = needed ? probabilities.data() : nullptr,
                                    .weights = options.reduction == Reduction::mean ? weights.data() : nullptr});
    const T count = divisor("cross_entropy", options.reduction, weights);
    return record("cross_entropy", reduced(std::move(losses), options.reduction, count),
                  wrt(std::tie(logits, options.weight),
                      CrossEntropyVjp<T>(logits, std::move(probabilities), needed ? labels : Labels(), options,
                                         1 / count)),
                  with("labels", labels), with("label_smoothing", options.label_smoothing),
                  with("ignore_index", options.ignore_index), with("reduction", detail::name_of(options.reduction)));
}

template <class T>
Variable<T> nll_loss(const Variable<T>& log_probabilities, const Labels& labels,
                     const std::type_identity_t<NllOptions<T>>& nll_options) {
    const CrossEntropyOptions<T> options{.weight = nll_options.weight,
                                         .ignore_index = nll_options.ignore_index,
                                         .reduction = nll_options.reduction};
    check("nll_loss", log_probabilities, labels, options);
    Array<T> losses = empty<T>(labels.shape()), weights = empty<T>(labels.shape());
    negative_log_likelihood(log_probabilities, labels, options, losses, weights);
    const T count = divisor("nll_loss", options.reduction, weights);
    const bool needed = xgrad::detail::is_differentiated(log_probabilities);
    return record("nll_loss", reduced(std::move(losses), options.reduction, count),
                  wrt(std::tie(log_probabilities, options.weight),
                      [shape = log_probabilities.shape(), labels = needed ? labels : Labels(), options,
                       scale = 1 / count](const Variable<T>& g, const Needs&) {
                          if (!thread_state.recording)
                              return std::array<Variable<T>, 2>{
                                  negative_log_likelihood_cotangent(shape, labels, options, g.value(), scale),
                                  Variable<T>()};
                          const Variable<T> q = target_distribution(shape, labels, options);
                          const Variable<T> scaled = options.reduction == Reduction::none
                                                         ? expand_dims(g, Classes(shape).axis)
                                                         : g * scale;
                          return std::array<Variable<T>, 2>{-scaled * q, Variable<T>()};
                      }),
                  with("labels", labels), with("ignore_index", options.ignore_index),
                  with("reduction", detail::name_of(options.reduction)));
}

#define XGRAD_INSTANTIATE(T) \
    template Variable<T> cross_entropy(const Variable<T>&, const Labels&, const CrossEntropyOptions<T>&); \
    template Variable<T> nll_loss(const Variable<T>&, const Labels&, const NllOptions<T>&);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad::nn
