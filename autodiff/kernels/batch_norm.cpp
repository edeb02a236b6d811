#include <algorithm>

#include <xgrad/autodiff/kernels/batch_norm.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>

namespace xgrad::kernels {
namespace {

// Runs work(first, last) over ranges of channels, on which no result depends. Where channels are neighbours in memory,
// a range is at least as wide as two cache lines and at most as the widest tile. Within these bounds there are four, so
// that whoever is done first helps the others; in a large array, or for one thread, only one for each thread, for the
// sake of longer runs of memory.
template <class Work> void each_channel_range(const Channels& shape, const Work& work) {
    constexpr std::size_t large = std::size_t{1} << 18, widest = 128;
    const std::size_t parts = shape.size() > large || threads() == 1 ? std::min<std::size_t>(threads(), 4) : 4;
    const std::size_t range =
        shape.inner != 1 ? 1 : std::clamp<std::size_t>(shape.channels / parts / 32 * 32, 32, widest);
    const std::size_t ranges = ceil_divide(shape.channels, range);
    in_pieces(ranges, range * shape.samples(), [&](std::size_t first, std::size_t n) {
        work(first * range, std::min(shape.channels, (first + n) * range));
    });
}

}  // namespace

template <class T> void batch_norm(const BatchNorm<T>& norm, const BatchStatistics<T>& statistics) {
    const auto kernel = batch_norm_kernels<T>().batch_norm;
    each_channel_range(norm.shape, [&](std::size_t first, std::size_t last) { kernel(norm, statistics, first, last); });
}

template <class T> void batch_norm_inference(const BatchNorm<T>& norm, const T* mean, const T* variance) {
    const auto kernel = batch_norm_kernels<T>().inference;
    each_channel_range(norm.shape,
                       [&](std::size_t first, std::size_t last) { kernel(norm, mean, variance, first, last); });
}

template <class T> void batch_norm_backward(const BatchNormBackward<T>& norm) {
    const auto kernel = batch_norm_kernels<T>().backward;
    each_channel_range(norm.shape, [&](std::size_t first, std::size_t last) { kernel(norm, first, last); });
}

#define XGRAD_BATCH_NORM(T)                                                      \
    template void batch_norm(const BatchNorm<T>&, const BatchStatistics<T>&);    \
    template void batch_norm_inference(const BatchNorm<T>&, const T*, const T*); \
    template void batch_norm_backward(const BatchNormBackward<T>&);
XGRAD_BATCH_NORM(float)
XGRAD_BATCH_NORM(double)

}  // namespace xgrad::kernels
