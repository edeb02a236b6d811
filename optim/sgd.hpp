// Stochastic gradient descent.
#pragma once

#include <limits>
#include <vector>

#include <xgrad/optim/optimizer.hpp>

namespace xgrad::optim {

/// The settings of SGD; the last two are those of `Optimizer::Settings`.
struct SGDOptions {
    Schedule learning_rate = 1e-3;
    double momentum = 0;      ///< μ: how much of the last step goes on
    double dampening = 0;     ///< τ: how much less of the gradient joins the momentum
    double weight_decay = 0;  ///< an L2 penalty: λθ is added to the gradient
    bool nesterov = false;    ///< look ahead along the momentum; needs one, and no dampening
    NonFinite on_non_finite = NonFinite::ignore;
    double max_grad_norm = std::numeric_limits<double>::infinity();
};

/// Steps down the gradient g: θ ← θ − ηg. With momentum, b ← μb + (1 − τ)g (b = g at first) stands in place of g, and
/// with Nesterov's form g + μb (Sutskever et al. 2013).
template <class T = float> class SGD : public Optimizer<T> {
public:
    /// Throws Error when there are no parameters, or an option is out of its range.
    explicit SGD(std::vector<Variable<T>> parameters, SGDOptions options = {});
    explicit SGD(std::vector<Group<T>> groups, SGDOptions options = {});

protected:
    void update(Variable<T>& parameter, const Array<T>& gradient, State<T>& state) override;

private:
    double momentum_, dampening_;
    bool nesterov_;
};

template <class T> SGD(std::initializer_list<Variable<T>>, SGDOptions = {}) -> SGD<T>;

extern template class SGD<float>;
extern template class SGD<double>;

}  // namespace xgrad::optim
