#include <array>
#include <cstddef>
#include <tuple>
#include <vector>

#include "catch.hpp"
#include "gemm_case.hpp"
#include "threads.hpp"
#include <xgrad/autodiff/kernels/gemm.hpp>

using namespace xgrad::products;
using xgrad::kernels::Gemm;
using xgrad::kernels::gemm;
using xgrad::kernels::gemm_batch;
using xgrad::testing::Threads;

TEMPLATE_TEST_CASE("a batch of products equals its products", "[gemm]", float, double) {
    for (const LevelScope at : best_levels())
        for (auto [rows, columns, depth, transpose_b] :
             {std::tuple(5, 8, 6, true), {40, 43, 41, true}, {130, 133, 131, true}, {20, 400, 60, false},
              {9, 30, 4200, false}, {183, 1024, 129, false}}) {
            Case<TestType> one(static_cast<std::size_t>(rows), static_cast<std::size_t>(columns),
                               static_cast<std::size_t>(depth), false, transpose_b);
            const std::size_t count = 4;
            const std::size_t a_step = one.a.size() + 2, c_step = one.c.size() + 1;
            const auto a = numbers<TestType>(count * a_step, 5);
            std::vector<TestType> c(count * c_step), expected = c;
            Gemm<TestType> g = one.g;
            g.a = a.data(), g.c = c.data();
            gemm_batch(g, count, a_step, 0, c_step);
            for (std::size_t i = 0; i < count; ++i) {
                g.a = a.data() + i * a_step, g.c = expected.data() + i * c_step;
                gemm(g);
            }
            CHECK(c == expected);
        }
}

namespace {

// Products of every transpose, whose matrices lie in memory without gaps, or of which one is for all.
template <class T> void check_batch(std::size_t count, std::size_t rows, std::size_t columns, std::size_t depth) {
    for (bool transpose_a : {false, true})
        for (bool transpose_b : {false, true})
            for (auto [one_a, one_b, accumulate] :
                 {std::tuple(false, false, false), {true, false, true}, {false, true, false}, {false, false, true}}) {
                Case<T> one(rows, columns, depth, transpose_a, transpose_b);
                one.g.accumulate = accumulate;
                const std::size_t a_step = one_a ? 0 : one.a.size(), b_step = one_b ? 0 : one.b.size(),
                                  c_step = one.c.size();
                const auto a = numbers<T>(one_a ? one.a.size() : count * a_step, 5),
                           b = numbers<T>(one_b ? one.b.size() : count * b_step, 6),
                           before = numbers<T>(count * c_step, 7);
                for (const LevelScope at : levels()) {
                    auto c = before;
                    Gemm<T> g = one.g;
                    g.a = a.data(), g.b = b.data(), g.c = c.data();
                    gemm_batch(g, count, a_step, b_step, c_step);
                    double worst = 0;
                    for (std::size_t i = 0; i < count; ++i) {
                        const auto part = [i](const auto& all, std::size_t step, std::size_t size) {
                            const auto begin = all.begin() + static_cast<std::ptrdiff_t>(i * step);
                            return std::vector(begin, begin + static_cast<std::ptrdiff_t>(size));
                        };
                        one.a = part(a, a_step, one.a.size()), one.b = part(b, b_step, one.b.size());
                        one.c = part(before, c_step, c_step);
                        const double error = one.error(part(c, c_step, c_step), one.expected());
                        worst = error <= worst ? worst : error;  // a NaN is worst
                    }
                    if (!(worst < 4))
                        FAIL_CHECK(one.describe() << (one_a ? " one a" : "") << (one_b ? " one b" : "") << " of "
                                                       << count << ": error of " << worst << " units");
                }
            }
}

}  // namespace

// As many products as fill registers several times, and some more.
TEMPLATE_TEST_CASE("batches of tiny products equal the triple loop", "[gemm]", float, double) {
    for (std::size_t rows : {1, 2, 3, 4, 5})
        for (std::size_t columns : {1, 2, 3, 4, 6})
            for (std::size_t depth : {1, 2, 3, 4, 8, 9}) check_batch<TestType>(37, rows, columns, depth);
}

TEMPLATE_TEST_CASE("batches of products with a vector equal the triple loop", "[gemm]", float, double) {
    const std::vector<std::size_t> sizes{1, 2, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 50, 64, 65, 70};
    for (std::size_t n : sizes)
        for (std::size_t m : {1, 2, 3, 7, 8, 10, 16, 19, 33, 64, 66}) {
            check_batch<TestType>(3, n, 1, m);
            check_batch<TestType>(2, 1, n, m);
            check_batch<TestType>(1, m, n, 1);
            check_batch<TestType>(5, n, m, 1);
        }
    for (std::size_t n : sizes) check_batch<TestType>(45, 1, 1, n);
    check_batch<TestType>(1, 255, 1, 20);
    check_batch<TestType>(1, 1, 257, 20);
}

TEMPLATE_TEST_CASE("any number of threads gives bitwise the same batch of small products", "[gemm][threads]", float,
                   double) {
    const std::size_t count = 6001;
    const auto [rows, columns, depth] = GENERATE(std::array<std::size_t, 3>{3, 2, 3}, std::array<std::size_t, 3>{1, 9, 7},
                                                 std::array<std::size_t, 3>{9, 1, 7}, std::array<std::size_t, 3>{1, 1, 20});
    const std::size_t a_size = rows * depth, b_size = depth * columns, c_size = rows * columns;
    const auto a = numbers<TestType>(count * a_size, 1), b = numbers<TestType>(count * b_size, 2);
    const Gemm<TestType> product{.rows = rows, .columns = columns, .depth = depth,
                                 .a = a.data(), .a_stride = depth, .b = b.data(), .b_stride = columns,
                                 .c_stride = columns};
    const auto run = [&] {
        std::vector<TestType> c(count * c_size);
        Gemm<TestType> g = product;
        g.c = c.data();
        gemm_batch<TestType>(g, count, a_size, b_size, c_size);
        return c;
    };
    const Threads scope(1);
    const auto expected = run();
    for (std::size_t threads : {2, 3}) {
        xgrad::set_threads(threads);
        CHECK(run() == expected);
    }
}
