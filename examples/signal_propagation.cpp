// Signal propagation: why depth needs the right variance of the weights. Deep networks of four activations with weights
// of k·Var(θ) from ¼ to 4: below the right scale the output is a constant, above it values or the Jacobian ∂ŷ/∂x
// explode, and mean-field theory says how fast. With batch normalisation the scale of the weights no longer matters.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/program.hpp"
#include <xgrad/xgrad.hpp>

using namespace xgrad;

namespace {

struct Settings {
    std::size_t depth = 50, width = 256;
    int networks = 0;
    std::uint64_t seed = 1;
    std::string picture;
};

struct Nonlinearity {
    std::string name;
    nn::init::ActivationFunction function;
    std::function<void(nn::Sequential<>&)> append;

    /// The k·Var(θ) that keeps the variance of z at 1.
    double right_scale() const { return std::pow(nn::init::gain(function), 2); }
};

constexpr std::size_t outputs = 10;

nn::Sequential<> network(const Nonlinearity& activation, double scale, bool batch_norm, const Settings& settings) {
    nn::Sequential<> model;
    for (std::size_t l = 1; l <= settings.depth; ++l) {
        const bool last = l == settings.depth;
        nn::Linear<> linear(settings.width, last ? outputs : settings.width, {.bias = false});
        // Var(θ) = scale/k; in the first layer 1/k, because the data are no ψ(z) and have the variance 1.
        nn::init::he_normal(linear.weight(), l == 1 ? 1 : std::sqrt(scale));
        model.add(std::move(linear));
        if (last) break;
        if (batch_norm) model.add(nn::BatchNorm<>(settings.width, {.momentum = std::nullopt}));
        activation.append(model);
    }
    return model;
}

Variable<> normal(const Shape& shape) {
    Array<float> values = empty<float>(shape);
    current_generator().fill_normal(std::span(values.data(), values.size()));
    return values;
}

// The variance of a representation over samples and units, and that over the samples alone, averaged over the units; in
// double, because squares of exploding values do not fit into a float.
Variable<double> in_double(const Array<float>& h) { return xt::cast<double>(h); }
double variance_of(const Array<float>& h) { return variance(in_double(h)).item(); }
double spread_of(const Array<float>& h) { return mean(variance(in_double(h), {0})).item(); }

struct Measurement {
    std::vector<double> variance;  // of z⁽¹⁾ … z⁽ᴸ⁾ = ŷ
    double factor = 1;             // of the variance per layer, the geometric mean over layers and networks
    double spread = 0;             // of ŷ
    double jacobian = 0;           // ‖∂ŷ/∂x‖, the root mean square over networks
    std::string regime;
};

double jacobian_square(const nn::Layer<>& model, const Variable<>& x) {
    return std::pow(nn::input_jacobian(model, view(x, xt::range(0, 1))).frobenius_norm(), 2);
}

Measurement measure(const Nonlinearity& activation, double scale, int networks, const Settings& settings) {
    Measurement all;
    all.variance.resize(settings.depth);
    double log_growth = 0;
    for (int i = 0; i < networks; ++i) {
        nn::Sequential<> model = network(activation, scale, false, settings);
        const Variable<> x = normal({64, settings.width});
        const auto h = nn::representations(model, x);  // z⁽¹⁾, ψ(z⁽¹⁾), z⁽²⁾, …, ŷ
        std::vector<double> variance;
        for (std::size_t l = 0; l < settings.depth; ++l) {
            variance.push_back(variance_of(h[2 * l].second));
            all.variance[l] += variance[l] / networks;
        }
        log_growth += std::log(variance.back() / variance.front()) / networks;
        all.spread += spread_of(h.back().second) / networks;
        all.jacobian += jacobian_square(model, x) / networks;
        if (i > 0) continue;
        const auto regime = training::probe(model, x).signal.regime;
        all.regime = regime == training::Regime::vanishing   ? "vanishing"
                     : regime == training::Regime::exploding ? "exploding"
                                                             : "stable";
    }
    all.factor = std::exp(log_growth / static_cast<double>(settings.depth - 1));
    all.jacobian = std::sqrt(all.jacobian);
    return all;
}

// Mean-field theory for wide networks: q ← k·Var(θ)·E[ψ(√q z)²] for the mean square of z, and for that of ∂ŷ/∂x the
// factor k·Var(θ)·E[ψ′(√q z)²]; q is 1 in the first layer.
Measurement theory(const Nonlinearity& activation, double scale, const Settings& settings) {
    Measurement all;
    double q = 1, jacobian_square = outputs;
    for (std::size_t l = 0; l + 1 < settings.depth; ++l) {
        all.variance.push_back(q);
        const auto moments = nn::init::moments(activation.function, std::sqrt(q));
        q = scale * moments.second_moment;
        jacobian_square *= scale * moments.derivative_second_moment;
    }
    all.variance.push_back(q);
    all.factor = std::pow(q, 1 / static_cast<double>(settings.depth - 1));
    all.jacobian = std::sqrt(jacobian_square);
    return all;
}

// The larger one; NaN if either is.
double larger(double a, double b) { return std::isnan(a) || a >= b ? a : b; }

// With batch normalisation, in training mode, the variance of z* is 1 in each layer.
struct Normalised {
    double deviation = 0;  // from that, the largest
    double spread = 0, spread_theory = 0;
    double jacobian = 0, jacobian_theory = 0;
};

Normalised measure_normalised(const Nonlinearity& activation, double scale, int networks, const Settings& settings) {
    Normalised all;
    for (int i = 0; i < networks; ++i) {
        nn::Sequential<> model = network(activation, scale, true, settings);
        // Inference divides by the unbiased variance, training by the biased one: of N samples, that makes ŷ smaller by
        // (1 − 1/N)^(L/2) or so, which is little for a large batch only.
        const Variable<> x = normal({8 * settings.depth, settings.width});
        const auto probe = training::probe(model, x);
        for (const training::LayerSignal& layer : probe.layers)
            if (layer.layer.starts_with("BatchNorm")) all.deviation = larger(all.deviation, std::abs(layer.spread - 1));
        all.spread += probe.layers.back().spread / networks;
        {
            const NoGrad no_grad;
            model(x);  // the running statistics after one batch, with no momentum, are that batch's
        }
        all.jacobian += jacobian_square(model, x) / networks;
    }
    all.jacobian = std::sqrt(all.jacobian);
    // What the next normalisation divides by is the variance of ψ(z) over the samples, so the square of
    // ∂ŷ/∂x grows by E[ψ′(z)²]/Var(ψ(z)) per layer, whatever the weights (Yang et al. 2019, "A mean field theory of
    // batch normalization").
    const auto m = nn::init::moments(activation.function);
    const double variance = m.second_moment - m.mean * m.mean, growth = m.derivative_second_moment / variance;
    all.spread_theory = scale * variance;
    all.jacobian_theory = std::sqrt(outputs * scale * m.derivative_second_moment *
                                    std::pow(growth, static_cast<double>(settings.depth) - 2));
    return all;
}

// What one k·Var(θ) comes to, without and with batch normalisation.
struct Row {
    double scale;
    Measurement measured, theory;
    Normalised normalised;
};

double apart(double a, double b) { return std::abs(std::log(a / b)); }

std::vector<Row> experiment(const Nonlinearity& activation, const Settings& settings) {
    // A network's own variance differs from that of theory by chance: its logarithm moves from layer to layer by 5/n in
    // the mean square with ReLU, less with the others, and by 5L/n in all. So the mean variance of S networks has the
    // relative error √((exp(5L/n) − 1)/S), and the mean factor √(5/(nLS)): as many networks are taken as make the first
    // 15 % at the scale where the variance is to stay, and the second 1 % at all others.
    const auto depth = static_cast<double>(settings.depth), width = static_cast<double>(settings.width);
    int many = static_cast<int>(std::ceil(std::expm1(5 * depth / width) / (0.15 * 0.15)));
    int few = static_cast<int>(std::ceil(5 / (1e-4 * depth * width)));
    if (settings.networks > 0) many = few = settings.networks;

    std::vector<double> scales{0.25, 0.5, 1, 2, 4};
    const double right = activation.right_scale();
    std::erase_if(scales, [&](double scale) { return apart(scale, right) < 1e-6; });
    scales.push_back(right);
    std::ranges::sort(scales);
    std::vector<Row> rows;
    for (const double scale : scales)
        rows.push_back({scale, measure(activation, scale, scale == right ? std::max(many, few) : few, settings),
                        theory(activation, scale, settings), measure_normalised(activation, scale, few, settings)});
    return rows;
}

void print(const Nonlinearity& activation, const std::vector<Row>& rows) {
    const auto header = [](auto... cells) {
        fmt::print("{:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {:9} {:>9} {:>9} {:>9} {:>9}\n", cells...);
    };
    fmt::print("\n{}: k·Var(θ) = {:.4g} keeps a variance of 1\n", activation.name, activation.right_scale());
    header("", "factor", "theory", "Var(ŷ)", "theory", "spread", "|∂ŷ/∂x|", "theory", "", "with BN:", "theory",
           "|∂ŷ/∂x|", "theory");
    header("k·Var(θ)", "per layer", "", "", "", "of ŷ", "", "", "the probe", "spread", "", "", "");
    for (const auto& [scale, measured, theory, normalised] : rows)
        fmt::print(
            "{:8.4g} {:9.4f} {:9.4f} {:9.2g} {:9.2g} {:9.2g} {:9.2g} {:9.2g}  {:9} {:9.2g} {:9.2g} {:9.2g} {:9.2g}\n",
            scale, measured.factor, theory.factor, measured.variance.back(), theory.variance.back(), measured.spread,
            measured.jacobian, theory.jacobian, measured.regime, normalised.spread, normalised.spread_theory,
            normalised.jacobian, normalised.jacobian_theory);
}

void print_claims(const Nonlinearity& activation, const std::vector<Row>& rows) {
    double factor = 0, jacobian = 0, normalised = 0;
    for (const Row& row : rows) {
        const auto depth = static_cast<double>(row.measured.variance.size());
        factor = larger(factor, std::expm1(apart(row.measured.factor, row.theory.factor)));
        jacobian = larger(jacobian, std::expm1(apart(row.measured.jacobian, row.theory.jacobian) / depth));
        normalised = larger(normalised, row.normalised.deviation);
        if (row.scale == activation.right_scale())
            fmt::print("{}: at k·Var(θ) = {:.4g} the variance changes over all layers by a factor of {:.3f}\n",
                       activation.name, row.scale,
                       std::exp(apart(row.measured.variance.back(), row.measured.variance.front())));
    }
    fmt::print("{}: deviation of a factor per layer from theory, at most {:.4f}\n", activation.name, factor);
    fmt::print("{}: deviation of the Jacobian's factor per layer, at most {:.4f}\n", activation.name, jacobian);
    fmt::print("{}: spread of ŷ over inputs at k·Var(θ) = 1/4: {:.2e}\n", activation.name,
               rows.front().measured.spread);
    fmt::print("{}: deviation from 1 of the spread after BatchNorm, at most {:.1e}\n", activation.name, normalised);
}

void draw(training::Figure& figure, const Nonlinearity& activation, const std::vector<Row>& rows) {
    std::vector<double> layer, scale, jacobian, jacobian_theory, normalised;
    training::Panel& variance = figure.panel({.title = activation.name,
                                              .x_label = "layer",
                                              .y_label = "variance of z",
                                              .log_y = true,
                                              .y_range = {{1e-12, 1e12}}});
    for (std::size_t l = 1; l <= rows[0].theory.variance.size(); ++l) layer.push_back(static_cast<double>(l));
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const Row& row = rows[i];
        variance.curve(fmt::format("k·Var(θ) = {:.3g}", row.scale), layer, row.measured.variance,
                       {.mark = training::Mark::points, .colour = i});
        variance.curve("", layer, row.theory.variance, {.mark = training::Mark::dashes, .colour = i});
        scale.push_back(row.scale);
        jacobian.push_back(row.measured.jacobian);
        jacobian_theory.push_back(row.theory.jacobian);
        normalised.push_back(row.normalised.jacobian);
    }
    training::Panel& panel = figure.panel({.title = activation.name,
                                           .x_label = "k·Var(θ)",
                                           .y_label = "norm of ∂ŷ/∂x",
                                           .log_x = true,
                                           .log_y = true,
                                           .x_range = {{0.1, 10}},
                                           .y_range = {{1e-16, 1e16}}});
    panel.curve("measured", scale, jacobian, {.mark = training::Mark::points, .colour = 0});
    panel.curve("theory", scale, jacobian_theory, {.mark = training::Mark::dashes, .colour = 0});
    panel.curve("with BatchNorm", scale, normalised, {.colour = 1});
}

}  // namespace

int main(int argc, char** argv) {
    Settings settings;
    std::string only;
    Program program("Shows how the variance of the weights decides what a deep network does with its input.");
    program.option("--depth", settings.depth, "layers with weights", {.least = 3, .most = 1000});
    program.option("--width", settings.width, "units of a layer", {.least = 16, .most = 4096});
    program.option("--networks", settings.networks, "drawn for each k·Var(θ); as many as chance asks for if 0",
                   {.least = 0, .most = 1000});
    program.choice("--activation", only, "this one alone: tanh, ReLU, SELU or identity",
                   {"tanh", "ReLU", "SELU", "identity"});
    program.option("--seed", settings.seed, "of the weights and the inputs");
    program.option("--picture", settings.picture, "an .svg or .png file to draw into (needs gnuplot)");
    return program.run(argc, argv, [&] {
        xgrad::seed(settings.seed);

        const std::vector<Nonlinearity> activations{
            {"tanh", tanh<double>, [](nn::Sequential<>& model) { model.add(nn::Tanh<>()); }},
            {"ReLU", relu<double>, [](nn::Sequential<>& model) { model.add(nn::ReLU<>()); }},
            {"SELU", selu<double>, [](nn::Sequential<>& model) { model.add(nn::SELU<>()); }},
            {"identity", [](const auto& z) { return z; },
             [](nn::Sequential<>& model) { model.add(nn::Identity<>()); }}};

        training::Figure figure({.columns = 2, .panel_width = 520});
        for (const Nonlinearity& activation : activations) {
            if (!only.empty() && activation.name != only) continue;
            const std::vector<Row> rows = experiment(activation, settings);
            print(activation, rows);
            print_claims(activation, rows);
            if (!settings.picture.empty()) draw(figure, activation, rows);
        }
        if (!settings.picture.empty()) figure.save(settings.picture);
    });
}
