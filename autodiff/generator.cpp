// Compiled with -ffp-contract=off (results must not depend on whether the processor has fused multiply-add) and
// -fno-math-errno (so that square roots vectorise): see CMakeLists.txt.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>
#include <utility>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/generator.hpp>

namespace xgrad {
namespace {

constexpr std::uint32_t low_word(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
constexpr std::uint32_t high_word(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }
constexpr std::uint64_t join(std::uint32_t low, std::uint32_t high) { return std::uint64_t{high} << 32 | low; }

// Four words and the key that goes with them, in registers.
struct Philox {
    std::uint32_t a, b, c, d, k0, k1;

    void round() {
        const std::uint64_t x = std::uint64_t{a} * 0xD2511F53u;
        const std::uint64_t y = std::uint64_t{c} * 0xCD9E8D57u;
        a = high_word(y) ^ b ^ k0;
        c = high_word(x) ^ d ^ k1;
        b = low_word(y);
        d = low_word(x);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    void ten_rounds() {
        for (int i = 0; i < 10; ++i) round();
    }
};

Philox philox_at(const Generator::State& state, std::uint64_t block) {
    return {low_word(block),         high_word(block),     low_word(state.stream),
            high_word(state.stream), low_word(state.seed), high_word(state.seed)};
}

// How many blocks are made at a time by the fills: their words and results stay in the first-level cache.
constexpr std::size_t chunk_blocks = 128;
constexpr std::size_t chunk_words = 4 * chunk_blocks;

void philox_chunk(const Generator::State& state, std::uint64_t first, std::uint32_t* words) {
    for (std::uint32_t i = 0; i < chunk_blocks; ++i) {
        Philox p = philox_at(state, first + i);
        p.ten_rounds();
        words[4 * i] = p.a;
        words[4 * i + 1] = p.b;
        words[4 * i + 2] = p.c;
        words[4 * i + 3] = p.d;
    }
}

// 0 … 1 − 2⁻²⁴, exactly.
float to_uniform(std::uint32_t x) { return static_cast<float>(static_cast<std::int32_t>(x >> 8)) * 0x1p-24f; }
// 0 … 1 − 2⁻⁵³, exactly: 27 bits of one word and 26 of the other.
double to_uniform(std::uint32_t low, std::uint32_t high) {
    const double upper = static_cast<std::int32_t>(high >> 5);
    const double lower = static_cast<std::int32_t>(low >> 6);
    return (upper * 0x1p26 + lower) * 0x1p-53;
}

// Box–Muller: two independent normals are a radius √(−2 log u) and a direction. Logarithm, sine and cosine are Taylor
// series, short because the arguments are small; all steps are exactly specified operations.
template <class T>
struct BoxMuller;

template <>
struct BoxMuller<float> {
    using Bits = std::uint32_t;
    // (0, 1]
    static float radius_uniform(Bits x) {
        return (static_cast<float>(static_cast<std::int32_t>(x >> 1)) + 0.5f) * 0x1p-31f;
    }
    // [−π/4, π/4) from the bits below the upper two, which choose the quadrant
    static float angle(Bits x) {
        return static_cast<float>(static_cast<std::int32_t>(x << 2)) * (0x1p-33f * std::numbers::pi_v<float>);
    }
    static constexpr int mantissa = 23;
    static constexpr Bits one = 0x3F800000, root_half = 0x3F3504F3;
    static float exponent(Bits biased) { return static_cast<float>(static_cast<std::int32_t>(biased) - 127); }
    static constexpr float log2 = std::numbers::ln2_v<float>;
    // 1/3, 1/5, …; −1/3!, 1/5!, …; −1/2!, 1/4!, …
    static constexpr std::array<float, 4> atanh{1.f / 3, 1.f / 5, 1.f / 7, 1.f / 9};
    static constexpr std::array<float, 4> sin{-1.f / 6, 1.f / 120, -1.f / 5040, 1.f / 362880};
    static constexpr std::array<float, 5> cos{-1.f / 2, 1.f / 24, -1.f / 720, 1.f / 40320, -1.f / 3628800};
};

template <>
struct BoxMuller<double> {
    using Bits = std::uint64_t;
    static double unit(Bits x) { return std::bit_cast<double>(x >> 12 | one) - 1; }
    static double radius_uniform(Bits x) { return 1 - unit(x); }
    static double angle(Bits x) { return (unit(x << 2) - 0.5) * (std::numbers::pi / 2); }
    static constexpr int mantissa = 52;
    static constexpr Bits one = 0x3FF0000000000000, root_half = 0x3FE6A09E667F3BCD;
    static double exponent(Bits biased) {
        return std::bit_cast<double>(biased | Bits{0x4330000000000000}) - (0x1p52 + 1023);
    }
    static constexpr double log2 = std::numbers::ln2;
    static constexpr std::array<double, 10> atanh{1. / 3,  1. / 5,  1. / 7,  1. / 9,  1. / 11,
                                                  1. / 13, 1. / 15, 1. / 17, 1. / 19, 1. / 21};
    static constexpr std::array<double, 8> sin{
        -1. / 6,        1. / 120,        -1. / 5040,          1. / 362880,
        -1. / 39916800, 1. / 6227020800, -1. / 1307674368000, 1. / 355687428096000};
    static constexpr std::array<double, 8> cos{-1. / 2,       1. / 24,        -1. / 720,         1. / 40320,
                                               -1. / 3628800, 1. / 479001600, -1. / 87178291200, 1. / 20922789888000};
};

template <class T, std::size_t N>
T polynomial(const std::array<T, N>& coefficients, T x) {
    T sum = coefficients[N - 1];
    for (std::size_t i = N - 1; i-- > 0;) sum = sum * x + coefficients[i];
    return sum;
}

// log u = k log 2 + 2 atanh(s) with u = 2ᵏ m, m in [√½, √2) and s = (m − 1)/(m + 1)
template <class T>
T logarithm(T u) {
    using B = BoxMuller<T>;
    using Bits = typename B::Bits;
    const Bits shifted = std::bit_cast<Bits>(u) + (B::one - B::root_half);
    const T k = B::exponent(shifted >> B::mantissa);
    const T m = std::bit_cast<T>((shifted & ((Bits{1} << B::mantissa) - 1)) + B::root_half);
    const T s = (m - 1) / (m + 1);
    const T square = s * s;
    return k * B::log2 + 2 * (s + s * square * polynomial(B::atanh, square));
}

template <class T>
std::pair<T, T> box_muller(typename BoxMuller<T>::Bits x, typename BoxMuller<T>::Bits y) {
    using B = BoxMuller<T>;
    using Bits = typename B::Bits;
    constexpr int top = 8 * sizeof(Bits) - 1;
    const T radius = std::sqrt(-2 * logarithm(B::radius_uniform(x)));
    const T angle = B::angle(y);
    const T square = angle * angle;
    const T sin = angle + angle * square * polynomial(B::sin, square);
    const T cos = 1 + square * polynomial(B::cos, square);
    // (cos, sin), (−sin, cos), (−cos, −sin), (sin, −cos) in the four quadrants
    const Bits quadrant = y >> (top - 1);
    const Bits swap = -(quadrant & 1);
    const Bits c = std::bit_cast<Bits>(cos), s = std::bit_cast<Bits>(sin);
    const Bits first = ((s & swap) | (c & ~swap)) ^ ((quadrant + 1) >> 1 << top);
    const Bits second = ((c & swap) | (s & ~swap)) ^ (quadrant >> 1 << top);
    return {radius * std::bit_cast<T>(first), radius * std::bit_cast<T>(second)};
}

}  // namespace

namespace detail {

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
    Philox p{counter[0], counter[1], counter[2], counter[3], key[0], key[1]};
    p.ten_rounds();
    return {p.a, p.b, p.c, p.d};
}

}  // namespace detail

void Generator::set_state(const State& state) {
    state_ = state;
    if (state_.position % 4 != 0) {
        Philox p = philox_at(state_, state_.position / 4);
        p.ten_rounds();
        block_ = {p.a, p.b, p.c, p.d};
    }
}

std::uint32_t Generator::next() {
    if (state_.position % 4 == 0) {
        Philox p = philox_at(state_, state_.position / 4);
        p.ten_rounds();
        block_ = {p.a, p.b, p.c, p.d};
    }
    return block_[state_.position++ % 4];
}

std::uint32_t Generator::bits() { return next(); }

std::uint64_t Generator::bits64() {
    const std::uint32_t low = next();
    return join(low, next());
}

double Generator::uniform() {
    const std::uint32_t low = next();
    return to_uniform(low, next());
}

std::uint64_t Generator::uniform_integer(std::uint64_t n) {
    if (n == 0) throw Error("uniform_integer: there is no number below 0");
    if (n <= std::uint64_t{1} << 32) {
        // Lemire's method: the upper half of bits × n, with the few bits drawn again that would favour some numbers.
        std::uint64_t product = next() * n;
        if (low_word(product) < n) {
            const std::uint64_t favoured = (std::uint64_t{1} << 32) % n;
            while (low_word(product) < favoured) product = next() * n;
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

// Hands the words of the next blocks to `convert(words, first word's index, count)`, a chunk at a time.
template <class Convert>
void Generator::fill_blocks(std::size_t blocks, Convert convert) {
    const std::uint64_t first = (state_.position + 3) / 4;
    alignas(64) std::uint32_t words[chunk_words];
    for (std::size_t done = 0; done < blocks; done += chunk_blocks) {
        philox_chunk(state_, first + done, words);
        convert(words, 4 * done);
    }
    state_.position = 4 * (first + blocks);
}

template <class T>
void Generator::fill_uniform(std::span<T> values, std::type_identity_t<T> low, std::type_identity_t<T> high) {
    constexpr std::size_t words_each = sizeof(T) / 4;
    const T width = high - low;
    const T last = low < high ? std::nextafter(high, low) : low;  // rounding must not reach `high`
    fill_blocks((values.size() * words_each + 3) / 4, [=](const std::uint32_t* words, std::size_t word) {
        const std::size_t begin = word / words_each;
        const std::size_t count = std::min(values.size() - begin, chunk_words / words_each);
        T* out = values.data() + begin;
        for (std::size_t i = 0; i < count; ++i) {
            T u;
            if constexpr (words_each == 1)
                u = to_uniform(words[i]);
            else
                u = to_uniform(words[2 * i], words[2 * i + 1]);
            const T value = low + width * u;
            out[i] = value < last ? value : last;
        }
    });
}

template <class T>
void Generator::fill_normal(std::span<T> values, std::type_identity_t<T> mean, std::type_identity_t<T> deviation) {
    constexpr std::size_t words_each = sizeof(T) / 4;
    fill_blocks((values.size() * words_each + 3) / 4, [=](const std::uint32_t* words, std::size_t word) {
        constexpr std::size_t pairs = chunk_words / words_each / 2;
        alignas(64) T normals[2 * pairs];
        for (std::size_t i = 0; i < pairs; ++i) {
            std::pair<T, T> both;
            if constexpr (words_each == 1)
                both = box_muller<T>(words[2 * i], words[2 * i + 1]);
            else
                both = box_muller<T>(join(words[4 * i], words[4 * i + 1]), join(words[4 * i + 2], words[4 * i + 3]));
            normals[2 * i] = mean + deviation * both.first;
            normals[2 * i + 1] = mean + deviation * both.second;
        }
        const std::size_t begin = word / words_each;
        std::copy_n(normals, std::min(values.size() - begin, 2 * pairs), values.data() + begin);
    });
}

template <class T>
void Generator::fill_bernoulli(std::span<T> values, double probability, std::type_identity_t<T> one) {
    if (!(probability >= 0 && probability <= 1))
        throw Error("fill_bernoulli: the probability must be in [0, 1], not " + std::to_string(probability));
    // 0 … 2³²; all words are below the last of these, so compare the half of it that fits with `below` or `always`
    const auto bound = static_cast<std::uint64_t>(probability * 0x1p32);
    const std::uint32_t always = bound >> 32 ? ~0u : 0u;
    const std::uint32_t below = low_word(bound);
    fill_blocks((values.size() + 3) / 4, [=](const std::uint32_t* words, std::size_t begin) {
        const std::size_t count = std::min(values.size() - begin, chunk_words);
        T* out = values.data() + begin;
        for (std::size_t i = 0; i < count; ++i) out[i] = ((words[i] < below) | (always != 0)) ? one : T{0};
    });
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
