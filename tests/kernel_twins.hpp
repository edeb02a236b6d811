// What the tests of kernels share: data, levels, comparison with a twin in long double, and central differences.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "levels.hpp"
#include <xgrad/autodiff/kernels/threads.hpp>

namespace xgrad::twins {

using Real = long double;
using Reals = std::vector<Real>;

using testing::LevelScope;

/// The levels that this processor can run.
inline testing::Levels levels() { return {}; }

/// n numbers in [low, high), the same for the same seed.
template <class T> std::vector<T> numbers(std::size_t n, std::uint64_t seed, double low = -2, double high = 2) {
    std::vector<T> result(n);
    std::uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    for (T& number : result) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        number = static_cast<T>(low + (high - low) * static_cast<double>(state >> 11) / 9007199254740992.0);
    }
    return result;
}

template <class T> Reals reals(const std::vector<T>& from) { return Reals(from.begin(), from.end()); }

/// Every element within `tolerance` roundings of the largest magnitude expected, or of `scale` where that is larger
/// (the kernels compute with numbers of about 1, and results near 0 carry their errors); NaN and infinity exactly.
template <class T>
void check_close(const std::vector<T>& actual, const Reals& expected, Real tolerance = 8, Real scale = 1) {
    REQUIRE(actual.size() == expected.size());
    for (const Real e : expected)
        if (std::isfinite(e)) scale = std::max(scale, std::abs(e));
    for (std::size_t i = 0; i < actual.size(); ++i) {
        const Real a = actual[i], e = expected[i];
        const bool close = std::isfinite(e) ? std::abs(a - e) <= tolerance * scale * std::numeric_limits<T>::epsilon()
                                            : (std::isnan(e) ? std::isnan(a) : a == e);
        if (!close) {
            CAPTURE(i, a, e, scale);
            REQUIRE(close);
        }
    }
    SUCCEED();
}

/// How many roundings kernels may be off central differences: these are right to some 14 digits.
template <class T> constexpr Real derivative_tolerance = std::is_same_v<T, float> ? 256 : 1e5;

/// The derivatives of f at x.
template <class F> Reals central_differences(const F& f, Reals x) {
    constexpr Real step = 2e-4L;
    Reals result(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        const Real at = x[i];
        const auto across = [&](Real h) {
            x[i] = at + h;
            const Real above = f(x);
            x[i] = at - h;
            const Real below = f(x);
            return (above - below) / (2 * h);
        };
        result[i] = (4 * across(step) - across(2 * step)) / 3;
        x[i] = at;
    }
    return result;
}

/// What run() returns must be the same, bit for bit, whatever the number of threads.
template <class Run> void check_any_threads(const Run& run) {
    const std::size_t before = threads();
    set_threads(1);
    const auto alone = run();
    for (const std::size_t count : {2, 3}) {
        set_threads(count);
        CHECK((run() == alone));
    }
    set_threads(before);
}

inline Real dot(const Reals& a, const Reals& b) {
    Real sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

}  // namespace xgrad::twins
