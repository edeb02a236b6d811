#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "kernel_twins.hpp"
#include "threads.hpp"
#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>

using namespace xgrad;
using kernels::Broadcast;
using kernels::elementwise_kernel;
using testing::LevelScope;
using twins::numbers;

namespace {

using Shape = std::vector<std::size_t>;

std::size_t size_of(std::span<const std::size_t> shape) {
    std::size_t size = 1;
    for (std::size_t extent : shape) size *= extent;
    return size;
}

// The element of an operand that stands at a place of the result, by the definition of broadcasting.
std::size_t source(std::size_t place, const Shape& result, const Shape& operand) {
    std::size_t index = 0, stride = 1;
    for (std::size_t back = 1; back <= result.size(); ++back) {
        const std::size_t extent = result[result.size() - back], at = place % extent;
        place /= extent;
        if (back > operand.size()) continue;
        const std::size_t own = operand[operand.size() - back];
        index += own == 1 ? 0 : at * stride;
        stride *= own;
    }
    return index;
}

// What two shapes broadcast to.
Shape broadcast(const Shape& a, const Shape& b) {
    Shape result(std::max(a.size(), b.size()), 1);
    for (const Shape& shape : {a, b})
        for (std::size_t back = 1; back <= shape.size(); ++back)
            if (const std::size_t extent = shape[shape.size() - back]; extent != 1)
                result[result.size() - back] = extent;
    return result;
}

// A formula of three operands that tells them apart.
constexpr auto formula = [](auto a, auto b, auto c) { return a * b - exp(c) / a; };

template <class T> void check_broadcast(const Shape& a, const Shape& b, const Shape& c) {
    INFO(describe(a) << " " << describe(b) << " " << describe(c));
    const Shape result = broadcast(broadcast(a, b), c);
    const std::size_t size = size_of(result);
    const auto x = numbers<T>(size_of(a), 1, 0.5, 2), y = numbers<T>(size_of(b), 2, 0.5, 2),
               z = numbers<T>(size_of(c), 3, 0.5, 2), g = numbers<T>(size, 4, 0.5, 2);
    const auto& kernel = elementwise_kernel<decltype(formula), T, 3>();
    const Broadcast loop(result, {a, b, c});
    CHECK(loop.size == size);
    const T* inputs[] = {x.data(), y.data(), z.data()};

    // One more element than needed, to see that it stays.
    std::vector<T> out(size + 1, T(-99));
    kernel.forward(&formula, loop, out.data(), inputs);
    std::vector<std::vector<T>> expected(3, std::vector<T>(size));
    bool right = out[size] == T(-99);
    for (std::size_t i = 0; i < size; ++i) {
        const T p = x[source(i, result, a)], q = y[source(i, result, b)], e = std::exp(z[source(i, result, c)]);
        right = right && out[i] == Approx(p * q - e / p).epsilon(1e-5).margin(1e-5);
        expected[0][i] = g[i] * (q + e / (p * p));
        expected[1][i] = g[i] * p;
        expected[2][i] = -g[i] * e / p;
    }
    CHECK(right);

    // The gradients of operands, summed up.
    const Shape shapes[] = {a, b, c};
    std::vector<std::vector<double>> sums(3);
    for (unsigned k = 0; k < 3; ++k) {
        sums[k].resize(size_of(shapes[k]));
        for (std::size_t i = 0; i < size; ++i) sums[k][source(i, result, shapes[k])] += expected[k][i];
    }
    for (unsigned needed = 1; needed < 8; ++needed) {
        std::vector<std::vector<T>> gradients(3);
        T* pointers[3];
        std::array<bool, 3> summed;
        const T* cotangent = g.data();
        for (unsigned k = 0; k < 3; ++k) {
            summed[k] = (needed >> k & 1) && kernels::sums_up(loop, k);
            gradients[k].assign((summed[k] ? sums[k].size() : size) + 1, T(-99));
            pointers[k] = needed >> k & 1 ? gradients[k].data() : nullptr;
            if (pointers[k] && !summed[k] && cotangent == g.data())  // the first of the full shape is written over it
                std::copy(g.begin(), g.end(), gradients[k].begin()), cotangent = gradients[k].data();
        }
        kernel.backward(&formula, loop, cotangent, inputs, pointers, summed);
        for (unsigned k = 0; k < 3; ++k) {
            if (!pointers[k]) continue;
            bool good = gradients[k].back() == T(-99);
            for (std::size_t i = 0; i + 1 < gradients[k].size(); ++i) {
                const double right_one = summed[k] ? sums[k][i] : static_cast<double>(expected[k][i]);
                good = good && gradients[k][i] == Approx(right_one).epsilon(3e-5);
            }
            INFO("gradient " << k << " of " << needed << (summed[k] ? ", summed" : ""));
            CHECK(good);
        }
    }

    for (unsigned needed = 0; needed < 8; ++needed) {
        std::vector<std::vector<T>> gradients(3, std::vector<T>(size + 1, T(-99)));
        T* pointers[3];
        for (unsigned k = 0; k < 3; ++k) pointers[k] = needed >> k & 1 ? gradients[k].data() : nullptr;
        kernel.backward(&formula, loop, g.data(), inputs, pointers);
        for (unsigned k = 0; k < 3; ++k) {
            bool good = gradients[k][size] == T(-99);
            for (std::size_t i = 0; i < size; ++i)
                good =
                    good && gradients[k][i] == (needed >> k & 1 ? Approx(expected[k][i]).epsilon(1e-5) : Approx(-99));
            INFO("gradient " << k << " of " << needed);
            CHECK(good);
        }
    }
}

}  // namespace

TEMPLATE_TEST_CASE("a formula runs over operands that broadcast", "[elementwise]", float, double) {
    const std::vector<std::vector<Shape>> cases{
        {{}, {}, {}},
        {{1}, {}, {1, 1}},
        {{7}, {7}, {7}},
        {{16}, {16}, {1}},
        {{33}, {}, {33}},
        {{3, 5}, {5}, {3, 1}},
        {{4, 17}, {4, 17}, {17}},
        {{4, 1}, {1, 19}, {}},
        {{2, 3, 5}, {3, 1}, {2, 1, 5}},
        {{2, 1, 4, 1}, {3, 1, 21}, {1, 1, 1, 1}},
        {{2, 3, 4, 5}, {2, 3, 4, 5}, {3, 1, 1}},
        {{1, 1, 64}, {2, 1, 1}, {5, 1}},
        {{0}, {1}, {}},
        {{3, 0, 2}, {1, 2}, {3, 1, 1}},
        {{2, 1, 2, 1, 2, 1, 2}, {1, 2, 1, 2, 1, 2, 1}, {}},
        {{300, 257}, {257}, {300, 1}},
        {{6000, 7}, {7}, {6000, 1}},
        {{90, 40, 5}, {40, 1}, {90, 1, 5}},
        {{9000, 15}, {1, 15}, {9000, 15}},
    };
    for (const auto& shapes : cases) {
        check_broadcast<TestType>(shapes[0], shapes[1], shapes[2]);
        check_broadcast<TestType>(shapes[2], shapes[0], shapes[1]);
    }
}

TEMPLATE_TEST_CASE("a formula runs over rows of any length that are repeated, and numbers that are", "[elementwise]",
                   float, double) {
    for (std::size_t length = 1; length <= 34; ++length) {
        check_broadcast<TestType>({9, 11, length}, {9, 1, length}, {11, length});
        check_broadcast<TestType>({9, 11, 1}, {9, 11, length}, {11, 1});
        check_broadcast<TestType>({3, 4, 5, length}, {3, 1, 5, length}, {4, 1, 1});
    }
    check_broadcast<TestType>({1500, 11, 3}, {1500, 1, 3}, {11, 3});  // pieces begin within rows
    check_broadcast<TestType>({1500, 40, 2}, {1500, 1, 2}, {40, 1});
    check_broadcast<TestType>({5000, 3, 3}, {5000, 3, 1}, {5000, 1, 3});  // vectors recur after several rows
    check_broadcast<TestType>({900, 6, 7}, {900, 1, 7}, {900, 6, 1});
    check_broadcast<TestType>({30, 29, 2, 5}, {30, 29, 1, 5}, {29, 2, 1});
    check_broadcast<TestType>({2, 500, 31}, {2, 1, 31}, {500, 1});
    check_broadcast<TestType>({60, 3, 4, 5}, {3, 1, 5}, {60, 1, 4, 1});
}

TEMPLATE_TEST_CASE("gradients of what was broadcast are summed up in blocks and pieces of any size", "[elementwise]",
                   float, double) {
    for (const std::vector<Shape>& shapes : std::vector<std::vector<Shape>>{
             {{70001}, {}, {1}},             // all to one number
             {{300, 1024}, {1024}, {}},      // a block is a row
             {{130, 700}, {700}, {130, 1}},  // or some rows
             {{20, 4096}, {4096}, {20, 1}},  // the longest row
             {{9, 4097}, {4097}, {9, 1}},    // one that is too long
             {{6, 30000}, {6, 1}, {}},
             {{50, 40, 40}, {50, 1, 40}, {40, 1}},  // a middle axis, and two that are not neighbours
             {{2, 3000, 3}, {2, 1, 3}, {3}}}) {
        check_broadcast<TestType>(shapes[0], shapes[1], shapes[2]);
        check_broadcast<TestType>(shapes[1], shapes[2], shapes[0]);
    }
}

TEST_CASE("gradients are summed up along one group of axes, where what is within is not long", "[elementwise]") {
    const auto sums_up = [](const Shape& result, const Shape& operand) {
        return kernels::sums_up(Broadcast(result, {result, operand}), 1);
    };
    CHECK(sums_up({70001}, {}));
    CHECK(sums_up({9, 4096}, {4096}));
    CHECK_FALSE(sums_up({9, 4097}, {4097}));
    CHECK(sums_up({9, 4096}, {9, 1}));
    CHECK_FALSE(sums_up({9, 4097}, {9, 1}));
    CHECK(sums_up({5, 64, 64}, {5, 1, 64}));
    CHECK_FALSE(sums_up({5, 6, 7}, {6, 1}));
    CHECK_FALSE(sums_up({5, 6}, {5, 6}));
    CHECK_FALSE(sums_up({0, 6}, {6}));
}

TEST_CASE("any number of threads gives bitwise the same summed gradients", "[elementwise][threads]") {
    const std::size_t rows = 3000, columns = 50;
    const auto x = numbers<float>(rows * columns, 1, 0.5, 2), y = numbers<float>(columns, 2, 0.5, 2),
               z = numbers<float>(rows, 3, 0.5, 2), g = numbers<float>(rows * columns, 4, 0.5, 2);
    const auto& kernel = elementwise_kernel<decltype(formula), float, 3>();
    const Broadcast loop(Shape{rows, columns}, {Shape{rows, columns}, Shape{columns}, Shape{rows, 1}});
    const float* inputs[] = {x.data(), y.data(), z.data()};
    const auto run = [&] {
        std::vector<float> dy(columns), dz(rows);
        float* gradients[] = {nullptr, dy.data(), dz.data()};
        kernel.backward(&formula, loop, g.data(), inputs, gradients, {false, true, true});
        return std::pair(dy, dz);
    };
    const xgrad::testing::Threads scope(1);
    const auto expected = run();
    for (std::size_t threads : {2, 3}) {
        xgrad::set_threads(threads);
        CHECK(run() == expected);
    }
}

TEMPLATE_TEST_CASE("gathering writes at most short_row numbers behind its own", "[elementwise]", float, double) {
    for (std::size_t length = 1; length < kernels::short_row; ++length)
        for (const std::size_t rows : {2, 5, 16})
            for (const Shape& operand :
                 {Shape{300, 1, length}, Shape{300, rows, 1}, Shape{rows, length}, Shape{1, rows, 1}}) {
                const Shape result{300, rows, length};
                CAPTURE(length, operand);
                const auto x = numbers<TestType>(size_of(operand), 1, 0.5, 2);
                const Broadcast loop(result, {operand, Shape{rows, 1}});  // rows stay rows, beside a column
                for (const LevelScope at : xgrad::twins::levels()) {
                    INFO(at.name());
                    const kernels::RecurringOperand<TestType> gather(loop, 0, x.data());
                    for (const std::size_t begin :
                         {std::size_t{0}, length / 2, 3 * length + length / 3, 4 * rows * length}) {
                        const std::size_t count = loop.size - begin - (begin + length) % 4;
                        std::vector<TestType> gathered(count + kernels::short_row + 1, -99);
                        gather(begin, count, gathered.data());
                        CHECK(gathered.back() == -99);
                        bool right = true;
                        for (std::size_t i = 0; i < count; ++i)
                            right = right && gathered[i] == x[source(begin + i, result, operand)];
                        CHECK(right);
                    }
                }
            }
}

TEST_CASE("dimensions that say the same collapse into one", "[elementwise]") {
    const Shape full{4, 5, 6, 7}, channel{5, 1, 1}, row{7}, one{1, 1}, rows{4, 5, 1, 1};
    CHECK(Broadcast(full, {full, full}).rank == 1);
    CHECK(Broadcast(full, {full, one}).rank == 1);
    CHECK(Broadcast(full, {full, row}).rank == 2);
    CHECK(Broadcast(full, {full, channel}).rank == 3);
    CHECK(Broadcast(full, {full, rows}).rank == 2);
    CHECK(Broadcast(full, {full, rows}).extent[0] == 42);
    CHECK(Broadcast(Shape{}, {one, Shape{}}).rank == 1);
}

TEST_CASE("dimensions may take turns in being repeated up to a limit, which an error names", "[elementwise][errors]") {
    const auto turns = [](std::size_t dimensions) {
        Shape full(dimensions, 2), every_other = full;
        for (std::size_t d = 0; d < dimensions; d += 2) every_other[d] = 1;
        return Broadcast(full, {every_other}).rank;
    };
    CHECK(turns(16) == 16);
    CHECK_THROWS_WITH(turns(17), ContainsSubstring("more than 16 dimensions"));
}

TEST_CASE("results may overwrite inputs, and gradients the cotangent or an input", "[elementwise]") {
    const Shape shape{5, 13}, row{13};
    const auto a = numbers<float>(65, 1, 0.5, 2), b = numbers<float>(65, 2, 0.5, 2), g = numbers<float>(65, 3, 0.5, 2),
               r = numbers<float>(13, 4, 0.5, 2);
    const formulas::Multiply multiply;
    const auto& kernel = elementwise_kernel<formulas::Multiply, float, 2>();

    auto x = a;
    const float* in_place[] = {x.data(), r.data()};
    kernel.forward(&multiply, Broadcast(shape, {shape, row}), x.data(), in_place);
    for (std::size_t i = 0; i < 65; ++i) CHECK(x[i] == a[i] * r[i % 13]);

    x = a;
    auto y = b, cotangent = g;
    const float* inputs[] = {x.data(), y.data()};
    float* gradients[] = {cotangent.data(), x.data()};
    kernel.backward(&multiply, Broadcast(shape, {shape, shape}), cotangent.data(), inputs, gradients);
    for (std::size_t i = 0; i < 65; ++i) {
        CHECK(cotangent[i] == g[i] * b[i]);
        CHECK(x[i] == g[i] * a[i]);
    }

    // One gradient alone, with an operand that repeats a number in each row, whose 13 places fill no lane.
    const Shape column{5, 1};
    x = a, cotangent = g;
    const float* with_column[] = {x.data(), r.data()};
    float* first[] = {cotangent.data(), nullptr};
    kernel.backward(&multiply, Broadcast(shape, {shape, column}), cotangent.data(), with_column, first);
    kernel.forward(&multiply, Broadcast(shape, {shape, column}), x.data(), with_column);
    for (std::size_t i = 0; i < 65; ++i) {
        CHECK(cotangent[i] == g[i] * r[i / 13]);
        CHECK(x[i] == a[i] * r[i / 13]);
    }
}

TEST_CASE("a long result is right from end to end", "[elementwise]") {
    const Shape shape{1000, 333}, column{1000, 1};
    const auto a = numbers<float>(333000, 1, 0.5, 2), b = numbers<float>(1000, 2, 0.5, 2);
    std::vector<float> out(a.size());
    const formulas::Add add;
    const float* inputs[] = {a.data(), b.data()};
    elementwise_kernel<formulas::Add, float, 2>().forward(&add, Broadcast(shape, {shape, column}), out.data(), inputs);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < out.size(); ++i) wrong += out[i] != a[i] + b[i / 333];
    CHECK(wrong == 0);
}

TEST_CASE("formulas carry their numbers", "[elementwise]") {
    const Shape shape{3};
    const std::vector<double> x{-2, 0.5, 9};
    const double* inputs[] = {x.data()};
    std::vector<double> y(3), dy(3), g{1, 10, 100};
    double* gradients[] = {dy.data()};
    const formulas::Clip clip{-1, 4};
    const auto& library = elementwise_kernel<formulas::Clip, double, 1>();
    library.forward(&clip, Broadcast(shape, {shape}), y.data(), inputs);
    library.backward(&clip, Broadcast(shape, {shape}), g.data(), inputs, gradients);
    CHECK(y == std::vector<double>{-1, 0.5, 4});
    CHECK(dy == std::vector<double>{0, 10, 0});

    const double slope = 3;
    const auto user = [=](auto v) { return slope * v + 1; };
    const auto& own = elementwise_kernel<decltype(user), double, 1>();
    own.forward(&user, Broadcast(shape, {shape}), y.data(), inputs);
    own.backward(&user, Broadcast(shape, {shape}), g.data(), inputs, gradients);
    CHECK(y == std::vector<double>{-5, 2.5, 28});
    CHECK(dy == std::vector<double>{3, 30, 300});
}
