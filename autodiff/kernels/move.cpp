#include <algorithm>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>

namespace xgrad::kernels {

template <class T>
void transpose(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y, std::size_t y_stride) {
    move_kernels<T>().transpose(x, x_stride, rows, columns, y, y_stride);
}

template <class T> void transpose_each(const T* x, std::size_t count, std::size_t rows, std::size_t columns, T* y) {
    // Bands of the longer side, so that a single matrix can be shared as well.
    constexpr std::size_t longest = 256;
    const auto transpose = move_kernels<T>().transpose;
    const bool is_tall = rows > columns;
    const std::size_t length = is_tall ? rows : columns, across = is_tall ? columns : rows, size = rows * columns;
    const std::size_t bands = ceil_divide(length, longest);
    in_pieces(count * bands, across * std::min(length, longest), [&](std::size_t first, std::size_t n) {
        for (std::size_t i = first; i < first + n; ++i) {
            const std::size_t matrix = i / bands * size, begin = i % bands * longest;
            const std::size_t band = std::min(longest, length - begin);
            if (is_tall)
                transpose(x + matrix + begin * columns, columns, columns, band, y + matrix + begin, rows);
            else
                transpose(x + matrix + begin, columns, band, rows, y + matrix + begin * rows, rows);
        }
    });
}

template <class T> void copy(const T* x, std::size_t n, T* y) {
    const auto kernel = move_kernels<T>().copy;
    in_pieces(n, 1, [&](std::size_t begin, std::size_t count) { kernel(x + begin, count, y + begin); });
}

template <class T> void fill(T* y, T number, std::size_t n) {
    const auto kernel = move_kernels<T>().fill;
    in_pieces(n, 1, [&](std::size_t begin, std::size_t count) { kernel(y + begin, number, count); });
}

template <class T> void rearrange(const RowPattern& rows, const T* x, T* y, std::size_t n, bool adds) {
    if (n > 0) move_kernels<T>().rearrange(rows, x, y, n, adds);
}

#define XGRAD_MOVE(T)                                                                          \
    template void transpose(const T*, std::size_t, std::size_t, std::size_t, T*, std::size_t); \
    template void transpose_each(const T*, std::size_t, std::size_t, std::size_t, T*);         \
    template void copy(const T*, std::size_t, T*);                                             \
    template void fill(T*, T, std::size_t);                                                    \
    template void rearrange(const RowPattern&, const T*, T*, std::size_t, bool);
XGRAD_MOVE(float)
XGRAD_MOVE(double)

}  // namespace xgrad::kernels
