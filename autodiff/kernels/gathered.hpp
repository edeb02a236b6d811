// Columns far apart in memory, which are worth copying to where they are close together. Only *.simd.cpp files include
// it.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/rows.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {

/// Some columns, copied, and back.
template <class T> struct Gathered {
    static constexpr std::size_t line = 64 / sizeof(T), longest = 512, size = line * longest;

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

/// Whether the lines of a column drive each other out of the nearest cache, and what is read waits for what was just
/// written, because rows are multiples of a large power of two apart, of `least` bytes or more: a line's place in the
/// cache is that of its page, and five of one place, with as many of the results, are too many. (Measured.)
template <class T> bool columns_compete(const Slices& slices, std::size_t least = 1024) {
    constexpr std::size_t page = 4096;
    const std::size_t apart = slices.inner * sizeof(T), power = apart & ~(apart - 1);
    return power >= least && slices.count * (power < page ? power : page) >= 5 * page &&
           slices.count <= Gathered<T>::longest;
}

// The copies are large: nobody else shall make room for them.
template <class T, std::size_t N, class Kernel>
[[gnu::noinline]] void run_gathered(const T* const* inputs, const Slices& slices, std::size_t columns, T* y,
                                    const Kernel& kernel) {
    constexpr std::size_t line = Gathered<T>::line;
    const auto [outer, count, inner] = slices;
    Gathered<T> gathered[N], results;
    const T* from[N];
    for (std::size_t k = 0; k < N; ++k) from[k] = gathered[k].numbers;
    // Half of the room stays in the nearest cache with the results; but runs of a few lines are worth more than that.
    const std::size_t most = Gathered<T>::size / line / count, near = most / 2;
    const std::size_t together = (near > 32 ? 32 : near > 4 ? near : most > 4 ? 4 : most) * line;
    for (std::size_t o = 0; o < outer; ++o)
        for (std::size_t i = 0; i < columns; i += together) {
            const std::size_t n = columns - i < together ? columns - i : together, offset = o * count * inner + i;
            for (std::size_t k = 0; k < N; ++k) gathered[k].read(inputs[k] + offset, count, n, inner);
            kernel(from, Slices{1, count, n}, n, y ? results.numbers : nullptr, o * inner + i);
            if (y) results.write(y + offset, count, n, inner);
        }
}

/// Runs kernel(inputs, slices, columns, y, first result) at once or, where that pays, on some gathered columns at a
/// time, as many as a near cache holds. y may be null, or one of the inputs.
template <class T, std::size_t N, class Kernel>
void gathering(bool pays, const T* const (&inputs)[N], const Slices& slices, std::size_t columns, T* y,
               const Kernel& kernel) {
    if (pays)
        run_gathered<T, N>(inputs, slices, columns, y, kernel);
    else
        kernel(inputs, slices, columns, y, 0);
}

}  // namespace xgrad::kernels::XGRAD_LEVEL
