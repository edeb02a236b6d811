#include <atomic>
#include <bit>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/kernels/random.hpp>
#include <xgrad/autodiff/kernels/random_math.hpp>

namespace xgrad {
namespace {

using namespace kernels::XGRAD_LEVEL;

constexpr std::uint32_t low_word(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
constexpr std::uint32_t high_word(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

// The four words around a position.
std::array<std::uint32_t, 4> block_at(const Generator::State& state) {
    const std::uint64_t block = state.position / 4;
    return detail::philox({low_word(block), high_word(block), low_word(state.stream), high_word(state.stream)},
                          {low_word(state.seed), high_word(state.seed)});
}

}  // namespace

std::array<std::uint32_t, 4> detail::philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
    auto [a, b, c, d] = counter;  // in registers, as are those of the key
    auto [k0, k1] = key;
    for (int i = 0; i < philox_rounds; ++i) {
        const std::uint64_t x = std::uint64_t{a} * philox_factor0, y = std::uint64_t{c} * philox_factor1;
        a = high_word(y) ^ b ^ k0;
        c = high_word(x) ^ d ^ k1;
        b = low_word(y);
        d = low_word(x);
        k0 += philox_step0;
        k1 += philox_step1;
    }
    return {a, b, c, d};
}

void Generator::set_state(const State& state) {
    state_ = state;
    if (state_.position % 4 != 0) block_ = block_at(state_);
}

std::uint32_t Generator::bits() {
    if (state_.position % 4 == 0) block_ = block_at(state_);
    return block_[state_.position++ % 4];
}

std::uint64_t Generator::bits64() {
    const std::uint32_t low = bits();
    return join(low, bits());
}

double Generator::uniform() {
    const std::uint32_t low = bits();
    return to_uniform(low, bits());
}

std::uint64_t Generator::uniform_integer(std::uint64_t n) {
    if (n == 0) throw Error("uniform_integer: there is no number below 0");
    if (n <= std::uint64_t{1} << 32) {
        // Lemire's method: the upper half of bits × n, with the few bits drawn again that would favour some numbers.
        std::uint64_t product = bits() * n;
        if (low_word(product) < n) {
            const std::uint64_t favoured = (std::uint64_t{1} << 32) % n;
            while (low_word(product) < favoured) product = bits() * n;
        }
        return product >> 32;
    }
    const int unused = std::countl_zero(n - 1);
    std::uint64_t number;
    do number = bits64() >> unused;
    while (number >= n);
    return number;
}

double Generator::normal() {
    const std::uint64_t x = bits64();
    return box_muller<double>(x, bits64()).first;
}

kernels::RandomBlocks Generator::take_words(std::size_t count) {
    const std::uint64_t first = (state_.position + 3) / 4;
    state_.position = 4 * (first + (count + 3) / 4);
    return {state_.seed, state_.stream, first};
}

template <class T>
void Generator::fill_uniform(std::span<T> values, std::type_identity_t<T> low, std::type_identity_t<T> high) {
    if (!(low <= high && std::isfinite(high - low)))
        throw Error(fmt::format("fill_uniform: the bounds are {} and {}; expected low ≤ high, and a finite high − low",
                                low, high));
    kernels::fill_uniform<T>(take_words(values.size() * kernels::words_each<T>), low, high, values.data(),
                             values.size());
}

template <class T>
void Generator::fill_normal(std::span<T> values, std::type_identity_t<T> mean, std::type_identity_t<T> deviation) {
    kernels::fill_normal<T>(take_words(values.size() * kernels::words_each<T>), mean, deviation, values.data(),
                            values.size());
}

template <class T>
void Generator::fill_bernoulli(std::span<T> values, double probability, std::type_identity_t<T> one) {
    if (!(probability >= 0 && probability <= 1))
        throw Error(fmt::format("fill_bernoulli: the probability is {}; expected 0 to 1", probability));
    kernels::fill_bernoulli<T>(take_words(values.size()), probability, one, values.data(), values.size());
}

void Generator::shuffle(std::span<std::int64_t> values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[uniform_integer(i)]);
}

std::vector<std::int64_t> Generator::permutation(std::size_t n) {
    std::vector<std::int64_t> order(n);
    std::iota(order.begin(), order.end(), std::int64_t{0});
    shuffle(order);
    return order;
}

Generator Generator::split() {
    const std::uint64_t child_seed = bits64();
    return Generator(State{.seed = child_seed, .stream = bits64()});
}

Generator& current_generator() {
    static std::atomic<std::uint64_t> streams{0};
    thread_local Generator generator(Generator::State{.stream = streams.fetch_add(1)});
    return generator;
}

void seed(std::uint64_t n) { current_generator() = Generator(n); }

template void Generator::fill_uniform(std::span<float>, float, float);
template void Generator::fill_uniform(std::span<double>, double, double);
template void Generator::fill_normal(std::span<float>, float, float);
template void Generator::fill_normal(std::span<double>, double, double);
template void Generator::fill_bernoulli(std::span<float>, double, float);
template void Generator::fill_bernoulli(std::span<double>, double, double);

}  // namespace xgrad
