// Gradients kept within bounds, between backward and step.
#pragma once

#include <vector>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad::optim {

/// Scales the gradients g of all parameters by min(1, max_norm / (‖g‖ + 10⁻⁶)), where ‖g‖ = √Σ g² over all of them
/// together, and returns ‖g‖ (Pascanu et al. 2013). A norm that is not finite is returned, and the gradients stay as
/// they are. Throws Error when max_norm is not above 0.
template <class T = float>  // for braces: clip_grad_norm({weight}, 1)
double clip_grad_norm(const std::vector<Variable<T>>& parameters, double max_norm);

/// Moves every element of the gradients into [−max_value, max_value]. Throws Error when max_value is not above 0.
template <class T = float> void clip_grad_value(const std::vector<Variable<T>>& parameters, double max_value);

}  // namespace xgrad::optim
