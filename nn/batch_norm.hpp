// Batch normalisation.
#pragma once

#include <cstdint>
#include <optional>

#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {

/// The settings of a BatchNorm.
struct BatchNormOptions {
    double epsilon = 1e-5;                 ///< added to the variance, inside the root
    std::optional<double> momentum = 0.1;  ///< the weight of the new value in the running estimates; std::nullopt for
                                           ///< the average over all batches
    bool affine = true;                    ///< whether there are a weight γ and a bias ξ
    bool track_running_stats = true;       ///< without, evaluation takes the statistics of its batch as well
};

/// γ·(z − μ)/√(σ² + ε) + ξ for each feature (channel) of an input of shape (N, C), (N, C, L) or (N, C, H, W).
///
/// In training μ and σ² are the batch's mean and biased variance, and running estimates follow them:
/// μ*ₜ = β·μ*ₜ₋₁ + (1 − β)·E_B(z), the same with the unbiased variance, where 1 − β is `momentum`. This is the convex
/// form: the update is often written without the factor (1 − β), and would then converge to E(z)/(1 − β). In evaluation
/// μ* and σ*² are used and nothing is changed.
///
/// A call throws Error for other shapes, and in training for fewer than two values per feature. The parameters are
/// `weight` γ = 1 and `bias` ξ = 0; the buffers are `running_mean` = 0, `running_var` = 1 and `num_batches_tracked` =
/// 0. A bias in the layer before is redundant.
template <class T = float> class BatchNorm : public Layer<T> {
public:
    /// Throws Error when `features` is 0, epsilon is negative, or momentum is not in [0, 1].
    explicit BatchNorm(std::size_t features, BatchNormOptions options = {});

    /// Both are empty without `affine`.
    Parameter<T>& weight() noexcept { return weight_; }
    const Parameter<T>& weight() const noexcept { return weight_; }
    Parameter<T>& bias() noexcept { return bias_; }
    const Parameter<T>& bias() const noexcept { return bias_; }
    /// The estimates used in evaluation. They stay at 0 and 1 without `track_running_stats`.
    const Array<T>& running_mean() const noexcept { return running_mean_; }
    const Array<T>& running_var() const noexcept { return running_var_; }
    std::int64_t num_batches_tracked() const { return num_batches_tracked_(); }

    void fields(Fields<T>& f) override;
    std::string description() const override;

protected:
    Variable<T> forward(const Variable<T>& x) override { return normalize(x, Activation::none); }
    Variable<T> forward_with(Activation activation, const Variable<T>& x) override {
        return detail::is_exactly(*this) ? normalize(x, activation) : Variable<T>();
    }

private:
    Variable<T> normalize(const Variable<T>& x, Activation activation);
    void check_running_stats() const;
    void track(const Array<T>& mean, const Array<T>& variance, std::size_t samples);

    Parameter<T> weight_, bias_;  // first: when they do not fit, an assignment throws before anything is changed
    std::size_t features_;
    BatchNormOptions options_;
    Array<T> running_mean_, running_var_;
    Array<std::int64_t> num_batches_tracked_;
};

extern template class BatchNorm<float>;
extern template class BatchNorm<double>;

}  // namespace xgrad::nn
