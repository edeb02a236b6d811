#include <algorithm>

#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>

namespace xgrad::kernels {

template <class T, std::size_t N>
void ElementwiseValues<T, N>::forward(const void* formula, const Broadcast& loop, T* out,
                                      const T* const* inputs) const {
    in_pieces(loop.size, 1, [&](std::size_t first, std::size_t count) {
        each_stretch<N>(loop, inputs, first, first + count, [&](std::size_t begin, const Stretch<T, N>& stretch) {
            stretch_values(formula, stretch, out + begin);
        });
    });
}

template <class T, std::size_t N>
void ElementwiseKernel<T, N>::backward(const void* formula, const Broadcast& loop, const T* cotangent,
                                       const T* const* inputs, T* const* gradients) const {
    if (std::all_of(gradients, gradients + N, [](const T* gradient) { return !gradient; })) return;
    in_pieces(loop.size, 1, [&](std::size_t first, std::size_t count) {
        each_stretch<N>(loop, inputs, first, first + count, [&](std::size_t begin, const Stretch<T, N>& stretch) {
            Stretch<T, N + 1> with_cotangent;
            T* here[N];
            for (std::size_t k = 0; k < N; ++k) {
                with_cotangent.at[k] = stretch.at[k];
                with_cotangent.stride[k] = stretch.stride[k];
                with_cotangent.row_stride[k] = stretch.row_stride[k];
                here[k] = gradients[k] ? gradients[k] + begin : nullptr;
            }
            with_cotangent.length = stretch.length;
            with_cotangent.rows = stretch.rows;
            with_cotangent.at[N] = cotangent + begin;
            with_cotangent.stride[N] = 1;
            with_cotangent.row_stride[N] = stretch.length;
            stretch_gradients(formula, with_cotangent, here);
        });
    });
}

// For every number of operands that a formula may have.
#define XGRAD_ELEMENTWISE(N)                      \
    template struct ElementwiseValues<float, N>;  \
    template struct ElementwiseValues<double, N>; \
    template struct ElementwiseKernel<float, N>;  \
    template struct ElementwiseKernel<double, N>;
XGRAD_ELEMENTWISE(1)
XGRAD_ELEMENTWISE(2)
XGRAD_ELEMENTWISE(3)
XGRAD_ELEMENTWISE(4)
XGRAD_ELEMENTWISE(5)
XGRAD_ELEMENTWISE(6)
XGRAD_ELEMENTWISE(7)
XGRAD_ELEMENTWISE(8)
static_assert(max_operands == 8);

}  // namespace xgrad::kernels
