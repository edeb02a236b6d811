#include <algorithm>

#include <xgrad/autodiff/kernels/normalization.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {
namespace {

// Runs work(first, last) over ranges of channels, on which no result depends. Where channels are neighbours in memory,
// a range is at least as wide as two cache lines and at most as the widest tile. Within these bounds there are four, so
// that whoever is done first helps the others; in a large array only one for each thread, for the sake of longer runs
// of memory.
template <class Work> void each_channel_range(const Channels& shape, const Work& work) {
    constexpr std::size_t large = std::size_t{1} << 18, widest = 128;
    const std::size_t parts = shape.size() > large ? std::min<std::size_t>(threads(), 4) : 4;
    const std::size_t range =
        shape.inner != 1 ? 1 : std::clamp<std::size_t>(shape.channels / parts / 32 * 32, 32, widest);
    const std::size_t ranges = (shape.channels + range - 1) / range;
    in_pieces(ranges, range * shape.samples(), [&](std::size_t first, std::size_t n) {
        work(first * range, std::min(shape.channels, (first + n) * range));
    });
}

}  // namespace

template <class T> void batch_norm(const BatchNorm<T>& norm, const BatchStatistics<T>& statistics, Level at) {
    const auto kernel = normalization_kernels<T>(at).batch_norm;
    each_channel_range(norm.shape, [&](std::size_t first, std::size_t last) { kernel(norm, statistics, first, last); });
}

template <class T> void batch_norm_inference(const BatchNorm<T>& norm, const T* mean, const T* variance, Level at) {
    const auto kernel = normalization_kernels<T>(at).batch_norm_inference;
    each_channel_range(norm.shape,
                       [&](std::size_t first, std::size_t last) { kernel(norm, mean, variance, first, last); });
}

template <class T> void batch_norm_backward(const BatchNormBackward<T>& norm, Level at) {
    const auto kernel = normalization_kernels<T>(at).batch_norm_backward;
    each_channel_range(norm.shape, [&](std::size_t first, std::size_t last) { kernel(norm, false, first, last); });
}

template <class T> void batch_norm_inference_backward(const BatchNormBackward<T>& norm, Level at) {
    const auto kernel = normalization_kernels<T>(at).batch_norm_backward;
    each_channel_range(norm.shape, [&](std::size_t first, std::size_t last) { kernel(norm, true, first, last); });
}

template <class T> void layer_norm(const LayerNorm<T>& norm, Level at) {
    const auto kernel = normalization_kernels<T>(at).layer_norm;
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

template <class T> void layer_norm_backward(const LayerNormBackward<T>& norm, Level at) {
    const auto kernel = normalization_kernels<T>(at).layer_norm_backward;
    // Each group of rows has its own sums for weight and bias, which are then added up pairwise.
    constexpr std::size_t group = 64;
    const std::size_t groups = (norm.rows + group - 1) / group, count = norm.count;
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
    if (norm.dweight && !alone) sum(dweights.data(), {1, groups, count}, norm.dweight, at);
    if (norm.dbias && !alone) sum(dbiases.data(), {1, groups, count}, norm.dbias, at);
}

#define XGRAD_NORMALIZATION(T)                                                          \
    template void batch_norm(const BatchNorm<T>&, const BatchStatistics<T>&, Level);    \
    template void batch_norm_inference(const BatchNorm<T>&, const T*, const T*, Level); \
    template void batch_norm_backward(const BatchNormBackward<T>&, Level);              \
    template void batch_norm_inference_backward(const BatchNormBackward<T>&, Level);    \
    template void layer_norm(const LayerNorm<T>&, Level);                               \
    template void layer_norm_backward(const LayerNormBackward<T>&, Level);
XGRAD_NORMALIZATION(float)
XGRAD_NORMALIZATION(double)

}  // namespace xgrad::kernels
