#include <algorithm>
#include <cmath>

#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/random.hpp>

namespace xgrad::kernels {
namespace {

// Runs fill(blocks, y, count) for pieces of an array whose numbers take so many words each.
template <class T, class Fill>
void fill_in_pieces(const RandomBlocks& blocks, std::size_t words, T* y, std::size_t n, const Fill& fill) {
    static_assert(piece_size % 4 == 0, "a piece begins with a block");
    in_pieces(n, 1, [&](std::size_t begin, std::size_t count) {
        fill(RandomBlocks{blocks.seed, blocks.stream, blocks.first + begin / 4 * words}, y + begin, count);
    });
}

}  // namespace

template <class T> void fill_uniform(const RandomBlocks& blocks, T low, T high, T* y, std::size_t n) {
    const T last = low < high ? std::nextafter(high, low) : low;  // rounding must not reach `high`
    fill_in_pieces(blocks, words_each<T>, y, n,
                   [=, kernel = random_kernels<T>().uniform](const RandomBlocks& from, T* to, std::size_t count) {
                       kernel(from, low, high - low, last, to, count);
                   });
}

template <class T> void fill_normal(const RandomBlocks& blocks, T mean, T deviation, T* y, std::size_t n) {
    fill_in_pieces(blocks, words_each<T>, y, n,
                   [=, kernel = random_kernels<T>().normal](const RandomBlocks& from, T* to, std::size_t count) {
                       kernel(from, mean, deviation, to, count);
                   });
}

template <class T> void fill_bernoulli(const RandomBlocks& blocks, double probability, T one, T* y, std::size_t n) {
    const auto chosen = static_cast<std::uint64_t>(probability * 0x1p32);  // of the 2³² words
    if (chosen == 0) {
        std::fill_n(y, n, T{0});
        return;
    }
    fill_in_pieces(blocks, 1, y, n,
                   [=, kernel = random_kernels<T>().bernoulli](const RandomBlocks& from, T* to, std::size_t count) {
                       kernel(from, static_cast<std::uint32_t>(chosen - 1), one, to, count);
                   });
}

#define XGRAD_RANDOM(T)                                                     \
    template void fill_uniform(const RandomBlocks&, T, T, T*, std::size_t); \
    template void fill_normal(const RandomBlocks&, T, T, T*, std::size_t);  \
    template void fill_bernoulli(const RandomBlocks&, double, T, T*, std::size_t);
XGRAD_RANDOM(float)
XGRAD_RANDOM(double)

}  // namespace xgrad::kernels
