// Arrays that a scalar formula changes in place, in one pass over memory: what an optimizer does to a parameter.
//
//     update_elementwise([=](auto& p, auto& m, auto g) {
//         m = 0.9 * m + g;
//         p -= learning_rate * m;
//     }, values, momentum, gradient);
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <xgrad/autodiff/array.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/lane.hpp>

namespace xgrad {
namespace detail {

/// Throws Error: an array that an update is to go through has another shape than the first.
[[noreturn]] void refuse_update(std::size_t number, const Shape& shape, const Shape& expected);

/// Throws Error when the shapes differ.
template <class First, class... Others> void check_update(const First& first, const Others&... others) {
    std::size_t number = 0;
    ((++number, others.shape() == first.shape() ? void() : refuse_update(number, others.shape(), first.shape())), ...);
}

/// Whether a formula takes an argument by `auto&`: then it cannot be called with a temporary there.
template <class Formula, class T, std::size_t Which, std::size_t... K>
consteval bool changes(std::index_sequence<K...>) {
    return !std::invocable<const Formula&, std::conditional_t<K == Which, Lane<T>, Lane<T>&>...>;
}

}  // namespace detail

/// Runs a formula at every place of some arrays of one shape and writes back what it changes: the arguments that it
/// takes by reference (`auto&`). The others (`auto`) it only reads. Like every formula it is a generic lambda without
/// an `if`, one argument for each array, written with arithmetic, the functions of operations/arithmetic.hpp and
/// activations.hpp, and `where`; copies of it run on lanes, on all threads. Arrays may be the same memory, but not
/// overlap otherwise. Throws Error, before anything is changed, when shapes differ.
template <class Formula, class First, class... Others>
void update_elementwise(const Formula& formula, First&& first, Others&&... others) {
    using T = typename std::remove_cvref_t<First>::value_type;
    static_assert(std::same_as<std::remove_cvref_t<First>, Array<T>> &&
                      (std::same_as<std::remove_cvref_t<Others>, Array<T>> && ...),
                  "update_elementwise: an argument is no Array, or one of another precision than the first");
    static_assert(
        std::invocable<const Formula&, Lane<T>&, std::conditional_t<true, Lane<T>&, Others>...>,
        "update_elementwise: the formula cannot be called with one argument for each array, `auto` or `auto&`; "
        "it must not be `mutable`");
    constexpr std::size_t N = 1 + sizeof...(Others);
    detail::check_update(first, others...);
    [&]<std::size_t... K>(std::index_sequence<K...> all) {
        constexpr std::array<bool, N> changed{detail::changes<Formula, T, K>(all)...};
        constexpr std::array<bool, N> is_named{std::is_lvalue_reference_v<First>,
                                               std::is_lvalue_reference_v<Others>...};
        constexpr std::array<bool, N> is_const{std::is_const_v<std::remove_reference_t<First>>,
                                               std::is_const_v<std::remove_reference_t<Others>>...};
        static_assert(((!changed[K] || !is_const[K]) && ...), "update_elementwise: the formula changes a const array");
        static_assert(((!changed[K] || is_named[K]) && ...), "update_elementwise: the formula changes a temporary");
        // (What is const is only read.)
        const std::array<T*, N> data{const_cast<T*>(std::as_const(first).data()),
                                     const_cast<T*>(std::as_const(others).data())...};
        kernels::in_pieces(first.size(), 1, [&](std::size_t begin, std::size_t count) {
            kernels::XGRAD_LEVEL::ElementwiseUpdate<Formula, T, changed[K]...>::run(formula, data, begin, count);
        });
    }(std::make_index_sequence<N>());
}

}  // namespace xgrad
