// ∂ŷ/∂x: how a network's output depends on its input.
#pragma once

#include <type_traits>
#include <vector>

#include <xgrad/nn/layer.hpp>

namespace xgrad::nn {

/// The Jacobian ∂ŷ/∂x of a network at one input. Its norms tell how a small change of the input goes on to the output:
/// far below 1 the output hardly depends on the input, far above the network is chaotic; where all singular values are
/// near 1 it is an isometry (Pennington et al. 2017, "Resurrecting the sigmoid in deep learning through dynamical
/// isometry").
template <class T> struct InputJacobian {
    Array<T> matrix;  ///< (ŷ.size(), x.size()), both counted in row-major order

    /// √Σ Jᵢⱼ²
    double frobenius_norm() const;
    /// The largest singular value; 0 for a matrix without elements. Throws Error when an element is not finite.
    double spectral_norm() const;
    /// min(ŷ.size(), x.size()) of them, the largest first. Throws Error when an element is not finite.
    std::vector<double> singular_values() const;
};

/// The Jacobian of a model, as it is in evaluation mode, at x; one backward pass for each element of ŷ. Nothing is
/// changed: the model may be const and serve several threads.
///
///     double norm = nn::input_jacobian(model, x).spectral_norm();   // x of shape (1, in)
///
/// Over a batch it has a row for each element of the whole output, and samples that do not meet are blocks of zeros.
template <class T> InputJacobian<T> input_jacobian(const Layer<T>& model, const std::type_identity_t<Variable<T>>& x);

}  // namespace xgrad::nn
