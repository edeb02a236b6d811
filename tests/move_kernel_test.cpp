#include <algorithm>
#include <array>
#include <memory>
#include <numeric>

#if __has_include(<xtensor/views/xview.hpp>)
#include <xtensor/views/xview.hpp>
#else
#include <xtensor/xview.hpp>
#endif

#include "kernel_twins.hpp"
#include "random.hpp"
#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/xgrad.hpp>

using namespace xgrad;
using namespace xgrad::twins;
using xgrad::testing::same;

namespace {

const std::vector<std::size_t> sizes{0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 130, 1000};

// Memory that begins beside a line of the cache, with a number behind it that must stay.
template <class T> struct Target {
    std::vector<T> memory;

    explicit Target(std::size_t size) : memory(size + 2, T(77)) {}
    T* data() { return memory.data() + 1; }
    std::vector<T> numbers() const { return {memory.begin() + 1, memory.end() - 1}; }
    bool is_intact() const { return memory.front() == 77 && memory.back() == 77; }
};

}  // namespace

TEMPLATE_TEST_CASE("copies and fills write what they should and nothing beyond", "[move]", float, double) {
    using T = TestType;
    for (const Level at : levels())
        for (const std::size_t n : sizes) {
            CAPTURE(name(at), n);
            const auto x = numbers<T>(n, n);
            Target<T> copied(n), filled(n);
            kernels::copy(x.data(), n, copied.data(), at);
            CHECK(copied.numbers() == x);
            CHECK(copied.is_intact());
            kernels::fill(filled.data(), T(3.5), n, at);
            CHECK(filled.numbers() == std::vector<T>(n, T(3.5)));
            CHECK(filled.is_intact());
        }
}

TEMPLATE_TEST_CASE("a transpose has each number in its place, whatever the strides", "[move]", float, double) {
    using T = TestType;
    for (const Level at : levels())
        for (const std::size_t rows : {0, 1, 3, 8, 15, 16, 17, 33, 70})
            for (const std::size_t columns : {0, 1, 4, 7, 16, 18, 31, 65})
                for (const std::size_t padding : {0, 3}) {
                    CAPTURE(name(at), rows, columns, padding);
                    const std::size_t x_stride = rows + padding, y_stride = columns + 2 * padding;
                    const auto x = numbers<T>(columns * x_stride, rows);
                    Target<T> y(rows * y_stride);
                    std::vector<T> expected = y.numbers();
                    for (std::size_t r = 0; r < rows; ++r)
                        for (std::size_t c = 0; c < columns; ++c) expected[r * y_stride + c] = x[c * x_stride + r];
                    kernels::transpose(x.data(), x_stride, rows, columns, y.data(), y_stride, at);
                    CHECK(y.numbers() == expected);
                    CHECK(y.is_intact());
                }
}

TEMPLATE_TEST_CASE("a selection takes each number from where its condition says", "[move]", float, double) {
    using T = TestType;
    for (const Level at : levels())
        for (const std::size_t n : {0, 1, 5, 15, 16, 17, 64, 67, 40000})
            for (const bool one_a : {false, true})
                for (const bool one_b : {false, true}) {
                    CAPTURE(name(at), n, one_a, one_b);
                    auto a = numbers<T>(n + 1, 1);
                    const auto b = numbers<T>(n + 1, 2);
                    a[0] = std::numeric_limits<T>::quiet_NaN();  // where it is not taken, it is not heard of
                    const auto condition = std::make_unique<bool[]>(n + 1);
                    for (std::size_t i = 0; i < n; ++i) condition[i] = i % 3 == 1 || i % 7 == 5;
                    Target<T> y(n);
                    kernels::select<T>(condition.get(), {a.data(), one_a}, {b.data(), one_b}, y.data(), n, at);
                    std::size_t wrong = 0;
                    const auto result = y.numbers();
                    for (std::size_t i = 0; i < n; ++i) {
                        const T expected = condition[i] ? a[one_a ? 0 : i] : b[one_b ? 0 : i];
                        wrong += !(result[i] == expected || (result[i] != result[i] && expected != expected));
                    }
                    CHECK(wrong == 0);
                    CHECK(y.is_intact());
                }
}

TEST_CASE("arrays of four axes can be read in any order of them, large and small, on any number of threads", "[move]") {
    const std::size_t before = threads();
    for (const Shape& shape : {Shape{3, 2, 1, 4}, Shape{2, 37, 5, 70}, Shape{19, 1, 33, 40}}) {
        Array<float> numbers = empty<float>(shape);
        std::iota(numbers.begin(), numbers.end(), 0.0f);
        const Variable<> x(numbers);
        std::array<std::ptrdiff_t, 4> axes{0, 1, 2, 3};
        do {
            CAPTURE(describe(shape), axes[0], axes[1], axes[2], axes[3]);
            const Array<float> expected =
                xt::transpose(numbers, xt::svector<std::size_t, 4>(axes.begin(), axes.end()));
            for (const std::size_t count : {1, 3}) {
                set_threads(count);
                CHECK(transpose(x, {axes[0], axes[1], axes[2], axes[3]}).value() == expected);
            }
        } while (std::next_permutation(axes.begin(), axes.end()));
    }
    set_threads(before);
}

TEST_CASE("elements that a region names more than once are added as often, on any number of threads", "[move]") {
    const std::size_t before = threads();
    const Variable<> part(full(Shape{4096, 16}, 1.0f));
    for (const std::size_t count : {1, 3}) {
        set_threads(count);
        const Array<float> same = scatter(part, make_place(Region{{4096, 16}, {0, 1}, 0}), {16}).value();
        CHECK(same == full(Shape{16}, 4096.0f));
        const Array<float> windows = scatter(part, make_place(Region{{4096, 16}, {1, 1}, 0}), {4111}).value();
        for (std::size_t i = 0; i < 4111; ++i)
            REQUIRE(windows(i) == static_cast<float>(std::min<std::size_t>({i + 1, 16, 4111 - i})));
    }
    set_threads(before);
}

TEST_CASE("large comparisons look at numbers and arrays on either side", "[move]") {
    const std::size_t before = threads();
    Array<float> numbers = empty<float>({300, 80});
    std::iota(numbers.begin(), numbers.end(), 0.0f);
    const Variable<> x(numbers), one(full(Shape{1, 1}, 5000.0f)), row(full(Shape{80}, 5000.0f));
    const Array<bool> below = numbers < 5000.0f, above = 5000.0f < numbers;
    for (const std::size_t count : {1, 3}) {
        set_threads(count);
        CHECK(same(x < 5000, below));
        CHECK(same(5000 < x, above));
        CHECK(same(x < one, below));
        CHECK(same(one < x, above));
        CHECK(same(x < row, below));
        CHECK(where(x < 5000, x, 5000).value() == Array<float>(xt::minimum(numbers, 5000.0f)));
        CHECK(where(x < 5000, 5000, x).value() == Array<float>(xt::maximum(numbers, 5000.0f)));
    }
    set_threads(before);
    CHECK((Variable<>(1) < Variable<>(full(Shape{1}, 2.0f))).shape() == Shape{1});
    CHECK((Variable<>(full(Shape{1}, 2.0f)) < Variable<>(1)).shape() == Shape{1});
}

TEST_CASE("parts of arrays are copied, joined and added on any number of threads", "[move]") {
    const std::size_t before = threads();
    Array<float> numbers = empty<float>({130, 7, 90});
    std::iota(numbers.begin(), numbers.end(), 0.0f);
    for (const std::size_t count : {1, 3}) {
        set_threads(count);
        Variable<> x(numbers);
        x.requires_grad(true);
        const Variable<> part = view(x, xt::range(5, 125), xt::range(0, 7, 2), xt::range(80, 2, -3));
        const Array<float> expected = xt::view(numbers, xt::range(5, 125), xt::range(0, 7, 2), xt::range(80, 2, -3));
        CHECK(part.value() == expected);
        sum(part * part).backward();
        Array<float> gradient = full(numbers.shape(), 0.0f);
        xt::view(gradient, xt::range(5, 125), xt::range(0, 7, 2), xt::range(80, 2, -3)) = 2 * expected;
        CHECK(x.grad().value() == gradient);

        for (const std::ptrdiff_t axis : {0, 1, 2}) {
            const Array<float> twice = xt::concatenate(xt::xtuple(numbers, numbers), static_cast<std::size_t>(axis));
            CHECK(concatenate({x, x}, axis).value() == twice);
        }
        const Array<std::int64_t> rows{3, 0, 129, 3}, places{88, 2, 2};
        const Array<float> taken = xt::view(numbers, xt::keep(3, 0, 129, 3));
        CHECK(take(x, rows, 0).value() == taken);
        x.zero_grad();
        const Variable<> last = take(x, places, 2);
        const Array<float> taken_last = xt::view(numbers, xt::all(), xt::all(), xt::keep(88, 2, 2));
        CHECK(last.value() == taken_last);
        sum(last).backward();
        Array<float> counts = full(numbers.shape(), 0.0f);
        xt::view(counts, xt::all(), xt::all(), 88) = 1;
        xt::view(counts, xt::all(), xt::all(), 2) = 2;
        CHECK(x.grad().value() == counts);
    }
    set_threads(before);
}
