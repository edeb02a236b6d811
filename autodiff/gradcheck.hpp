// Checks derivatives against differences of the values: for an operation or a module of one's own.
//
//     gradcheck([](const auto& x, const auto& y) { return my_operation(x, y); }, {x, y});
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ranges>
#include <tuple>
#include <utility>
#include <vector>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad {

/// How closely `gradcheck` looks.
struct GradcheckOptions {
    int order = 2;  ///< the highest order of derivatives that is checked
    /// A gradient g and a difference d agree when |g − d| ≤ absolute_tolerance + relative_tolerance·max(|g|, |d|).
    double relative_tolerance = 1e-6;
    double absolute_tolerance = 1e-7;
    double step = 1e-5;          ///< how far inputs are moved to both sides; no kink may be nearer than 1.5 times that
    std::size_t entries = 64;    ///< inputs of at most this size are checked entry by entry as well
    std::size_t directions = 2;  ///< how many random directions each input is moved along
    std::uint64_t seed = 0;      ///< of the random cotangents and directions
};

namespace detail {

using GradcheckFunction = std::function<std::vector<Variable<double>>(const std::vector<Variable<double>>&)>;

// Moves the inputs, which must be leaves, in place; they are afterwards as they were before.
void gradcheck(const GradcheckFunction& function, const std::vector<Variable<double>>& inputs,
               const GradcheckOptions& options);

// New leaves with the same values.
std::vector<Variable<double>> copies(std::vector<Variable<double>> inputs);

inline std::vector<Variable<double>> as_outputs(const Variable<double>& output) { return {output}; }
inline std::vector<Variable<double>> as_outputs(std::vector<Variable<double>> outputs) { return outputs; }
template <class Outputs>
requires requires { std::tuple_size<Outputs>::value; }
std::vector<Variable<double>> as_outputs(const Outputs& outputs) {
    return std::apply([](const auto&... output) { return std::vector<Variable<double>>{output...}; }, outputs);
}

}  // namespace detail

/// Checks the derivatives of function(inputs…) by all inputs against central differences, in double. What it returns is
/// one Variable, or several in a vector, tuple or array; it must be the same each time.
///
/// First order: the gradient for random cotangents, along random directions of each input, and entry by entry where an
/// input is small. Then the same for the function that gives that gradient, recorded by create_graph: second order; it
/// depends on the cotangents as well, and must give what the ordinary backward gives.
///
/// Throws Error when something does not agree: which order, which input, which entry or direction, both numbers. The
/// inputs stand for their values only: the function is called with copies of them, and need not require gradients.
template <class F, std::size_t N>
void gradcheck(F&& function, const Variable<double> (&inputs)[N], const GradcheckOptions& options = {}) {
    const auto call = [&]<std::size_t... I>(const std::vector<Variable<double>>& x, std::index_sequence<I...>) {
        return detail::as_outputs(function(x[I]...));
    };
    detail::gradcheck([&](const auto& x) { return call(x, std::make_index_sequence<N>()); },
                      detail::copies(std::vector<Variable<double>>(inputs, inputs + N)), options);
}

/// The same for a number of inputs that is known at run time only. A function that takes a vector is called with copies
/// of them; a function of no arguments reads the inputs themselves, which are moved in place and put back: a module's
/// parameters, `gradcheck([&] { return layer(x); }, parameters)`.
template <class F, std::ranges::input_range Inputs>
requires(std::convertible_to<std::ranges::range_reference_t<const Inputs>, const Variable<double>&>)
void gradcheck(F&& function, const Inputs& inputs, const GradcheckOptions& options = {}) {
    std::vector<Variable<double>> variables;
    for (const Variable<double>& input : inputs) variables.push_back(input);
    if constexpr (std::invocable<F&>)
        detail::gradcheck([&](const auto&) { return detail::as_outputs(function()); }, variables, options);
    else
        detail::gradcheck([&](const auto& x) { return detail::as_outputs(function(x)); },
                          detail::copies(std::move(variables)), options);
}

}  // namespace xgrad
