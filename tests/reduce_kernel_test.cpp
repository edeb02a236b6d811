#include <algorithm>
#include <array>
#include <functional>

#include "kernel_twins.hpp"
#include <xgrad/autodiff/kernels/reduce.hpp>

using namespace xgrad;
using namespace xgrad::twins;
using kernels::Slices;

namespace {

const std::vector<Slices> shapes{
    {0, 3, 1},     {3, 0, 1},     {3, 0, 5},    {2, 3, 0},     {1, 1, 1},     {1, 3, 1},     {5, 1, 1},
    {1, 1, 7},     {3, 7, 1},     {2, 8, 1},    {2, 9, 1},     {3, 15, 1},    {3, 16, 1},    {3, 17, 1},
    {1, 31, 1},    {1, 63, 1},    {1, 65, 1},   {2, 257, 1},   {1, 4999, 1},  {1, 5, 2},     {2, 3, 3},
    {1, 200, 10},  {1, 7, 15},    {2, 7, 16},   {1, 7, 17},    {2, 65, 33},   {1, 130, 64},  {1, 9, 127},
    {2, 9, 128},   {1, 129, 130}, {3, 4, 257},  {1, 70001, 1}, {1, 40000, 3}, {300, 257, 1}, {2, 300, 129},
    {1, 3, 40000}, {20, 0, 1},    {1, 8192, 1}, {20, 1, 1},    {20, 3, 1},    {16, 16, 1},   {17, 17, 1},
    {106, 17, 1},  {120, 40, 1},  {120, 41, 1}, {600, 10, 1},  {9000, 3, 1},  {2, 64, 7},    {3, 9000, 1},
    {1, 33, 4099}, {40, 16, 2},   {100, 5, 7},  {17, 42, 3},   {20, 0, 3},    {2, 6, 1024},  {1, 24, 512},
    {1, 129, 512}, {1, 520, 513}, {1, 520, 512},
};

// Calls reduce(slice) for the elements of every slice.
Reals folded(const Reals& x, const Slices& s, const std::function<Real(const Reals&)>& reduce) {
    Reals result(s.results());
    for (std::size_t o = 0; o < s.outer; ++o)
        for (std::size_t i = 0; i < s.inner; ++i) {
            Reals slice(s.count);
            for (std::size_t c = 0; c < s.count; ++c) slice[c] = x[(o * s.count + c) * s.inner + i];
            result[o * s.inner + i] = reduce(slice);
        }
    return result;
}

Real sum_of(const Reals& slice) {
    Real sum = 0;
    for (const Real x : slice) sum += x;
    return sum;
}

template <class T> Real largest_of(const Reals& slice) {
    Real result = -std::numeric_limits<Real>::infinity();
    for (const Real x : slice) result = std::isnan(x) || std::isnan(result) ? NAN : std::max(result, x);
    return result;
}

Real logsumexp_of(const Reals& slice) {
    Real top = -std::numeric_limits<Real>::infinity(), sum = 0;
    for (const Real x : slice) top = std::max(top, x);
    for (const Real x : slice) sum += std::exp(x - top);
    return slice.empty() ? top : top + std::log(sum);
}

template <class T, class Kernel> std::vector<T> run(const Kernel& kernel, const std::vector<T>& x, const Slices& s) {
    std::vector<T> y(s.results(), T(77));
    kernel(x.data(), s, y.data());
    return y;
}

// Every combination that the kernels are tried with.
template <class T, class Body> void everywhere(const Body& body) {
    for (const LevelScope at : levels())
        for (const Slices& s : shapes) {
            CAPTURE(at.name(), s.outer, s.count, s.inner);
            body(s, numbers<T>(s.size(), s.size() + s.inner));
        }
}

}  // namespace

TEMPLATE_TEST_CASE("sums and products of slices equal their twins", "[reduce]", float, double) {
    using T = TestType;
    everywhere<T>([](const Slices& s, const std::vector<T>& x) {
        const Reals exact = reals(x);
        const Real roots = 4 + std::sqrt(static_cast<Real>(s.count));  // sums near 0 have errors of their terms' size
        check_close(run<T>(kernels::sum<T>, x, s), folded(exact, s, sum_of), roots);
        auto near_one = x;
        for (T& number : near_one) number = 1 + number / 1000;
        check_close(run<T>(kernels::prod<T>, near_one, s),
                    folded(reals(near_one), s,
                           [](const Reals& slice) {
                               Real product = 1;
                               for (const Real number : slice) product *= number;
                               return product;
                           }),
                    8 + 2 * roots);
    });
}

TEMPLATE_TEST_CASE("products of others leave out one element each, with none, one and more zeros in a slice",
                   "[reduce]", float, double) {
    using T = TestType;
    for (const Slices& s : shapes) {
        CAPTURE(s.outer, s.count, s.inner);
        auto x = numbers<T>(s.size(), s.size());
        Reals expected(s.size());
        for (std::size_t slice = 0; slice < s.results(); ++slice) {
            const auto place = [&](std::size_t i) {
                return (slice / s.inner * s.count + i) * s.inner + slice % s.inner;
            };
            for (std::size_t i = 0; i < s.count; ++i) x[place(i)] = 1 + x[place(i)] / 1000;
            for (std::size_t zero = 0; zero < std::min(slice % 3, s.count); ++zero)
                x[place((slice + 5 * zero) % s.count)] = 0;
            Real product = 1;
            std::size_t zeros = 0;
            for (std::size_t i = 0; i < s.count; ++i) x[place(i)] == 0 ? void(++zeros) : void(product *= x[place(i)]);
            for (std::size_t i = 0; i < s.count; ++i) {
                const Real left_out = x[place(i)];
                expected[place(i)] = zeros == 0 ? product / left_out : zeros == 1 && left_out == 0 ? product : 0;
            }
        }
        std::vector<T> y(s.size(), T(77));
        kernels::products_of_others(x.data(), s, y.data());
        check_close(y, expected, 12 + 2 * std::sqrt(static_cast<Real>(s.count)));
    }
}

TEST_CASE("products of others in a long row do not overflow where the whole product does not", "[reduce]") {
    std::vector<float> x(12288, 1.0f);
    std::fill_n(x.begin(), 4096, 0.98f);
    std::fill_n(x.begin() + 4096, 4096, 1.025f);
    std::vector<float> others(x.size());
    kernels::products_of_others(x.data(), {1, x.size(), 1}, others.data());
    float product = 0;
    kernels::prod(x.data(), {1, x.size(), 1}, &product);
    for (const std::size_t i : {0, 5000, 12000}) CHECK(others[i] * x[i] == Approx(product).epsilon(1e-3));
}

TEMPLATE_TEST_CASE("max and min find the extremes of slices", "[reduce]", float, double) {
    using T = TestType;
    everywhere<T>([](const Slices& s, const std::vector<T>& x) {
        const Reals expected = folded(reals(x), s, largest_of<T>);
        check_close(run<T>(kernels::max<T>, x, s), expected, 0);
        auto negative = x;
        for (T& number : negative) number = -number;
        auto smallest = run<T>(kernels::min<T>, negative, s);
        for (T& number : smallest) number = -number;
        check_close(smallest, expected, 0);
    });
}

TEMPLATE_TEST_CASE("max, min and their positions let NaN win wherever it stands", "[reduce]", float, double) {
    using T = TestType;
    for (const LevelScope at : levels())
        for (const Slices s : {Slices{1, 1, 1}, Slices{2, 37, 1}, Slices{1, 3000, 1}, Slices{2, 9, 5},
                               Slices{1, 70, 140}, Slices{40, 9, 1}, Slices{2, 80, 3}})
            for (const std::size_t place : {std::size_t{0}, s.count / 2, s.count - 1}) {
                CAPTURE(at.name(), s.outer, s.count, s.inner, place);
                auto x = numbers<T>(s.size(), 5);
                for (std::size_t o = 0; o < s.outer; ++o)
                    for (std::size_t i = 0; i < s.inner; ++i) {
                        x[(o * s.count + place) * s.inner + i] = std::numeric_limits<T>::quiet_NaN();
                        x[(o * s.count + s.count - 1) * s.inner + i] = std::numeric_limits<T>::quiet_NaN();
                    }
                const Reals nan(s.results(), NAN);
                check_close(run<T>(kernels::max<T>, x, s), nan);
                check_close(run<T>(kernels::min<T>, x, s), nan);
                std::vector<std::int64_t> largest(s.results()), smallest(s.results());
                kernels::argmax(x.data(), s, largest.data());
                kernels::argmin(x.data(), s, smallest.data());
                const std::vector<std::int64_t> expected(s.results(), static_cast<std::int64_t>(place));
                CHECK(largest == expected);
                CHECK(smallest == expected);
            }
}

TEMPLATE_TEST_CASE("argmax and argmin give the first of equals", "[reduce]", float, double) {
    using T = TestType;
    everywhere<T>([](const Slices& s, std::vector<T> x) {
        if (s.count == 0) return;
        for (T& number : x) number = std::round(4 * number);  // many ties
        std::vector<std::int64_t> largest(s.results(), -1), smallest(s.results(), -1);
        kernels::argmax(x.data(), s, largest.data());
        kernels::argmin(x.data(), s, smallest.data());
        const Reals first_largest = folded(reals(x), s, [](const Reals& slice) {
            return static_cast<Real>(std::max_element(slice.begin(), slice.end()) - slice.begin());
        });
        const Reals first_smallest = folded(reals(x), s, [](const Reals& slice) {
            return static_cast<Real>(std::min_element(slice.begin(), slice.end()) - slice.begin());
        });
        CHECK(Reals(largest.begin(), largest.end()) == first_largest);
        CHECK(Reals(smallest.begin(), smallest.end()) == first_smallest);
    });
}

TEMPLATE_TEST_CASE("argmax finds the first of infinities, too", "[reduce]", float, double) {
    using T = TestType;
    constexpr T infinity = std::numeric_limits<T>::infinity();
    for (const LevelScope at : levels())
        for (const std::size_t count : {1, 3, 16, 17, 70, 300})
            for (const std::size_t columns : {1, 3, 70}) {
                CAPTURE(at.name(), count, columns);
                std::vector<T> x(count * columns, -infinity);
                std::vector<std::int64_t> y(columns, -1);
                kernels::argmax(x.data(), {1, count, columns}, y.data());
                CHECK(y == std::vector<std::int64_t>(columns, 0));
                std::fill_n(x.end() - static_cast<std::ptrdiff_t>(columns), columns, T(-7));
                kernels::argmax(x.data(), {1, count, columns}, y.data());
                CHECK(y == std::vector<std::int64_t>(columns, static_cast<std::int64_t>(count - 1)));
                std::fill(x.begin(), x.end(), infinity);
                kernels::argmin(x.data(), {1, count, columns}, y.data());
                CHECK(y == std::vector<std::int64_t>(columns, 0));
            }
}

TEST_CASE("argmax counts further than a float does", "[reduce]") {
    constexpr std::size_t many = (std::size_t{1} << 24) + 100;
    const std::size_t last = many - 3, before = last - 1;
    for (const LevelScope at : levels())
        for (const std::size_t columns : {1, 2}) {
            CAPTURE(at.name(), columns);
            std::vector<float> x(many * columns, 1);
            const auto found = [&] {
                std::vector<std::int64_t> y(columns, -1);
                kernels::argmax(x.data(), {1, many, columns}, y.data());
                return y.back();
            };
            const auto last_column = [&](std::size_t row) -> float& { return x[row * columns + columns - 1]; };
            last_column(last) = 2;
            CHECK(found() == static_cast<std::int64_t>(last));
            last_column(before) = std::numeric_limits<float>::quiet_NaN();
            CHECK(found() == static_cast<std::int64_t>(before));
        }
}

TEMPLATE_TEST_CASE("the variance keeps its digits beside a large mean", "[reduce]", float, double) {
    using T = TestType;
    everywhere<T>([](const Slices& s, std::vector<T> x) {
        for (T& number : x) number += 1000;
        std::vector<T> mean(s.results()), variance(s.results());
        for (const std::size_t correction : {0, 1}) {
            kernels::mean_and_variance(x.data(), s, correction, mean.data(), variance.data());
            const Reals exact = reals(x);
            check_close(
                mean,
                folded(exact, s, [](const Reals& slice) { return sum_of(slice) / static_cast<Real>(slice.size()); }),
                4);
            // A mean that is off by its own rounding adds that error's square.
            check_close(variance,
                        folded(exact, s,
                               [&](const Reals& slice) {
                                   const Real centre = sum_of(slice) / static_cast<Real>(slice.size());
                                   Real sum = 0;
                                   for (const Real number : slice) sum += (number - centre) * (number - centre);
                                   return sum / (static_cast<Real>(slice.size()) - static_cast<Real>(correction));
                               }),
                        16);
        }
    });
}

TEMPLATE_TEST_CASE("logsumexp neither overflows nor loses infinities", "[reduce]", float, double) {
    using T = TestType;
    const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    everywhere<T>([](const Slices& s, std::vector<T> x) {
        check_close(run<T>(kernels::logsumexp<T>, x, s), folded(reals(x), s, logsumexp_of));
        for (T& number : x) number = number * 1000;
        check_close(run<T>(kernels::logsumexp<T>, x, s), folded(reals(x), s, logsumexp_of));
    });
    for (const LevelScope at : levels()) {
        INFO(at.name());
        const std::vector<T> x{-infinity, -infinity, infinity, 0, nan, 1, -infinity, 0};
        check_close(run<T>(kernels::logsumexp<T>, x, {4, 2, 1}), Reals{-infinity, infinity, nan, 0});
        const std::vector<T> columns{-infinity, infinity, nan, -infinity, -infinity, 0, 1, 0};
        check_close(run<T>(kernels::logsumexp<T>, columns, {1, 2, 4}), Reals{-infinity, infinity, nan, 0});
    }
}

TEST_CASE("a float sum of a million numbers is right to a few ulp", "[reduce]") {
    for (const LevelScope at : levels()) {
        for (const Slices s : {Slices{1, 1000000, 1}, Slices{1, 500000, 2}, Slices{1, 7812, 128}}) {
            CAPTURE(at.name(), s.count, s.inner);
            const auto x = numbers<float>(s.size(), 3, 0, 1);
            check_close(run<float>(kernels::sum<float>, x, s), folded(reals(x), s, sum_of), 2);
        }
        const auto a = numbers<float>(1000000, 4, 0, 1), b = numbers<float>(1000000, 5, 0, 1);
        check_close(std::vector{kernels::dot(a.data(), b.data(), a.size())}, {dot(reals(a), reals(b))}, 2);
    }
}

TEMPLATE_TEST_CASE("the cotangent of an extremum is shared among ties", "[reduce]", float, double) {
    using T = TestType;
    everywhere<T>([](const Slices& s, std::vector<T> x) {
        for (T& number : x) number = std::round(3 * number);
        const auto y = run<T>(kernels::max<T>, x, s);
        const auto g = numbers<T>(s.results(), 9);
        std::vector<T> dx(x.size(), T(77));
        kernels::extremum_backward(x.data(), s, y.data(), g.data(), dx.data());
        Reals expected(x.size());
        for (std::size_t o = 0; o < s.outer; ++o)
            for (std::size_t i = 0; i < s.inner; ++i) {
                const std::size_t result = o * s.inner + i;
                const auto place = [&](std::size_t c) { return (o * s.count + c) * s.inner + i; };
                std::size_t ties = 0;
                for (std::size_t c = 0; c < s.count; ++c) ties += x[place(c)] == y[result];
                for (std::size_t c = 0; c < s.count; ++c)
                    expected[place(c)] = x[place(c)] == y[result] ? Real(g[result]) / static_cast<Real>(ties) : 0;
            }
        check_close(dx, expected, 1);
    });
    const T nan = std::numeric_limits<T>::quiet_NaN();
    for (const LevelScope at : levels()) {
        INFO(at.name());
        const std::vector<T> x{1, nan, 5, nan}, y{nan}, g{6};
        std::vector<T> dx(4);
        kernels::extremum_backward(x.data(), {1, 4, 1}, y.data(), g.data(), dx.data());
        CHECK(dx == std::vector<T>{0, 3, 0, 3});
    }
}

TEMPLATE_TEST_CASE("sum_to and broadcast_to undo and repeat any broadcast", "[reduce]", float, double) {
    using T = TestType;
    using Shape = std::vector<std::size_t>;
    const std::vector<std::pair<Shape, Shape>> cases{
        {{}, {}},
        {{1}, {}},
        {{7}, {}},
        {{7}, {1}},
        {{7}, {7}},
        {{3, 5}, {5}},
        {{3, 5}, {1, 5}},
        {{3, 5}, {3, 1}},
        {{3, 5}, {1, 1}},
        {{3, 5}, {}},
        {{4, 3, 6}, {3, 1}},
        {{4, 3, 6}, {4, 1, 6}},
        {{2, 3, 4, 5}, {1, 3, 1, 5}},
        {{2, 3, 4, 5}, {2, 1, 4, 1}},
        {{2, 3, 1, 5, 2, 3}, {3, 1, 1, 2, 1}},
        {{0, 3}, {1, 3}},
        {{0, 3}, {3}},
        {{3, 0}, {3, 1}},
        {{0}, {0}},
        {{300, 257}, {257}},
        {{300, 257}, {300, 1}},
        {{30, 20, 150}, {20, 1}},
        {{200, 300}, {}},
        {{50001}, {50001}},
        {{40, 9, 50, 7}, {9, 1, 7}},
        {{9000, 3}, {3}},
        {{9000, 15}, {9000, 1}},
        {{90, 40, 5}, {90, 1, 5}},
    };
    for (const LevelScope at : levels())
        for (const auto& [wide, narrow] : cases) {
            CAPTURE(at.name(), wide, narrow);
            const auto size = [](const Shape& shape) {
                std::size_t n = 1;
                for (const std::size_t d : shape) n *= d;
                return n;
            };
            // Where in the narrow array each element of the wide one comes from.
            std::vector<std::size_t> origin(size(wide));
            for (std::size_t flat = 0; flat < origin.size(); ++flat) {
                std::size_t rest = flat, stride = 1;
                for (std::size_t d = wide.size(); d-- > 0;) {
                    const std::size_t index = rest % wide[d], missing = wide.size() - narrow.size();
                    rest /= wide[d];
                    if (d < missing) continue;
                    if (narrow[d - missing] != 1) origin[flat] += index * stride;
                    stride *= narrow[d - missing];
                }
            }
            const auto x = numbers<T>(size(wide), 11);
            Reals sums(size(narrow));
            for (std::size_t flat = 0; flat < origin.size(); ++flat) sums[origin[flat]] += x[flat];
            std::vector<T> y(sums.size(), T(77));
            kernels::sum_to<T>(x.data(), wide, y.data(), narrow);
            check_close(y, sums, 20);

            const auto small = numbers<T>(size(narrow), 12);
            std::vector<T> repeated(size(wide), T(77)), expected(size(wide));
            for (std::size_t flat = 0; flat < origin.size(); ++flat) expected[flat] = small[origin[flat]];
            kernels::broadcast_to<T>(small.data(), narrow, repeated.data(), wide);
            CHECK(repeated == expected);
        }
}

TEMPLATE_TEST_CASE("in-place sums, quotients and checks treat every element", "[reduce]", float, double) {
    using T = TestType;
    for (const LevelScope at : levels())
        for (const std::size_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 4097, 70001}) {
            CAPTURE(at.name(), n);
            const auto a = numbers<T>(n, 1), b = numbers<T>(n, 2);
            std::vector<T> sum(n), divided(n);
            for (std::size_t i = 0; i < n; ++i) {
                sum[i] = a[i] + b[i];
                divided[i] = a[i] / T(0.3);
            }
            auto x = a;
            kernels::add_in_place(x.data(), b.data(), n);
            CHECK((x == sum));
            x = a;
            kernels::divide_in_place(x.data(), T(0.3), n);
            CHECK((x == divided));
            check_close(std::vector{kernels::squared_norm(a.data(), n)}, {dot(reals(a), reals(a))}, 4);
            CHECK(kernels::all_finite(a.data(), n));
            for (const T bad : {std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity(),
                                std::numeric_limits<T>::quiet_NaN()})
                for (const std::size_t place : {std::size_t{0}, n / 2, n - 1}) {
                    if (n == 0) continue;
                    x = a;
                    x[place] = bad;
                    CHECK_FALSE(kernels::all_finite(x.data(), n));
                }
        }
}

TEST_CASE("reductions do not depend on the number of threads", "[reduce]") {
    const auto x = numbers<float>(300000, 1);
    for (const Slices s : {Slices{1, 300000, 1}, Slices{300, 1000, 1}, Slices{1, 1000, 300}, Slices{1, 3, 100000},
                           Slices{10, 300, 100}, Slices{100000, 3, 1}, Slices{1, 100000, 3}, Slices{9000, 11, 3}})
        check_any_threads([&] {
            std::vector<float> y(s.results()), mean(s.results()), squares(s.results()), sums(s.results()),
                others(s.size());
            std::vector<std::int64_t> largest(s.results());
            kernels::sum(x.data(), s, y.data());
            kernels::mean_and_variance(x.data(), s, 0, mean.data(), squares.data());
            kernels::logsumexp(x.data(), s, sums.data());
            kernels::products_of_others(x.data(), s, others.data());
            kernels::argmax(x.data(), s, largest.data());
            const std::vector<float> indices(largest.begin(), largest.end());
            return std::array{
                y, mean, squares, sums, others, indices, std::vector{kernels::squared_norm(x.data(), x.size())}};
        });
}
