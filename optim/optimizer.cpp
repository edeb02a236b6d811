#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/tape.hpp>
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

template <class T>
void check_parameter(const Variable<T>& parameter, std::size_t number, std::set<const void*>& seen) {
    if (!parameter.defined()) throw Error(fmt::format("optimizer: parameter {} is an empty Variable", number));
    if (!parameter.is_leaf())
        throw Error(fmt::format("optimizer: parameter {}, of shape {}, is the result of '{}'; expected a parameter, which "
                                "no operation made",
                                number, describe(parameter.shape()), parameter.node()->operation));
    if (!seen.insert(parameter.node()).second)
        throw Error(fmt::format("optimizer: parameter {}, of shape {}, is there twice; it would be updated twice in each "
                                "step",
                                number, describe(parameter.shape())));
}

}  // namespace

template <class T>
Optimizer<T>::Optimizer(std::vector<Variable<T>> parameters, Settings settings, std::vector<std::string> names)
    : Optimizer(detail::one_group(std::move(parameters)), std::move(settings), std::move(names)) {}

template <class T>
Optimizer<T>::Optimizer(std::vector<Group<T>> groups, Settings settings, std::vector<std::string> names)
    : names_(std::move(names)), on_non_finite_(settings.on_non_finite) {
    std::set<const void*> seen;
    std::size_t number = 0;
    for (Group<T>& group : groups) {
        SlotGroup& made = groups_.emplace_back(
            SlotGroup{{}, group.options.learning_rate.value_or(settings.learning_rate),
                      group.options.weight_decay.value_or(settings.weight_decay)});
        rate_at(made.learning_rate, 0);
        detail::check_option("optimizer", "weight_decay", made.weight_decay, 0, infinity);
        for (Variable<T>& parameter : group.parameters) {
            check_parameter(parameter, number++, seen);
            made.slots.push_back({std::move(parameter), {}});
        }
    }
    if (number == 0) throw Error("optimizer: the list of parameters is empty; there is nothing to train");
    each_slot([](Slot& slot) { xgrad::detail::mark_listed(slot.parameter); });
    xgrad::detail::take_unlisted();  // what happened before is not this optimizer's business
}

template <class T>
template <class F>
void Optimizer<T>::each_slot(F f) {
    for (SlotGroup& group : groups_)
        for (Slot& slot : group.slots) f(slot);
}

template <class T>
void Optimizer<T>::make_arrays(Slot& slot) {
    while (slot.state.arrays_.size() < names_.size())
        slot.state.arrays_.push_back(full(slot.parameter.shape(), T{0}));
}

template <class T>
bool Optimizer<T>::refuse_step(const std::string& reason) {
    if (on_non_finite_ == NonFinite::report) throw Error(reason);
    ++skipped_steps_;
    return false;
}

template <class T>
bool Optimizer<T>::gradients_are_fine() {
    std::size_t number = 0;
    for (const SlotGroup& group : groups_)
        for (const Slot& slot : group.slots) {
            const Variable<T>& gradient = slot.parameter.grad();
            if (gradient.defined() && !kernels::all_finite(gradient.value().data(), gradient.size()))
                return refuse_step(fmt::format("step: the gradient of parameter {}, of shape {}, is not finite; nothing "
                                               "was changed",
                                               number, describe(gradient.shape())));
            ++number;
        }
    return true;
}

template <class T>
void Optimizer<T>::step() {
    if (const std::string unlisted = xgrad::detail::take_unlisted(); !unlisted.empty())
        throw Error(fmt::format("step: a parameter of shape {} received a gradient, but no module lists it, so it would "
                                "stay untrained; list it in the module's `fields`, or give it to an optimizer",
                                unlisted));
    if (on_non_finite_ != NonFinite::ignore && !gradients_are_fine()) return;
    for (SlotGroup& group : groups_) {
        const double learning_rate = rate_at(group.learning_rate, step_count_);
        for (Slot& slot : group.slots) {
            if (!slot.parameter.requires_grad() || !slot.parameter.grad().defined()) continue;
            make_arrays(slot);
            ++slot.state.step;
            slot.state.learning_rate = learning_rate;
            slot.state.weight_decay = group.weight_decay;
            update(slot.parameter, slot.parameter.grad().value(), slot.state);
        }
    }
    ++step_count_;
}

template <class T>
void Optimizer<T>::zero_grad() {
    xgrad::detail::take_unlisted();  // concerns a backward before this one
    each_slot([](Slot& slot) { slot.parameter.zero_grad(); });
}

template <class T>
T Optimizer<T>::minimize(const Variable<T>& loss) {
    const T value = loss.item();
    zero_grad();
    if (on_non_finite_ != NonFinite::ignore && !std::isfinite(value)) {
        refuse_step(fmt::format("minimize: the loss is {}; nothing was changed", value));
        return value;
    }
    loss.backward();
    step();
    return value;
}

template <class T>
double Optimizer<T>::learning_rate(std::size_t group) const {
    if (group >= groups_.size())
        throw Error(fmt::format("learning_rate: there is no group {}; there are {}", group, groups_.size()));
    return rate_at(groups_[group].learning_rate, step_count_);
}

template <class T>
void Optimizer<T>::set_learning_rate(const Schedule& learning_rate) {
    rate_at(learning_rate, step_count_);
    for (SlotGroup& group : groups_) group.learning_rate = learning_rate;
}

template <class T>
std::vector<StateEntry<T>> Optimizer<T>::state() {
    std::vector<StateEntry<T>> entries{{"step", &step_count_}, {"skipped_steps", &skipped_steps_}};
    std::size_t number = 0;
    each_slot([&](Slot& slot) {
        make_arrays(slot);
        entries.push_back({fmt::format("{}.step", number), &slot.state.step});
        for (std::size_t i = 0; i < names_.size(); ++i)
            entries.push_back({fmt::format("{}.{}", number, names_[i]), &slot.state.arrays_[i]});
        ++number;
    });
    return entries;
}

template class Optimizer<float>;
template class Optimizer<double>;

}  // namespace xgrad::optim
