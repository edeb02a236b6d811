// Copies columns that compete for the same places of a cache into a compact buffer, runs a kernel there, and copies the
// results back. Only *.simd.cpp files include it.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/rows.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {

/// Whether the lines of a column drive each other out of the nearest cache, and what is read waits for what was just
/// written, because rows are whole pages apart: a line's place in the cache is that of its page, and five of one place,
/// with as many of the results, are too many. Copies of very long columns do not stay in a cache nearby. (Measured.)
template <class T> bool columns_compete(const Slices& slices) {
    constexpr std::size_t page = 4096, longest = 1024;
    return slices.inner * sizeof(T) % page == 0 && slices.count >= 5 && slices.count <= longest;
}

template <class T>
void copy_rows(const T* from, std::size_t from_stride, T* to, std::size_t to_stride, std::size_t rows,
               std::size_t length) {
    for (std::size_t r = 0; r < rows; ++r)
        each_lane<T>(length, [&](std::size_t i, auto part) {
            part.store(part.load(from + r * from_stride + i), to + r * to_stride + i);
        });
}

// (Out of line, so that short columns find a short function.)
template <class T, std::size_t N, class Kernel>
[[gnu::noinline]] void run_packed(const T* const* inputs, const Slices& slices, std::size_t columns, T* y,
                                  const Kernel& kernel) {
    constexpr std::size_t line = 64 / sizeof(T), near = 256;
    const auto [outer, count, inner] = slices;
    // As many lines of each row as stay in the nearest cache with the results; but runs of a few are worth more.
    const std::size_t lines = near / count > 32 ? 32 : near / count > 4 ? near / count : 4;
    const std::size_t together = lines * line < columns ? lines * line : columns;
    const std::size_t size = count * together, bytes = (N + 1) * size * sizeof(T);
    // (Not Scratch, whose functions two levels would share.)
    T* const room = static_cast<T*>(memory::allocate(bytes));
    const T* from[N];
    for (std::size_t k = 0; k < N; ++k) from[k] = room + k * size;
    T* const results = room + N * size;
    for (std::size_t o = 0; o < outer; ++o)
        for (std::size_t i = 0; i < columns; i += together) {
            const std::size_t n = columns - i < together ? columns - i : together, offset = o * count * inner + i;
            for (std::size_t k = 0; k < N; ++k) copy_rows(inputs[k] + offset, inner, room + k * size, n, count, n);
            kernel(from, Slices{1, count, n}, n, y ? results : nullptr, o * inner + i);
            if (y) copy_rows<T>(results, n, y + offset, inner, count, n);
        }
    memory::deallocate(room, bytes);
}

/// Runs kernel(inputs, slices, columns, y, first result) at once or, where that pays, on some columns, packed, at a
/// time, as many as a near cache holds. y may be null, or one of the inputs.
template <class T, std::size_t N, class Kernel>
void on_packed_columns(bool pays, const T* const (&inputs)[N], const Slices& slices, std::size_t columns, T* y,
                       const Kernel& kernel) {
    if (pays)
        run_packed<T, N>(inputs, slices, columns, y, kernel);
    else
        kernel(inputs, slices, columns, y, 0);
}

}  // namespace xgrad::kernels::XGRAD_LEVEL
