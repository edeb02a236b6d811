// How an operation is defined, the library's and a user's: its value, and for each input a function that maps the
// cotangent of the result to the cotangent of that input. One with several results: record_many.hpp.
//
//     template <class T>
//     Variable<T> tanh(const Variable<T>& x) {
//         return record("tanh", 2 / (1 + exp(-2 * x.detach())) - 1,   // the value: computed of what records nothing
//                       wrt(x, [](const Variable<T>& g, const Variable<T>& y) { return g * (1 - square(y)); }));
//     }
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <xgrad/autodiff/partial.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// Which inputs of a joint vjp need a cotangent, and what they have received.
class Needs {
public:
    Needs(std::span<const detail::Edge> inputs, const detail::Sweep& sweep) noexcept : inputs_(inputs), sweep_(sweep) {}
    bool operator[](std::size_t input) const noexcept {
        return inputs_[input] && sweep_.expects(*inputs_[input].get());
    }

    /// An input's shape, which is known also when nobody keeps its value. The input must need a cotangent.
    const Shape& shape(std::size_t input) const noexcept { return inputs_[input].get()->shape(); }

    /// What an input has received so far, for a vjp that adds to it in place and then gives an empty cotangent, as
    /// products do whose weights are used several times. Null when nothing has arrived, when it is somebody else's as
    /// well, when it is not of this precision, or when this backward is recorded.
    template <class T> Array<T>* arrived(std::size_t input) const noexcept {
        if (sweep_.create_graph || !(*this)[input] || inputs_[input].get()->in_flight != &sweep_) return nullptr;
        auto* const node = dynamic_cast<detail::ValueNode<T>*>(inputs_[input].get());
        return node && detail::is_sole_owner(node->cotangent) ? &node->cotangent.node()->value : nullptr;
    }

private:
    std::span<const detail::Edge> inputs_;
    const detail::Sweep& sweep_;
};

namespace detail {

/// Whether an operation on these values has to keep what its backward needs.
template <class... T> bool is_differentiated(const Variable<T>&... x) noexcept {
    return thread_state.recording && (x.requires_grad() || ...);
}
/// Whether an operation on these values has to be recorded: for its backward, or for those who watch. Small operations
/// ask before they put together what a record needs.
template <class... T> bool is_recorded(const Variable<T>&... x) noexcept {
    return thread_state.observer || is_differentiated(x...);
}

// A vjp takes the cotangent g, and the result y when it asks for it; where an operation has several results, G is a
// container of Variables for both. (A joint vjp is told which inputs need theirs.) The last vjp of an operation gets
// them to keep or to free. (The values of several results stay with their operation all the same.)
template <class F, class G, class... Rest> concept ReadsResult = std::invocable<F&, G, const G&, Rest...>;

template <class F, class G, class Y, class... Rest> auto call_vjp(F& vjp, G&& g, Y&& y, const Rest&... rest) {
    if constexpr (ReadsResult<F, G, const Rest&...>)
        return vjp(std::move(g), std::forward<Y>(y), rest...);
    else
        return vjp(std::move(g), rest...);
}

/// One input of an operation with its vjp; without either when no gradient is needed.
template <class U, class F> class SingleInput {
public:
    SingleInput(const Variable<U>& input, F&& vjp) : input_(input.node()) {
        if (!is_differentiated(input)) return;
        edge_ = Edge(input.node());
        vjp_.emplace(std::move(vjp));
    }

    bool needed() const noexcept { return static_cast<bool>(edge_); }
    /// Whether this sweep has a use for a cotangent; only then may it propagate.
    bool expected(const Sweep& sweep) const noexcept { return edge_ && sweep.expects(*edge_.get()); }
    template <class G> bool reads_result() const noexcept {
        return ReadsResult<F, G> && needed();
    }

    template <class G, class Y> void propagate(Sweep& sweep, G&& g, Y&& y) {
        static_cast<ValueNode<U>*>(edge_.get())->receive(sweep, call_vjp(*vjp_, std::move(g), std::forward<Y>(y)));
    }
    void visit_edges(Node::Visit visit, void* context) const {
        if (edge_) visit(context, edge_.get());
    }
    void release(Sweep* sweep) {
        vjp_.reset();
        edge_.release(sweep);
    }
    void list(std::vector<const Node*>& inputs) const {
        if (input_) inputs.push_back(input_);
    }

private:
    const Node* input_;  // only looked at while the operation is being recorded
    Edge edge_;
    std::optional<F> vjp_;
};

/// Several inputs whose vjp is one function.
template <class T, class F, class Edges> class JointInput {
public:
    template <class Inputs> JointInput(Edges&& edges, const Inputs& inputs, F&& vjp) : edges_(std::move(edges)) {
        bool any = false;
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            const Variable<T>& input = *inputs[i];
            if (thread_state.observer && input.defined()) inputs_.push_back(input.node());
            if (!is_differentiated(input)) continue;
            edges_[i] = Edge(input.node());
            any = true;
        }
        if (any) vjp_.emplace(std::move(vjp));
    }

    bool needed() const noexcept { return vjp_.has_value(); }
    bool expected(const Sweep& sweep) const noexcept {
        return vjp_ && std::any_of(edges_.begin(), edges_.end(),
                                   [&](const Edge& edge) { return edge && sweep.expects(*edge.get()); });
    }
    template <class G> bool reads_result() const noexcept {
        return ReadsResult<F, G, const Needs&> && needed();
    }

    template <class G, class Y> void propagate(Sweep& sweep, G&& g, Y&& y) {
        auto cotangents = call_vjp(*vjp_, std::move(g), std::forward<Y>(y), Needs(edges_, sweep));
        if (cotangents.size() != edges_.size())
            throw Error("backward: the vjp of '" + std::string(thread_state.vjp) + "' gave " +
                        std::to_string(cotangents.size()) + " cotangents for " + std::to_string(edges_.size()) +
                        " inputs");
        for (std::size_t i = 0; i < edges_.size(); ++i)
            if (edges_[i]) static_cast<ValueNode<T>*>(edges_[i].get())->receive(sweep, std::move(cotangents[i]));
    }
    void visit_edges(Node::Visit visit, void* context) const {
        for (const Edge& edge : edges_)
            if (edge) visit(context, edge.get());
    }
    void release(Sweep* sweep) {
        vjp_.reset();
        for (Edge& edge : edges_) edge.release(sweep);
    }
    void list(std::vector<const Node*>& inputs) const { inputs.insert(inputs.end(), inputs_.begin(), inputs_.end()); }

private:
    Edges edges_;
    std::vector<const Node*> inputs_;  // for observers; empty when there is none
    std::optional<F> vjp_;
};

template <class V> struct NamedValue {
    const char* name;
    const V& value;
};

template <class X> inline constexpr bool is_input = false;
template <class U, class F> inline constexpr bool is_input<SingleInput<U, F>> = true;
template <class T, class F, class Edges> inline constexpr bool is_input<JointInput<T, F, Edges>> = true;

/// The inputs of an operation with their vjps, and when it was recorded.
template <class... Inputs> class InputList {
public:
    explicit InputList(Inputs&&... inputs) : inputs_(std::move(inputs)...) {}

    template <class G> bool reads_result() const noexcept {
        return std::apply([](const Inputs&... input) { return (input.template reads_result<G>() || ...); }, inputs_);
    }
    /// The last input whose cotangent is expected gets g and y themselves, so that its vjp may reuse their memory.
    template <class G> void propagate(Sweep& sweep, G&& g, G&& y) {
        propagate(sweep, std::move(g), std::move(y), std::index_sequence_for<Inputs...>());
    }
    void release(Sweep* sweep) {
        std::apply([&](Inputs&... input) { (input.release(sweep), ...); }, inputs_);
    }
    void visit_edges(Node::Visit visit, void* context) const {
        std::apply([&](const Inputs&... input) { (input.visit_edges(visit, context), ...); }, inputs_);
    }
    std::uint64_t recorded_at() const noexcept { return recorded_at_; }

private:
    template <class G, std::size_t... I> void propagate(Sweep& sweep, G&& g, G&& y, std::index_sequence<I...>) {
        std::size_t last = 0;
        ((last = std::get<I>(inputs_).expected(sweep) ? I : last), ...);
        const auto propagate_to = [&](std::size_t i, auto& input) {
            if (!input.expected(sweep)) return;
            if (i == last)
                input.propagate(sweep, std::move(g), std::move(y));
            else
                input.propagate(sweep, G(g), std::as_const(y));
        };
        (propagate_to(I, std::get<I>(inputs_)), ...);
    }

    std::tuple<Inputs...> inputs_;
    const std::uint64_t recorded_at_ = change_clock.load(std::memory_order_relaxed);
};

/// The result of an operation, with what backward needs.
template <class T, class... Inputs> class Operation final : public ValueNode<T> {
public:
    Operation(const char* name, Array<T>&& array, Inputs&&... inputs)
        : ValueNode<T>(std::move(array)), inputs_(std::move(inputs)...) {
        this->operation = name;
        this->requires_grad = true;
        if (inputs_.template reads_result<Variable<T>>()) this->keep_value();
    }

    void propagate(Sweep& sweep) override {
        const VjpScope scope(this->operation, inputs_.recorded_at(), sweep.create_graph);
        Variable<T> y;
        if (inputs_.template reads_result<Variable<T>>()) {
            if (!this->has_value()) refuse_freed(*this);  // an earlier sweep came as far as here, and threw
            y = this->saved_result(inputs_.recorded_at());
            if (!sweep.retain_graph) this->stop_keeping_value();  // now y alone keeps it, so that the vjp may free it
        }
        inputs_.propagate(sweep, this->take_cotangent(sweep), std::move(y));
    }
    void release(Sweep* sweep) override {
        inputs_.release(sweep);
        this->stop_keeping_value();
    }
    void visit_inputs(Node::Visit visit, void* context) const override { inputs_.visit_edges(visit, context); }

private:
    InputList<Inputs...> inputs_;
};

// An input alone in a tuple, and nothing for a setting: what tuple_cat makes of the arguments is the inputs.
template <class X> auto as_tuple(X&& x) {
    if constexpr (is_input<std::remove_cvref_t<X>>)
        return std::tuple<X&&>(std::move(x));
    else
        return std::tuple<>();
}

template <class... Arguments> bool any_needed(const Arguments&... arguments) {
    const auto needed = [](const auto& argument) {
        if constexpr (is_input<std::remove_cvref_t<decltype(argument)>>)
            return argument.needed();
        else
            return false;
    };
    return (needed(arguments) || ...);
}

template <class V> Attribute::Value attribute_value(const V& value) {
    if constexpr (std::same_as<V, bool>)
        return value;
    else if constexpr (std::integral<V>)
        return static_cast<std::int64_t>(value);
    else if constexpr (std::floating_point<V>)
        return static_cast<double>(value);
    else if constexpr (ArrayExpression<V>)
        return &value;
    else if constexpr (std::convertible_to<const V&, std::string_view>)
        return std::string_view(value);
    else
        return std::vector<std::int64_t>(value.begin(), value.end());
}

template <class... Arguments> std::vector<const Node*> list_inputs(const Arguments&... arguments) {
    std::vector<const Node*> inputs;
    const auto list = [&](const auto& argument) {
        if constexpr (is_input<std::remove_cvref_t<decltype(argument)>>) argument.list(inputs);
    };
    (list(arguments), ...);
    return inputs;
}

[[noreturn]] void refuse_recorded_value(const char* operation, const char* recorded);

/// The value of a Variable that stands for that of an operation.
template <class T> Array<T> unrecorded_value(const char* operation, const Variable<T>& value) {
    const Array<T>& array = value.value();
    if (!value.is_leaf()) refuse_recorded_value(operation, value.node()->operation);
    return share(array, array.shape());
}

template <class... Arguments>
void tell_observers(const char* operation, const std::vector<const Node*>& inputs, std::span<const Node* const> outputs,
                    const Arguments&... arguments) {
    std::vector<Attribute> attributes;
    const auto list = [&](const auto& argument) {
        if constexpr (!is_input<std::remove_cvref_t<decltype(argument)>>)
            attributes.push_back({argument.name, attribute_value(argument.value)});
    };
    (list(arguments), ...);
    Observer::tell({operation, inputs, outputs, attributes});
}

}  // namespace detail

/// The vjp of one input: `vjp(g)` or `vjp(g, y)` gives the cotangent of `x` from the cotangent g of the result y,
/// written with operations on Variables so that it can be differentiated again. It may return a Partial when the
/// cotangent fills only part of x, a cotangent of a broadcast shape (it is summed back), or an empty Variable for zero.
/// One that takes y by value may free it, unless others still need it, before it makes something large: `y = {}`.
/// When x requires no gradient, the function goes at once with all that it had captured.
template <class T, class F> auto wrt(const Variable<T>& x, F vjp) {
    return detail::SingleInput<T, F>(x, std::move(vjp));
}

/// The joint vjp of several inputs that share its work: `vjp(g, needs)` or `vjp(g, y, needs)` gives an array of
/// cotangents and may leave those empty that `needs` says are not needed.
template <AnyVariable First, AnyVariable... More, class F> auto wrt(std::tuple<First&, More&...> inputs, F vjp) {
    using T = typename detail::CommonVariable<First>::type::value_type;
    constexpr std::size_t count = 1 + sizeof...(More);
    const auto pointers = std::apply(
        [](const auto&... input) { return std::array<const Variable<T>*, count>{&input...}; }, inputs);
    using Edges = std::array<detail::Edge, count>;
    return detail::JointInput<T, F, Edges>(Edges(), pointers, std::move(vjp));
}
/// The same for a number of inputs that is known at run time only; the vjp gives a vector.
template <class T, class F> auto wrt(std::span<const Variable<T>> inputs, F vjp) {
    memory::Vector<const Variable<T>*> pointers;
    for (const Variable<T>& input : inputs) pointers.push_back(&input);
    using Edges = memory::Vector<detail::Edge>;
    return detail::JointInput<T, F, Edges>(Edges(inputs.size()), pointers, std::move(vjp));
}
template <class T, class F> auto wrt(const std::vector<Variable<T>>& inputs, F vjp) {
    return wrt(std::span(inputs), std::move(vjp));
}

/// A setting of the operation, or an input that is no Variable, for those who watch (Observer).
template <class V> auto with(const char* name, const V& value) {
    return detail::NamedValue<V>{name, value};
}

/// Records an operation: its name (a string literal), its value, then `wrt(…)` for its inputs and `with(…)` for its
/// settings, in any order. Nothing is kept when no input requires a gradient or recording is off.
template <class T, class... Arguments>
Variable<T> record(const char* operation, Array<T>&& value, Arguments... arguments) {
    std::vector<const detail::Node*> inputs;
    if (detail::thread_state.observer) [[unlikely]]
        inputs = detail::list_inputs(arguments...);

    Variable<T> result;
    if (detail::any_needed(arguments...)) {
        detail::ValueNode<T>* node = std::apply(
            [&]<class... Inputs>(Inputs&&... input) -> detail::ValueNode<T>* {
                return new detail::Operation<T, Inputs...>(operation, std::move(value), std::move(input)...);
            },
            std::tuple_cat(detail::as_tuple(std::move(arguments))...));
        result = Variable<T>(node);
        detail::append_to_tape(node);
    } else {
        result = Variable<T>(std::move(value));
    }
    if (detail::thread_state.observer) [[unlikely]] {
        const detail::Node* const output = result.node();
        detail::tell_observers(operation, inputs, {&output, 1}, arguments...);
    }
    return result;
}

/// The same for a value that is another xtensor expression, evaluated here.
template <ArrayExpression E, class... Arguments>
    requires(!std::same_as<E, Array<typename E::value_type>>)
auto record(const char* operation, const E& value, Arguments... arguments) {
    using T = typename E::value_type;
    return record(operation, Array<T>(value), std::move(arguments)...);
}

/// The same for a value that other operations gave, whose memory is shared. Throws Error when these were recorded
/// themselves; of `x.detach()` they are not.
template <class T, class... Arguments>
Variable<T> record(const char* operation, const Variable<T>& value, Arguments... arguments) {
    return record(operation, detail::unrecorded_value(operation, value), std::move(arguments)...);
}

}  // namespace xgrad
