// Columns far apart in memory, which are worth copying to where they are close together. Only *.simd.cpp files include
// it.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/rows.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {

/// Some columns, copied, and back.
template <class T> struct Gathered {
    static constexpr std::size_t line = 64 / sizeof(T), longest = 256, size = line * longest;

    T numbers[size];

    void read(const T* columns, std::size_t count, std::size_t n, std::size_t stride) {
        for (std::size_t c = 0; c < count; ++c)
            each_lane<T>(n, [&](std::size_t k, auto part) {
                part.store(part.load(columns + c * stride + k), numbers + c * n + k);
            });
    }
    void write(T* columns, std::size_t count, std::size_t n, std::size_t stride) const {
        for (std::size_t c = 0; c < count; ++c)
            each_lane<T>(n, [&](std::size_t k, auto part) {
                part.store(part.load(numbers + c * n + k), columns + c * stride + k);
            });
    }
};

/// Whether columns are so far apart that the lines of a lane's columns drive each other out of the nearest cache
/// between several passes.
template <class T> bool are_far_apart(const Slices& slices) {
    return slices.inner >= 8 * Gathered<T>::line && slices.count <= Gathered<T>::longest;
}
/// Whether they are whole pages apart besides: then a single pass, too, waits where it reads what has the place in a
/// page of what was just written.
template <class T> bool are_pages_apart(const Slices& slices) {
    return slices.count >= 8 && are_far_apart<T>(slices) && slices.inner * sizeof(T) % 4096 == 0;
}

/// Runs kernel(inputs, slices, columns, y, first result) at once or, where that pays, on some gathered columns at a
/// time, as many as a near cache holds. y may be null, or one of the inputs.
template <class T, std::size_t N, class Kernel>
void gathering(bool pays, const T* const (&inputs)[N], const Slices& slices, std::size_t columns, T* y,
               const Kernel& kernel) {
    constexpr std::size_t line = Gathered<T>::line;
    const auto [outer, count, inner] = slices;
    if (!pays || count == 0) return kernel(inputs, slices, columns, y, 0);
    Gathered<T> gathered[N], results;
    const T* from[N];
    for (std::size_t k = 0; k < N; ++k) from[k] = gathered[k].numbers;
    const std::size_t fitting = Gathered<T>::size / count / line, together = (fitting < 32 ? fitting : 32) * line;
    for (std::size_t o = 0; o < outer; ++o)
        for (std::size_t i = 0; i < columns; i += together) {
            const std::size_t n = columns - i < together ? columns - i : together, offset = o * count * inner + i;
            for (std::size_t k = 0; k < N; ++k) gathered[k].read(inputs[k] + offset, count, n, inner);
            kernel(from, Slices{1, count, n}, n, y ? results.numbers : nullptr, o * inner + i);
            if (y) results.write(y + offset, count, n, inner);
        }
}

}  // namespace xgrad::kernels::XGRAD_LEVEL
