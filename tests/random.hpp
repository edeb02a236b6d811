// Random inputs for tests, the same on every machine.
#pragma once

#include <cmath>
#include <cstdint>

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

}  // namespace xgrad::testing
