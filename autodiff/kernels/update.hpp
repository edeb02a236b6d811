// One optimizer step of one parameter, in place and in one pass over memory. The arithmetic is torch.optim's (Adam's
// with ε and the step rescaled), so results equal PyTorch's to rounding.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::kernels {

struct SgdOptions {
    double learning_rate = 1e-3;
    double momentum = 0;
    double dampening = 0;
    double weight_decay = 0;  ///< an L2 penalty: added to the gradient
    bool nesterov = false;
    bool first_step = false;  ///< the momentum buffer holds nothing yet and becomes the gradient
};

/// A step of stochastic gradient descent. `momentum_buffer` is needed if momentum is not 0, else it may be null.
template <class T>
void sgd_update(const SgdOptions& options, const T* gradient, T* parameter, T* momentum_buffer, std::size_t n);

struct AdamOptions {
    double learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;
    bool decoupled = false;       ///< weight decay shrinks the parameter (AdamW) instead of joining the gradient
    double bias_correction1 = 1;  ///< 1 - beta1^step
    double bias_correction2 = 1;  ///< 1 - beta2^step
};

/// A step of Adam, AdamW or, if `largest_second_moment` is not null, their AMSGrad variants. The moments start at 0.
template <class T>
void adam_update(const AdamOptions& options, const T* gradient, T* parameter, T* first_moment, T* second_moment,
                 T* largest_second_moment, std::size_t n);

/// The level's share of the work: one thread's piece.
template <class T> struct UpdateKernels {
    void (*sgd)(const SgdOptions& options, const T* gradient, T* parameter, T* momentum_buffer, std::size_t n);
    void (*adam)(const AdamOptions& options, const T* gradient, T* parameter, T* first_moment, T* second_moment,
                 T* largest_second_moment, std::size_t n);
};

XGRAD_AT_EVERY_LEVEL(template <class T> const UpdateKernels<T>& update_kernels();)

/// The table of the level in use.
template <class T> const UpdateKernels<T>& update_kernels() { XGRAD_SELECT(update_kernels<T>()) }

}  // namespace xgrad::kernels
