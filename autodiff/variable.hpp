// Variables: values that remember how they were computed, and can be differentiated with respect to.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <xgrad/autodiff/array.hpp>
#include <xgrad/autodiff/braces.hpp>
#include <xgrad/autodiff/node.hpp>
#include <xgrad/autodiff/tape.hpp>

namespace xgrad {

template <Real T> class Variable;
template <class T> struct Partial;

/// How a backward pass is run.
struct BackwardOptions {
    bool retain_graph = false;  ///< keep what was saved, so that backward can be called again
    /// Record the backward pass itself, so that gradients can be differentiated; implies retain_graph. A leaf's
    /// gradient then holds the graph, and the graph the leaf: zero_grad() parts them. (grad() makes no such circle.)
    bool create_graph = false;
};

namespace detail {

template <class T> class ValueNode;

// Operands are written over where nobody else needs them.
template <class T> Variable<T> add(Variable<T>&& a, Variable<T>&& b);
template <class T> Variable<T> subtract(Variable<T>&& a, Variable<T>&& b);
template <class T> Variable<T> multiply(Variable<T>&& a, Variable<T>&& b);
template <class T> Variable<T> divide(Variable<T>&& a, Variable<T>&& b);
template <class T> Variable<T> negative(Variable<T>&& x);
template <class T> Variable<T> add_number(Variable<T>&& x, T number);
template <class T> Variable<T> multiply_number(Variable<T>&& x, T number);
template <class T> Variable<T> divide_by_number(Variable<T>&& x, T number);
template <class T> Variable<T> subtract_from_number(T number, Variable<T>&& x);
template <class T> Variable<T> divide_number_by(T number, Variable<T>&& x);

template <class T> Variable<T> saved(Variable<T>&& handle, std::uint64_t recorded_at) noexcept;

[[noreturn]] void refuse_empty();
template <class First, class... Others> void check_update(const First& first, const Others&... others);
[[noreturn]] void refuse_changed(const Shape& shape);

enum class Comparison { less, less_equal, equal, not_equal };
template <class T> Array<bool> compare(Comparison how, const Variable<T>& a, const Variable<T>& b);

}  // namespace detail

/// A value with its place in a computation. Copies are handles to the same value; T is float or double.
///
/// A Variable is made from a number, nested braces, any xtensor expression (evaluated at once), an Array that is moved
/// in, or a caller's memory. Operations on Variables are recorded on the thread's tape when one of them requires a
/// gradient.
template <Real T = float> class Variable {
public:
    using value_type = T;

    /// An empty handle, which stands for nothing: no gradient yet, no bias.
    Variable() noexcept = default;
    /// Takes the array over; nothing is copied.
    Variable(Array<T>&& value);
    /// Evaluates an xtensor expression.
    template <ArrayExpression E>
        requires(!std::same_as<std::remove_cvref_t<E>, Array<T>>)
    Variable(const E& expression) : Variable(Array<T>(expression)) {}
    /// Copies the array.
    Variable(const Array<T>& value) : Variable(Array<T>(value)) {}
    /// One number, of shape ().
    template <Number N> Variable(N number) : Variable(Array<T>(Shape{}, static_cast<T>(number))) {}
    /// Numbers in braces, nested to any depth: `{{1, 2}, {3, 4}}` has shape (2, 2). Throws Error when rows differ in
    /// length.
    Variable(std::initializer_list<detail::Braces> values) : Variable(detail::from_braces<T>(values)) {}
    /// Looks at the caller's memory, not copied; `keeper` is held as long as anything looks at it.
    Variable(std::span<T> data, const Shape& shape, std::shared_ptr<void> keeper = nullptr)
        : Variable(borrow(data, shape, std::move(keeper))) {}

    /// Another handle to the same value.
    Variable(const Variable& other) noexcept;
    Variable(Variable&& other) noexcept
        : node_(std::exchange(other.node_, nullptr)), copied_at_(std::exchange(other.copied_at_, never)) {}
    Variable& operator=(const Variable& other) noexcept {
        Variable(other).swap(*this);
        return *this;
    }
    Variable& operator=(Variable&& other) noexcept {
        Variable(std::move(other)).swap(*this);
        return *this;
    }
    ~Variable() {
        if (node_) drop();
    }
    /// Exchanges what the two handles stand for.
    void swap(Variable& other) noexcept {
        std::swap(node_, other.node_);
        std::swap(copied_at_, other.copied_at_);
    }

    /// Whether this handle stands for a value.
    bool defined() const noexcept { return node_ != nullptr; }
    explicit operator bool() const noexcept { return defined(); }

    /// The value, an xtensor container. Throws Error for an empty handle, and in a vjp when the value was changed in
    /// place after the vjp had saved it.
    const Array<T>& value() const;
    /// The only element of a value of size 1. Throws Error for other sizes.
    T item() const;
    /// The sizes of the dimensions, outermost first. It and the next three throw Error for an empty handle.
    const Shape& shape() const;
    /// How many dimensions there are.
    std::size_t dimension() const { return shape().size(); }
    /// How many elements there are.
    std::size_t size() const { return element_count(shape()); }
    /// The size of one dimension; negative ones count from the last.
    std::size_t shape(std::ptrdiff_t dimension) const;

    /// Whether operations on this value are recorded: it collects a gradient, or was made of what does.
    bool requires_grad() const noexcept;
    /// Starts or stops collecting gradients in a variable that no operation made. Throws Error for a result.
    Variable& requires_grad(bool requires_grad);
    /// Whether no recorded operation made this value.
    bool is_leaf() const noexcept;

    /// The gradient that backward calls have added up; an empty Variable when there was none.
    const Variable& grad() const;
    /// Replaces the gradient; an empty Variable removes it. Throws Error when the shapes differ.
    void set_grad(Variable gradient);
    /// Removes the gradient.
    void zero_grad() { set_grad({}); }

    /// Adds ∂this/∂v to the gradient of every leaf v that requires one. What was saved is freed, unless options say
    /// otherwise. Throws Error when this value has not exactly one element, depends on nothing that requires a
    /// gradient, was recorded on another thread, or needs what an earlier backward freed or what was changed in place
    /// after recording. Threads whose graphs end in the same leaves must not run backward at the same time.
    void backward(BackwardOptions options = {}) const;
    /// The same with a cotangent of this value's shape in place of the 1: a Variable or what converts to one. Braces
    /// mean the options.
    template <std::convertible_to<Variable> Cotangent>
    void backward(const Cotangent& cotangent, BackwardOptions options = {}) const {
        run_backward(cotangent, options);
    }

    /// The same memory with no history: requires no gradient.
    Variable detach() const;

    /// Writes new values in place. Throws Error when the shape is not this one's, when an operation made this value, or
    /// when it looks at a Dataset's memory.
    void assign(const std::type_identity_t<Variable>& values);
    /// Changes the value in place through a function that takes `Array<T>&` and keeps its shape; when it assigns an
    /// expression, which brings memory of its own, the elements are copied back. Throws Error when the shape was
    /// changed, when an operation made this value, or when it looks at a Dataset's memory.
    template <std::invocable<Array<T>&> F> void update(F&& function) {
        Array<T>& value = begin_update();
        const Shape before = value.shape();
        Buffer<T> memory = value.storage().share(0, value.size());
        function(value);
        end_update(before, std::move(memory));
    }
    /// Changes the value in place, element by element, by a formula of it and of one or more arrays of its shape, as
    /// update_elementwise does: `p.update([=](auto& p, auto g) { p -= learning_rate * g; }, gradient)`. Include its
    /// header.
    template <class Formula, class... Arrays>
        requires(sizeof...(Arrays) > 0)
    void update(const Formula& formula, Arrays&&... arrays) {
        detail::check_update(value(), arrays...);
        update([&](Array<T>& value) { update_elementwise(formula, value, std::forward<Arrays>(arrays)...); });
    }

    /// Calls a function, with this leaf as its argument, each time its gradient is complete in a backward pass: the
    /// last operation that used it has been passed. It runs with recording as in that pass: off, unless the graph is
    /// created. Throws Error for a result of an operation.
    void on_gradient(std::function<void(const Variable&)> hook);

    /// Arithmetic element by element, with NumPy's broadcasting. It writes over an operand that comes as an rvalue, as
    /// the product in `1 + x * x`, when nobody else sees it and no backward needs it. Throws Error when the shapes do
    /// not broadcast.
    friend Variable operator+(Variable a, Variable b) { return detail::add(std::move(a), std::move(b)); }
    friend Variable operator-(Variable a, Variable b) { return detail::subtract(std::move(a), std::move(b)); }
    friend Variable operator*(Variable a, Variable b) { return detail::multiply(std::move(a), std::move(b)); }
    friend Variable operator/(Variable a, Variable b) { return detail::divide(std::move(a), std::move(b)); }
    friend Variable operator-(Variable x) { return detail::negative(std::move(x)); }
    friend Variable operator+(Variable x) { return x; }

    friend Variable operator+(Variable x, Number auto n) { return detail::add_number(std::move(x), static_cast<T>(n)); }
    friend Variable operator+(Number auto n, Variable x) { return detail::add_number(std::move(x), static_cast<T>(n)); }
    friend Variable operator-(Variable x, Number auto n) {
        return detail::add_number(std::move(x), -static_cast<T>(n));
    }
    friend Variable operator-(Number auto n, Variable x) {
        return detail::subtract_from_number(static_cast<T>(n), std::move(x));
    }
    friend Variable operator*(Variable x, Number auto n) {
        return detail::multiply_number(std::move(x), static_cast<T>(n));
    }
    friend Variable operator*(Number auto n, Variable x) {
        return detail::multiply_number(std::move(x), static_cast<T>(n));
    }
    friend Variable operator/(Variable x, Number auto n) {
        return detail::divide_by_number(std::move(x), static_cast<T>(n));
    }
    friend Variable operator/(Number auto n, Variable x) {
        return detail::divide_number_by(static_cast<T>(n), std::move(x));
    }

    /// Makes this handle one to the new value; the old one stays as it is.
    Variable& operator+=(const Variable& other) { return *this = *this + other; }
    Variable& operator-=(const Variable& other) { return *this = *this - other; }
    Variable& operator*=(const Variable& other) { return *this = *this * other; }
    Variable& operator/=(const Variable& other) { return *this = *this / other; }

    /// Comparisons look at the values, element by element, with broadcasting; nothing is recorded.
    friend Array<bool> operator<(const Variable& a, const Variable& b) {
        return detail::compare(detail::Comparison::less, a, b);
    }
    friend Array<bool> operator<=(const Variable& a, const Variable& b) {
        return detail::compare(detail::Comparison::less_equal, a, b);
    }
    friend Array<bool> operator>(const Variable& a, const Variable& b) {
        return detail::compare(detail::Comparison::less, b, a);
    }
    friend Array<bool> operator>=(const Variable& a, const Variable& b) {
        return detail::compare(detail::Comparison::less_equal, b, a);
    }
    friend Array<bool> operator==(const Variable& a, const Variable& b) {
        return detail::compare(detail::Comparison::equal, a, b);
    }
    friend Array<bool> operator!=(const Variable& a, const Variable& b) {
        return detail::compare(detail::Comparison::not_equal, a, b);
    }

    /// The node behind the handle, for those who write engines and observers.
    detail::ValueNode<T>* node() const noexcept { return node_; }
    /// A handle to a node.
    explicit Variable(detail::ValueNode<T>* node) noexcept;

private:
    void drop() noexcept;
    void run_backward(const Variable& cotangent, BackwardOptions options) const;
    Array<T>& begin_update();
    void end_update(const Shape& before, Buffer<T>&& memory);

    // Of a handle that was not copied: it follows the value wherever it goes.
    static constexpr std::uint64_t never = ~std::uint64_t{0};

    detail::ValueNode<T>* node_ = nullptr;
    // When this handle was copied from another, as a vjp does that saves one; by the change clock.
    std::uint64_t copied_at_ = never;

    friend Variable<T> detail::saved<T>(Variable<T>&& handle, std::uint64_t recorded_at) noexcept;
};

namespace detail {

template <class T> T precision_of(const Variable<T>&);

}  // namespace detail

/// A Variable, or a type derived from one (Parameter).
template <class V> concept AnyVariable = requires(const std::remove_cvref_t<V>& x) { detail::precision_of(x); };

/// One operand is a Variable and the other an xtensor expression.
template <class A, class B>
concept VariableAndExpression = (AnyVariable<A> && ArrayExpression<B>) || (ArrayExpression<A> && AnyVariable<B>);

namespace detail {

// The Variable type of an operation of which at least one operand is a Variable.
template <class A, class... Rest> struct CommonVariable : CommonVariable<Rest...> {};
template <AnyVariable A, class... Rest> struct CommonVariable<A, Rest...> {
    using type = Variable<decltype(precision_of(std::declval<const std::remove_cvref_t<A>&>()))>;
};

}  // namespace detail

// xtensor's own operators take anything beside an expression; these are the same templates, constrained.
template <class A, class B>
    requires VariableAndExpression<A, B>
auto operator+(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return V(std::forward<A>(a)) + V(std::forward<B>(b));
}
template <class A, class B>
    requires VariableAndExpression<A, B>
auto operator-(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return V(std::forward<A>(a)) - V(std::forward<B>(b));
}
template <class A, class B>
    requires VariableAndExpression<A, B>
auto operator*(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return V(std::forward<A>(a)) * V(std::forward<B>(b));
}
template <class A, class B>
    requires VariableAndExpression<A, B>
auto operator/(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return V(std::forward<A>(a)) / V(std::forward<B>(b));
}
template <class A, class B>
    requires VariableAndExpression<A, B>
auto operator<(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return V(a) < V(b);
}
template <class A, class B>
    requires VariableAndExpression<A, B>
auto operator<=(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return V(a) <= V(b);
}
template <class A, class B>
    requires VariableAndExpression<A, B>
auto operator>(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return V(a) > V(b);
}
template <class A, class B>
    requires VariableAndExpression<A, B>
auto operator>=(A&& a, B&& b) {
    using V = typename detail::CommonVariable<A, B>::type;
    return V(a) >= V(b);
}

template <Number N>
Variable(N) -> Variable<float>;
template <ArrayExpression E>
Variable(const E&) -> Variable<std::conditional_t<std::same_as<typename E::value_type, double>, double, float>>;
template <class E>
    requires(!Real<E>)
Variable(Array<E>&&) -> Variable<float>;
Variable(std::initializer_list<detail::Braces>) -> Variable<float>;
// Clang converts no element when it deduces from `= {…}`, so numbers of one type have guides of their own, to a depth
// of four; others, `{1, 2.5}`, need `Variable<>` there.
template <Number N> Variable(std::initializer_list<N>) -> Variable<float>;
template <Number N> Variable(std::initializer_list<std::initializer_list<N>>) -> Variable<float>;
template <Number N> Variable(std::initializer_list<std::initializer_list<std::initializer_list<N>>>) -> Variable<float>;
template <Number N>
Variable(std::initializer_list<std::initializer_list<std::initializer_list<std::initializer_list<N>>>>)
    -> Variable<float>;

namespace detail {

/// A node with its value, and the cotangent or gradient that belongs to it.
template <class T> class ValueNode : public Node {
public:
    explicit ValueNode(Array<T>&& array) : value(moved(std::move(array))) {}

    const Shape& shape() const noexcept final { return value.shape(); }
    void drop_value() noexcept final { value.storage() = Buffer<T>(); }
    void discard_cotangent() noexcept final { cotangent = {}; }
    std::shared_ptr<void> suspend_cotangent() final { return std::make_shared<Variable<T>>(std::move(cotangent)); }
    void resume_cotangent(std::shared_ptr<void> suspended) noexcept final {
        cotangent = std::move(*static_cast<Variable<T>*>(suspended.get()));
    }
    void complete(Sweep& sweep) final;
    void answer(Sweep& sweep) final { take_cotangent(sweep); }

    /// Adds a cotangent to what this node has received. A cotangent of a larger shape is summed over the dimensions
    /// that broadcasting had added or stretched: the one place where this happens.
    void receive(Sweep& sweep, Variable<T> cotangent);
    /// Adds a cotangent that fills only a part of this node's value.
    void receive(Sweep& sweep, Partial<T> part);

    Array<T> value;
    Variable<T> cotangent;
    Variable<T> gradient;
    std::list<std::function<void(const Variable<T>&)>> hooks;  // a list, because one that runs may add another

protected:
    /// The cotangent that arrived; a handle of the caller's own unless this grad() wants it too.
    Variable<T> take_cotangent(const Sweep& sweep) noexcept;
    /// A handle to the value for this node's own vjp, by which a change since the recording is noticed.
    Variable<T> saved_result(std::uint64_t recorded_at) noexcept { return saved(Variable<T>(this), recorded_at); }

private:
    void prepare(Sweep& sweep);
};

/// An input of a grad(), and what it has received.
template <class T> struct Answer : Wanted {
    Variable<T> cotangent;
};

/// A handle that the vjp of an operation gets to see, with the time when that was recorded.
template <class T> Variable<T> saved(Variable<T>&& handle, std::uint64_t recorded_at) noexcept {
    handle.copied_at_ = recorded_at;
    return std::move(handle);
}

/// The sum of two cotangents or gradients; in the memory of the first when nobody else can see it.
template <class T> void accumulate(Variable<T>& sum, Variable<T>&& term, bool create_graph);

[[noreturn]] void refuse_freed(const Node& node);
/// Throws Error, naming the operation, when a backward from this output has nowhere to go.
template <class T> void check_differentiable(const char* operation, const Variable<T>& output);

/// Whether the one who holds this handle may write over the value and hand it on as another one: nobody else can see
/// it, and there is nothing that belongs to the old one.
template <class T> bool is_sole_owner(const Variable<T>& x) noexcept {
    const ValueNode<T>* node = x.node();
    return node && node->handles() == 1 && node->edges() == 0 && !node->requires_grad &&
           node->value.storage().unique() && !node->gradient.defined() && node->hooks.empty() && !node->is_parameter;
}

/// Whether the one who holds this handle, and has no more use for it, may take the memory of its value for a result:
/// nobody else can see it. (Operations recorded on top that need it have handles of their own.)
template <class T> bool is_spare(const Variable<T>& x) noexcept {
    const ValueNode<T>* node = x.node();
    return node && node->handles() == 1 && !node->keeps_value() && node->value.storage().unique();
}

/// The same numbers in memory of their own.
template <class T> Variable<T> copy_of(const Variable<T>& x);

}  // namespace detail

template <Real T> Variable<T>::Variable(const Variable& other) noexcept : node_(other.node_) {
    if (!node_) return;
    node_->add_handle();
    // What a vjp hands on to another function stays what it had saved.
    copied_at_ = detail::thread_state.vjp && other.copied_at_ != never
                     ? other.copied_at_
                     : detail::change_clock.load(std::memory_order_relaxed);
}

template <Real T> Variable<T>::Variable(detail::ValueNode<T>* node) noexcept : node_(node) {
    if (node_) node_->add_handle();
}

template <Real T> bool Variable<T>::requires_grad() const noexcept {
    return node_ && node_->requires_grad;
}

template <Real T> const Array<T>& Variable<T>::value() const {
    if (!node_) detail::refuse_empty();
    if (detail::thread_state.vjp) {
        const std::uint64_t changed_at = node_->value.storage().changed_at();
        if (changed_at > copied_at_ && changed_at > detail::thread_state.recorded_at)
            detail::refuse_changed(node_->shape());
    }
    return node_->value;
}

extern template class Variable<float>;
extern template class Variable<double>;

/// The value as text, six digits of each number: `[[1, 2], [3, 4]]`, with a line for each row. Beyond 1000 numbers only
/// the first and last three along each axis. An empty handle is "empty".
template <class T> std::string to_string(const Variable<T>& x);
/// Writes that text.
template <class T> std::ostream& operator<<(std::ostream& out, const Variable<T>& x);

/// ∂(Σ outputs · cotangents)/∂inputs, one Variable for each input; an empty one where an output does not depend on it.
/// Cotangents are ones where none are given (an output must then have one element). Leaves every `.grad()` alone.
/// Only what leads from the outputs to the inputs is run, and freed. With `create_graph` the results can be
/// differentiated again. Throws Error when an input requires no gradient, or no output does.
template <class T = float>  // for braces: grad({loss}, {x, y})
std::vector<Variable<T>> grad(const std::vector<Variable<T>>& outputs, const std::vector<Variable<T>>& inputs,
                              const std::vector<Variable<T>>& cotangents = {}, BackwardOptions options = {});

/// The gradients of one output with respect to several inputs. (`{x}` is one input; with T written out, as in
/// `grad<float>({y}, {x}, {1})`, braces are always lists, as above.)
template <auto..., class T>
std::vector<Variable<T>> grad(const Variable<T>& output, const std::vector<Variable<T>>& inputs,
                              BackwardOptions options = {}) {
    return grad<T>(std::vector{output}, inputs, {}, options);
}

/// The gradient of one output with respect to one input.
template <auto..., class T>
Variable<T> grad(const Variable<T>& output, const std::type_identity_t<Variable<T>>& input,
                 BackwardOptions options = {}) {
    return grad(output, std::vector{input}, options)[0];
}

}  // namespace xgrad
