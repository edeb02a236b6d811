#include <algorithm>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/tape.hpp>

namespace xgrad::detail {
namespace {

using Variables = std::vector<Variable<double>>;
using Function = GradcheckFunction;
using Arrays = std::vector<Array<double>>;

// Results may look at the memory of inputs, which are moved in place.
Arrays values(const Variables& variables) {
    Arrays result;
    for (const Variable<double>& variable : variables) result.push_back(variable.value());
    return result;
}

// Σ outputs·cotangents differentiated by the inputs; zeros where nothing depends on an input.
Variables gradient(const Variables& outputs, const Variables& inputs, const Variables& cotangents, bool create_graph) {
    Variables dependent, seeds;
    for (std::size_t i = 0; i < outputs.size(); ++i)
        if (outputs[i].requires_grad()) {
            dependent.push_back(outputs[i]);
            seeds.push_back(cotangents[i]);
        }
    Variables result(inputs.size());
    if (!dependent.empty()) result = grad(dependent, inputs, seeds, {.create_graph = create_graph});
    for (std::size_t i = 0; i < inputs.size(); ++i)
        if (!result[i].defined()) result[i] = full(inputs[i].shape(), 0.0);
    return result;
}

// An input, while it is being moved.
class Moved {
public:
    explicit Moved(const Variable<double>& input) : input_(input), values_(input.value()) {}
    Moved(const Moved&) = delete;
    Moved& operator=(const Moved&) = delete;
    ~Moved() {
        if (is_moved_) input_.assign(values_);
    }

    void along(const Array<double>& direction, double distance) {
        input_.update([&](Array<double>& x) { x = values_ + distance * direction; });
        is_moved_ = true;
    }
    void at(std::size_t entry, double distance) {
        input_.update([&](Array<double>& x) { x.data()[entry] = values_.data()[entry] + distance; });
        is_moved_ = true;
    }

private:
    Variable<double> input_;
    const Array<double> values_;
    bool is_moved_ = false;  // an input that refuses to be changed need not be put back
};

// While it lives, all inputs require gradients.
class AllRequireGrad {
public:
    explicit AllRequireGrad(const Variables& inputs) : inputs_(inputs) {
        for (Variable<double>& input : inputs_) {
            before_.push_back(input.requires_grad());
            input.requires_grad(true);
        }
    }
    AllRequireGrad(const AllRequireGrad&) = delete;
    AllRequireGrad& operator=(const AllRequireGrad&) = delete;
    ~AllRequireGrad() {
        for (std::size_t i = 0; i < before_.size(); ++i) inputs_[i].requires_grad(before_[i]);
    }

private:
    Variables inputs_;
    std::vector<bool> before_;
};

// The place of an element, as an index of each dimension: `(0, 2)`.
std::string describe_entry(std::size_t entry, const Shape& shape) {
    Shape index = shape;
    for (std::size_t i = shape.size(); i-- > 0; entry /= shape[i]) index[i] = entry % shape[i];
    return describe(index);
}

double dot(const Array<double>& a, const Array<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a.data()[i] * b.data()[i];
    return sum;
}

// The check of one order: of a function's gradient, or of its gradient's gradient, …
class Check {
public:
    Check(const Function& function, const Variables& inputs, const std::vector<std::string>& names, int order,
          const GradcheckOptions& options)
        : function_(function),
          inputs_(inputs),
          names_(names),
          order_(order),
          options_(options),
          generator_({.seed = options.seed, .stream = static_cast<std::uint64_t>(order)}) {}

    void run() {
        const Variables outputs = function_(inputs_);
        check_outputs(outputs);
        for (const Variable<double>& output : outputs) cotangents_.push_back(random(output.shape()));
        const Arrays gradients = values(gradient(outputs, inputs_, cotangents_, false));
        for (std::size_t i = 0; i < inputs_.size(); ++i) check_input(i, gradients[i]);
        if (order_ < options_.order) {
            check_recorded(gradients);
            next_order();
        }
    }

private:
    // Of magnitude 1, and none so small that it would hide what it is multiplied with.
    Array<double> random(const Shape& shape) {
        Array<double> values = empty<double>(shape);
        for (double& value : values) value = (generator_.bits() & 1 ? 1 : -1) * (0.5 + generator_.uniform());
        return values;
    }

    void check_outputs(const Variables& outputs) const {
        const Variables again = function_(inputs_);
        bool same = again.size() == outputs.size();
        for (std::size_t i = 0; same && i < outputs.size(); ++i) {
            if (!outputs[i].defined()) throw Error(fmt::format("gradcheck: output {} is an empty Variable", i));
            for (double value : outputs[i].value())
                if (!std::isfinite(value))
                    throw Error(fmt::format("gradcheck: order {}: output {} of shape {} contains {}", order_, i,
                                            describe(outputs[i].shape()), value));
            same = outputs[i].shape() == again[i].shape() && outputs[i].value() == again[i].value();
        }
        if (!same)
            throw Error(
                "gradcheck: the function gave two different results for the same inputs; if it draws random "
                "numbers, let it begin from the same seed each time");
    }

    void check_input(std::size_t i, const Array<double>& gradient) {
        const Shape& shape = inputs_[i].shape();
        if (gradient.size() <= options_.entries)
            for (std::size_t entry = 0; entry < gradient.size(); ++entry) {
                const double difference = slope(i, [&](Moved& input, double distance) { input.at(entry, distance); });
                compare(i, gradient.data()[entry], difference, [&] { return "entry " + describe_entry(entry, shape); });
            }
        for (std::size_t k = 0; k < options_.directions && gradient.size() > 0; ++k) {
            const Array<double> direction = random(shape);
            const double difference =
                slope(i, [&](Moved& input, double distance) { input.along(direction, distance); });
            compare(i, dot(gradient, direction), difference,
                    [&] { return fmt::format("along random direction {}", k); });
        }
    }

    // The change of Σ outputs·cotangents while one input is moved from one side of its place to the other.
    template <class Move> double slope(std::size_t i, Move move) {
        Moved input(inputs_[i]);
        move(input, options_.step);
        const Arrays above = values(function_(inputs_));
        move(input, -options_.step);
        const Arrays below = values(function_(inputs_));
        double change = 0;
        for (std::size_t k = 0; k < cotangents_.size(); ++k)
            change += dot(Array<double>(above.at(k) - below.at(k)), cotangents_[k].value());
        return change / (2 * options_.step);
    }

    template <class Where> void compare(std::size_t i, double gradient, double difference, Where where) const {
        if (agree(gradient, difference)) return;
        throw Error(
            fmt::format("gradcheck: order {}: {} of shape {}, {}: the gradient is {:.10g}, differences give {:.10g}",
                        order_, names_[i], describe(inputs_[i].shape()), where(), gradient, difference));
    }

    bool agree(double a, double b) const {  // not if one is NaN
        return std::abs(a - b) <=
               options_.absolute_tolerance + options_.relative_tolerance * std::max(std::abs(a), std::abs(b));
    }

    // With create_graph operations may take another way to the same gradient.
    void check_recorded(const Arrays& gradients) const {
        const Variables recorded = gradient(function_(inputs_), inputs_, cotangents_, true);
        for (std::size_t i = 0; i < inputs_.size(); ++i)
            for (std::size_t entry = 0; entry < inputs_[i].size(); ++entry) {
                const double plain = gradients[i].data()[entry], other = recorded[i].value().data()[entry];
                if (agree(plain, other)) continue;
                throw Error(
                    fmt::format("gradcheck: order {}: {} of shape {}, entry {}: the gradient is {:.10g}, and {:.10g} "
                                "when it is recorded with create_graph",
                                order_, names_[i], describe(inputs_[i].shape()),
                                describe_entry(entry, inputs_[i].shape()), plain, other));
            }
    }

    // The gradient is a function of the inputs and of the cotangents.
    void next_order() const {
        Variables inputs = inputs_;
        std::vector<std::string> names = names_;
        for (std::size_t k = 0; k < cotangents_.size(); ++k) {
            inputs.push_back(cotangents_[k]);
            names.push_back(order_ == 1 ? fmt::format("the cotangent of output {}", k)
                                        : fmt::format("the order-{} cotangent of {}", order_, names_[k]));
        }
        const AllRequireGrad all(inputs);
        const auto count = static_cast<std::ptrdiff_t>(inputs_.size());
        const auto function = [&](const Variables& x) {
            const Variables variables(x.begin(), x.begin() + count), cotangents(x.begin() + count, x.end());
            return gradient(function_(variables), variables, cotangents, true);
        };
        Check(function, inputs, names, order_ + 1, options_).run();
    }

    const Function& function_;
    const Variables& inputs_;
    const std::vector<std::string>& names_;
    const int order_;
    const GradcheckOptions& options_;
    Generator generator_;
    Variables cotangents_;
};

}  // namespace

Variables copies(Variables inputs) {
    for (Variable<double>& input : inputs) input = Variable<double>(input.value());
    return inputs;
}

void gradcheck(const Function& function, const Variables& inputs, const GradcheckOptions& options) {
    if (inputs.empty()) throw Error("gradcheck: there are no inputs");
    if (options.order < 1) throw Error(fmt::format("gradcheck: the order is {}; expected 1 or more", options.order));
    if (!(options.step > 0)) throw Error(fmt::format("gradcheck: the step is {}; expected more than 0", options.step));
    std::vector<std::string> names;
    for (std::size_t i = 0; i < inputs.size(); ++i) names.push_back(fmt::format("input {}", i));
    const EnableGrad enable;
    const AllRequireGrad all(inputs);
    Check(function, inputs, names, 1, options).run();
}

}  // namespace xgrad::detail
