// Arrays of random numbers, from Philox's blocks of four words.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::kernels {

/// Where numbers come from: block `first` and those behind it, of one sequence of a generator (Generator::State).
struct RandomBlocks {
    std::uint64_t seed, stream, first;
};

/// How many words a number takes.
template <class T> constexpr std::size_t words_each = sizeof(T) / sizeof(std::uint32_t);

// Every function takes the level to run at, for tests; everyone else leaves it out. Long arrays are shared among
// threads; neither that nor the level has a part in what comes out.

/// Numbers in [low, high).
template <class T> void fill_uniform(const RandomBlocks& blocks, T low, T high, T* y, std::size_t n);
/// Numbers of the normal distribution.
template <class T> void fill_normal(const RandomBlocks& blocks, T mean, T deviation, T* y, std::size_t n);
/// Each `one` with this probability, in [0, 1], and else 0; a number takes one word.
template <class T> void fill_bernoulli(const RandomBlocks& blocks, double probability, T one, T* y, std::size_t n);

/// The level's share of the work: one thread's piece.
template <class T> struct RandomKernels {
    /// low + width·u, but at most `last`
    void (*uniform)(const RandomBlocks& blocks, T low, T width, T last, T* y, std::size_t n);
    void (*normal)(const RandomBlocks& blocks, T mean, T deviation, T* y, std::size_t n);
    /// `one` for words up to `last_chosen`, else 0
    void (*bernoulli)(const RandomBlocks& blocks, std::uint32_t last_chosen, T one, T* y, std::size_t n);
};

XGRAD_AT_EVERY_LEVEL(template <class T> const RandomKernels<T>& random_kernels();)

/// The table of the level in use.
template <class T> const RandomKernels<T>& random_kernels() { XGRAD_SELECT(random_kernels<T>()) }

}  // namespace xgrad::kernels
