// Initialisers: they write into a parameter, with numbers from the thread's generator (xgrad::seed).
//
//     init::he_normal(layer.weight());
//     init::glorot_uniform(layer.weight(), init::gain("tanh"));
//
// In a layer z = θh of fan-in k the signal's variance goes on as Var(z) = k·Var(θ)·E(h²): it vanishes with depth when
// k·Var(θ) is too small and explodes when it is too large. Each of these keeps it stable, for the activation ψ that its
// gain stands for.
#pragma once

#include <functional>
#include <numbers>
#include <string_view>
#include <type_traits>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad::nn {

template <class T> class Layer;

namespace init {

/// Numbers from the uniform distribution over [low, high).
template <class T> void uniform(Variable<T>& parameter, double low, double high);

/// Numbers from the normal distribution.
template <class T> void normal(Variable<T>& parameter, double mean = 0, double deviation = 1);

/// The same number everywhere.
template <class T> void constant(Variable<T>& parameter, double value);
template <class T> void zeros(Variable<T>& parameter) { constant(parameter, 0); }
template <class T> void ones(Variable<T>& parameter) { constant(parameter, 1); }

/// How many inputs each output of a weight of shape (out, in, …) sums up. Throws Error for less than two dimensions.
std::size_t fan_in(const Shape& weight);
/// How many outputs each input goes to.
std::size_t fan_out(const Shape& weight);

/// The factor for θ's standard deviation that makes up for an activation, named as in xgrad ("relu", "leaky_relu", with
/// its slope as the setting, "tanh", "selu", "sigmoid", "linear"); torch.nn.init.calculate_gain has the same. Throws
/// Error for other names.
double gain(std::string_view activation, double setting = 0.01);

/// An activation ψ: a function of each element alone. A function of xgrad, an `elementwise` formula, a lambda or a
/// layer.
using ActivationFunction = std::function<Variable<double>(const Variable<double>& z)>;

/// What an activation makes of z from a normal distribution.
struct Moments {
    double mean;                      ///< E[ψ(z)]
    double second_moment;             ///< E[ψ(z)²]: what becomes of the signal's square on its way forward
    double derivative_second_moment;  ///< E[ψ′(z)²]: what becomes of the cotangent's square on its way back
};

/// The moments of any activation for z ~ N(0, deviation²), by adaptive quadrature to about 1e-10 of their size, kinks
/// and jumps wherever they are included; ψ′ is what autodiff makes of ψ. They are the terms of mean-field theory: with
/// weights of variance σ_w²/k in wide layers, the mean square of z obeys q ← σ_w²·E[ψ(√q z)²], and that of its
/// cotangent is multiplied by σ_w²·E[ψ′(√q z)²] (Poole et al. 2016, "Exponential expressivity in deep neural networks
/// through transient chaos"; Schoenholz et al. 2017, "Deep information propagation").
/// Throws Error when ψ is no function of each element alone, gives no finite numbers, or a moment is infinite.
Moments moments(const ActivationFunction& activation, double deviation = 1);
/// The moments of a layer as it is in evaluation mode, to the layer's own precision.
template <class T> Moments moments(const Layer<T>& activation, double deviation = 1);

/// 1/√E[ψ(z)²] for z ~ N(0, 1), the factor for θ's standard deviation that keeps Var(z) through an activation: √2 for
/// ReLU (He et al. 2015), 1 for SELU (Klambauer et al. 2017, "Self-normalizing neural networks"). It is computed, where
/// the gain by name is a table that agrees for "relu", "leaky_relu" and "linear" only. Throws Error when ψ is zero
/// everywhere, and as `moments` does.
double gain(const ActivationFunction& activation);
template <class T> double gain(const Layer<T>& activation);

/// Var(θ) = 1/(fan_in·E[ψ(z)²]), for any activation ψ: a layer whose input is h = ψ(z) with z ~ N(0, 1) then gives a
/// result of variance 1 again. So ψ is the activation before the layer; the first layer, whose input is the data, has
/// none: init::lecun_normal.
///
///     init::variance_preserving(layer.weight(), [](const auto& z) { return silu(z); });
template <class T> void variance_preserving(Variable<T>& weight, const ActivationFunction& activation);
template <class T> void variance_preserving(Variable<T>& weight, const Layer<T>& activation);

/// Var(θ) = gain²/fan_in (He et al. 2015, "Delving deep into rectifiers"). The gain is that of ReLU if none is given.
template <class T> void he_normal(Variable<T>& weight, double gain = std::numbers::sqrt2);
template <class T> void he_uniform(Variable<T>& weight, double gain = std::numbers::sqrt2);

/// Var(θ) = gain²·2/(fan_in + fan_out), a compromise between the signal forward and the gradient backward (Glorot and
/// Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks").
template <class T> void glorot_normal(Variable<T>& weight, double gain = 1);
template <class T> void glorot_uniform(Variable<T>& weight, double gain = 1);

/// Var(θ) = gain²/fan_in with a gain of 1 if none is given (LeCun et al. 1998, "Efficient backprop"): for layers after
/// SELU, tanh or no activation.
template <class T> void lecun_normal(Variable<T>& weight, double gain = 1);
template <class T> void lecun_uniform(Variable<T>& weight, double gain = 1);

/// A random matrix with orthonormal rows or columns, whichever are fewer, times the gain, all such matrices equally
/// likely; the axes after the first count as one (Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of
/// learning in deep linear neural networks"). Throws Error for less than two dimensions.
template <class T> void orthogonal(Variable<T>& weight, double gain = 1);

/// When `layer_sequential_unit_variance` has come near enough.
struct UnitVarianceOptions {
    double tolerance = 1e-2;  ///< how far from 1 a layer's variance may stay
    int iterations = 20;      ///< how often one layer's weight may be scaled
};

/// Layer-sequential unit-variance initialisation from data (Mishkin and Matas 2016, "All you need is a good init"):
/// makes the weight of each layer orthogonal, then, layer by layer in the order of execution, divides it by the
/// output's standard deviation on this batch until the variance, over all samples and units, is 1. It needs no gain and
/// no theory, and works through any layers between, in the mode that the model is in. Only layers' unfrozen weights of
/// two or more axes are changed; statistics stay as they are. Throws Error, with no weight changed, when the forward
/// does not reach a layer that has such a weight, or when its output has the variance 0, is not finite, or does not
/// come near 1 (its bias alone has more).
template <class T>
void layer_sequential_unit_variance(Layer<T>& model, const std::type_identity_t<Variable<T>>& x,
                                    UnitVarianceOptions options = {});

}  // namespace init
}  // namespace xgrad::nn
