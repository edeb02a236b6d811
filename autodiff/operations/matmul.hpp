// Products of matrices.
#pragma once

#include <xgrad/autodiff/activation.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// Which operands of `matmul` are transposed.
struct MatmulOptions {
    bool transpose_a = false;  ///< multiply by a with its last two axes exchanged
    bool transpose_b = false;  ///< multiply by b with its last two axes exchanged
};

/// The product of matrices, (…, m, k)·(…, k, n) → (…, m, n); the axes in front broadcast. A vector is a row on the left
/// and a column on the right, whose axis goes away again (NumPy's rule). Transposes are flags, never copies.
/// Throws Error when the inner sizes differ, for scalars, and for a vector with a transpose.
template <class T>
Variable<T> matmul(const Variable<T>& a, const std::type_identity_t<Variable<T>>& b, MatmulOptions options = {});

/// activation(x·weightᵀ + bias) for x of shape (…, in), weight (out, in) and bias (out), or no bias: one operation,
/// bias and activation being applied while a tile of the product is in registers. Throws Error when the shapes do not
/// fit.
template <class T>
Variable<T> linear(const Variable<T>& x, const std::type_identity_t<Variable<T>>& weight,
                   const std::type_identity_t<Variable<T>>& bias = {}, Activation activation = Activation::none);

}  // namespace xgrad
