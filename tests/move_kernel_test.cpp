#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <vector>

#include "kernel_twins.hpp"
#include <xgrad/autodiff/kernels/move.hpp>

using namespace xgrad;
using namespace xgrad::twins;

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
    for (const LevelScope at : levels())
        for (const std::size_t n : sizes) {
            CAPTURE(at.name(), n);
            const auto x = numbers<T>(n, n);
            Target<T> copied(n), filled(n);
            kernels::Copy<T>()(x.data(), n, copied.data());
            CHECK(copied.numbers() == x);
            CHECK(copied.is_intact());
            kernels::move_kernels<T>().fill(filled.data(), T(3.5), n);
            CHECK(filled.numbers() == std::vector<T>(n, T(3.5)));
            CHECK(filled.is_intact());
        }
}

TEMPLATE_TEST_CASE("a transpose has each number in its place, whatever the strides", "[move]", float, double) {
    using T = TestType;
    for (const LevelScope at : levels())
        for (const std::size_t rows : {0, 1, 2, 3, 4, 5, 8, 9, 13, 15, 16, 17, 33, 70})
            for (const std::size_t columns : {0, 1, 2, 3, 4, 7, 8, 11, 15, 16, 18, 31, 65})
                for (const std::size_t padding : {0, 3}) {
                    CAPTURE(at.name(), rows, columns, padding);
                    const std::size_t x_stride = rows + padding, y_stride = columns + 2 * padding;
                    const auto x = numbers<T>(columns * x_stride, rows);
                    Target<T> y(rows * y_stride);
                    std::vector<T> expected = y.numbers();
                    for (std::size_t r = 0; r < rows; ++r)
                        for (std::size_t c = 0; c < columns; ++c) expected[r * y_stride + c] = x[c * x_stride + r];
                    kernels::transpose(x.data(), x_stride, rows, columns, y.data(), y_stride);
                    CHECK(y.numbers() == expected);
                    CHECK(y.is_intact());
                }
}

TEMPLATE_TEST_CASE("short rows get each number from its source", "[move]", float, double) {
    using T = TestType;
    for (const LevelScope at : levels())
        for (const std::size_t width : {1, 2, 3, 5, 8, 10, 15, 16})
            for (const std::size_t x_width : {1, 2, 3, 4, 5, 7, 16, 40})
                for (const std::size_t n : {std::size_t{0}, std::size_t{1}, width, 31 * width + 1, std::size_t{3007}}) {
                    const auto random = numbers<double>(width, 100 * x_width + n, -1, static_cast<double>(x_width));
                    for (const bool adds : {false, true}) {
                        std::vector<int> source;  // −1 is none, where that is allowed
                        for (const double number : random)
                            source.push_back(std::max(adds ? -1 : 0, static_cast<int>(std::floor(number))));
                        const auto from = [&](std::size_t i) {
                            const int place = source[i % width];
                            return place < 0 ? -1 : static_cast<std::ptrdiff_t>(i / width * x_width) + place;
                        };
                        std::ptrdiff_t last = -1;
                        for (std::size_t i = 0; i < n; ++i) last = std::max(last, from(i));
                        // The address sanitizer sees what is read beyond.
                        const auto x = numbers<T>(static_cast<std::size_t>(last + 1), n);
                        CAPTURE(at.name(), width, x_width, n, source, adds);
                        Target<T> y(n);
                        std::vector<T> expected(n, T(77));
                        for (std::size_t i = 0; i < n; ++i)
                            if (from(i) >= 0)
                                expected[i] = (adds ? T(77) : T(0)) + x[static_cast<std::size_t>(from(i))];
                        kernels::rearrange({source.data(), width, x_width}, x.data(), y.data(), n, adds);
                        CHECK(y.numbers() == expected);
                        CHECK(y.is_intact());
                    }
                }
}

TEMPLATE_TEST_CASE("large arrays are copied, filled and transposed matrix by matrix on any number of threads", "[move]",
                   float, double) {
    using T = TestType;
    for (const auto& shape : {std::array<std::size_t, 3>{1, 20000, 3}, {1, 5, 9000}, {70, 20, 31}}) {
        const std::size_t count = shape[0], rows = shape[1], columns = shape[2];
        CAPTURE(count, rows, columns);
        const std::size_t size = rows * columns;
        const auto x = numbers<T>(count * size, 1);
        std::vector<T> expected(x.size());
        for (std::size_t i = 0; i < x.size(); ++i)
            expected[i / size * size + i % columns * rows + i % size / columns] = x[i];
        const auto results = [&] {
            Target<T> copied(x.size()), filled(x.size()), transposed(x.size());
            kernels::copy(x.data(), x.size(), copied.data());
            kernels::fill(filled.data(), T(3.5), x.size());
            kernels::transpose_each(x.data(), count, rows, columns, transposed.data());
            CHECK((copied.is_intact() && filled.is_intact() && transposed.is_intact()));
            return std::array{copied.numbers(), filled.numbers(), transposed.numbers()};
        };
        CHECK(results() == std::array{x, std::vector<T>(x.size(), T(3.5)), expected});
        check_any_threads(results);
    }
}

TEMPLATE_TEST_CASE("a selection takes each number from where its condition says", "[move]", float, double) {
    using T = TestType;
    for (const LevelScope at : levels())
        for (const std::size_t n : {0, 1, 5, 15, 16, 17, 64, 67, 40000})
            for (const bool one_a : {false, true})
                for (const bool one_b : {false, true}) {
                    CAPTURE(at.name(), n, one_a, one_b);
                    auto a = numbers<T>(n + 1, 1);
                    const auto b = numbers<T>(n + 1, 2);
                    a[0] = std::numeric_limits<T>::quiet_NaN();  // where it is not taken, it is not heard of
                    const auto condition = std::make_unique<bool[]>(n + 1);
                    for (std::size_t i = 0; i < n; ++i) condition[i] = i % 3 == 1 || i % 7 == 5;
                    Target<T> y(n);
                    kernels::move_kernels<T>().select(condition.get(), {a.data(), one_a}, {b.data(), one_b}, y.data(),
                                                      n);
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
