// Random numbers that are the same everywhere: with every compiler, standard library and instruction set.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace xgrad {
namespace kernels {

struct RandomBlocks;

}  // namespace kernels

/// A counter-based generator: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
/// The numbers are a function of three integers, its state, so it is cheap to make, to copy, to save and to restore.
///
/// Guaranteed: equal states give equal bits, integers, uniforms, normals and permutations on every machine with IEEE
/// arithmetic. Nothing is taken from the standard library's distributions or from its exp, log, sin and cos; only
/// + − × ÷ and square roots are used, which are exactly specified, and the compiler is told not to fuse them.
class Generator {
public:
    /// All there is to a generator: where it is in which sequence.
    struct State {
        std::uint64_t seed = 0;
        std::uint64_t stream = 0;    ///< one of 2⁶⁴ independent sequences of the seed
        std::uint64_t position = 0;  ///< how many 32-bit words of the sequence are used up
        friend bool operator==(const State&, const State&) = default;
    };

    explicit Generator(std::uint64_t seed = 0) : state_{.seed = seed} {}
    explicit Generator(const State& state) { set_state(state); }

    /// Where it is: a generator with the same state gives the same numbers from here on.
    const State& state() const { return state_; }
    void set_state(const State& state);

    /// 32 or 64 random bits.
    std::uint32_t bits();
    std::uint64_t bits64();

    /// A multiple of 2⁻⁵³ in [0, 1).
    double uniform();

    /// One of 0 … n − 1, all equally likely. Throws Error when n is 0.
    std::uint64_t uniform_integer(std::uint64_t n);

    /// A number of the normal distribution with mean 0 and variance 1.
    double normal();

    /// Fill an array, much faster than one by one. Each takes whole blocks of four words from the sequence, and element
    /// i depends on the state before and on i only. Numbers in [low, high), or low where the two are equal. Throws
    /// Error unless low ≤ high and the two are a finite number apart.
    template <class T>
    void fill_uniform(std::span<T> values, std::type_identity_t<T> low = 0, std::type_identity_t<T> high = 1);
    /// Numbers of the normal distribution.
    template <class T>
    void fill_normal(std::span<T> values, std::type_identity_t<T> mean = 0, std::type_identity_t<T> deviation = 1);
    /// `one` with this probability, else 0. Throws Error when the probability is not in [0, 1].
    template <class T> void fill_bernoulli(std::span<T> values, double probability, std::type_identity_t<T> one = 1);

    /// Brings the elements into a random order, all orders equally likely.
    void shuffle(std::span<std::int64_t> values);
    /// 0 … n − 1 in a random order.
    std::vector<std::int64_t> permutation(std::size_t n);

    /// A generator whose numbers have nothing to do with those of this one, for another thread or another purpose.
    Generator split();

private:
    kernels::RandomBlocks take_words(std::size_t count);  // whole blocks of them

    State state_;
    std::array<std::uint32_t, 4> block_{};  // the words around `position`, when that is inside a block
};

/// The calling thread's generator, which initialisers, Dropout and the like draw from. Until `seed` is called it is a
/// stream of seed 0 of its own: the first thread that asks has stream 0, the next stream 1, and so on.
Generator& current_generator();

/// Makes the calling thread's generator Generator(n).
void seed(std::uint64_t n);

namespace detail {

/// The ten rounds of Philox: four words from a counter and a key.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

}  // namespace detail
}  // namespace xgrad
