#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <map>
#include <new>
#include <span>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn/init.hpp>
#include <xgrad/nn/instruments.hpp>
#include <xgrad/training/probe.hpp>

namespace xgrad::training {
namespace {

using nn::detail::Statistics;

template <class T> struct Call {
    const nn::Layer<T>* layer;
    std::string name;
    Variable<T> input, output;
    std::vector<Variable<T>> parameters, weights;  // of its own
    // When the layer is a function of each element alone:
    std::optional<nn::init::Moments> moments;
    double slope_square = 0;  // the mean of ψ′² over the batch
};

template <class T> class Recorder : public nn::LayerWatcher<T> {
public:
    explicit Recorder(const nn::Module<T>& module) : names_(module) {}

    void on_call(const nn::Layer<T>& layer, const Variable<T>& input, const Variable<T>& output) override {
        const auto hands_on = [&](const Call<T>& call) { return call.output.node() == output.node(); };
        if (output.node() == input.node() || std::ranges::any_of(calls, hands_on)) return;
        const std::string* const name = names_.find(layer);
        calls.push_back({&layer, name ? *name : "", input, output, nn::detail::own_parameters(layer),
                         nn::detail::own_weights(layer), std::nullopt});
    }

    std::vector<Call<T>> calls;

private:
    const nn::detail::LayerNames<T> names_;
};

double norm(const auto& arrays) {
    double sum = 0;
    for (const auto& array : arrays)
        for (const double value : std::span(array.data(), array.size())) sum += value * value;
    return std::sqrt(sum);
}

template <class T> double mean_square(const Array<T>& values) {
    const std::array all{share(values, values.shape())};
    return norm(all) * norm(all) / static_cast<double>(values.size());
}

// What does not need the layer: the distribution of its output.
template <class T> void measure_output(LayerSignal& row, const Array<T>& h) {
    const Statistics all(h);
    row.mean = all.mean;
    row.variance = all.variance;
    const std::size_t samples = h.dimension() > 0 ? h.shape()[0] : 1, units = h.size() / samples;
    std::vector<double> means(units);
    std::vector<char> dead(units, true);
    const auto for_each_value = [&](auto function) {
        for (std::size_t sample = 0; sample < samples; ++sample)
            for (std::size_t unit = 0; unit < units; ++unit) function(unit, double{h.data()[sample * units + unit]});
    };
    for_each_value([&](std::size_t unit, double value) {
        means[unit] += value;
        dead[unit] = dead[unit] && value == 0;
    });
    for (double& mean : means) mean /= static_cast<double>(samples);
    for_each_value(
        [&](std::size_t unit, double value) { row.spread += (value - means[unit]) * (value - means[unit]); });
    row.spread /= static_cast<double>(h.size());
    row.dead = static_cast<double>(std::ranges::count(dead, true)) / static_cast<double>(units);
}

// An activation: its moments by theory, its derivative at what it was given.
template <class T> void measure_activation(LayerSignal& row, Call<T>& call) {
    if (!call.layer->parameters().empty() || call.input.shape() != call.output.shape()) return;
    try {
        call.moments = nn::init::moments(*call.layer);
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception&) {
        return;  // Softmax, say, or a layer that does not take what it is tried on
    }
    if (!call.output.requires_grad() || !call.input.requires_grad()) return;
    const Variable<T> ones(full(call.output.shape(), T{1}));
    const Variable<T> slope = grad<T>({call.output}, {call.input}, {ones}, {.retain_graph = true})[0];
    const Array<T> slopes = slope.defined() ? slope.value() : full(call.output.shape(), T{0});
    call.slope_square = mean_square(slopes);
    const double flat = 0.05 * std::sqrt(call.moments->derivative_second_moment);
    const Array<T>& h = call.output.value();
    std::size_t saturated = 0;
    for (std::size_t i = 0; i < slopes.size(); ++i) saturated += std::abs(slopes.data()[i]) < flat && h.data()[i] != 0;
    row.saturated = static_cast<double>(saturated) / static_cast<double>(slopes.size());
}

// The cotangents of some Variables, each node asked for once; only of those that require one.
template <class T> class Cotangents {
public:
    Cotangents(const Variable<T>& loss, const std::vector<Variable<T>>& of) {
        std::vector<Variable<T>> inputs;
        for (const Variable<T>& variable : of)
            if (variable.requires_grad() && found_.emplace(variable.node(), Variable<T>()).second)
                inputs.push_back(variable);
        if (inputs.empty() || !loss.requires_grad()) return;
        const auto cotangents = grad<T>({loss}, inputs);
        for (std::size_t i = 0; i < inputs.size(); ++i) found_[inputs[i].node()] = cotangents[i];
    }
    /// Zeros where the loss does not depend on it.
    Array<T> operator[](const Variable<T>& variable) const {
        const auto found = found_.find(variable.node());
        if (found == found_.end() || !found->second.defined()) return full(variable.shape(), T{0});
        return share(found->second.value(), variable.shape());
    }

private:
    std::map<const void*, Variable<T>> found_;
};

// Where a course of variances leads. Step i goes from value i to value i + 1; value 0 is the data's own scale.
struct Course {
    Regime regime = Regime::stable;
    std::size_t begins = 0;  // the step
    double factor = 1, total = 1;
};

Course course_of(const std::vector<double>& variances) {
    std::vector<double> logs;
    for (const double variance : variances)
        logs.push_back(std::isnan(variance) ? 1000 : std::clamp(std::log(variance), -1000.0, 1000.0));
    if (logs.size() < 3) return {};
    const auto [least, most] = std::minmax_element(logs.begin() + 1, logs.end());
    const double fall = *most - logs.back(), rise = logs.back() - *least;
    if (std::max(fall, rise) < std::log(10)) return {};
    // It begins where the variance was last near the level from which it has departed.
    const double level = fall >= rise ? *most : *least;
    std::size_t begins = logs.size() - 1;
    while (std::abs(logs[begins] - level) > std::log(1.25)) --begins;
    double change = logs.back() - logs[begins];
    // The step away from the data belongs to it when it is like the others.
    const double first = (logs[1] - logs[0]) * static_cast<double>(logs.size() - 2) / change;
    if (begins == 1 && first > 0.5 && first < 2) {
        begins = 0;
        change = logs.back() - logs[0];
    }
    return {fall >= rise ? Regime::vanishing : Regime::exploding, begins,
            std::exp(change / static_cast<double>(logs.size() - 1 - begins)), std::exp(change)};
}

template <class T> class Diagnosis {
public:
    explicit Diagnosis(const std::vector<Call<T>>& calls) {
        for (const Call<T>& call : calls) {
            producers_[call.output.node()] = &call;
            if (!call.weights.empty()) weighted_.push_back(&call);
        }
    }

    const std::vector<const Call<T>*>& weighted() const { return weighted_; }

    Trend signal(const Course& course) const {
        Trend trend = start(course, course.begins);
        if (course.regime == Regime::stable) return trend;
        const std::string now = fmt::format("k·Var(θ) is {:.3g} there", scale(course.begins));
        const Call<T>* const activation = activation_before(std::max<std::size_t>(course.begins, 1));
        if (!activation || !(activation->moments->second_moment > 0)) {
            trend.cure = now + "; init::layer_sequential_unit_variance(model, x) makes it right for any layers";
            return trend;
        }
        const double right = 1 / activation->moments->second_moment;
        trend.cure =
            now + (std::abs(scale(course.begins) / right - 1) < 0.1
                       ? ", which keeps the variance in a wide network: normalise between the layers, or widen them"
                       : fmt::format("; {:.3g} = 1/E[ψ(z)²] keeps the variance through {}: "
                                     "init::variance_preserving(weight, ψ)",
                                     right, activation->layer->description()));
        return trend;
    }

    Trend gradient(const Course& course, const Trend& signal) const {
        const std::size_t layer = weighted_.empty() ? 0 : weighted_.size() - 1 - course.begins;
        Trend trend = start(course, layer);
        if (course.regime == Regime::stable) return trend;
        // What theory says of the way back from the next layer with a weight to this one, if activations are all there
        // is.
        const Shape& shape = weighted_[layer]->weights[0].shape();
        double factor =
            scale(layer) * static_cast<double>(nn::init::fan_out(shape)) / static_cast<double>(nn::init::fan_in(shape));
        const xgrad::detail::Node* node = layer + 1 < weighted_.size() ? weighted_[layer + 1]->input.node() : nullptr;
        const Call<T>* between = nullptr;
        while (node && node != weighted_[layer]->output.node()) {
            const auto producer = producers_.find(node);
            between = producer == producers_.end() ? nullptr : producer->second;
            if (!between || !between->moments) break;
            factor *= between->slope_square;
            node = between->input.node();
        }
        const bool known = !node || node == weighted_[layer]->output.node();
        if (!known && between)
            trend.cure =
                fmt::format("the variance of the weights does not decide it, {} comes between; shortcuts x + f(x) help",
                            between->layer->description());
        else if (signal.regime == course.regime)
            trend.cure = "that of the signal";
        else if (known)
            trend.cure =
                fmt::format("k·Var(θ) is {:.3g} there; {:.3g} would keep the gradient{}", scale(layer),
                            scale(layer) / factor, signal.regime == Regime::stable ? ", but not the signal" : "");
        else
            trend.cure = fmt::format("k·Var(θ) is {:.3g} there; normalise between the layers", scale(layer));
        return trend;
    }

private:
    Trend start(const Course& course, std::size_t layer) const {
        Trend trend{course.regime, "", course.factor, course.total, ""};
        if (course.regime != Regime::stable) trend.layer = weighted_[layer]->name;
        return trend;
    }
    // k·Var(θ) of a layer's first weight.
    double scale(std::size_t layer) const {
        const Variable<T>& weight = weighted_[layer]->weights[0];
        return static_cast<double>(nn::init::fan_in(weight.shape())) * mean_square(weight.value());
    }
    // The activation whose result a layer with a weight is given. What changes nothing in evaluation (Dropout) is
    // looked through.
    const Call<T>* activation_before(std::size_t layer) const {
        const Call<T>* found = nullptr;
        for (auto at = producers_.find(weighted_[layer]->input.node()); at != producers_.end();
             at = producers_.find(at->second->input.node())) {
            const Call<T>* const call = at->second;
            if (!call->moments) return found;
            found = call;
            const auto& m = *call->moments;
            if (std::abs(m.second_moment - 1) + std::abs(m.derivative_second_moment - 1) > 1e-4) return found;
        }
        return found;
    }

    std::vector<const Call<T>*> weighted_;
    std::map<const xgrad::detail::Node*, const Call<T>*> producers_;
};

// The output, and the calls of layers on the way to it.
template <class T>
std::pair<Variable<T>, std::vector<Call<T>>> record(const nn::Module<T>& module,
                                                    const std::function<Variable<T>()>& forward) {
    Recorder<T> recorder(module);
    Variable<T> output = forward();
    for (const Call<T>& call : recorder.calls)
        if (call.output.size() == 0)
            throw Error(fmt::format("probe: {} makes {} of {}; an empty batch has nothing to measure",
                                    call.layer->description(), describe(call.output.shape()),
                                    describe(call.input.shape())));
    return {std::move(output), std::move(recorder.calls)};
}

template <class T>
Probe run(nn::Module<T>& module, const std::function<Variable<T>()>& forward, const LossFunction<T>& loss_function) {
    const EnableGrad enable_grad;
    const nn::detail::Preserve<T> preserve(module);
    auto [output, calls] = record(module, forward);

    Probe probe;
    for (Call<T>& call : calls) {
        LayerSignal& row = probe.layers.emplace_back();
        row.name = call.name;
        row.layer = call.layer->description();
        row.shape = call.output.shape();
        measure_output(row, call.output.value());
        measure_activation(row, call);
    }

    const Diagnosis<T> diagnosis(calls);
    std::vector<Variable<T>> course;  // h⁽⁰⁾, h⁽¹⁾, …, and the output
    for (const Call<T>* call : diagnosis.weighted()) course.push_back(call->input);
    course.push_back(output);
    std::vector<double> variances;
    for (const Variable<T>& h : course) variances.push_back(Statistics(h.value()).variance);
    for (std::size_t l = 0; l + 1 < course.size(); ++l)
        probe.layers[static_cast<std::size_t>(diagnosis.weighted()[l] - calls.data())].factor =
            variances[l + 1] / variances[l];
    probe.signal = diagnosis.signal(course_of(variances));
    if (!loss_function) return probe;

    const Variable<T> loss = loss_function(output);
    if (loss.size() != 1)
        throw Error(fmt::format("probe: the loss has the shape {}; expected one number", describe(loss.shape())));
    std::vector<Variable<T>> wanted = course;
    for (const Call<T>& call : calls) {
        wanted.push_back(call.output);
        wanted.insert(wanted.end(), call.parameters.begin(), call.parameters.end());
    }
    const Cotangents<T> cotangents(loss, wanted);
    for (std::size_t i = 0; i < calls.size(); ++i) {
        probe.layers[i].cotangent_variance = Statistics(cotangents[calls[i].output]).variance;
        std::vector<Array<T>> gradients, values;
        for (const Variable<T>& parameter : calls[i].parameters) {
            if (!parameter.requires_grad()) continue;
            gradients.push_back(cotangents[parameter]);
            values.push_back(share(parameter.value(), parameter.shape()));
        }
        if (!values.empty()) probe.layers[i].gradient_ratio = norm(gradients) / norm(values);
    }
    std::vector<double> backward;
    for (std::size_t l = course.size(); l-- > 1;) backward.push_back(Statistics(cotangents[course[l]]).variance);
    probe.gradient = diagnosis.gradient(course_of(backward), probe.signal);
    return probe;
}

std::string number(std::optional<double> value) { return value ? fmt::format("{:.3g}", *value) : ""; }
std::string percent(std::optional<double> value) { return value ? fmt::format("{:.0f} %", 100 * *value) : ""; }

std::string in_words(const char* what, const char* direction, const Trend& trend) {
    if (trend.regime == Regime::stable) return fmt::format("{}: stable\n", what);
    return fmt::format("{}: {} from layer '{}' {}, × {:.3g} per layer, × {:.3g} in all\n    cure: {}\n", what,
                       trend.regime == Regime::vanishing ? "vanishing" : "exploding", trend.layer, direction,
                       trend.factor, trend.total, trend.cure);
}

}  // namespace

template <class T>
Probe probe(nn::Layer<T>& model, const std::type_identity_t<Variable<T>>& x,
            const std::type_identity_t<LossFunction<T>>& loss) {
    if (x.size() == 0)
        throw Error(fmt::format("probe: the input has the shape {}; an empty batch has nothing to measure",
                                describe(x.shape())));
    Variable<T> input = x.detach();
    input.requires_grad(true);  // so that a first activation has a derivative, too
    return run<T>(
        model, [&] { return model(input); }, loss);
}

template <class T>
Probe probe(nn::Module<T>& module, const std::type_identity_t<std::function<Variable<T>()>>& forward,
            const std::type_identity_t<LossFunction<T>>& loss) {
    return run<T>(module, forward, loss);
}

std::string Probe::summary() const {
    std::vector<std::vector<std::string>> rows{{"name", "layer", "output", "mean", "variance", "spread", "dead",
                                                "saturated", "factor", "cotangent", "gradient/parameter"}};
    for (const LayerSignal& l : layers)
        rows.push_back({l.name, l.layer, describe(l.shape), number(l.mean), number(l.variance), number(l.spread),
                        percent(l.dead), percent(l.saturated), number(l.factor), number(l.cotangent_variance),
                        number(l.gradient_ratio)});
    if (!gradient)
        for (auto& row : rows) row.resize(row.size() - 2);
    std::string table = nn::detail::table(rows, 3);
    table += in_words("signal", "on", signal);
    if (gradient) table += in_words("gradient", "back", *gradient);
    return table;
}

Figure Probe::figure() const {
    Figure figure({.columns = 2});
    std::vector<double> place;
    for (std::size_t i = 0; i < layers.size(); ++i) place.push_back(static_cast<double>(i + 1));
    if (layers.empty()) place.push_back(1);
    // A member of LayerSignal as a curve; a gap where a layer has none, or there is no layer.
    const auto curve = [&](Panel& panel, const char* label, auto member, Mark mark = Mark::line) {
        std::vector<double> values;
        for (const LayerSignal& layer : layers) values.push_back(std::optional<double>(layer.*member).value_or(NAN));
        values.resize(place.size(), NAN);
        panel.curve(label, place, std::move(values), {.mark = mark});
    };
    Panel& forth = figure.panel({.title = "signal", .x_label = "layer", .log_y = true});
    curve(forth, "variance", &LayerSignal::variance);
    curve(forth, "spread over the samples", &LayerSignal::spread, Mark::dashes);
    Panel& units = figure.panel({.title = "share of units", .x_label = "layer", .y_range = {{0, 1}}});
    curve(units, "dead", &LayerSignal::dead);
    curve(units, "saturated", &LayerSignal::saturated, Mark::points);
    if (!gradient) return figure;
    Panel& back = figure.panel({.title = "gradient", .x_label = "layer", .log_y = true});
    curve(back, "variance of the cotangent", &LayerSignal::cotangent_variance);
    Panel& ratio = figure.panel({.title = "gradient over parameter (norms)", .x_label = "layer", .log_y = true});
    curve(ratio, "", &LayerSignal::gradient_ratio, Mark::points);
    return figure;
}

template Probe probe(nn::Layer<float>&, const Variable<float>&, const LossFunction<float>&);
template Probe probe(nn::Layer<double>&, const Variable<double>&, const LossFunction<double>&);
template Probe probe(nn::Module<float>&, const std::function<Variable<float>()>&, const LossFunction<float>&);
template Probe probe(nn::Module<double>&, const std::function<Variable<double>()>&, const LossFunction<double>&);

}  // namespace xgrad::training
