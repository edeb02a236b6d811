// Adam and AdamW.
#pragma once

#include <array>
#include <limits>
#include <vector>

#include <xgrad/optim/optimizer.hpp>

namespace xgrad::optim {

/// The settings of Adam; the last two are those of `Optimizer::Settings`.
struct AdamOptions {
    Schedule learning_rate = 1e-3;
    std::array<double, 2> betas{0.9, 0.999};  ///< how slowly the two moments forget, each in [0, 1)
    double epsilon = 1e-8;    ///< ε, which keeps the divisor from 0
    double weight_decay = 0;  ///< an L2 penalty: λθ is added to the gradient
    bool amsgrad = false;     ///< divide by the largest v̂ so far (Reddi et al. 2018)
    NonFinite on_non_finite = NonFinite::ignore;
    double max_grad_norm = std::numeric_limits<double>::infinity();
};

/// Steps of a size that does not depend on the gradient's scale (Kingma and Ba 2015). With the gradient g at step t:
///     m ← β₁m + (1 − β₁)g,   v ← β₂v + (1 − β₂)g²,   θ ← θ − η·m̂ / (√v̂ + ε)
/// where m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ).
template <class T = float> class Adam : public Optimizer<T> {
public:
    /// Throws Error when there are no parameters, or an option is out of its range.
    explicit Adam(std::vector<Variable<T>> parameters, AdamOptions options = {});
    explicit Adam(std::vector<Group<T>> groups, AdamOptions options = {});

protected:
    Adam(std::vector<Group<T>> groups, const AdamOptions& options, bool decoupled);
    void update(Variable<T>& parameter, const Array<T>& gradient, State<T>& state) override;

private:
    std::array<double, 2> betas_;
    double epsilon_;
    bool amsgrad_, decoupled_;
    std::int64_t corrected_step_ = 0;  // the step that the bias corrections are for
    std::array<double, 2> bias_corrections_{};
};

/// The settings of AdamW; those without a comment are Adam's.
struct AdamWOptions {
    Schedule learning_rate = 1e-3;
    std::array<double, 2> betas{0.9, 0.999};
    double epsilon = 1e-8;
    double weight_decay = 0.01;  ///< θ shrinks by the factor 1 − ηλ before each step
    bool amsgrad = false;
    NonFinite on_non_finite = NonFinite::ignore;
    double max_grad_norm = std::numeric_limits<double>::infinity();
};

/// Adam with a weight decay that stays out of the moments: θ ← (1 − ηλ)θ, then Adam's step (Loshchilov, Hutter 2019).
template <class T = float> class AdamW : public Adam<T> {
public:
    /// Throws Error when there are no parameters, or an option is out of its range.
    explicit AdamW(std::vector<Variable<T>> parameters, AdamWOptions options = {});
    explicit AdamW(std::vector<Group<T>> groups, AdamWOptions options = {});
};

template <class T> Adam(std::initializer_list<Variable<T>>, AdamOptions = {}) -> Adam<T>;
template <class T> AdamW(std::initializer_list<Variable<T>>, AdamWOptions = {}) -> AdamW<T>;

extern template class Adam<float>;
extern template class Adam<double>;
extern template class AdamW<float>;
extern template class AdamW<double>;

}  // namespace xgrad::optim
