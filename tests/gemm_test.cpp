#include <algorithm>
#include <array>
#include <bit>
#include <cblas.h>
#include <cmath>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "gemm_case.hpp"
#include "threads.hpp"
#include <xgrad/autodiff/kernels/gemm.hpp>

using namespace xgrad::products;
using xgrad::Activation;
using xgrad::testing::Threads;

namespace {

// At every level.
template <class T> void check(const Case<T>& product) {
    const auto expected = product.expected();
    for (const LevelScope at : levels()) {
        const double error = product.error(product.run(), expected);
        if (!(error < 4)) FAIL_CHECK(product.describe() << ": error of " << error << " units");
    }
}

template <class T>
void check_all_ways(std::size_t rows, std::size_t columns, std::size_t depth, std::size_t padding = 0) {
    for (bool transpose_a : {false, true})
        for (bool transpose_b : {false, true})
            check(Case<T>(rows, columns, depth, transpose_a, transpose_b, padding));
}

}  // namespace

TEMPLATE_TEST_CASE("products of all small and odd sizes equal the triple loop", "[gemm]", float, double) {
    for (std::size_t rows : {0, 1, 2, 4, 7, 13, 14, 15, 29})
        for (std::size_t columns : {0, 1, 3, 8, 10, 16, 17, 31, 33})
            for (std::size_t depth : {0, 1, 2, 5, 16, 19}) check_all_ways<TestType>(rows, columns, depth);
}

TEMPLATE_TEST_CASE("products of larger sizes equal the triple loop", "[gemm]", float, double) {
    for (std::size_t padding : {0, 5}) {
        check_all_ways<TestType>(48, 48, 128, padding);
        check_all_ways<TestType>(47, 41, 125, padding);
        check_all_ways<TestType>(48, 48, 129, padding);
        check_all_ways<TestType>(65, 63, 64, padding);
        check_all_ways<TestType>(1, 130, 67, padding);
        check_all_ways<TestType>(131, 1, 70, padding);
        check_all_ways<TestType>(3, 300, 33, padding);
        check_all_ways<TestType>(64, 10, 128, padding);
        check_all_ways<TestType>(270, 33, 10, padding);
        check_all_ways<TestType>(5, 7, 1000, padding);
        check_all_ways<TestType>(30, 400, 9, padding);
        check_all_ways<TestType>(30, 1030, 9, padding);
        check_all_ways<TestType>(45, 1100, 530, padding);
        check_all_ways<TestType>(5, 6, 4200, padding);
        check_all_ways<TestType>(9, 30, 4200, padding);
        check_all_ways<TestType>(16, 148, 300, padding);
        check_all_ways<TestType>(23, 1100, 530, padding);
        check_all_ways<TestType>(10, 1024, 300, padding);
        check_all_ways<TestType>(9, 40, 2100, padding);
        check_all_ways<TestType>(150, 300, 40, padding);
        check_all_ways<TestType>(4, 257, 128, padding);
        check_all_ways<TestType>(1030, 1024, 3, padding);
        for (std::size_t rows = 1; rows < 8; ++rows) check_all_ways<TestType>(rows, 471, 37, padding);
        check_all_ways<TestType>(420, 630, 5, padding);
        check_all_ways<TestType>(110, 115, 32, padding);
        check_all_ways<TestType>(129, 97, 131, padding);
        check_all_ways<TestType>(113, 145, 49, padding);
        check_all_ways<TestType>(150, 100, 150, padding);
        check_all_ways<TestType>(183, 70, 40, padding);
        check_all_ways<TestType>(30, 110, 140, padding);
    }
}

TEMPLATE_TEST_CASE("products of every short depth equal the triple loop", "[gemm]", float, double) {
    for (std::size_t depth = 1; depth < 18; ++depth)
        for (std::size_t columns : {3, 30, 47, 165}) check_all_ways<TestType>(18, columns, depth, 5);
}

TEMPLATE_TEST_CASE("products of few columns and of small matrices with a long depth equal the triple loop", "[gemm]", float,
                   double) {
    for (std::size_t columns : {2, 3, 5, 9, 10, 12, 20, 24, 31}) check_all_ways<TestType>(65, columns, 40, 5);
    check_all_ways<TestType>(50, 41, 1100, 5);
    check_all_ways<TestType>(13, 107, 600, 5);
    check_all_ways<TestType>(100, 12, 4200, 5);
}

TEMPLATE_TEST_CASE("a product adds to C, then the bias, then applies the activation", "[gemm]", float, double) {
    for (auto [rows, columns, depth] :
         {std::array{15, 33, 7}, {14, 32, 400}, {1, 40, 20}, {40, 1, 20}, {3, 5, 0}, {65, 25, 2100}, {120, 101, 34},
          {40, 1, 2}, {140, 100, 1100}, {20, 260, 300}, {50, 300, 20}, {40, 100, 7}, {60, 10, 70}, {20, 30, 1100},
          {40, 170, 14}, {40, 35, 14}})
        for (int options = 0; options < (rows * columns * depth < 1'000'000 ? 32 : 16); ++options) {
            Case<TestType> product(rows, columns, depth, options & 16, options & 8, 3);
            product.g.accumulate = options & 1;
            product.g.bias = options & 2 ? product.bias.data() : nullptr;
            product.g.activation = options & 4 ? Activation::relu : Activation::none;
            check(product);
        }
}

TEMPLATE_TEST_CASE("a depth of 0 gives zeros or the bias", "[gemm]", float, double) {
    for (auto [rows, columns] : {std::array{20, 40}, {20, 300}, {200, 100}, {500, 100}, {60, 1100}})
        for (bool transpose_b : {false, true}) {
            Case<TestType> product(rows, columns, 0, false, transpose_b);
            CHECK(product.run() == std::vector<TestType>(rows * columns, 0));
            product.g.bias = product.bias.data();
            const auto result = product.run();
            for (std::size_t i = 0; i < result.size(); ++i) REQUIRE(result[i] == product.bias[i % columns]);
        }
}

TEMPLATE_TEST_CASE("matrices need no alignment", "[gemm]", float, double) {
    for (const LevelScope at : levels())
        for (bool transpose : {false, true})
            for (auto [rows, columns, depth] : {std::array{37, 45, 21}, {20, 300, 50}, {40, 70, 9}}) {
                Case<TestType> product(rows, columns, depth, transpose, transpose), shifted = product;
                for (auto* matrix : {&shifted.a, &shifted.b}) matrix->insert(matrix->begin(), 1, 0);
                shifted.g.a = shifted.a.data() + 1, shifted.g.b = shifted.b.data() + 1;
                INFO(product.describe());
                CHECK(product.run() == shifted.run());
            }
}

TEMPLATE_TEST_CASE("NaN and infinity go through a product as arithmetic has it", "[gemm]", float, double) {
    constexpr TestType nan = std::numeric_limits<TestType>::quiet_NaN();
    constexpr TestType infinity = std::numeric_limits<TestType>::infinity();
    for (const LevelScope at : levels())
        for (auto [columns, depth] : {std::array<std::size_t, 2>{1, 20}, {17, 20}, {32, 20}, {40, 20}, {300, 20}, {40, 6}}) {
            Case<TestType> product(16, columns, depth, false, false);
            std::fill(product.b.begin(), product.b.end(), TestType(0));
            product.a[0] = nan;               // row 0: NaN·0
            product.a[depth + 3] = infinity;  // row 1: ∞·0
            std::fill_n(product.b.begin() + 5 * columns, columns, TestType(1));
            product.a[2 * depth + 5] = infinity;  // row 2: ∞·1
            product.g.activation = Activation::relu;
            INFO(product.describe());
            const auto result = product.run();
            for (std::size_t j = 0; j < columns; ++j) {
                REQUIRE(std::isnan(result[j]));
                REQUIRE(std::isnan(result[columns + j]));
                REQUIRE(result[2 * columns + j] == infinity);
                REQUIRE(std::isfinite(result[3 * columns + j]));
            }
        }
}

TEST_CASE("infinity, NaN and the largest numbers go through large products as arithmetic has it", "[gemm]") {
    constexpr float infinity = std::numeric_limits<float>::infinity(), largest = std::numeric_limits<float>::max();
    for (const LevelScope at : levels())
        for (std::size_t depth : {40, 300, 1200})
            for (int options = 0; options < 8; ++options) {
                Case<float> product(130, 140, depth, false, true);
                product.g.accumulate = options & 1;
                product.g.bias = options & 2 ? product.bias.data() : nullptr;
                product.g.activation = options & 4 ? Activation::relu : Activation::none;
                product.a[5 * depth + 2] = infinity;
                product.a[6 * depth + 3] = std::numeric_limits<float>::quiet_NaN();
                product.a[7 * depth + 4] = std::bit_cast<float>(0x7FFFFFFFu);  // NaN, which rounding would make 0
                std::fill_n(product.a.begin() + 40 * depth, depth, 0.0f);
                product.a[40 * depth + 7] = largest;
                std::fill_n(product.b.begin() + 35 * depth, depth, 0.25f);
                std::fill_n(product.b.begin() + 100 * depth, depth, 8.0f);
                const auto result = product.run();
                INFO(product.describe());
                for (std::size_t j = 0; j < 140; ++j) {
                    const bool vanishes = product.b[j * depth + 2] < 0 && product.g.activation == Activation::relu;
                    REQUIRE(result[5 * 140 + j] == (vanishes ? 0 : std::copysign(infinity, product.b[j * depth + 2])));
                    REQUIRE(std::isnan(result[6 * 140 + j]));
                    REQUIRE(std::isnan(result[7 * 140 + j]));
                }
                CHECK(result[40 * 140 + 35] == largest / 4);
                CHECK(result[40 * 140 + 100] == infinity);
                for (std::size_t i : {0, 4, 31, 39, 41, 129})
                    for (std::size_t j : {0, 1, 30, 35, 99, 100, 127, 128, 139})
                        REQUIRE(std::fabs(result[i * 140 + j] - product.entry(i, j)) < 1e-3);
            }
}

TEST_CASE("a product does not depend on what its workspace held before", "[gemm]") {
    const Threads scope(1);  // which keeps its workspace for the next product
    for (const LevelScope at : levels())
        for (auto [rows, columns, depth] : {std::array{128, 129, 300}, {1030, 1023, 5}}) {
            const Case<float> product(rows, columns, depth, false, true);
            Case<double> other(200, 300, 300, false, true);
            INFO(product.describe());
            const auto expected = product.run();
            for (double fill : {1.0, std::numeric_limits<double>::quiet_NaN()}) {
                std::fill(other.b.begin(), other.b.end(), fill);
                other.run();
                CHECK(product.run() == expected);
            }
        }
}

TEST_CASE("the entries of a product are as exact as sums of single precision can be, at every level", "[gemm]") {
    // Factors of all magnitudes, and sums that cancel: what rounding may change is relative to the sum of magnitudes.
    for (std::size_t depth : {64, 500, 3000}) {
        Case<float> product(120, 110, depth, false, false);
        std::uint32_t seed = 7;
        for (auto* matrix : {&product.a, &product.b})
            for (float& x : *matrix) {
                seed = seed * 1664525u + 1013904223u;
                x = std::ldexp(x, static_cast<int>(seed >> 27) - 16);
            }
        for (const LevelScope at : levels()) {
            const auto result = product.run();
            double squares = 0;
            for (std::size_t i = 0; i < 120; ++i)
                for (std::size_t j = 0; j < 110; ++j) {
                    double magnitudes = 0;
                    for (std::size_t k = 0; k < depth; ++k)
                        magnitudes += std::fabs(static_cast<double>(product.a[i * depth + k]) * product.b[k * 110 + j]);
                    const double error = static_cast<double>(result[i * 110 + j] - product.entry(i, j)) / magnitudes;
                    squares += error * error;
                }
            const double typical = std::sqrt(squares / (120 * 110)) / std::numeric_limits<float>::epsilon();
            INFO(at.name() << " depth " << depth << ": " << typical << " ulp of the sum of magnitudes");
            CHECK(typical < 1.2);
        }
    }
}

TEST_CASE("a matrix unit takes what is below the normal numbers for zero, and nothing larger", "[gemm]") {
    const std::size_t depth = 64;
    for (const LevelScope at : xgrad::testing::Levels{xgrad::Level::amx})
        for (auto [a_exponent, b_exponent] : {std::array{-100, 0}, {-120, 0}, {0, -100}, {-55, -50}, {-63, -63}}) {
            Case<float> product(128, 128, depth, false, false);
            for (float& x : product.a) x = std::ldexp(x, a_exponent);
            for (float& x : product.b) x = std::ldexp(x, b_exponent);
            const auto result = product.run();
            INFO(product.describe() << ", factors of 2^" << a_exponent << " and 2^" << b_exponent);
            for (std::size_t i = 0; i < 128; ++i)
                for (std::size_t j = 0; j < 128; ++j)
                    REQUIRE(std::fabs(result[i * 128 + j] - product.entry(i, j)) < std::ldexp(6 * depth, -126));
        }
}

// Products of every transpose, added to what C holds, beside BLAS; rows are so many numbers further apart than they are
// long.
void check_against_blas(int rows, int columns, int depth, std::size_t padding) {
    for (bool transpose_a : {false, true})
        for (bool transpose_b : {false, true}) {
            Case<float> product(static_cast<std::size_t>(rows), static_cast<std::size_t>(columns),
                                static_cast<std::size_t>(depth), transpose_a, transpose_b, padding);
            product.g.accumulate = true;
            std::vector<float> expected = product.c;
            cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                        transpose_b ? CblasTrans : CblasNoTrans, rows, columns, depth, 1, product.g.a,
                        static_cast<int>(product.g.a_stride), product.g.b, static_cast<int>(product.g.b_stride), 1,
                        expected.data(), static_cast<int>(product.g.c_stride));
            const auto result = product.run();
            float worst = 0;
            for (std::size_t i = 0; i < result.size(); ++i)
                worst = std::max(worst, std::fabs(result[i] - expected[i]));
            INFO(product.describe());
            CHECK(worst < 1e-4f);
        }
}

TEST_CASE("large products equal BLAS", "[gemm]") {
    for (const LevelScope at : levels())
        for (auto [rows, columns, depth] :
             {std::array{257, 300, 500}, {128, 256, 784}, {600, 70, 129}, {20, 520, 1030}, {60, 1030, 2100}, {350, 380, 2100},
              {12, 1501, 2101}, {10, 700, 1500}, {75, 410, 600}, {400, 90, 2300}, {1, 700, 784}, {40, 520, 1030},
              {120, 110, 4200}, {2101, 10, 1030}, {100, 300, 1023}, {90, 400, 1023}, {100, 2048, 130}, {40, 600, 2048},
              {700, 130, 900}, {170, 610, 300}, {150, 129, 200}, {26, 1000, 400}})
            check_against_blas(rows, columns, depth, 1);
}

TEST_CASE("large products whose rows are whole pages apart equal BLAS", "[gemm]") {
    for (const LevelScope at : levels())
        for (auto [rows, columns, depth] :
             {std::array{183, 16, 1024}, {183, 384, 1024}, {29, 384, 1024}, {57, 2048, 129}, {25, 512, 2048},
              {33, 4096, 520}, {130, 2048, 130}})
            check_against_blas(rows, columns, depth, 0);
}

TEMPLATE_TEST_CASE("any number of threads gives bitwise the same product", "[gemm][threads]", float, double) {
    for (auto [rows, columns, depth] :
         {std::array{300, 400, 130}, {1000, 33, 200}, {33, 1000, 200}, {40, 50, 5000}, {70, 1100, 90}, {90, 250, 4500},
          {57, 1200, 400}, {1, 9000, 400}, {3001, 7, 400}, {600, 700, 9}, {75, 410, 600}, {400, 90, 2300},
          {40001, 1, 2}, {40, 520, 1030}, {20, 1300, 500}, {9, 333, 4200}, {300, 400, 20}, {1100, 1000, 30},
          {300, 200, 16}, {300, 1100, 150}, {70, 300, 1024}, {9, 2100, 1100}, {5000, 64, 2}, {3000, 150, 9},
          {48, 10, 9000}, {64, 40, 9000}})
        for (bool transpose_a : {false, true})
            for (bool transpose_b : {false, true}) {
                const Case<TestType> product(rows, columns, depth, transpose_a, transpose_b);
                for (const LevelScope at : best_levels()) {
                    const Threads scope(1);
                    INFO(product.describe());
                    const auto expected = product.run();
                    for (std::size_t threads : {2, 3, 4}) {
                        xgrad::set_threads(threads);
                        CHECK(product.run() == expected);
                    }
                }
            }
}

TEST_CASE("several user threads may multiply at the same time", "[gemm][threads]") {
    const Threads scope(3);
    const Case<float> product(150, 160, 170, false, true);
    const auto expected = product.run();
    std::vector<std::vector<float>> results(3);
    std::vector<std::thread> users;
    for (auto& result : results) users.emplace_back([&] { result = product.run(); });
    for (auto& user : users) user.join();
    for (const auto& result : results) CHECK(result == expected);
}
