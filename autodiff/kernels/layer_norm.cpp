#include <algorithm>

#include <xgrad/autodiff/kernels/layer_norm.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {

template <class T> void layer_norm(const LayerNorm<T>& norm) {
    const auto kernel = layer_norm_kernels<T>().layer_norm;
    in_pieces(norm.rows, norm.count, [&](std::size_t first, std::size_t n) {
        LayerNorm<T> piece = norm;
        piece.rows = n;
        piece.x += first * norm.count;
        piece.y += first * norm.count;
        piece.mean += first;
        piece.rstd += first;
        kernel(piece);
    });
}

template <class T> void layer_norm_backward(const LayerNormBackward<T>& norm) {
    const auto kernel = layer_norm_kernels<T>().backward;
    // Each group of rows has its own sums for weight and bias, which are then added up pairwise.
    constexpr std::size_t group = 64;
    const std::size_t groups = ceil_divide(norm.rows, group), count = norm.count;
    const bool alone = groups == 1;
    const auto sums = [&](const T* wanted) {
        return wanted && !alone ? memory::Scratch<T>(groups * count) : memory::Scratch<T>();
    };
    const auto dweights = sums(norm.dweight), dbiases = sums(norm.dbias);
    in_pieces(groups, group * count, [&](std::size_t first, std::size_t n) {
        for (std::size_t i = first; i < first + n; ++i) {
            LayerNormBackward<T> piece = norm;
            const std::size_t row = i * group;
            piece.rows = std::min(group, norm.rows - row);
            piece.x += row * count;
            piece.g += row * count;
            piece.mean += row;
            piece.rstd += row;
            if (piece.dx) piece.dx += row * count;
            if (dweights) piece.dweight = dweights.data() + i * count;
            if (dbiases) piece.dbias = dbiases.data() + i * count;
            if (piece.dweight) std::fill_n(piece.dweight, count, T(0));
            if (piece.dbias) std::fill_n(piece.dbias, count, T(0));
            kernel(piece);
        }
    });
    if (dweights) sum(dweights.data(), {1, groups, count}, norm.dweight);
    if (dbiases) sum(dbiases.data(), {1, groups, count}, norm.dbias);
}

#define XGRAD_LAYER_NORM(T)                        \
    template void layer_norm(const LayerNorm<T>&); \
    template void layer_norm_backward(const LayerNormBackward<T>&);
XGRAD_LAYER_NORM(float)
XGRAD_LAYER_NORM(double)

}  // namespace xgrad::kernels
