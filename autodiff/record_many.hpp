// How an operation with several results is defined; record.hpp has those with one.
#pragma once

#include <array>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace detail {

/// What the results of an operation with several are handed around in: `Values` is a vector or a std::array of Arrays,
/// the rest of Variables.
template <class Values> struct Results;
template <class T, class Allocator> struct Results<std::vector<Array<T>, Allocator>> {
    using Number = T;
    using Variables = std::vector<Variable<T>>;
    using Nodes = std::vector<const Node*>;
};
template <class T, std::size_t N> struct Results<std::array<Array<T>, N>> {
    using Number = T;
    using Variables = std::array<Variable<T>, N>;
    using Nodes = std::array<const Node*, N>;
};

template <class Container> Container sized(std::size_t size) {
    Container container{};
    if constexpr (requires { container.resize(size); }) container.resize(size);
    return container;
}

/// An operation with several results: stands below the nodes of its results, which hand their cotangents on to it. Only
/// they hold it, and it knows none of them.
template <class T> class Source : public Node {
public:
    explicit Source(const char* name) {
        operation = name;
        requires_grad = true;
    }
    virtual void receive(Sweep& sweep, std::size_t result, Variable<T>&& cotangent) = 0;

    const Shape& shape() const noexcept final {
        static const Shape none;
        return none;
    }
    void drop_value() noexcept final {}
    void complete(Sweep&) final {}
};

/// One result of an operation with several.
template <class T> class Result final : public ValueNode<T> {
public:
    Result(Array<T>&& array, Source<T>* source, std::size_t index)
        : ValueNode<T>(std::move(array)), source_(source), index_(index) {
        this->operation = source->operation;
        this->requires_grad = true;
    }
    void propagate(Sweep& sweep) override {
        static_cast<Source<T>*>(source_.get())->receive(sweep, index_, this->take_cotangent(sweep));
    }
    void release(Sweep* sweep) override { source_.release(sweep); }
    void visit_inputs(Node::Visit visit, void* context) const override {
        if (source_) visit(context, source_.get());
    }

private:
    Edge source_;
    const std::size_t index_;
};

template <class T, class Values, class... Inputs> class MultipleOperation final : public Source<T> {
    using Variables = typename Results<Values>::Variables;

public:
    MultipleOperation(const char* name, std::size_t count, Inputs&&... inputs)
        : Source<T>(name), inputs_(std::move(inputs)...), cotangents_(sized<Variables>(count)) {}

    bool reads_results() const noexcept { return inputs_.template reads_result<Variables>(); }
    void save(Values&& values) { values_ = std::move(values); }

    void receive(Sweep& sweep, std::size_t result, Variable<T>&& cotangent) override {
        if (this->released) refuse_freed(*this);
        if (this->in_flight != &sweep) sweep.enter(this);
        accumulate(cotangents_[result], std::move(cotangent), sweep.create_graph);
    }
    void propagate(Sweep& sweep) override {
        const VjpScope scope(this->operation, inputs_.recorded_at(), sweep.create_graph);
        Variables results = reads_results() ? saved_results(sweep.create_graph) : Variables();
        inputs_.propagate(sweep, std::exchange(cotangents_, sized<Variables>(cotangents_.size())), std::move(results));
    }
    void release(Sweep* sweep) override {
        inputs_.release(sweep);
        values_ = Values();
    }
    void visit_inputs(Node::Visit visit, void* context) const override { inputs_.visit_edges(visit, context); }
    void discard_cotangent() noexcept override {
        for (Variable<T>& cotangent : cotangents_) cotangent = {};
    }
    std::shared_ptr<void> suspend_cotangent() override {
        return std::make_shared<Variables>(std::exchange(cotangents_, sized<Variables>(cotangents_.size())));
    }
    void resume_cotangent(std::shared_ptr<void> suspended) noexcept override {
        cotangents_ = std::move(*static_cast<Variables*>(suspended.get()));
    }

private:
    // The results for the vjp. Where that is recorded they are results of this operation once more: the first ones may
    // be gone.
    Variables saved_results(bool recorded) {
        Variables results = sized<Variables>(cotangents_.size());
        for (std::size_t i = 0; i < results.size(); ++i) {
            Array<T> value = share(values_[i], values_[i].shape());
            auto* node = recorded ? new Result<T>(std::move(value), this, i) : new ValueNode<T>(std::move(value));
            results[i] = saved(Variable<T>(node), inputs_.recorded_at());
            if (recorded) append_to_tape(node);
        }
        return results;
    }

    InputList<Inputs...> inputs_;
    Variables cotangents_;
    Values values_{};  // what the vjps read
};

}  // namespace detail

/// Records an operation with several results. Their values come in a std::vector or a std::array, and the results in
/// the same; a vjp gets the cotangents of all results in such a container, empty ones for those that received none, and
/// the results when it asks for them: `vjp(gs)`, `vjp(gs, ys)`, and joint `vjp(gs, needs)`, `vjp(gs, ys, needs)`.
///
///     using Pair = std::array<Variable<T>, 2>;
///     auto [s, c] = record_many("sincos", std::array{std::move(sine), std::move(cosine)},
///                               wrt(x, [](const Pair& gs, const Pair& ys) { … }));
///
/// On the tape it is one operation, on which its results stand; results that are dropped cost nothing.
template <class Values, class... Arguments>
auto record_many(const char* operation, Values values, Arguments... arguments) {
    using Results = detail::Results<Values>;
    using T = typename Results::Number;
    std::vector<const detail::Node*> inputs;
    if (detail::thread_state.observer) [[unlikely]]
        inputs = detail::list_inputs(arguments...);

    auto results = detail::sized<typename Results::Variables>(values.size());
    if (detail::any_needed(arguments...)) {
        auto* source = std::apply(
            [&]<class... Inputs>(Inputs&&... input) {
                return new detail::MultipleOperation<T, Values, Inputs...>(operation, values.size(),
                                                                           std::move(input)...);
            },
            std::tuple_cat(detail::as_tuple(std::move(arguments))...));
        const detail::Edge hold(source);
        detail::append_to_tape(source);
        auto saved = detail::sized<Values>(source->reads_results() ? values.size() : 0);
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (source->reads_results()) saved[i] = share(values[i], values[i].shape());
            auto* node = new detail::Result<T>(std::move(values[i]), source, i);
            results[i] = Variable<T>(node);
            detail::append_to_tape(node);
        }
        source->save(std::move(saved));
    } else {
        for (std::size_t i = 0; i < values.size(); ++i) results[i] = Variable<T>(std::move(values[i]));
    }
    if (detail::thread_state.observer) [[unlikely]] {
        auto outputs = detail::sized<typename Results::Nodes>(results.size());
        for (std::size_t i = 0; i < results.size(); ++i) outputs[i] = results[i].node();
        detail::tell_observers(operation, inputs, outputs, arguments...);
    }
    return results;
}

/// The same for values that other operations gave, as `record` takes one.
template <class T, std::size_t N, class... Arguments>
auto record_many(const char* operation, const std::array<Variable<T>, N>& values, Arguments... arguments) {
    return std::apply(
        [&](const auto&... value) {
            return record_many(operation, std::array{detail::unrecorded_value(operation, value)...},
                               std::move(arguments)...);
        },
        values);
}
template <class T, class... Arguments>
auto record_many(const char* operation, const std::vector<Variable<T>>& values, Arguments... arguments) {
    std::vector<Array<T>> arrays;
    arrays.reserve(values.size());
    for (const Variable<T>& value : values) arrays.push_back(detail::unrecorded_value(operation, value));
    return record_many(operation, std::move(arrays), std::move(arguments)...);
}

}  // namespace xgrad
