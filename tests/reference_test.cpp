// Every operation beside PyTorch: tests/fixtures/operations.json, which tests/reference/make_operations.py wrote.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "catch.hpp"
#include <xgrad/autodiff.hpp>
#include <xgrad/autodiff/operations/normalization.hpp>
#include <xgrad/nn/batch_norm.hpp>
#include <xgrad/nn/losses.hpp>

using namespace xgrad;
using nlohmann::json;

namespace {

const json& cases() {
    static const json file = json::parse(std::ifstream(XGRAD_FIXTURES "/operations.json"));
    return file;
}

template <class T> Array<T> read(const json& array) {
    const auto sizes = array.at("shape").get<std::vector<std::size_t>>();
    const auto data = array.at("data").get<std::vector<double>>();
    Array<T> values = empty<T>(Shape(sizes.begin(), sizes.end()));
    REQUIRE(values.size() == data.size());
    std::transform(data.begin(), data.end(), values.begin(), [](double x) { return static_cast<T>(x); });
    return values;
}

// What an operation is called with: inputs by their place, settings by their name.
template <class T> class Arguments {
public:
    explicit Arguments(const json& entry) : settings_(entry.at("attributes")) {
        for (std::size_t i = 0; i < entry.at("inputs").size(); ++i) {
            const json& input = entry["inputs"][i];
            const bool integers = input.contains("dtype");
            integers_.push_back(integers ? read<std::int64_t>(input) : Array<std::int64_t>());
            variables_.push_back(integers ? Variable<T>() : Variable<T>(read<T>(input)));
            if (!entry.at("gradients")[i].is_null()) variables_.back().requires_grad(true);
        }
    }

    std::size_t size() const { return variables_.size(); }
    const Variable<T>& operator[](std::size_t i) const { return variables_[i]; }
    // An empty Variable in place of an input that is not there.
    Variable<T> optional(std::size_t i) const { return i < size() ? variables_[i] : Variable<T>(); }
    std::vector<Variable<T>> all() const { return variables_; }
    const Array<std::int64_t>& integers(std::size_t i) const { return integers_.at(i); }

    double number(const char* name, double otherwise = 0) const {
        return settings_.at(name).is_null() ? otherwise : settings_[name].get<double>();
    }
    std::string text(const char* name) const { return settings_.at(name).get<std::string>(); }
    bool flag(const char* name) const { return settings_.at(name).get<bool>(); }
    std::ptrdiff_t axis() const { return settings_.at("axis").get<std::ptrdiff_t>(); }
    Shape shape(const char* name) const {
        const auto sizes = settings_.at(name).get<std::vector<std::size_t>>();
        return Shape(sizes.begin(), sizes.end());
    }
    std::vector<std::ptrdiff_t> axes() const { return settings_.at("axes").get<std::vector<std::ptrdiff_t>>(); }

    // The same inputs in double precision.
    Arguments<double> in_double(const json& entry) const {
        Arguments<double> result(entry);
        for (std::size_t i = 0; i < size(); ++i)
            if (variables_[i].defined()) {
                Variable<double> same = result[i];
                same.assign(Variable<double>(xt::cast<double>(variables_[i].value())));
            }
        return result;
    }

private:
    json settings_;
    std::vector<Variable<T>> variables_;
    std::vector<Array<std::int64_t>> integers_;
};

template <class T> nn::Reduction reduction_of(const Arguments<T>& arguments) {
    const std::string name = arguments.text("reduction");
    if (name == "batchmean") return nn::Reduction::batchmean;
    return name == "mean" ? nn::Reduction::mean : name == "sum" ? nn::Reduction::sum : nn::Reduction::none;
}

template <class T> using Operation = std::function<Variable<T>(const Arguments<T>&)>;

template <class T> std::map<std::string, Operation<T>> make_operations() {
    using A = const Arguments<T>&;
    using V = const Variable<T>&;
    const double infinity = std::numeric_limits<double>::infinity();
    std::map<std::string, Operation<T>> operations;

    const auto unary = [&](const char* name, Variable<T> (*function)(Variable<T>)) {
        operations[name] = [=](A a) { return function(a[0]); };
    };
    unary("exp", exp), unary("expm1", expm1), unary("log", log), unary("log1p", log1p), unary("sqrt", sqrt);
    unary("rsqrt", rsqrt), unary("square", square), unary("abs", abs), unary("sin", sin), unary("cos", cos);
    unary("tan", tan), unary("tanh", tanh), unary("sigmoid", sigmoid), unary("erf", erf), unary("relu", relu);
    unary("selu", selu), unary("gelu", gelu), unary("gelu_tanh", gelu_tanh), unary("silu", silu), unary("mish", mish);
    unary("softsign", softsign), unary("hardsigmoid", hardsigmoid), unary("hardswish", hardswish);
    unary("logsigmoid", log_sigmoid);
    operations["negative"] = [](A a) { return -a[0]; };
    operations["leaky_relu"] = [](A a) { return leaky_relu(a[0], a.number("negative_slope")); };
    operations["elu"] = [](A a) { return elu(a[0], a.number("alpha")); };
    operations["celu"] = [](A a) { return celu(a[0], a.number("alpha")); };
    operations["softplus"] = [](A a) { return softplus(a[0], a.number("beta"), a.number("threshold")); };
    operations["hardtanh"] = [](A a) { return hardtanh(a[0], a.number("minimum"), a.number("maximum")); };
    operations["clip"] = [=](A a) { return clip(a[0], a.number("minimum", -infinity), a.number("maximum", infinity)); };

    operations["add"] = [](A a) { return a[0] + a[1]; };
    operations["subtract"] = [](A a) { return a[0] - a[1]; };
    operations["multiply"] = [](A a) { return a[0] * a[1]; };
    operations["divide"] = [](A a) { return a[0] / a[1]; };
    operations["pow"] = [](A a) { return pow(a[0], a[1]); };
    operations["maximum"] = [](A a) { return maximum(a[0], a[1]); };
    operations["minimum"] = [](A a) { return minimum(a[0], a[1]); };
    operations["where"] = [](A a) { return where(xt::not_equal(a.integers(0), 0), a[1], a[2]); };

    const auto reduction = [&](const char* name, Variable<T> (*function)(V, const Axes&, KeepDims)) {
        operations[name] = [=](A a) { return function(a[0], a.axes(), a.flag("keep_dims")); };
    };
    reduction("sum", sum), reduction("mean", mean), reduction("prod", prod), reduction("max", max);
    reduction("min", min), reduction("logsumexp", logsumexp);
    operations["variance"] = [](A a) {
        return variance(a[0], a.axes(), a.flag("keep_dims"), static_cast<std::size_t>(a.number("correction")));
    };

    operations["matmul"] = [](A a) {
        return matmul(a[0], a[1], {.transpose_a = a.flag("transpose_a"), .transpose_b = a.flag("transpose_b")});
    };
    operations["linear"] = [](A a) { return linear(a[0], a[1], a.optional(2)); };

    operations["transpose"] = [](A a) { return transpose(a[0], a.axes()); };
    operations["concatenate"] = [](A a) { return concatenate(a.all(), a.axis()); };
    operations["stack"] = [](A a) { return stack(a.all(), a.axis()); };
    // NumPy's flip along no axes is one along all, PyTorch's along none.
    operations["flip"] = [](A a) { return a.axes().empty() ? flip(flip(a[0])) : flip(a[0], a.axes()); };
    operations["take"] = [](A a) { return take(a[0], a.integers(1), a.axis()); };
    operations["embedding"] = [](A a) { return take(a[0], a.integers(1)); };
    operations["softmax"] = [](A a) { return softmax(a[0], a.axis()); };
    operations["log_softmax"] = [](A a) { return log_softmax(a[0], a.axis()); };
    operations["batch_norm"] = [](A a) {
        return a.flag("training") ? batch_norm(a[0], a[1], a[2], a.number("eps")).output
                                  : batch_norm_inference(a[0], a[3], a[4], a[1], a[2], a.number("eps"));
    };
    operations["layer_norm"] = [](A a) {
        return layer_norm(a[0], a.shape("normalized_shape"), a.optional(1), a.optional(2), a.number("eps"));
    };

    operations["mse_loss"] = [](A a) { return nn::mse_loss(a[0], a[1], {reduction_of(a)}); };
    operations["l1_loss"] = [](A a) { return nn::l1_loss(a[0], a[1], {reduction_of(a)}); };
    operations["huber_loss"] = [](A a) {
        return nn::huber_loss(a[0], a[1], {.delta = a.number("delta"), .reduction = reduction_of(a)});
    };
    operations["kl_div"] = [](A a) {
        return nn::kl_div(a[0], a[1], {.log_target = a.flag("log_target"), .reduction = reduction_of(a)});
    };
    operations["binary_cross_entropy_with_logits"] = [](A a) {
        return nn::binary_cross_entropy_with_logits(a[0], a[1],
                                                    {.pos_weight = a.optional(2), .reduction = reduction_of(a)});
    };
    const auto ignored = [](A a) { return static_cast<std::int64_t>(a.number("ignore_index")); };
    operations["nll_loss"] = [=](A a) {
        return nn::nll_loss(a[0], a.integers(1),
                            {.weight = a.optional(2), .ignore_index = ignored(a), .reduction = reduction_of(a)});
    };
    operations["cross_entropy"] = [=](A a) {
        return nn::cross_entropy(a[0], a.integers(1),
                                 {.weight = a.optional(2),
                                  .label_smoothing = a.number("label_smoothing"),
                                  .ignore_index = ignored(a),
                                  .reduction = reduction_of(a)});
    };
    return operations;
}

template <class T> const std::map<std::string, Operation<T>>& operations() {
    static const std::map<std::string, Operation<T>> all = make_operations<T>();
    return all;
}

// Where an array is farthest from what is expected, in words; empty when it is near enough everywhere. Each element may
// be off by `relative` of itself, and by `absolute` of the largest one or of 1: what is computed from larger numbers
// that cancel has their rounding error.
template <class T>
std::string compare(const std::string& what, const Array<T>& actual, const Array<double>& expected, double relative,
                    double absolute) {
    if (actual.shape() != expected.shape())
        return fmt::format("{}: shape {} instead of {}\n", what, describe(actual.shape()), describe(expected.shape()));
    double largest = 1;
    for (double x : expected) largest = std::max(largest, std::abs(x));
    std::string result;
    double worst = 1;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const double a = actual.data()[i], e = expected.data()[i];
        if (a == e || (std::isinf(a) && a == static_cast<T>(e))) continue;  // or beyond the range of float
        const double error = std::abs(a - e) / (relative * std::abs(e) + absolute * largest);
        if (error <= worst) continue;
        worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
        result = fmt::format("{}: element {} is {:.17g} instead of {:.17g}\n", what, i, a, e);
    }
    return result;
}

template <class T> struct Results {
    Array<T> output;
    std::vector<Array<T>> gradients;  // empty ones where there are none
};

template <class T> Results<T> run(const json& entry, const Arguments<T>& arguments) {
    const Variable<T> output = operations<T>().at(entry.at("operation"))(arguments);
    Results<T> results{output.value(), {}};
    if (!output.requires_grad()) FAIL("the output requires no gradient");
    output.backward(Variable<T>(read<T>(entry.at("cotangent"))));
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const bool wanted = arguments[i].defined() && arguments[i].requires_grad();
        const Variable<T> gradient = wanted ? arguments[i].grad() : Variable<T>();
        results.gradients.push_back(gradient.defined() ? gradient.value()
                                    : wanted           ? full(arguments[i].shape(), T{0})
                                                       : Array<T>());
    }
    return results;
}

std::string title(const json& entry) {
    std::string shapes;
    for (const json& input : entry.at("inputs")) shapes += input.at("shape").dump();
    return fmt::format("{} {} {} {}", entry.at("operation").get<std::string>(), entry.at("attributes").dump(), shapes,
                       entry.value("note", ""));
}

// By how much rounding errors grow inside an operation: normalisation of equal numbers multiplies by 1/√epsilon.
double growth(const json& entry) {
    return entry.at("attributes").contains("eps") ? 1 / std::sqrt(entry["attributes"]["eps"].get<double>()) : 1;
}

// Tells of all cases that are wrong, not only of the first.
template <class Examine> void each_case(Examine examine) {
    std::string wrong;
    for (const json& entry : cases()) {
        std::string differences;
        try {
            differences = examine(entry);
        } catch (const Error& error) {
            differences = fmt::format("refused: {}\n", error.what());
        }
        if (!differences.empty()) wrong += fmt::format("{}\n{}", title(entry), differences);
    }
    INFO(wrong);
    CHECK(wrong.empty());
}

}  // namespace

TEST_CASE("the library has every operation of the reference", "[reference]") {
    REQUIRE(cases().size() > 500);
    std::set<std::string> absent;
    for (const json& entry : cases())
        if (!operations<double>().contains(entry.at("operation"))) absent.insert(entry.at("operation"));
    CHECK(absent == std::set<std::string>());
}

TEST_CASE("values and gradients in double are PyTorch's", "[reference]") {
    each_case([](const json& entry) {
        const Arguments<double> arguments(entry);
        const Results<double> results = run(entry, arguments);
        const double relative = 1e-12, absolute = 1e-14 * growth(entry);
        std::string wrong = compare("value", results.output, read<double>(entry.at("output")), relative, absolute);
        for (std::size_t i = 0; i < arguments.size(); ++i)
            if (!entry.at("gradients")[i].is_null())
                wrong += compare(fmt::format("gradient {}", i), results.gradients[i],
                                 read<double>(entry["gradients"][i]), relative, absolute);
        return wrong;
    });
}

// Numbers that are rounded to float can be far from the reference where a function is steep. Beside double at the very
// same numbers only float's own errors are left.
TEST_CASE("values and gradients in float are those in double", "[reference]") {
    each_case([](const json& entry) {
        const Arguments<float> arguments(entry);
        for (std::size_t i = 0; i < arguments.size(); ++i)
            if (arguments[i].defined())
                for (float x : arguments[i].value())
                    if (std::abs(x) > 1e15f || (x != 0 && std::abs(x) < 1e-15f))
                        return std::string();  // double's range
        const Results<float> results = run(entry, arguments);
        const Results<double> exact = run(entry, arguments.in_double(entry));
        const double relative = 1e-5, absolute = 1e-6 * growth(entry);
        std::string wrong = compare("value", results.output, exact.output, relative, absolute);
        for (std::size_t i = 0; i < arguments.size(); ++i)
            wrong +=
                compare(fmt::format("gradient {}", i), results.gradients[i], exact.gradients[i], relative, absolute);
        return wrong;
    });
}

TEST_CASE("BatchNorm's running estimates after a batch are PyTorch's", "[reference]") {
    std::string wrong;
    for (const json& entry : cases()) {
        if (!entry.contains("running_mean_after")) continue;
        const Arguments<double> arguments(entry);
        const double momentum = arguments.number("momentum");
        nn::BatchNorm<double> layer(arguments[0].shape()[1],
                                    {.epsilon = arguments.number("eps"), .momentum = momentum});
        layer(arguments[0]);
        // Ours began with 0 and 1, and the estimate is linear in what it began with.
        const Array<double> mean = layer.running_mean() + (1 - momentum) * arguments[3].value();
        const Array<double> variance = layer.running_var() + (1 - momentum) * (arguments[4].value() - 1);
        const std::string differences =
            compare("mean", mean, read<double>(entry["running_mean_after"]), 1e-12, 1e-14) +
            compare("variance", variance, read<double>(entry["running_var_after"]), 1e-12, 1e-14);
        if (!differences.empty()) wrong += fmt::format("{}\n{}", title(entry), differences);
    }
    INFO(wrong);
    CHECK(wrong.empty());
}
