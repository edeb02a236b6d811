#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/optim/clip.hpp>
#include <xgrad/optim/optimizer.hpp>

namespace xgrad::optim {
namespace detail {

void check_option(const char* optimizer, const char* option, double number, double low, double high) {
    if (number >= low && number < high) return;
    throw Error(std::isinf(high)
                    ? fmt::format("{}: {} is {}; expected a finite number, at least {}", optimizer, option, number, low)
                    : fmt::format("{}: {} is {}; expected {} or more, and less than {}", optimizer, option, number, low,
                                  high));
}

}  // namespace detail

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

double rate_at(const Schedule& schedule, std::int64_t step) {
    const double rate = schedule(step);
    if (!(rate >= 0 && rate < infinity))
        throw Error(fmt::format("optimizer: the learning rate of step {} is {}; expected a finite number, at least 0",
                                step, rate));
    return rate;
}

template <class T> bool is_updated(const Variable<T>& parameter) {
    return parameter.requires_grad() && parameter.grad().defined();
}

template <class T> void check_parameters(const std::vector<Variable<T>>& parameters) {
    if (parameters.empty()) throw Error("optimizer: the list of parameters is empty; there is nothing to train");
    std::set<const void*> seen;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const Variable<T>& parameter = parameters[i];
        if (!parameter.defined()) throw Error(fmt::format("optimizer: parameter {} is an empty Variable", i));
        if (!parameter.is_leaf())
            throw Error(fmt::format("optimizer: parameter {}, of shape {}, is the result of '{}'; expected one that no "
                                    "operation made",
                                    i, describe(parameter.shape()), parameter.node()->operation));
        if (!seen.insert(parameter.node()).second)
            throw Error(fmt::format("optimizer: parameter {}, of shape {}, is listed twice; each step would update it "
                                    "twice",
                                    i, describe(parameter.shape())));
    }
}

// A parameter without a gradient that nobody else can reach belonged to a module which is gone, or which has taken over
// the parameters of another: `model = Model(…)` does so where layers are in a vector.
template <class T> void check_held(const std::vector<Variable<T>>& parameters) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
        if (parameters[i].requires_grad() && !parameters[i].grad().defined() && parameters[i].node()->handles() == 1)
            throw Error(fmt::format("step: parameter {}, of shape {}, is held by this optimizer alone: its module is "
                                    "gone, or has other parameters now; make an optimizer from those",
                                    i, describe(parameters[i].shape())));
}

}  // namespace

template <class T>
Optimizer<T>::Optimizer(std::vector<Variable<T>> parameters, Settings settings, std::vector<std::string> names)
    : Optimizer(detail::one_group(std::move(parameters)), std::move(settings), std::move(names)) {}

template <class T>
Optimizer<T>::Optimizer(std::vector<Group<T>> groups, Settings settings, std::vector<std::string> names)
    : names_(std::move(names)),
      on_non_finite_(settings.on_non_finite),
      max_grad_norm_(settings.max_grad_norm),
      checks_state_(settings.checks_state) {
    for (Group<T>& group : groups) add_group(std::move(group), settings);
    check_parameters(parameters_);
    if (!(max_grad_norm_ > 0))
        throw Error(fmt::format("optimizer: max_grad_norm is {}; expected a number above 0", max_grad_norm_));
    states_.resize(parameters_.size());
    for (const Variable<T>& parameter : parameters_) xgrad::detail::mark_listed(parameter);
    xgrad::detail::take_unlisted();  // what happened before is not this optimizer's business
}

template <class T> void Optimizer<T>::add_group(Group<T>&& group, const Settings& settings) {
    const std::size_t first = parameters_.size();
    for (Variable<T>& parameter : group.parameters) parameters_.push_back(std::move(parameter));
    groups_.push_back({first, parameters_.size(), group.options.learning_rate.value_or(settings.learning_rate),
                       group.options.weight_decay.value_or(settings.weight_decay)});
    rate_at(groups_.back().learning_rate, 0);
    detail::check_option("optimizer", "weight_decay", groups_.back().weight_decay, 0, infinity);
}

template <class T> void Optimizer<T>::make_arrays(std::size_t i) {
    std::vector<Array<T>>& arrays = states_[i].arrays_;
    while (arrays.size() < names_.size()) arrays.push_back(full(parameters_[i].shape(), T{0}));
}

template <class T> bool Optimizer<T>::refuse_step(const std::string& reason) {
    if (on_non_finite_ == NonFinite::report) throw Error(reason);
    ++skipped_steps_;
    return false;
}

template <class T> bool Optimizer<T>::gradients_are_fine() {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        if (!is_updated(parameters_[i])) continue;
        const Variable<T>& gradient = parameters_[i].grad();
        if (!kernels::all_finite(gradient.value().data(), gradient.size()))
            return refuse_step(fmt::format("step: the gradient of parameter {}, of shape {}, is not finite; nothing "
                                           "was changed",
                                           i, describe(gradient.shape())));
    }
    return true;
}

template <class T> void Optimizer<T>::check_state() const {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        const std::vector<Array<T>>& arrays = states_[i].arrays_;
        for (std::size_t j = 0; j < arrays.size(); ++j)
            if (arrays[j].shape() != parameters_[i].shape())
                throw Error(fmt::format("step: '{}.{}' has shape {}, its parameter {}; what was read into the state is "
                                        "that of other parameters",
                                        i, names_[j], describe(arrays[j].shape()), describe(parameters_[i].shape())));
    }
}

// A loss of another model, or of a copy of this one.
template <class T> void Optimizer<T>::check_reached() const {
    if (std::ranges::none_of(parameters_, is_updated<T>))
        throw Error(
            "minimize: no parameter of this optimizer has received a gradient; is the loss that of another "
            "model, or of a copy (a model passed by value, `for (auto layer : layers)`), or are all frozen? Where "
            "that is as it should be, call zero_grad, backward and step");
}

template <class T> void Optimizer<T>::check_trained() const {
    check_held(parameters_);
    if (const std::string unlisted = xgrad::detail::take_unlisted(); !unlisted.empty())
        throw Error(
            fmt::format("step: a parameter of shape {} received a gradient, but no module lists it, so it "
                        "would stay untrained; list it in the module's `fields`, or give it to an optimizer; "
                        "or the layer that has it is a copy (`for (auto layer : layers)`): use a reference",
                        unlisted));
    if (checks_state_ && state_was_given_) check_state();
}

template <class T> void Optimizer<T>::step() {
    check_trained();
    make_step();
}

template <class T> void Optimizer<T>::make_step() {
    if (on_non_finite_ != NonFinite::ignore && !gradients_are_fine()) return;
    for (const Range& group : groups_) {
        const double learning_rate = rate_at(group.learning_rate, step_count_);
        for (std::size_t i = group.first; i < group.last; ++i) {
            states_[i].learning_rate = learning_rate;
            states_[i].weight_decay = group.weight_decay;
        }
    }
    if (max_grad_norm_ < infinity) clip_grad_norm(parameters_, max_grad_norm_);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        if (!is_updated(parameters_[i])) continue;
        make_arrays(i);
        ++states_[i].step;
        update(parameters_[i], parameters_[i].grad().value(), states_[i]);
    }
    ++step_count_;
}

template <class T> void Optimizer<T>::zero_grad() {
    xgrad::detail::take_unlisted();  // concerns a backward before this one
    for (Variable<T>& parameter : parameters_) parameter.zero_grad();
}

template <class T> T Optimizer<T>::minimize(const Variable<T>& loss) {
    if (loss.size() != 1)
        throw Error(fmt::format("minimize: the loss has shape {}, not a single element; reduce it (mean, sum)",
                                describe(loss.shape())));
    const T value = loss.item();
    if (on_non_finite_ != NonFinite::ignore && !std::isfinite(value)) {
        refuse_step(fmt::format("minimize: the loss is {}; nothing was changed", value));
        return value;
    }
    xgrad::detail::check_differentiable("minimize", loss);
    zero_grad();
    loss.backward();
    check_trained();
    check_reached();
    make_step();
    return value;
}

template <class T> double Optimizer<T>::learning_rate(std::size_t group) const {
    if (group >= groups_.size())
        throw Error(fmt::format("learning_rate: there is no group {}; there are {}", group, groups_.size()));
    return rate_at(groups_[group].learning_rate, step_count_);
}

template <class T> void Optimizer<T>::set_learning_rate(const Schedule& learning_rate) {
    rate_at(learning_rate, step_count_);
    for (Range& group : groups_) group.learning_rate = learning_rate;
}

template <class T> std::vector<StateEntry<T>> Optimizer<T>::state() {
    state_was_given_ = true;
    std::vector<StateEntry<T>> entries{{"step", &step_count_}, {"skipped_steps", &skipped_steps_}};
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        make_arrays(i);
        entries.push_back({fmt::format("{}.step", i), &states_[i].step});
        for (std::size_t j = 0; j < names_.size(); ++j)
            entries.push_back({fmt::format("{}.{}", i, names_[j]), &states_[i].arrays_[j]});
    }
    return entries;
}

template class Optimizer<float>;
template class Optimizer<double>;

}  // namespace xgrad::optim
