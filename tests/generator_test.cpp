#include <algorithm>
#include <array>
#include <bit>
#include <catch.hpp>
#include <cmath>
#include <cstdint>
#include <set>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/generator.hpp>

using xgrad::Generator;

namespace {

// Of numbers that should be normal: how far the share below each of some bounds is from Φ, at most.
template <class T> double distance_from_normal(std::vector<T> values) {
    std::sort(values.begin(), values.end());
    double distance = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double expected = 0.5 * std::erfc(-static_cast<double>(values[i]) / std::sqrt(2.0));
        distance = std::max(distance,
                            std::abs((static_cast<double>(i) + 0.5) / static_cast<double>(values.size()) - expected));
    }
    return distance;
}

}  // namespace

TEST_CASE("Philox gives the known answers of its authors", "[generator]") {
    using Words = std::array<std::uint32_t, 4>;
    CHECK(xgrad::detail::philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(xgrad::detail::philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) ==
          Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(xgrad::detail::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("A generator's bits are Philox of its seed, stream and position", "[generator]") {
    Generator generator(
        Generator::State{.seed = 0x299f31d0a4093822, .stream = 0x0370734413198a2e, .position = 0x5a308d3243f6a88u * 4});
    const auto words =
        xgrad::detail::philox({0x243f6a88, 0x05a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0});
    for (std::uint32_t word : words) CHECK(generator.bits() == word);
    CHECK(Generator(0).bits64() == 0xe169c58d6627e8d5);
}

TEST_CASE("Equal states go on with equal numbers, also from inside a block", "[generator]") {
    Generator generator(7);
    for (int i = 0; i < 9; ++i) {
        Generator copy(generator.state());
        Generator other(1);
        other.set_state(generator.state());
        const std::uint32_t bits = generator.bits();
        CHECK(copy.bits() == bits);
        CHECK(other.bits() == bits);
    }
    CHECK(generator.state() == Generator::State{.seed = 7, .position = 9});
}

TEST_CASE("A fill gives the uniforms that single calls give", "[generator]") {
    Generator one(3), all(3);
    std::vector<double> values(1001);
    all.fill_uniform(std::span(values));
    CHECK(std::all_of(values.begin(), values.end(), [&](double value) { return value == one.uniform(); }));
    CHECK(all.state().position == 2004);
}

TEST_CASE("The longer of two fills begins with the shorter", "[generator]") {
    std::vector<float> some(77), more(5000);
    Generator(5).fill_normal(std::span(some));
    Generator(5).fill_normal(std::span(more));
    CHECK(std::equal(some.begin(), some.end(), more.begin()));
    CHECK(std::set<float>(more.begin(), more.end()).size() > 4990);
}

TEMPLATE_TEST_CASE("Uniforms fill their interval evenly and never reach its end", "[generator]", float, double) {
    std::vector<TestType> values(200'000);
    Generator(1).fill_uniform(std::span(values), 1, 2);
    std::vector<int> bins(16);
    for (TestType value : values) {
        REQUIRE(value >= 1);
        REQUIRE(value < 2);
        ++bins[static_cast<std::size_t>((value - 1) * 16)];
    }
    for (int count : bins) CHECK(std::abs(count - 12'500) < 600);  // 5.5 standard deviations
    Generator(1).fill_uniform(std::span(values), 3, 3);
    CHECK(values.front() == 3);
}

TEMPLATE_TEST_CASE("Normals have the mean, deviation, tails and independence of normals", "[generator]", float,
                   double) {
    constexpr std::size_t n = 1'000'000;
    std::vector<TestType> values(n);
    Generator(2).fill_normal(std::span(values));
    double mean = 0, square = 0, cube = 0, fourth = 0, neighbours = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const double x = values[i];
        mean += x / n;
        square += x * x / n;
        cube += x * x * x / n;
        fourth += x * x * x * x / n;
        if (i > 0) neighbours += x * values[i - 1] / n;
    }
    CHECK(std::abs(mean) < 5e-3);
    CHECK(std::abs(square - 1) < 7e-3);
    CHECK(std::abs(cube) < 2e-2);
    CHECK(std::abs(fourth - 3) < 5e-2);
    CHECK(std::abs(neighbours) < 5e-3);
    CHECK(*std::max_element(values.begin(), values.end()) > 4.3);
    CHECK(*std::min_element(values.begin(), values.end()) < -4.3);
    CHECK(distance_from_normal(values) < 2e-3);  // Kolmogorov–Smirnov: 1.36e-3 is exceeded once in twenty
}

TEST_CASE("Normals are Box and Muller's formula", "[generator]") {
    std::vector<double> values(4000);
    Generator filled(9), words(9);
    filled.fill_normal(std::span(values));
    constexpr double two_pi = 6.283185307179586;
    for (std::size_t i = 0; i < values.size(); i += 2) {
        const double u = 1 - static_cast<double>(words.bits64() >> 12) * 0x1p-52;
        const std::uint64_t y = words.bits64();
        // the upper two bits are a quadrant that begins an eighth of a turn before its axis
        const double turn = static_cast<double>(y >> 62) / 4 + (static_cast<double>(y << 2 >> 12) * 0x1p-52 - 0.5) / 4;
        const double radius = std::sqrt(-2 * std::log(u));
        REQUIRE(values[i] == Approx(radius * std::cos(two_pi * turn)).margin(1e-14).epsilon(1e-14));
        REQUIRE(values[i + 1] == Approx(radius * std::sin(two_pi * turn)).margin(1e-14).epsilon(1e-14));
    }
    CHECK(Generator(9).normal() == values[0]);
}

TEST_CASE("The numbers do not change from one version or machine to another", "[generator]") {
    Generator generator(2024);
    std::vector<float> floats(6);
    std::vector<double> doubles(4);
    generator.fill_normal(std::span(floats), 1, 2);
    CHECK(floats ==
          std::vector{0x1.8846d2p-1f, 0x1.7f7398p+1f, 0x1.4e0c4ap+0f, 0x1.2d3ba4p+0f, 0x1.1224aap+1f, 0x1.d6fdeap+1f});
    generator.fill_normal(std::span(doubles), 1, 2);
    CHECK(doubles ==
          std::vector{0x1.9a2483adca88ep+0, 0x1.97487968e012ap-1, 0x1.4e8ab2f5c87a2p+1, 0x1.50b7a20efb358p+1});
    generator.fill_uniform(std::span(floats), -1, 1);
    CHECK(floats ==
          std::vector{-0x1.ecdb88p-1f, -0x1.da57ep-4f, 0x1.6f2738p-2f, 0x1.643484p-1f, 0x1.b2608p-5f, -0x1.5368p-7f});
    CHECK(generator.permutation(8) == std::vector<std::int64_t>{0, 5, 4, 1, 6, 3, 2, 7});
}

namespace {

// Of the numbers' bits.
template <class T> std::uint64_t checksum(const std::vector<T>& values) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    std::uint64_t sum = 1469598103934665603u;
    for (const T value : values) sum = (sum ^ std::bit_cast<Bits>(value)) * 0x100000001B3;
    return sum;
}

// Long arrays, from inside a block of which the counter's lower half overflows.
template <class T> std::array<std::uint64_t, 4> checksums() {
    std::vector<T> values(20'001);
    std::array<std::uint64_t, 4> sums;
    Generator generator(Generator::State{.seed = 7, .stream = 3, .position = (std::uint64_t{1} << 34) - 7999});
    generator.fill_normal(std::span(values), 1, 2);
    sums[0] = checksum(values);
    generator.fill_uniform(std::span(values), -3, 5);
    sums[1] = checksum(values);
    generator.fill_bernoulli(std::span(values), 0.3, 2);
    sums[2] = checksum(values);
    sums[3] = generator.state().position;
    return sums;
}

}  // namespace

TEST_CASE("Long arrays do not change from one version or machine to another", "[generator]") {
    CHECK(checksums<float>() ==
          std::array<std::uint64_t, 4>{0x1D391215F2545B03, 0x4C2AE3CA9FCA4584, 0x0AB5A35A9F917C19, 17'179'921'200});
    CHECK(checksums<double>() ==
          std::array<std::uint64_t, 4>{0x652208B9C08D0AE5, 0x52C07317DC9814B7, 0x1F387DEA1F917C19, 17'179'961'200});
}

TEST_CASE("Fills take whole blocks, also of words that they do not look at", "[generator]") {
    std::vector<float> values(5);
    Generator generator(Generator::State{.seed = 1, .position = 5});
    generator.fill_bernoulli(std::span(values), 0);
    CHECK(generator.state().position == 16);
    generator.bits();
    generator.fill_uniform(std::span(values).first(0));
    CHECK(generator.state().position == 20);
    Generator(Generator::State{.seed = 1, .position = 6}).fill_uniform(std::span(values));
    std::vector<float> aligned(5);
    Generator(Generator::State{.seed = 1, .position = 8}).fill_uniform(std::span(aligned));
    CHECK(values == aligned);
}

TEST_CASE("Bernoulli numbers are one as often as asked", "[generator]") {
    std::vector<float> values(100'000);
    const auto ones = [&](double probability) {
        Generator(4).fill_bernoulli(std::span(values), probability, 2.5f);
        const auto count = std::count(values.begin(), values.end(), 2.5f);
        CHECK(count + std::count(values.begin(), values.end(), 0.f) == 100'000);
        return count;
    };
    CHECK(ones(0) == 0);
    CHECK(ones(1) == 100'000);
    CHECK(std::abs(ones(0.3) - 30'000) < 800);
    CHECK_THROWS_AS(Generator().fill_bernoulli(std::span(values), 1.5), xgrad::Error);
    CHECK_THROWS_AS(Generator().fill_bernoulli(std::span(values), std::nan("")), xgrad::Error);
}

TEST_CASE("Random integers are below their bound and equally likely", "[generator]") {
    Generator generator(6);
    std::vector<int> counts(7);
    for (int i = 0; i < 70'000; ++i) ++counts.at(generator.uniform_integer(7));
    for (int count : counts) CHECK(std::abs(count - 10'000) < 500);
    CHECK(generator.uniform_integer(1) == 0);
    const std::uint64_t large = (std::uint64_t{1} << 40) + 3;
    bool upper_half = false;
    for (int i = 0; i < 1000; ++i) {
        const std::uint64_t number = generator.uniform_integer(large);
        REQUIRE(number < large);
        upper_half |= number > large / 2;
    }
    CHECK(upper_half);
    // three quarters of 2³²: most of what a careless modulus would favour
    const std::uint64_t wide = 3u << 30;
    int lower = 0;
    for (int i = 0; i < 30'000; ++i) lower += generator.uniform_integer(wide) < wide / 3;
    CHECK(std::abs(lower - 10'000) < 500);
    CHECK_THROWS_AS(generator.uniform_integer(0), xgrad::Error);
}

TEST_CASE("A permutation has every number once, and every order is as likely", "[generator]") {
    Generator generator(8);
    auto order = generator.permutation(1000);
    CHECK_FALSE(std::is_sorted(order.begin(), order.end()));
    std::sort(order.begin(), order.end());
    for (std::int64_t i = 0; i < 1000; ++i) REQUIRE(order[static_cast<std::size_t>(i)] == i);
    CHECK(generator.permutation(0).empty());

    std::vector<int> counts(27);
    for (int i = 0; i < 12'000; ++i) {
        const auto three = generator.permutation(3);
        ++counts[static_cast<std::size_t>(three[0] * 9 + three[1] * 3 + three[2])];
    }
    CHECK(std::count(counts.begin(), counts.end(), 0) == 21);
    for (int count : counts) CHECK((count == 0 || std::abs(count - 2000) < 250));
}

TEST_CASE("Splits are unlike each other and unlike their origin", "[generator]") {
    Generator generator(10), again(10);
    Generator first = generator.split(), second = generator.split();
    CHECK(again.split().state() == first.state());
    std::set<std::uint64_t> all;
    for (int i = 0; i < 1000; ++i) all.insert({generator.bits64(), first.bits64(), second.bits64()});
    CHECK(all.size() == 3000);
}

TEST_CASE("Each thread has a generator of its own, and seed sets it", "[generator]") {
    xgrad::seed(11);
    CHECK(xgrad::current_generator().state() == Generator(11).state());
    Generator::State first, second, seeded;
    std::thread([&] { first = xgrad::current_generator().state(); }).join();
    std::thread([&] { second = xgrad::current_generator().state(); }).join();
    std::thread([&] {
        xgrad::seed(12);
        seeded = xgrad::current_generator().state();
    }).join();
    CHECK(first.seed == second.seed);
    CHECK(first.stream != second.stream);
    CHECK(seeded == Generator(12).state());
    CHECK(xgrad::current_generator().state() == Generator(11).state());
}
