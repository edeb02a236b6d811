// Operations that are a formula and nothing else, defined in a line each. Only .cpp files include it.
#pragma once

#include <utility>

#include <xgrad/autodiff/elementwise.hpp>

/// Instantiates a function of a Variable, and of numbers of these types, for both precisions.
#define XGRAD_IN_BOTH_PRECISIONS(function, ...)                                    \
    template Variable<float> function(Variable<float> __VA_OPT__(, ) __VA_ARGS__); \
    template Variable<double> function(Variable<double> __VA_OPT__(, ) __VA_ARGS__);

/// The function whose formula is that of formulas::Formula.
#define XGRAD_FORMULA(function, Formula)                                                    \
    template <class T> Variable<T> function(Variable<T> x) {                                \
        return detail::elementwise_operation(#function, formulas::Formula{}, std::move(x)); \
    }                                                                                       \
    XGRAD_IN_BOTH_PRECISIONS(function)

/// The same for a formula with a number in it.
#define XGRAD_FORMULA_WITH_NUMBER(function, Formula)                                              \
    template <class T> Variable<T> function(Variable<T> x, double number) {                       \
        return detail::elementwise_operation(#function, formulas::Formula{number}, std::move(x)); \
    }                                                                                             \
    XGRAD_IN_BOTH_PRECISIONS(function, double)

/// The same where the vjp is a formula of the cotangent and the result, formulas::Vjp: x need not be kept for it.
#define XGRAD_FORMULA_FROM_RESULT(function, Formula, Vjp)                                                  \
    template <class T> Variable<T> function(Variable<T> x) {                                               \
        return detail::operation_from_result<formulas::Vjp>(#function, formulas::Formula{}, std::move(x)); \
    }                                                                                                      \
    XGRAD_IN_BOTH_PRECISIONS(function)
