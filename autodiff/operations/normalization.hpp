// Normalisation of a batch's channels or of a sample's features.
#pragma once

#include <xgrad/autodiff/activation.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// What batch_norm gives: the result, and each channel's statistics, of which running estimates are made.
template <class T> struct BatchNormResult {
    Variable<T> output;   ///< of x's shape
    Array<T> mean;        ///< (C)
    Array<T> variance;    ///< (C), biased: divided by the number of values
};

/// activation((x − μ)/√(σ² + epsilon)·weight + bias) for x of shape (N, C, …), where μ and σ² are the mean and the
/// biased variance of each channel's values. weight and bias have shape (C), or are empty and stand for 1 and 0.
///
/// Throws Error when the shapes do not fit, and for fewer than two values per channel, of which there is no variance.
template <class T>
BatchNormResult<T> batch_norm(const Variable<T>& x, const std::type_identity_t<Variable<T>>& weight = {},
                              const std::type_identity_t<Variable<T>>& bias = {}, double epsilon = 1e-5,
                              Activation activation = Activation::none);

/// The same with a mean and a variance that are given, of shape (C).
template <class T>
Variable<T> batch_norm_inference(const Variable<T>& x, const std::type_identity_t<Variable<T>>& mean,
                                 const std::type_identity_t<Variable<T>>& variance,
                                 const std::type_identity_t<Variable<T>>& weight = {},
                                 const std::type_identity_t<Variable<T>>& bias = {}, double epsilon = 1e-5,
                                 Activation activation = Activation::none);

namespace detail {

/// The same with running estimates, which are no Variables.
template <class T>
Variable<T> batch_norm_inference(const Variable<T>& x, const Array<T>& mean, const Array<T>& variance,
                                 const Variable<T>& weight, const Variable<T>& bias, double epsilon,
                                 Activation activation);

}  // namespace detail

/// (x − μ)/√(σ² + epsilon)·weight + bias, where μ and σ² are the mean and the biased variance over the last axes of x,
/// which have the sizes `normalized_shape`. weight and bias have that shape, or are empty and stand for 1 and 0.
///
/// Throws Error when the shapes do not fit.
template <class T>
Variable<T> layer_norm(const Variable<T>& x, const Shape& normalized_shape,
                       const std::type_identity_t<Variable<T>>& weight = {},
                       const std::type_identity_t<Variable<T>>& bias = {}, double epsilon = 1e-5);

}  // namespace xgrad
