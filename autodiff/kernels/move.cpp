#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>

namespace xgrad::kernels {

template <class T>
void transpose(const T* x, std::size_t x_stride, std::size_t rows, std::size_t columns, T* y, std::size_t y_stride,
               Level at) {
    move_kernels<T>(at).transpose(x, x_stride, rows, columns, y, y_stride);
}

template <class T> void select(const bool* condition, Choice<T> a, Choice<T> b, T* y, std::size_t n, Level at) {
    const auto kernel = move_kernels<T>(at).select;
    const auto from = [](const Choice<T>& choice, std::size_t begin) -> Choice<T> {
        return {choice.is_one ? choice.numbers : choice.numbers + begin, choice.is_one};
    };
    in_pieces(n, 1, [&](std::size_t begin, std::size_t count) {
        kernel(condition + begin, from(a, begin), from(b, begin), y + begin, count);
    });
}

#define XGRAD_MOVE(T)                                                                                 \
    template void transpose(const T*, std::size_t, std::size_t, std::size_t, T*, std::size_t, Level); \
    template void select(const bool*, Choice<T>, Choice<T>, T*, std::size_t, Level);
XGRAD_MOVE(float)
XGRAD_MOVE(double)

}  // namespace xgrad::kernels
