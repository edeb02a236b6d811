// Dropout as a layer.
#pragma once

#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {

/// In training sets each element to 0 with this probability, and multiplies it by 1/(1 − probability) otherwise; in
/// evaluation does nothing. Draws from the thread's generator (xgrad::seed).
template <class T = float> class Dropout : public Layer<T> {
public:
    /// Throws Error when the probability is not in [0, 1].
    explicit Dropout(double probability = 0.5);

    double probability() const noexcept { return probability_; }
    std::string description() const override;

protected:
    Variable<T> forward(const Variable<T>& x) override;

private:
    double probability_;
};

extern template class Dropout<float>;
extern template class Dropout<double>;

}  // namespace xgrad::nn
