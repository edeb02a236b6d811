#include <utility>

#include <xgrad/autodiff/kernels/random.hpp>
#include <xgrad/autodiff/kernels/random_math.hpp>
#include <xgrad/autodiff/kernels/vector.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// Words of 32 bits in the lower halves of lanes of 64, whose upper halves nobody reads: so that the product of two is
// one instruction, and the halves of the product are where they are wanted.
using Words = Vector<std::uint64_t>;
constexpr std::size_t vector_blocks = lanes<std::uint64_t>;

[[gnu::always_inline]] inline Words multiply(Words x, Words y) {
#if defined(__AVX512F__)
    return reinterpret_cast<Words>(_mm512_mul_epu32(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(y)));
#elif defined(__AVX2__)
    return reinterpret_cast<Words>(_mm256_mul_epu32(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(y)));
#elif defined(__SSE2__)
    return reinterpret_cast<Words>(_mm_mul_epu32(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(y)));
#else
    return (x & 0xFFFFFFFFu) * (y & 0xFFFFFFFFu);
#endif
}

// Writes blocks, of which one vector has the first and one the second halves.
template <std::size_t... Lane>
[[gnu::always_inline]] inline void store_blocks(std::uint32_t* words, Words first_halves, Words second_halves,
                                                std::index_sequence<Lane...>) {
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "of two words in a lane the lower one comes first");
    constexpr std::size_t n = vector_blocks;
    const Words blocks[] = {__builtin_shufflevector(first_halves, second_halves, (Lane / 2 + Lane % 2 * n)...),
                            __builtin_shufflevector(first_halves, second_halves, (n / 2 + Lane / 2 + Lane % 2 * n)...)};
    __builtin_memcpy(words, blocks, sizeof blocks);
}

// 0, 1, 2, …
template <std::size_t... Lane> [[gnu::always_inline]] inline Words count(std::index_sequence<Lane...>) {
    return Words{Lane...};
}

// So many vectors at a time: a round waits for the one before, and does not keep the processor busy.
constexpr std::size_t vectors = 2, step_blocks = vectors * vector_blocks;

// Writes the words of step_blocks blocks, from a first one on.
[[gnu::always_inline]] inline void philox(const RandomBlocks& blocks, std::uint64_t first, std::uint32_t* words) {
    Words a[vectors], b[vectors], c[vectors], d[vectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v) {
        a[v] = broadcast(first + v * vector_blocks) + count(std::make_index_sequence<vector_blocks>());
        b[v] = a[v] >> 32;
        c[v] = broadcast(blocks.stream);
        d[v] = c[v] >> 32;
    }
    std::uint32_t key0 = static_cast<std::uint32_t>(blocks.seed), key1 = static_cast<std::uint32_t>(blocks.seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < philox_rounds; ++round, key0 += philox_step0, key1 += philox_step1)
#pragma GCC unroll 4
        for (std::size_t v = 0; v < vectors; ++v) {
            const Words x = multiply(a[v], broadcast(std::uint64_t{philox_factor0}));
            const Words y = multiply(c[v], broadcast(std::uint64_t{philox_factor1}));
            a[v] = (y >> 32) ^ b[v] ^ broadcast(std::uint64_t{key0});
            c[v] = (x >> 32) ^ d[v] ^ broadcast(std::uint64_t{key1});
            b[v] = y;
            d[v] = x;
        }
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v)
        store_blocks(words + 4 * vector_blocks * v, (a[v] & 0xFFFFFFFFu) | b[v] << 32,
                     (c[v] & 0xFFFFFFFFu) | d[v] << 32, std::make_index_sequence<vector_blocks>());
}

// As many blocks at a time as the first-level cache holds with what is made of them; for few numbers a multiple of
// least_blocks.
constexpr std::size_t chunk_blocks = 128, chunk_words = 4 * chunk_blocks, least_blocks = 16;
static_assert(chunk_blocks % least_blocks == 0 && least_blocks % step_blocks == 0);

// Hands the words of n numbers to convert(words, first number, count), a chunk at a time.
template <class Convert>
[[gnu::always_inline]] inline void each_chunk(const RandomBlocks& blocks, std::size_t words_per_number, std::size_t n,
                                              const Convert& convert) {
    alignas(64) std::uint32_t words[chunk_words];
    const std::size_t numbers = chunk_words / words_per_number;
    std::uint64_t first = blocks.first;
    for (std::size_t begin = 0; begin < n; begin += numbers, first += chunk_blocks) {
        const std::size_t count = min(n - begin, numbers);
        const std::size_t needed = round_up(count * words_per_number, 4 * least_blocks) / 4;
        for (std::size_t block = 0; block < needed; block += step_blocks)
            philox(blocks, first + block, words + 4 * block);
        convert(words, begin, count);
    }
}

template <class T> T uniform_of(const std::uint32_t* words, std::size_t i) {
    if constexpr (words_each<T> == 1)
        return to_uniform(words[i]);
    else
        return to_uniform(words[2 * i], words[2 * i + 1]);
}
template <class T> typename BoxMuller<T>::Bits bits_of(const std::uint32_t* words, std::size_t i) {
    if constexpr (words_each<T> == 1)
        return words[i];
    else
        return join(words[2 * i], words[2 * i + 1]);
}

template <class T> void uniform(const RandomBlocks& blocks, T low, T width, T last, T* y, std::size_t n) {
    each_chunk(blocks, words_each<T>, n, [=](const std::uint32_t* words, std::size_t begin, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            const T value = low + width * uniform_of<T>(words, i);
            y[begin + i] = value < last ? value : last;
        }
    });
}

template <class T> void normal(const RandomBlocks& blocks, T mean, T deviation, T* y, std::size_t n) {
    each_chunk(blocks, words_each<T>, n, [=](const std::uint32_t* words, std::size_t begin, std::size_t count) {
        constexpr std::size_t most = chunk_words / words_each<T>, least = 4 * least_blocks / words_each<T>;
        alignas(64) T numbers[most];
        const std::size_t pairs = round_up(count, least) / 2;  // whole vectors
        for (std::size_t pair = 0; pair < pairs; ++pair) {
            const Normals<T> both = box_muller<T>(bits_of<T>(words, 2 * pair), bits_of<T>(words, 2 * pair + 1));
            numbers[2 * pair] = mean + deviation * both.first;
            numbers[2 * pair + 1] = mean + deviation * both.second;
        }
        __builtin_memcpy(y + begin, numbers, count * sizeof(T));
    });
}

template <class T> void bernoulli(const RandomBlocks& blocks, std::uint32_t last_chosen, T one, T* y, std::size_t n) {
    each_chunk(blocks, 1, n, [=](const std::uint32_t* words, std::size_t begin, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) y[begin + i] = words[i] <= last_chosen ? one : T{0};
    });
}

}  // namespace

template <class T> const RandomKernels<T>& random_kernels() {
    static constexpr RandomKernels<T> table{.uniform = uniform<T>, .normal = normal<T>, .bernoulli = bernoulli<T>};
    return table;
}

template const RandomKernels<float>& random_kernels<float>();
template const RandomKernels<double>& random_kernels<double>();

}  // namespace xgrad::kernels::XGRAD_LEVEL
