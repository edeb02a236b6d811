// What all optimizers share: parameters in groups, the state of each, the step, and what is done about bad gradients.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <xgrad/autodiff/parameter.hpp>
#include <xgrad/autodiff/update_elementwise.hpp>
#include <xgrad/optim/schedules.hpp>

namespace xgrad::optim {

/// What `step` does about a gradient that is not finite. `skip` and `report` change no parameter and no State.
enum class NonFinite {
    ignore,  ///< nothing: it is not even looked for
    skip,    ///< no step is made; skipped_steps counts it
    report   ///< throws Error, which says where
};

/// What a group of parameters may have of its own, in place of the optimizer's.
struct GroupOptions {
    std::optional<Schedule> learning_rate = std::nullopt;
    std::optional<double> weight_decay = std::nullopt;
};

/// Parameters that are trained alike: `optim::Adam optimizer({{body, {.learning_rate = 1e-4}}, {head}});`
template <class T = float> struct Group {
    std::vector<Variable<T>> parameters;
    GroupOptions options = {};
};

namespace detail {

template <class T> std::vector<Group<T>> one_group(std::vector<Variable<T>>&& parameters) {
    return {{std::move(parameters), {}}};
}

}  // namespace detail

/// What an optimizer knows about one parameter while it updates it.
template <class T = float> class State {
public:
    std::int64_t step = 0;     ///< the number of this update of the parameter, from 1
    double learning_rate = 0;  ///< of this step, in the parameter's group
    double weight_decay = 0;   ///< in the parameter's group

    /// The array with the i-th of the names that the optimizer gave to its base: of the parameter's shape, 0 at first.
    Array<T>& operator[](std::size_t i) { return arrays_[i]; }

private:
    template <class> friend class Optimizer;

    std::vector<Array<T>> arrays_;
};

/// A piece of an optimizer's state under its name, as in "3.momentum" or "step": an array or a count.
template <class T> struct StateEntry {
    std::string name;
    std::variant<Array<T>*, std::int64_t*> value;
};

/// θ* = argmin L, step by step. A subclass says how one parameter is updated:
///
///     class Lion : public optim::Optimizer<> {                            // Chen et al. 2023
///     public:
///         Lion(std::vector<Variable<>> parameters, optim::Schedule learning_rate)
///             : Optimizer(std::move(parameters), {.learning_rate = learning_rate}, {"momentum"}) {}
///
///     protected:
///         void update(Variable<>& parameter, const Array<>& gradient, optim::State<>& state) override {
///             const auto step = [rate = state.learning_rate](auto& p, auto& m, auto g) {
///                 p -= rate * sign(0.9 * m + 0.1 * g);
///                 m = 0.99 * m + 0.01 * g;
///             };
///             parameter.update(step, state[0], gradient);
///         }
///     };
template <class T = float> class Optimizer {
public:
    using value_type = T;

    /// What every optimizer has.
    struct Settings {
        Schedule learning_rate = 1e-3;
        double weight_decay = 0;
        NonFinite on_non_finite = NonFinite::ignore;
        double max_grad_norm = std::numeric_limits<double>::infinity();  ///< see clip_grad_norm; done by each step
        /// Whether `step` throws Error where an array of the state has not its parameter's shape. An optimizer that
        /// gives its arrays other shapes says false.
        bool checks_state = true;
    };

    virtual ~Optimizer() = default;
    Optimizer(const Optimizer&) = delete;
    Optimizer& operator=(const Optimizer&) = delete;

    /// Updates every parameter that has a gradient and is not frozen.
    /// Throws Error, before anything is changed, when some parameter would stay untrained: one that received a gradient
    /// but that no module lists, or one of a module whose parameters were replaced after this optimizer was made; when
    /// what was read into the state has not the shapes of the parameters; when the learning rate is not a finite number
    /// from 0 on; and, where that is to be reported, when a gradient is not finite.
    void step();

    /// Removes the gradients of all parameters.
    void zero_grad();

    /// One step of training: zero_grad, backward, step. Returns the loss as a number. A loss that is not finite is
    /// treated as a gradient that is not. Throws Error for a loss that has not exactly one element or that depends on
    /// nothing trainable, with the gradients as they were; after its backward when that has reached no parameter of this
    /// optimizer; and as `step` and `backward` do.
    T minimize(const Variable<T>& loss);

    /// The parameters of all groups, in their order.
    const std::vector<Variable<T>>& parameters() const noexcept { return parameters_; }

    /// How many steps were made; the schedule is asked for this number, so that a skipped step does not advance it.
    std::int64_t step_count() const noexcept { return step_count_; }
    /// How many steps were left out because a gradient was not finite.
    std::int64_t skipped_steps() const noexcept { return skipped_steps_; }

    /// The rate of the next step in a group. Throws Error when there is no such group.
    double learning_rate(std::size_t group = 0) const;
    /// Replaces the rate in all groups. Throws Error when it is not a finite number from 0 on.
    void set_learning_rate(const Schedule& learning_rate);

    /// Everything that a run which goes on exactly needs, by name: "step", "skipped_steps", and for the parameter with
    /// number i, counted over all groups, "i.step" and its arrays. training::Checkpoint writes the values to a file and
    /// reads them back into an optimizer that was made in the same way. The pointers hold as long as the optimizer.
    std::vector<StateEntry<T>> state();
    /// Whether the arrays of the state must have their parameters' shapes.
    bool checks_state() const noexcept { return checks_state_; }

protected:
    /// `names` are those of the arrays that `update` keeps for each parameter.
    Optimizer(std::vector<Variable<T>> parameters, Settings settings, std::vector<std::string> names = {});
    Optimizer(std::vector<Group<T>> groups, Settings settings, std::vector<std::string> names = {});

    /// Changes a parameter (through Variable::update) and its state, by the gradient's value.
    virtual void update(Variable<T>& parameter, const Array<T>& gradient, State<T>& state) = 0;

private:
    // A run of parameters_ with its options.
    struct Range {
        std::size_t first, last;
        Schedule learning_rate;
        double weight_decay;
    };

    void add_group(Group<T>&& group, const Settings& settings);
    void make_arrays(std::size_t i);
    bool refuse_step(const std::string& reason);
    bool gradients_are_fine();
    void check_state() const;
    void check_trained() const;
    void check_reached() const;
    void make_step();

    std::vector<Variable<T>> parameters_;
    std::vector<State<T>> states_;  // of the parameters
    std::vector<Range> groups_;
    std::vector<std::string> names_;
    NonFinite on_non_finite_;
    double max_grad_norm_;
    bool checks_state_, state_was_given_ = false;
    std::int64_t step_count_ = 0, skipped_steps_ = 0;
};

extern template class Optimizer<float>;
extern template class Optimizer<double>;

namespace detail {

/// Throws Error unless the number lies in [low, high), or [low, high] for an infinite high.
void check_option(const char* optimizer, const char* option, double number, double low, double high);

}  // namespace detail
}  // namespace xgrad::optim
