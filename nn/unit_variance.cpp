// init::layer_sequential_unit_variance, in a file of its own: with orthogonal matrices comes linear algebra.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn/init.hpp>
#include <xgrad/nn/instruments.hpp>

namespace xgrad::nn::init {
namespace {

using nn::detail::Statistics;

// A layer with weights to be initialised, and what these were.
template <class T> struct Target {
    const Layer<T>* layer;
    std::string name;
    std::vector<Variable<T>> weights;
    std::vector<Array<T>> before;
};

template <class T> std::vector<Target<T>> targets_of(const Layer<T>& model) {
    std::vector<Target<T>> targets;
    for (const auto& [name, module] : model.named_modules()) {
        const auto* const layer = dynamic_cast<const Layer<T>*>(module);
        if (!layer) continue;
        Target<T> target{layer, name, {}, {}};
        for (const Variable<T>& weight : nn::detail::own_weights(*layer)) {
            if (!weight.requires_grad()) continue;
            target.weights.push_back(weight);
            target.before.push_back(weight.value());
        }
        if (!target.weights.empty()) targets.push_back(std::move(target));
    }
    return targets;
}

// The layers with the variances of their outputs, in the order of their first calls.
template <class T> class Outputs : public LayerWatcher<T> {
public:
    Outputs(Layer<T>& model, const Variable<T>& x) {
        const NoGrad no_grad;
        const nn::detail::Preserve<T> preserve(model);
        model(x);
    }

    std::size_t place(const Layer<T>* layer) const {
        return static_cast<std::size_t>(std::ranges::find(layers_, layer) - layers_.begin());
    }
    bool reached(const Layer<T>* layer) const { return place(layer) < layers_.size(); }
    double variance(const Layer<T>* layer) const { return variances_[place(layer)]; }

private:
    void on_call(const Layer<T>& layer, const Variable<T>&, const Variable<T>& output) override {
        if (reached(&layer)) return;
        layers_.push_back(&layer);
        variances_.push_back(Statistics(output.value()).variance);
    }

    std::vector<const Layer<T>*> layers_;
    std::vector<double> variances_;
};

template <class T>
void scale_to_unit_variance(Layer<T>& model, const Variable<T>& x, Target<T>& target,
                            const UnitVarianceOptions& options) {
    for (int i = 0;; ++i) {
        const double variance = Outputs<T>(model, x).variance(target.layer);
        if (std::abs(variance - 1) <= options.tolerance) return;
        const bool cannot_scale = !(variance > 0 && std::isfinite(variance));
        if (cannot_scale || i == options.iterations)
            throw Error(
                fmt::format("layer_sequential_unit_variance: on this batch the output of layer '{}', {}, has the "
                            "variance {:.3g}{}",
                            target.name, target.layer->description(), variance,
                            cannot_scale ? ", which no factor makes 1"
                                         : fmt::format(" after {} steps; expected 1", options.iterations)));
        for (Variable<T>& weight : target.weights)
            weight.update([&](Array<T>& values) {
                for (T& value : values) value = static_cast<T>(value / std::sqrt(variance));
            });
    }
}

}  // namespace

template <class T>
void layer_sequential_unit_variance(Layer<T>& model, const std::type_identity_t<Variable<T>>& x,
                                    UnitVarianceOptions options) {
    if (!(options.tolerance > 0) || options.iterations < 1)
        throw Error(
            fmt::format("layer_sequential_unit_variance: a tolerance of {} and {} iterations; expected more than 0",
                        options.tolerance, options.iterations));
    std::vector<Target<T>> targets = targets_of(model);
    const Outputs<T> first(model, x);
    for (const Target<T>& target : targets)
        if (!first.reached(target.layer))
            throw Error(fmt::format("layer_sequential_unit_variance: the forward does not reach layer '{}', {}",
                                    target.name, target.layer->description()));
    std::ranges::sort(targets, {}, [&](const Target<T>& target) { return first.place(target.layer); });
    try {
        for (Target<T>& target : targets)
            for (Variable<T>& weight : target.weights) orthogonal(weight);
        for (Target<T>& target : targets) scale_to_unit_variance(model, x, target, options);
    } catch (...) {
        for (Target<T>& target : targets)
            for (std::size_t i = 0; i < target.weights.size(); ++i) target.weights[i].assign(target.before[i]);
        throw;
    }
}

template void layer_sequential_unit_variance(Layer<float>&, const Variable<float>&, UnitVarianceOptions);
template void layer_sequential_unit_variance(Layer<double>&, const Variable<double>&, UnitVarianceOptions);

}  // namespace xgrad::nn::init
