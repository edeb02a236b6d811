#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "kernel_twins.hpp"
#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/kernels/random.hpp>

using namespace xgrad;
using testing::LevelScope;

namespace {

// A sequence whose counters carry from their lower into their upper halves.
constexpr kernels::RandomBlocks sequence{0x0123456789ABCDEF, 0xFEDCBA9876543210, 0xFFFFFFF0};

// Word i of it, from the one block that it is in.
std::uint32_t word(std::size_t i) {
    const auto half = [](std::uint64_t x, int which) { return static_cast<std::uint32_t>(x >> 32 * which); };
    const std::uint64_t block = sequence.first + i / 4;
    return detail::philox({half(block, 0), half(block, 1), half(sequence.stream, 0), half(sequence.stream, 1)},
                          {half(sequence.seed, 0), half(sequence.seed, 1)})[i % 4];
}

// n numbers from a fill that writes to an odd place and must leave its surroundings alone.
template <class T, class Fill> std::vector<T> filled(std::size_t n, Fill fill) {
    std::vector<T> memory(n + 9, T{-7});
    fill(memory.data() + 3, n);
    CHECK(std::count(memory.begin(), memory.begin() + 3, T{-7}) == 3);
    CHECK(std::count(memory.end() - 6, memory.end(), T{-7}) == 6);
    return {memory.begin() + 3, memory.end() - 6};
}

// Of which parts of blocks, chunks and pieces are left.
constexpr std::size_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 31, 33, 255, 256, 257, 511, 512, 513, 1100, 4095, 4097, 20'001};

}  // namespace

TEMPLATE_TEST_CASE("random arrays are made of the words of Philox's blocks, one after the other",
                   "[generator][kernels]", float, double) {
    using T = TestType;
    for (const LevelScope at : twins::levels())
        for (const std::size_t n : sizes) {
            INFO(at.name() << ", " << n);
            const auto chosen =
                filled<T>(n, [&](T* y, std::size_t count) { kernels::fill_bernoulli<T>(sequence, 0.3, 2, y, count); });
            const auto uniforms =
                filled<T>(n, [&](T* y, std::size_t count) { kernels::fill_uniform<T>(sequence, 0, 1, y, count); });
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < n; ++i) {
                wrong += chosen[i] != (word(i) < static_cast<std::uint32_t>(0.3 * 0x1p32) ? T{2} : T{0});
                if constexpr (sizeof(T) == 4)
                    wrong += uniforms[i] != static_cast<T>(word(i) >> 8) * T{0x1p-24};
                else
                    wrong += uniforms[i] != ((word(2 * i + 1) >> 5) * 0x1p26 + (word(2 * i) >> 6)) * 0x1p-53;
            }
            CHECK(wrong == 0);
        }
}

TEMPLATE_TEST_CASE("random arrays are the same at every level and for any number of threads", "[generator][kernels]",
                   float, double) {
    using T = TestType;
    const auto all = [](std::size_t n) {
        const auto uniform = [&](T* y, std::size_t count) { kernels::fill_uniform<T>(sequence, -3, 5, y, count); };
        const auto normal = [&](T* y, std::size_t count) { kernels::fill_normal<T>(sequence, 1, 2, y, count); };
        const auto choice = [&](T* y, std::size_t count) { kernels::fill_bernoulli<T>(sequence, 0.5, 1, y, count); };
        return std::array{filled<T>(n, uniform), filled<T>(n, normal), filled<T>(n, choice)};
    };
    for (const std::size_t n : sizes) {
        INFO(n);
        const auto expected = all(n);
        for (const LevelScope at : twins::levels()) {
            INFO(at.name());
            CHECK(all(n) == expected);
            twins::check_any_threads([&] { return all(n); });
        }
    }
}
