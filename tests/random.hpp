// What the tests of operations share: random inputs, the same on every machine, comparison of arrays, and of messages.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

#include "catch.hpp"
#include "message.hpp"
#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/variable.hpp>

namespace xgrad::testing {

/// Numbers in [low, high), none nearer than `gap` to 0.
template <class T = double>
Variable<T> random(const Shape& shape, std::uint64_t seed = 0, double low = -2, double high = 2, double gap = 0) {
    Generator generator(seed + 1000);
    Array<T> values = empty<T>(shape);
    for (T& value : values) {
        double number;
        do number = low + (high - low) * generator.uniform();
        while (std::abs(number) < gap);
        value = static_cast<T>(number);
    }
    return values;
}

/// The numbers 0.25·k in random order, k counted from about −size/2: no two of them are near each other, or near 0.
template <class T = double> Variable<T> distinct(const Shape& shape, std::uint64_t seed = 0) {
    Generator generator(seed + 2000);
    Array<T> values = empty<T>(shape);
    const auto order = generator.permutation(values.size());
    const auto half = static_cast<double>(values.size() / 2);
    for (std::size_t i = 0; i < order.size(); ++i)
        values.data()[i] = static_cast<T>(0.25 * (static_cast<double>(order[i]) - half) + 0.1);
    return values;
}

/// Whether shapes and all elements are equal. (In a CHECK xtensor's operators would take part in Catch2's expression.)
template <class T> bool same(const Variable<T>& x, const std::type_identity_t<Array<T>>& expected) {
    return x.value() == expected;
}
template <class T> bool same(const Array<T>& x, const std::type_identity_t<Array<T>>& expected) {
    return x == expected;
}

/// Whether shapes are equal, and all elements up to rounding. (xt::allclose broadcasts.)
template <class T> bool close(const Array<T>& x, const std::type_identity_t<Array<T>>& expected) {
    if (x.shape() != expected.shape()) return false;
    for (std::size_t i = 0; i < x.size(); ++i)
        if (x.data()[i] != Approx(expected.data()[i]).epsilon(sizeof(T) == 4 ? 1e-5 : 1e-12).margin(1e-13))
            return false;
    return true;
}
template <class T> bool close(const Variable<T>& x, const std::type_identity_t<Array<T>>& expected) {
    return close(x.value(), expected);
}

/// function() throws an Error that says all of these.
template <class F> void check_refused(F function, std::initializer_list<std::string> texts) {
    const std::string said = message(function);
    for (const std::string& text : texts) CHECK_THAT(said, ContainsSubstring(text));
}

}  // namespace xgrad::testing
