#include <fmt/format.h>

#include <xgrad/autodiff/operations/normalization.hpp>
#include <xgrad/nn/batch_norm.hpp>

namespace xgrad::nn {

template <class T> BatchNorm<T>::BatchNorm(std::size_t features, BatchNormOptions options)
    : features_(features),
      options_(options),
      running_mean_(full(Shape{features}, T{0})),
      running_var_(full(Shape{features}, T{1})),
      num_batches_tracked_(full(Shape{}, std::int64_t{0})) {
    if (features == 0) throw Error("BatchNorm: 0 features; expected at least 1");
    if (!(options.epsilon >= 0)) throw Error(fmt::format("BatchNorm: epsilon is {}; expected ≥ 0", options.epsilon));
    if (options.momentum && !(*options.momentum >= 0 && *options.momentum <= 1))
        throw Error(fmt::format("BatchNorm: momentum is {}; expected 0 to 1", *options.momentum));
    if (!options.affine) return;
    weight_ = Variable<T>(full(Shape{features}, T{1}));
    bias_ = Variable<T>(full(Shape{features}, T{0}));
}

template <class T> void BatchNorm<T>::fields(Fields<T>& f) {
    f("weight", weight_)("bias", bias_);
    if (options_.track_running_stats)
        f("running_mean", running_mean_)("running_var", running_var_)("num_batches_tracked", num_batches_tracked_);
}

template <class T> std::string BatchNorm<T>::description() const {
    return fmt::format("BatchNorm({}{}{})", features_, options_.affine ? "" : ", not affine",
                       options_.track_running_stats ? "" : ", no running statistics");
}

template <class T> Variable<T> BatchNorm<T>::normalize(const Variable<T>& x, Activation activation) {
    if (x.dimension() < 2 || x.dimension() > 4 || x.shape()[1] != features_)
        throw Error(
            fmt::format("BatchNorm: an input of shape {} does not fit {} features; expected (N, {}), (N, {}, L) "
                        "or (N, {}, H, W)",
                        describe(x.shape()), features_, features_, features_, features_));
    const bool tracked = options_.track_running_stats;
    if (tracked && !this->training())
        return xgrad::detail::batch_norm_inference<T>(x, running_mean_, running_var_, weight_, bias_, options_.epsilon,
                                                      activation);
    if (tracked) check_running_stats();
    auto [y, mean, variance] = batch_norm(x, weight_, bias_, options_.epsilon, activation);
    if (tracked) track(mean, variance, x.size() / features_);
    return y;
}

// Whatever was read into the buffers, they are written to only where they have the shape that they were made with.
template <class T> void BatchNorm<T>::check_running_stats() const {
    const auto refuse = [](const char* name, const Shape& shape, const Shape& expected) {
        throw Error(fmt::format("BatchNorm: {} has shape {}; expected {}", name, describe(shape), describe(expected)));
    };
    const auto fits = [&](const Array<T>& row) { return row.dimension() == 1 && row.shape()[0] == features_; };
    if (!fits(running_mean_)) refuse("running_mean", running_mean_.shape(), {features_});
    if (!fits(running_var_)) refuse("running_var", running_var_.shape(), {features_});
    if (num_batches_tracked_.dimension() != 0) refuse("num_batches_tracked", num_batches_tracked_.shape(), {});
}

// Moves the running estimates towards the statistics of a batch of so many values per channel.
template <class T> void BatchNorm<T>::track(const Array<T>& mean, const Array<T>& variance, std::size_t samples) {
    const std::int64_t batches = ++num_batches_tracked_();
    const T fresh = static_cast<T>(options_.momentum.value_or(1 / static_cast<double>(batches)));
    const T unbiased = static_cast<T>(samples) / static_cast<T>(samples - 1);
    const auto follow = [&](Array<T>& running, const Array<T>& batch, T factor) {
        T* const to = running.data();
        const T* const from = batch.data();
        for (std::size_t c = 0; c < features_; ++c) to[c] = (1 - fresh) * to[c] + fresh * (from[c] * factor);
        running.storage().touch();
    };
    follow(running_mean_, mean, 1);
    follow(running_var_, variance, unbiased);
}

template class BatchNorm<float>;
template class BatchNorm<double>;

}  // namespace xgrad::nn
