// Elementwise operations from a scalar formula: a lambda becomes a fused operation of any number of broadcast inputs,
// with derivatives of every order.
//
//     auto swish = elementwise([](auto x) { return x / (1 + exp(-x)); });
//     Variable y = swish(x);
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include <xgrad/autodiff/dual.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>
#include <xgrad/autodiff/memory.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace detail {

template <class X> inline constexpr bool is_formula_value = false;
template <class T> inline constexpr bool is_formula_value<Lane<T>> = true;
template <class X, std::size_t N> inline constexpr bool is_formula_value<Dual<X, N>> = true;

template <class A, class... Rest> struct FirstFormulaValue : FirstFormulaValue<Rest...> {};
template <class A, class... Rest>
    requires is_formula_value<A>
struct FirstFormulaValue<A, Rest...> {
    using type = A;
};

/// Calls run(shape, loop, data): with the shape to which the inputs broadcast, the loop over it, and where they are.
template <class T, std::size_t N, class Run>
auto over_broadcast(const char* name, const std::array<const Variable<T>*, N>& inputs, Run run) {
    std::array<const Array<T>*, N> values;
    std::array<const T*, N> data;
    bool alike = true;
    for (std::size_t i = 0; i < N; ++i) {
        values[i] = &inputs[i]->value();
        data[i] = values[i]->data();
        alike = alike && values[i]->shape() == values[0]->shape();
    }
    const Array<T>& first = *values[0];
    if (alike) return run(first.shape(), kernels::Broadcast(first.size(), N), data);
    Shape shape = first.shape();
    std::array<std::span<const std::size_t>, N> shapes;
    for (std::size_t i = 0; i < N; ++i) {
        shapes[i] = values[i]->shape();
        if (i > 0) shape = broadcast_shape(name, shape, values[i]->shape());
    }
    return run(shape, kernels::Broadcast(shape, shapes), data);
}

/// An input that its caller has no more use for, by which it may be written over; null for one that is needed.
template <class T> Variable<T>* unused(Variable<T>&& x) noexcept {
    return &x;
}
template <class T> Variable<T>* unused(const Variable<T>&) noexcept {
    return nullptr;
}

/// The memory for a result of this shape: that of an unused input when nobody else can see it, else new.
template <class T, std::size_t N> Array<T> result_array(const Shape& shape, const std::array<Variable<T>*, N>& unused) {
    if (!thread_state.observer)  // which may look at the inputs
        for (const Variable<T>* input : unused)
            if (input && is_spare(*input) && input->shape() == shape) return moved(std::move(input->node()->value));
    return empty<T>(shape);
}

/// A formula, which must outlive this, by its kernel and its address. What works with this is compiled once for all.
template <class T, std::size_t N> struct AnyFormula {
    const char* name;
    const void* formula;
    const kernels::ElementwiseKernel<T, N>& kernel;
};
template <class T, std::size_t N, class Formula>
AnyFormula<T, N> any_formula(const char* name, const Formula& formula) {
    return {name, &formula, kernels::elementwise_kernel<Formula, T, N>()};
}

template <class T, std::size_t N>
[[gnu::noinline]] Array<T> run_forward(const AnyFormula<T, N>& f, const std::array<const Variable<T>*, N>& inputs,
                                       const std::array<Variable<T>*, N>& unused = {}) {
    return over_broadcast(f.name, inputs, [&](const Shape& shape, const kernels::Broadcast& loop, const auto& data) {
        Array<T> result = result_array(shape, unused);
        f.kernel.forward(f.formula, loop, result.data(), data.data());
        return result;
    });
}

// The same for a result that is not recorded: an unused input that nobody else sees becomes it.
template <class T, std::size_t N>
[[gnu::noinline]] Variable<T> run_unrecorded(const AnyFormula<T, N>& f, const std::array<const Variable<T>*, N>& inputs,
                                             const std::array<Variable<T>*, N>& unused) {
    return over_broadcast(f.name, inputs, [&](const Shape& shape, const kernels::Broadcast& loop, const auto& data) {
        Variable<T> result;
        for (Variable<T>* input : unused)
            if (input && !result && is_sole_owner(*input) && input->shape() == shape) {
                result = Variable<T>(input->node());
                *input = {};  // the only handle, again
            }
        if (!result) result = result_array(shape, unused);
        f.kernel.forward(f.formula, loop, result.node()->value.data(), data.data());
        return result;
    });
}

template <class T, std::size_t N>
[[gnu::noinline]] std::array<Variable<T>, N> run_backward(const kernels::ElementwiseKernel<T, N>& kernel,
                                                          const void* formula, Variable<T>&& g,
                                                          const std::array<Variable<T>, N>& inputs,
                                                          const Needs& needs) {
    std::array<const Variable<T>*, N> pointers;
    for (std::size_t i = 0; i < N; ++i) pointers[i] = &inputs[i];
    const T* const cotangent = g.value().data();
    std::array<Variable<T>, N> cotangents;
    over_broadcast("backward", pointers, [&](const Shape& shape, const kernels::Broadcast& loop, const auto& data) {
        std::array<T*, N> gradients{};
        std::array<bool, N> summed{};
        bool may_reuse = is_sole_owner(g);  // the first gradient can be written over the cotangent
        for (std::size_t i = 0; i < N; ++i) {
            if (!needs[i]) continue;
            summed[i] = kernels::sums_up(loop, i);
            if (!summed[i] && std::exchange(may_reuse, false))
                cotangents[i] = g;
            else
                cotangents[i] = empty<T>(summed[i] ? inputs[i].shape() : shape);
            gradients[i] = cotangents[i].node()->value.data();
        }
        kernel.backward(formula, loop, cotangent, data.data(), gradients.data(), summed);
    });
    return cotangents;
}

/// The cotangents of an elementwise operation. One pass over memory when the backward is not recorded itself; otherwise
/// the formula is run on duals of Variables, whose operations are recorded.
template <class T, class Formula, std::size_t N>
std::array<Variable<T>, N> elementwise_cotangents(const Formula& formula, Variable<T>&& g,
                                                  const std::array<Variable<T>, N>& inputs, const Needs& needs) {
    if (!thread_state.recording)
        return run_backward(kernels::elementwise_kernel<Formula, T, N>(), &formula, std::move(g), inputs, needs);
    // A formula that gives a number stands for a constant.
    const Dual<Variable<T>, N> result = [&]<std::size_t... I>(std::index_sequence<I...>) {
        return formula(Dual<Variable<T>, N>::variable(inputs[I], I)...);
    }(std::make_index_sequence<N>());
    std::array<Variable<T>, N> cotangents;
    for (std::size_t i = 0; i < N; ++i)
        if (needs[i]) cotangents[i] = g * Variable<T>(result.tangent[i]);
    return cotangents;
}

/// A copy of a formula that is known by its address: within this object where it is small, otherwise in the pool.
class FormulaCopy {
public:
    template <class Formula> explicit FormulaCopy(const Formula& formula) {
        if constexpr (std::is_trivially_copyable_v<Formula> && sizeof(Formula) <= sizeof(small_))
            new (small_) Formula(formula);
        else
            large_ = std::allocate_shared<Formula>(memory::Allocator<Formula>(), formula);
    }
    const void* get() const noexcept { return large_ ? large_.get() : small_; }

private:
    alignas(std::max_align_t) std::byte small_[16];
    std::shared_ptr<const void> large_;
};

/// What the joint vjp of a formula is made of.
template <class T, std::size_t N> struct ElementwiseVjp {
    FormulaCopy (*copy)(const void* formula);
    std::array<Variable<T>, N> (*cotangents)(const void* formula, Variable<T>&& g,
                                             const std::array<Variable<T>, N>& inputs, const Needs& needs);
};
template <class T, std::size_t N, class Formula> inline constexpr ElementwiseVjp<T, N> elementwise_vjp{
    [](const void* formula) { return FormulaCopy(*static_cast<const Formula*>(formula)); },
    [](const void* formula, Variable<T>&& g, const std::array<Variable<T>, N>& inputs, const Needs& needs) {
        return elementwise_cotangents(*static_cast<const Formula*>(formula), std::move(g), inputs, needs);
    }};

template <class T, std::size_t N>
[[gnu::noinline]] Variable<T> apply_elementwise(const AnyFormula<T, N>& f, const ElementwiseVjp<T, N>& vjp,
                                                const std::array<const Variable<T>*, N>& inputs,
                                                const std::array<Variable<T>*, N>& unused) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
        if (!is_recorded(*inputs[I]...)) return run_unrecorded(f, inputs, unused);
        return record(f.name, run_forward(f, inputs),
                      wrt(std::tie(*inputs[I]...),
                          [cotangents = vjp.cotangents, formula = vjp.copy(f.formula), all = std::array{*inputs[I]...}](
                              Variable<T> g, const Needs& needs) {
                              return cotangents(formula.get(), std::move(g), all, needs);
                          }));
    }(std::make_index_sequence<N>());
}

/// The operation of a formula, where the inputs that come as rvalues are unused afterwards.
template <class Formula, AnyVariable... Inputs>
auto elementwise_operation(const char* name, const Formula& formula, Inputs&&... inputs) {
    using T = typename CommonVariable<Inputs...>::type::value_type;
    constexpr std::size_t N = sizeof...(Inputs);
    return apply_elementwise<T, N>(any_formula<T, N>(name, formula), elementwise_vjp<T, N, Formula>, {&inputs...},
                                   {unused<T>(std::forward<Inputs>(inputs))...});
}

template <class T> using VjpFromResult = Variable<T> (*)(const char* name, Variable<T>&& g, const Variable<T>& y);

/// An operation of one input whose vjp is a function of the cotangent and the result: x need not be kept for it.
template <class T>
[[gnu::noinline]] Variable<T> apply_from_result(const AnyFormula<T, 1>& f, VjpFromResult<T> vjp, Variable<T>&& x) {
    if (!is_recorded(x)) return run_unrecorded<T, 1>(f, {&x}, {&x});
    return record(f.name, run_forward<T, 1>(f, {&x}, {&x}),
                  wrt(x, [vjp, name = f.name](Variable<T> g, const Variable<T>& y) {
                      return vjp(name, std::move(g), y);
                  }));
}

/// The same where that function is a formula, and as such can be differentiated again.
template <class Vjp, class T, class Formula>
Variable<T> operation_from_result(const char* name, const Formula& formula, Variable<T>&& x) {
    return apply_from_result<T>(
        any_formula<T, 1>(name, formula),
        [](const char* of, Variable<T>&& g, const Variable<T>& y) {
            return elementwise_operation(of, Vjp{}, std::move(g), y);
        },
        std::move(x));
}

}  // namespace detail

/// A lane or a dual: what a formula is run on, besides Variables.
template <class X> concept FormulaValue = detail::is_formula_value<std::remove_cvref_t<X>>;

/// A branch in a formula that runs on duals of Variables, whose masks are arrays. (xtensor's own `where` takes
/// anything.)
template <class M, class A, class B>
    requires(ArrayExpression<M> && (FormulaValue<A> || FormulaValue<B>))
auto where(M&& condition, A&& a, B&& b) {
    using D = std::remove_cvref_t<std::conditional_t<FormulaValue<A>, A, B>>;
    const Array<bool> mask = std::forward<M>(condition);
    const D first(a), second(b);
    return where(mask, first, second);
}

/// A formula as an operation. On Variables it is fused: one pass over memory for the value, one for the gradients,
/// nothing saved but the inputs. On lanes and duals it just evaluates, so formulas may use one another.
template <class Formula> class Elementwise {
public:
    explicit Elementwise(Formula formula, const char* name) : formula_(std::move(formula)), name_(name) {}

    /// The formula at every place of the inputs, broadcast to one shape. One of them is a Variable; the others may be
    /// numbers and xtensor expressions. Throws Error when they do not broadcast.
    template <class... Inputs>
        requires(AnyVariable<Inputs> || ...)
    auto operator()(Inputs&&... inputs) const {
        using V = typename detail::CommonVariable<Inputs...>::type;
        // Checked first on lanes, whose error messages are the clearest.
        static_assert(
            std::invocable<const Formula&, std::conditional_t<true, Lane<typename V::value_type>, Inputs>...>,
            "a formula takes each input as `auto`, and returns what xgrad's functions make of them");
        return detail::elementwise_operation(name_, formula_, V(std::forward<Inputs>(inputs))...);
    }
    template <class... Inputs>
        requires(FormulaValue<Inputs> || ...)
    auto operator()(const Inputs&... inputs) const {
        using X = typename detail::FirstFormulaValue<Inputs...>::type;
        return formula_(X(inputs)...);  // a formula need not cope with plain numbers
    }

private:
    Formula formula_;
    const char* name_;
};

/// Makes an operation of a scalar formula: a generic lambda (`auto` parameters, one for each input) written with
/// arithmetic, the functions of operations/arithmetic.hpp and activations.hpp, and `where(x > 0, a, b)` for branches
/// (an `if` does not compile). It must not depend on anything that changes: it is run again in backward. For higher
/// derivatives, those of both branches must be finite: `where(x > 0, x, expm1(minimum(x, 0)))`. The name, a string
/// literal, stands in error messages.
template <class Formula> Elementwise<Formula> elementwise(Formula formula, const char* name = "elementwise") {
    return Elementwise<Formula>(std::move(formula), name);
}

}  // namespace xgrad
