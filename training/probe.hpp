// How the signal goes through a network, and the gradient back: which layer is to blame when it does not train.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <xgrad/nn/layer.hpp>
#include <xgrad/training/figure.hpp>

namespace xgrad::training {

/// What a variance does with depth.
enum class Regime { vanishing, stable, exploding };

/// One call of a layer. A unit is one element of a sample; samples are along the first axis.
struct LayerSignal {
    std::string name;   ///< path in the module; empty for the module itself and for layers that it does not list
    std::string layer;  ///< its description
    Shape shape;        ///< of its output h

    double mean = 0, variance = 0;  ///< of h, over all samples and units
    double spread = 0;              ///< the variance of a unit over the samples, averaged over the units; 0: h = const
    double dead = 0;                ///< the share of units that are 0 for every sample
    /// The share of values at which an activation ψ is flat and not 0: |ψ′(z)| is below 5 % of √E[ψ′(z)²] for
    /// z ~ N(0, 1). For tanh that is |h| > 0.983. Only for layers that are a function of each element.
    std::optional<double> saturated;

    /// For a layer with a weight θ: Var(h⁽ˡ⁺¹⁾)/Var(h⁽ˡ⁾), where h⁽ˡ⁾ is its input and h⁽ˡ⁺¹⁾ that of the next one, or
    /// the module's output. In theory k·Var(θ) times what the activation makes of it.
    std::optional<double> factor;

    // With a loss L:
    std::optional<double> cotangent_variance;  ///< of ∂L/∂h
    std::optional<double> gradient_ratio;      ///< ‖∂L/∂θ‖/‖θ‖ over the layer's own parameters
};

/// The course of a variance along the layers with weights. It is vanishing or exploding when at the end it has fallen
/// or risen by a factor of more than 10; what lies between two layers does not count, nor does the step away from the
/// scale of the data (or of the loss), which is the user's.
struct Trend {
    Regime regime = Regime::stable;
    std::string layer;  ///< where it begins; empty when it is stable
    double factor = 1;  ///< from there to the end, per layer (geometric mean)
    double total = 1;   ///< and in all
    std::string cure;   ///< the initialisation (or else) that helps, in words
};

/// What a probe has measured.
struct Probe {
    std::vector<LayerSignal> layers;  ///< in the order of execution
    Trend signal;                     ///< of Var(h⁽ˡ⁾), from the first layer to the last
    std::optional<Trend> gradient;    ///< of Var(∂L/∂h⁽ˡ⁾), from the last layer to the first; with a loss only

    /// The layers as a table, with the regimes in words below.
    std::string summary() const;
    /// The same over the layers, counted from 1: variance and spread, dead and saturated shares, and with a loss the
    /// variance of the cotangent and the gradient over the parameter.
    ///
    ///     probe.figure().save("probe.svg");
    Figure figure() const;
};

/// What makes one number of a model's output: the loss that a probe runs backward from.
template <class T> using LossFunction = std::function<Variable<T>(const Variable<T>& output)>;

/// Runs a model on one batch in the mode that it is in, and back when a loss is given, and measures each layer on the
/// way.
///
///     const auto probe = training::probe(model, images, [&](auto& y) { return nn::cross_entropy(y, labels); });
///     fmt::print("{}", probe.summary());
///
/// Nothing is changed: parameters, gradients, running statistics, mode and the generator are as before. It sees all
/// layers through nn::LayerWatcher, of any composition; a layer that hands on the very result of one within it
/// (Sequential) has no row of its own. Hooks are called as in any forward. A regime is meant for wide networks: that of
/// depth L and width n has chance fluctuations of √(5L/n) in the logarithm. Throws Error when the loss is not one
/// number, and for an empty batch.
template <class T>
Probe probe(nn::Layer<T>& model, const std::type_identity_t<Variable<T>>& x,
            const std::type_identity_t<LossFunction<T>>& loss = {});

/// The same for a module with another signature: `forward` calls it and gives its output.
template <class T>
Probe probe(nn::Module<T>& module, const std::type_identity_t<std::function<Variable<T>()>>& forward,
            const std::type_identity_t<LossFunction<T>>& loss = {});

}  // namespace xgrad::training
