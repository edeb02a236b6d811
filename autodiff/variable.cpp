#include <cstring>

#include <fmt/format.h>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/operations/places.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/update_elementwise.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad {
namespace detail {

void refuse_empty() {
    throw Error(
        "this Variable is empty: it stands for no value, or was moved from; x.grad() is empty until backward has "
        "run, and grad() gives an empty one for an input that the output does not depend on");
}

void refuse_changed(const Shape& shape) {
    throw Error(fmt::format("backward: a value of shape {} that '{}' had saved was changed in place afterwards; run "
                            "backward before the change, or change a copy",
                            describe(shape), thread_state.vjp));
}

void refuse_update(std::size_t number, const Shape& shape, const Shape& expected) {
    throw Error(fmt::format("update_elementwise: array {} has shape {}; expected {}, as the first one has", number,
                            describe(shape), describe(expected)));
}

void refuse_freed(const Node& node) {
    throw Error(
        fmt::format("backward: what '{}' had saved was already freed by an earlier backward (an optimizer's "
                    "minimize runs one); pass {{.retain_graph = true}} to the earlier one to run it again",
                    node.operation));
}

namespace {

template <class T> void add_in_place(Variable<T>& target, const Variable<T>& source) {
    kernels::add_in_place(target.node()->value.data(), source.node()->value.data(), target.size());
}

}  // namespace

template <class T> Variable<T> copy_of(const Variable<T>& x) {
    Array<T> copy = empty<T>(x.shape());
    kernels::copy(x.value().data(), x.size(), copy.data());
    return copy;
}

template <class T> void accumulate(Variable<T>& sum, Variable<T>&& term, bool create_graph) {
    if (!sum.defined())
        sum = std::move(term);
    else if (create_graph || !is_sole_owner(sum))
        sum = sum + term;
    else
        add_in_place(sum, term);
}

template <class T> void ValueNode<T>::prepare(Sweep& sweep) {
    if (in_flight == &sweep) return;
    // A backward around this one collects for the same leaf, and will add it up.
    if (in_flight && !on_tape() && sweep.accumulate && in_flight->accumulate) return;
    sweep.enter(this);
}

template <class T> Variable<T> ValueNode<T>::take_cotangent(const Sweep& sweep) noexcept {
    if (sweep.is_wanted(*this)) static_cast<Answer<T>*>(wanted)->cotangent = cotangent;
    return std::move(cotangent);
}

template <class T> void ValueNode<T>::receive(Sweep& sweep, Variable<T> g) {
    if (!g.defined() || !sweep.expects(*this)) return;
    if (released && !sweep.is_wanted(*this)) refuse_freed(*this);
    if (g.shape() != shape()) {
        if (!can_broadcast(shape(), g.shape()))
            throw Error(fmt::format("backward: the vjp of '{}' gave a cotangent of shape {} for an input of shape {}",
                                    thread_state.vjp ? thread_state.vjp : "", describe(g.shape()), describe(shape())));
        g = sum_to(g, shape());
    }
    prepare(sweep);
    accumulate(cotangent, std::move(g), sweep.create_graph);
}

template <class T> void ValueNode<T>::receive(Sweep& sweep, Partial<T> part) {
    if (!part.cotangent.defined() || !sweep.expects(*this)) return;
    if (released && !sweep.is_wanted(*this)) refuse_freed(*this);
    if (!lies_within(*part.place, shape()) || part.cotangent.shape() != part_shape(*part.place, shape()))
        throw Error(fmt::format(
            "backward: the vjp of '{}' gave a part of shape {} that does not fit its place in an input "
            "of shape {}",
            thread_state.vjp ? thread_state.vjp : "", describe(part.cotangent.shape()), describe(shape())));
    if (sweep.create_graph) {
        receive(sweep, scatter(part.cotangent, part.place, shape()));
        return;
    }
    prepare(sweep);
    if (!cotangent.defined()) {
        cotangent = full(shape(), T{0});
    } else if (!is_sole_owner(cotangent)) {
        cotangent = copy_of(cotangent);
    }
    add_at(cotangent.node()->value, part.cotangent.value(), *part.place);
}

template <class T> void ValueNode<T>::complete(Sweep& sweep) {
    Variable<T> g = take_cotangent(sweep);
    sweep.leave_leaf(this);
    if (!sweep.accumulate) return;
    // Gradients are changed in place by optimizers: each is its leaf's alone.
    if (!gradient.defined() && !sweep.create_graph && !is_sole_owner(g)) g = copy_of(g);
    accumulate(gradient, std::move(g), sweep.create_graph);
    if (is_parameter && !is_listed) report_unlisted(this);
    auto hook = hooks.begin();
    for (std::size_t left = hooks.size(); left > 0; --left, ++hook) (*hook)(Variable<T>(this));
}

template Variable<float> copy_of(const Variable<float>&);
template Variable<double> copy_of(const Variable<double>&);
template void accumulate(Variable<float>&, Variable<float>&&, bool);
template void accumulate(Variable<double>&, Variable<double>&&, bool);

template class ValueNode<float>;
template class ValueNode<double>;

}  // namespace detail

template <Real T> Variable<T>::Variable(Array<T>&& value) : Variable(new detail::ValueNode<T>(std::move(value))) {}

template <Real T> void Variable<T>::drop() noexcept {
    node_->drop_handle();
}

template <Real T> const Shape& Variable<T>::shape() const {
    if (!node_) detail::refuse_empty();
    return node_->shape();
}

template <Real T> std::size_t Variable<T>::shape(std::ptrdiff_t dimension) const {
    const auto count = static_cast<std::ptrdiff_t>(shape().size());
    if (dimension < -count || dimension >= count)
        throw Error(fmt::format("shape: dimension {} is out of range for the shape {}", dimension, describe(shape())));
    return shape()[static_cast<std::size_t>(dimension < 0 ? dimension + count : dimension)];
}

template <Real T> T Variable<T>::item() const {
    if (size() != 1)
        throw Error(fmt::format("item: a value of shape {} is not a single number", describe(shape())));
    return value().data()[0];
}

template <Real T> Variable<T>& Variable<T>::requires_grad(bool requires_grad) {
    if (!node_) detail::refuse_empty();
    if (!is_leaf())
        throw Error(fmt::format("requires_grad: this value was made by the operation '{}'; only variables that no "
                                "operation made can be switched (detach() gives one)",
                                node_->operation));
    node_->requires_grad = requires_grad;
    return *this;
}

template <Real T> bool Variable<T>::is_leaf() const noexcept {
    return !node_ || !node_->operation;
}

template <Real T> const Variable<T>& Variable<T>::grad() const {
    if (!node_) detail::refuse_empty();
    return node_->gradient;
}

template <Real T> void Variable<T>::set_grad(Variable gradient) {
    if (!node_) detail::refuse_empty();
    if (gradient.defined() && gradient.shape() != shape())
        throw Error(fmt::format("set_grad: a gradient of shape {} does not fit a variable of shape {}",
                                describe(gradient.shape()), describe(shape())));
    node_->gradient = std::move(gradient);
}

template <Real T> void Variable<T>::backward(BackwardOptions options) const {
    if (size() != 1)
        throw Error(fmt::format("backward: the output has shape {}, not a single element; reduce it (sum, mean), or "
                                "give a cotangent of that shape",
                                describe(shape())));
    run_backward(full(shape(), T{1}), options);
}

namespace detail {

template <class T> void check_differentiable(const char* operation, const Variable<T>& output) {
    if (!output.requires_grad())
        throw Error(
            fmt::format("{}: the output depends on no variable that requires a gradient: perhaps none was told "
                        "to, by requires_grad(true), or it was made under NoGrad, in a vjp or a hook (where "
                        "EnableGrad switches recording on), through detach(), of frozen parameters, or by grad "
                        "without create_graph",
                        operation));
    if (output.node()->released) refuse_freed(*output.node());
}
template void check_differentiable(const char*, const Variable<float>&);
template void check_differentiable(const char*, const Variable<double>&);

}  // namespace detail

namespace {

template <class T> void check_output(const char* operation, const Variable<T>& output, const Variable<T>& cotangent) {
    detail::check_differentiable(operation, output);
    if (cotangent.shape() != output.shape())
        throw Error(fmt::format("{}: a cotangent of shape {} does not fit an output of shape {}", operation,
                                describe(cotangent.shape()), describe(output.shape())));
}

}  // namespace

template <Real T> void Variable<T>::run_backward(const Variable& cotangent, BackwardOptions options) const {
    check_output("backward", *this, cotangent);
    detail::Sweep sweep(options.create_graph, options.retain_graph, true);
    node_->receive(sweep, cotangent);
    sweep.run();
}

template <Real T> Variable<T> Variable<T>::detach() const {
    return Variable(share(value(), shape()));
}

namespace {

// Also where both are parts of the same memory.
template <class T> void copy_numbers(const T* from, std::size_t n, T* to) {
    if (from + n <= to || to + n <= from)
        kernels::copy(from, n, to);
    else
        std::memmove(to, from, n * sizeof(T));
}

}  // namespace

template <Real T> Array<T>& Variable<T>::begin_update() {
    if (!node_) detail::refuse_empty();
    if (!is_leaf())
        throw Error(fmt::format("update: this value was made by the operation '{}'; only variables that no operation "
                                "made can be changed in place",
                                node_->operation));
    if (node_->value.storage().is_read_only())
        throw Error(fmt::format("update: this value, of shape {}, looks at memory that others rely on, as a batch does "
                                "at its Dataset's; change a copy: Variable(x.value())",
                                describe(shape())));
    node_->value.storage().touch();  // here as well as at the end: the function may throw half-way
    return node_->value;
}

template <Real T> void Variable<T>::end_update(const Shape& before, Buffer<T>&& memory) {
    Array<T>& value = node_->value;
    const Shape after = value.shape();
    if (after == before && value.data() != memory.data()) copy_numbers(value.data(), value.size(), memory.data());
    if (after != before) value.resize(before);
    value.storage() = std::move(memory);
    value.storage().touch();
    if (after != before)
        throw Error(fmt::format("update: the shape was changed from {} to {}", describe(before), describe(after)));
}

template <Real T> void Variable<T>::assign(const std::type_identity_t<Variable>& values) {
    if (values.shape() != shape())
        throw Error(fmt::format("assign: values of shape {} do not fit a variable of shape {}",
                                describe(values.shape()), describe(shape())));
    Array<T>& target = begin_update();
    copy_numbers(values.value().data(), target.size(), target.data());
}

template <Real T> void Variable<T>::on_gradient(std::function<void(const Variable&)> hook) {
    if (!node_) detail::refuse_empty();
    if (!is_leaf())
        throw Error(fmt::format("on_gradient: this value was made by the operation '{}'; only variables that no "
                                "operation made collect a gradient",
                                node_->operation));
    node_->hooks.push_back(std::move(hook));
}

template <class T>
std::vector<Variable<T>> grad(const std::vector<Variable<T>>& outputs, const std::vector<Variable<T>>& inputs,
                              const std::vector<Variable<T>>& cotangents, BackwardOptions options) {
    if (!cotangents.empty() && cotangents.size() != outputs.size())
        throw Error(fmt::format("grad: {} cotangents for {} outputs", cotangents.size(), outputs.size()));
    std::vector<Variable<T>> seeds = cotangents;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        if (cotangents.empty()) {
            if (outputs[i].size() != 1)
                throw Error(fmt::format("grad: an output has shape {}, not a single element; give its cotangent",
                                        describe(outputs[i].shape())));
            seeds.push_back(full(outputs[i].shape(), T{1}));
        }
        check_output("grad", outputs[i], seeds[i]);
    }
    for (const Variable<T>& input : inputs)
        if (!input.requires_grad())
            throw Error(fmt::format("grad: an input of shape {} requires no gradient", describe(input.shape())));

    detail::Sweep sweep(options.create_graph, options.retain_graph, false);
    // One answer for each input; an input that is named twice finds that of the first time on its node.
    struct Answers {
        std::vector<std::pair<detail::ValueNode<T>*, detail::Answer<T>>> all;
        ~Answers() {
            for (auto& [node, answer] : all) node->wanted = answer.outer;
        }
    } answers;
    answers.all.reserve(inputs.size());
    for (const Variable<T>& input : inputs) {
        if (sweep.is_wanted(*input.node())) continue;
        auto& [node, answer] = answers.all.emplace_back(input.node(), detail::Answer<T>());
        answer.sweep = &sweep;
        answer.outer = std::exchange(node->wanted, &answer);
    }

    std::vector<detail::Node*> roots;
    for (const Variable<T>& output : outputs) roots.push_back(output.node());
    sweep.look_for_wanted(roots);
    for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].node()->receive(sweep, seeds[i]);
    sweep.run();
    std::vector<Variable<T>> results;
    for (const Variable<T>& input : inputs)
        results.push_back(static_cast<detail::Answer<T>*>(input.node()->wanted)->cotangent);
    return results;
}

template class Variable<float>;
template class Variable<double>;
template std::vector<Variable<float>> grad(const std::vector<Variable<float>>&, const std::vector<Variable<float>>&,
                                           const std::vector<Variable<float>>&, BackwardOptions);
template std::vector<Variable<double>> grad(const std::vector<Variable<double>>&, const std::vector<Variable<double>>&,
                                            const std::vector<Variable<double>>&, BackwardOptions);

}  // namespace xgrad
