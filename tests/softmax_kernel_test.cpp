#include <algorithm>

#include "kernel_twins.hpp"
#include <xgrad/autodiff/kernels/softmax.hpp>

using namespace xgrad;
using namespace xgrad::twins;
using kernels::CrossEntropyTarget;
using kernels::Slices;

namespace {

const std::vector<Slices> shapes{
    {2, 131, 12},  {1, 70, 3},  // rows that take turns
    {0, 3, 1},     {3, 0, 1},  {2, 3, 0},     {1, 1, 1},    {4, 1, 1},     {3, 2, 1},     {5, 3, 1},     {7, 10, 1},
    {3, 15, 1},    {3, 16, 1}, {3, 17, 1},    {2, 63, 1},   {2, 65, 1},    {1, 4999, 1},  {1, 3, 2},     {2, 10, 7},
    {2, 4, 15},    {1, 5, 16}, {2, 5, 17},    {2, 67, 33},  {300, 257, 1}, {20, 30, 129}, {2, 64, 7},    {1, 9000, 3},
    {40, 1, 1},    {40, 3, 1}, {120, 6, 1},   {300, 10, 1}, {16, 16, 1},   {17, 17, 1},   {106, 17, 1},  {60, 32, 1},
    {40, 16, 2},   {17, 2, 3}, {100, 5, 7},   {2, 6, 1024}, {1, 24, 256},  {1, 52, 256},  {1, 103, 256}, {1, 129, 256},
    {1, 513, 256}, {5, 14, 1}, {5, 15, 1},    {5, 22, 1},   {5, 23, 1},    {4, 10, 1},    {100, 22, 1},  {16, 64, 2},
    {70, 42, 3},   {20, 0, 3}, {1, 520, 512},
};

// Calls body(place) for each slice, where place(c) is where its number c stands.
template <class Body> void each_slice(const Slices& s, const Body& body) {
    for (std::size_t o = 0; o < s.outer; ++o)
        for (std::size_t i = 0; i < s.inner; ++i) body([&](std::size_t c) { return (o * s.count + c) * s.inner + i; });
}

Reals log_softmax_of(const Reals& x, const Slices& s) {
    Reals y(x.size());
    each_slice(s, [&](auto place) {
        Real top = -std::numeric_limits<Real>::infinity(), total = 0;
        for (std::size_t c = 0; c < s.count; ++c) top = std::max(top, x[place(c)]);
        for (std::size_t c = 0; c < s.count; ++c) total += std::exp(x[place(c)] - top);
        for (std::size_t c = 0; c < s.count; ++c) y[place(c)] = x[place(c)] - top - std::log(total);
    });
    return y;
}

Reals logsumexp_of(const Reals& x, const Slices& s) {
    const Reals y = log_softmax_of(x, s);
    Reals sums;
    each_slice(s, [&](auto place) {
        sums.push_back(s.count > 0 ? x[place(0)] - y[place(0)] : -std::numeric_limits<Real>::infinity());
    });
    return sums;
}

Reals softmax_of(const Reals& x, const Slices& s) {
    Reals y = log_softmax_of(x, s);
    for (Real& number : y) number = std::exp(number);
    return y;
}

// y·(g − Σ g·y) for y = softmax(x).
Reals softmax_cotangent_of(const Reals& x, const Reals& g, const Slices& s) {
    Reals dx = softmax_of(x, s);
    each_slice(s, [&](auto place) {
        Real total = 0;
        for (std::size_t c = 0; c < s.count; ++c) total += g[place(c)] * dx[place(c)];
        for (std::size_t c = 0; c < s.count; ++c) dx[place(c)] *= g[place(c)] - total;
    });
    return dx;
}

// g − softmax(x)·Σ g.
Reals log_softmax_cotangent_of(const Reals& x, const Reals& g, const Slices& s) {
    Reals dx = softmax_of(x, s);
    each_slice(s, [&](auto place) {
        Real total = 0;
        for (std::size_t c = 0; c < s.count; ++c) total += g[place(c)];
        for (std::size_t c = 0; c < s.count; ++c) dx[place(c)] = g[place(c)] - dx[place(c)] * total;
    });
    return dx;
}

// PyTorch's CrossEntropyLoss with reduction none.
template <class T> Reals losses_of(const Reals& x, const Slices& s, const CrossEntropyTarget<T>& target) {
    const Reals log_probabilities = log_softmax_of(x, s);
    Reals losses(s.results());
    const auto weight = [&](std::size_t c) { return target.class_weights ? Real(target.class_weights[c]) : 1; };
    for (std::size_t o = 0; o < s.outer; ++o)
        for (std::size_t i = 0; i < s.inner; ++i) {
            const std::size_t sample = o * s.inner + i;
            if (target.labels[sample] == target.ignore_index) continue;
            const auto log_p = [&](std::size_t c) { return log_probabilities[(o * s.count + c) * s.inner + i]; };
            const auto label = static_cast<std::size_t>(target.labels[sample]);
            Real every = 0;
            for (std::size_t c = 0; c < s.count; ++c) every -= weight(c) * log_p(c);
            losses[sample] = (1 - Real(target.label_smoothing)) * -weight(label) * log_p(label) +
                             target.label_smoothing / static_cast<Real>(s.count) * every;
        }
    return losses;
}

template <class T, class Body> void everywhere(const Body& body) {
    for (const LevelScope at : levels())
        for (const Slices& s : shapes) {
            CAPTURE(at.name(), s.outer, s.count, s.inner);
            body(s, numbers<T>(s.size(), s.size() + s.inner, -5, 5));
        }
}

}  // namespace

TEMPLATE_TEST_CASE("softmax and log_softmax equal their twins", "[softmax]", float, double) {
    using T = TestType;
    everywhere<T>([](const Slices& s, const std::vector<T>& x) {
        for (const T shift : {T(0), T(1000), T(-1000)}) {
            auto shifted = x;
            for (T& number : shifted) number += shift;
            std::vector<T> y(x.size()), log_y(x.size());
            kernels::softmax(shifted.data(), s, y.data());
            kernels::log_softmax(shifted.data(), s, log_y.data());
            check_close(y, softmax_of(reals(shifted), s), 8, 0);
            check_close(log_y, log_softmax_of(reals(shifted), s));
            std::vector<T> sums(s.results());
            kernels::softmax_and_logsumexp(shifted.data(), s, log_y.data(), sums.data());
            CHECK(log_y == y);
            check_close(sums, logsumexp_of(reals(shifted), s));
            kernels::softmax(shifted.data(), s, shifted.data());
            CHECK(shifted == y);
        }
    });
}

TEMPLATE_TEST_CASE("softmax of the largest and of infinite numbers is what PyTorch gives", "[softmax]", float, double) {
    using T = TestType;
    const T infinity = std::numeric_limits<T>::infinity(), huge = std::numeric_limits<T>::max();
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const Reals numbers{huge, -huge, 0, -infinity, nan, 1, -infinity, -infinity, infinity, 0};
    for (const LevelScope at : levels())
        for (const std::size_t count : {2, 20}) {  // rows of two are transposed to columns; others are filled up
            CAPTURE(at.name(), count);
            const std::size_t rows = numbers.size() / 2;
            std::vector<T> x(rows * count, -infinity), y(x.size()), sums(rows);
            for (std::size_t i = 0; i < numbers.size(); ++i) x[i / 2 * count + i % 2] = static_cast<T>(numbers[i]);
            const auto results = [&] {
                std::vector<T> two(numbers.size());
                for (std::size_t i = 0; i < two.size(); ++i) two[i] = y[i / 2 * count + i % 2];
                return two;
            };
            kernels::softmax(x.data(), {rows, count, 1}, y.data());
            check_close(results(), Reals{1, 0, 1, 0, nan, nan, nan, nan, nan, nan}, 1);
            kernels::softmax_and_logsumexp(x.data(), {rows, count, 1}, y.data(), sums.data());
            check_close(sums, Reals{huge, 0, nan, -infinity, infinity}, 1);
            check_close(results(), Reals{1, 0, 1, 0, nan, nan, nan, nan, nan, 0}, 1);
            kernels::log_softmax(x.data(), {rows, count, 1}, y.data());
            const std::vector<T> logarithms = results();
            check_close(std::vector<T>(logarithms.begin() + 2, logarithms.end()),
                        Reals{0, -infinity, nan, nan, nan, nan, nan, nan}, 1);
        }
}

TEMPLATE_TEST_CASE("softmax and log_softmax pass their cotangents back", "[softmax]", float, double) {
    using T = TestType;
    everywhere<T>([](const Slices& s, const std::vector<T>& x) {
        const auto g = numbers<T>(x.size(), 99);
        std::vector<T> y(x.size()), dx(x.size());
        kernels::softmax(x.data(), s, y.data());
        kernels::softmax_backward(y.data(), g.data(), s, dx.data());
        check_close(dx, softmax_cotangent_of(reals(x), reals(g), s), 32);
        auto over = g;
        kernels::softmax_backward(y.data(), over.data(), s, over.data());
        CHECK(over == dx);
        over = y;
        kernels::softmax_backward(over.data(), g.data(), s, over.data());
        CHECK(over == dx);
        kernels::log_softmax(x.data(), s, y.data());
        over = x;
        kernels::log_softmax(over.data(), s, over.data());
        CHECK(over == y);
        dx = g;
        kernels::log_softmax_backward(y.data(), dx.data(), s, dx.data());
        check_close(dx, log_softmax_cotangent_of(reals(x), reals(g), s), 32);
    });
}

TEMPLATE_TEST_CASE("softmax_cross_entropy equals PyTorch's CrossEntropyLoss", "[softmax]", float, double) {
    using T = TestType;
    const auto shape = GENERATE(from_range(shapes));
    const bool weighted = GENERATE(false, true);
    const T smoothing = GENERATE(T(0), T(0.1));
    const std::int64_t ignore = GENERATE(-100, 0);
    if (shape.count == 0) return;
    CAPTURE(shape.outer, shape.count, shape.inner, weighted, smoothing, ignore);

    const auto x = numbers<T>(shape.size(), 6, -5, 5), weights = numbers<T>(shape.count, 7, 0.5, 2);
    const auto scales = numbers<T>(shape.results(), 8);
    std::vector<std::int64_t> labels(shape.results());
    std::vector<T> expected_weights(shape.results());
    for (std::size_t i = 0; i < labels.size(); ++i) {
        labels[i] = static_cast<std::int64_t>(i * 7 % shape.count);
        expected_weights[i] = labels[i] == ignore ? T(0) : weighted ? weights[i * 7 % shape.count] : T(1);
    }
    const CrossEntropyTarget<T> target{.labels = labels.data(),
                                       .class_weights = weighted ? weights.data() : nullptr,
                                       .label_smoothing = smoothing,
                                       .ignore_index = ignore};
    const Reals expected_losses = losses_of(reals(x), shape, target), expected_p = softmax_of(reals(x), shape);
    const bool small = shape.size() <= 150 && !scales.empty();
    Reals expected_dx, expected_dx_of_sum;
    if (small) {
        expected_dx = central_differences(
            [&](const Reals& at_x) { return dot(losses_of(at_x, shape, target), reals(scales)); }, reals(x));
        expected_dx_of_sum = central_differences(
            [&](const Reals& at_x) { return dot(losses_of(at_x, shape, target), Reals(labels.size(), scales[0])); },
            reals(x));
    }

    for (const LevelScope at : levels()) {
        CAPTURE(at.name());
        std::vector<T> losses(shape.results()), only_losses(shape.results()), sample_weights(shape.results());
        std::vector<T> probabilities(x.size()), dx(x.size());
        kernels::softmax_cross_entropy<T>(x.data(), shape, target,
                                          {losses.data(), probabilities.data(), sample_weights.data()});
        check_close(losses, expected_losses);
        check_close(probabilities, expected_p, 8, 0);
        CHECK((sample_weights == expected_weights));
        kernels::softmax_cross_entropy<T>(x.data(), shape, target, {.losses = only_losses.data()});
        CHECK((only_losses == losses));
        if (!small) continue;
        kernels::softmax_cross_entropy_backward(probabilities.data(), shape, target, scales.data(), false, dx.data());
        check_close(dx, expected_dx, derivative_tolerance<T>);
        kernels::softmax_cross_entropy_backward(probabilities.data(), shape, target, scales.data(), true,
                                                probabilities.data());
        check_close(probabilities, expected_dx_of_sum, derivative_tolerance<T>);
    }
}

TEST_CASE("labels out of range are found, ignored ones are not", "[softmax]") {
    const std::int64_t labels[] = {0, 2, -100, 3, -1};
    CHECK(kernels::find_invalid_label(labels, 5, 4, -100) == 4);
    CHECK(kernels::find_invalid_label(labels, 5, 3, -100) == 3);
    CHECK(kernels::find_invalid_label(labels, 5, 4, -1) == 2);
    CHECK(kernels::find_invalid_label(labels, 0, 4, -1) == 0);
}

namespace {

// What the kernels write for some slices, one array after the other.
template <class T>
std::vector<std::vector<T>> all_results(const Slices& s, const std::vector<T>& x, const std::vector<T>& g,
                                        const CrossEntropyTarget<T>& target, bool one_scale) {
    std::vector<std::vector<T>> results(6, std::vector<T>(s.size()));
    std::vector<T> sums(s.results()), losses(s.results()), weights(s.results());
    kernels::softmax_and_logsumexp(x.data(), s, results[0].data(), sums.data());
    kernels::log_softmax(x.data(), s, results[1].data());
    kernels::softmax_backward(results[0].data(), g.data(), s, results[2].data());
    kernels::log_softmax_backward(results[1].data(), g.data(), s, results[3].data());
    kernels::softmax_cross_entropy<T>(x.data(), s, target, {losses.data(), results[4].data(), weights.data()});
    const T half = T(0.5);
    kernels::softmax_cross_entropy_backward(results[4].data(), s, target, one_scale ? &half : losses.data(), one_scale,
                                            results[5].data());
    std::vector<T> in_place = results[4];
    kernels::softmax_cross_entropy_backward(in_place.data(), s, target, one_scale ? &half : losses.data(), one_scale,
                                            in_place.data());
    CHECK((in_place == results[5]));
    results.insert(results.end(), {sums, losses, weights});
    return results;
}

}  // namespace

TEMPLATE_TEST_CASE("arrays that are shared among threads have the softmax and cross-entropy of each slice by itself",
                   "[softmax]", float, double) {
    using T = TestType;
    // Rows, rows side by side, some long columns, many short ones whose last piece is a part of one, several such
    // arrays, few columns, short rows, few short columns, and columns whole pages apart.
    for (const Slices& s :
         {Slices{60, 1000, 1}, Slices{301, 100, 1}, Slices{1, 2000, 70}, Slices{1, 40, 1001}, Slices{7, 30, 200},
          Slices{1, 9000, 3}, Slices{9000, 3, 1}, Slices{4000, 4, 3}, Slices{7, 6, 1024}, Slices{2, 60, 512}})
        for (const LevelScope at : levels()) {
            CAPTURE(at.name(), s.outer, s.count, s.inner);
            const auto x = numbers<T>(s.size(), 1), g = numbers<T>(s.size(), 2),
                       weights = numbers<T>(s.count, 3, 0.5, 2);
            std::vector<std::int64_t> labels(s.results());
            for (std::size_t i = 0; i < labels.size(); ++i)
                labels[i] = i % 5 == 3 ? -100 : static_cast<std::int64_t>(i * 7919 % s.count);
            const bool one_scale = s.outer == 7;
            CrossEntropyTarget<T> target{
                .labels = labels.data(), .class_weights = weights.data(), .label_smoothing = T(0.1)};
            const auto together = all_results(s, x, g, target, one_scale);
            check_any_threads([&] { return all_results(s, x, g, target, one_scale); });

            for (std::size_t slice = 0; slice < s.results(); slice += slice % 3 == 0 ? 1 : 5) {
                const std::size_t first = slice / s.inner * s.count * s.inner + slice % s.inner;
                const auto alone = [&](const std::vector<T>& all) {
                    std::vector<T> one(s.count);
                    for (std::size_t c = 0; c < s.count; ++c) one[c] = all[first + c * s.inner];
                    return one;
                };
                target.labels = labels.data() + slice;
                const auto expected = all_results({1, s.count, 1}, alone(x), alone(g), target, one_scale);
                const Real probability = 1 / static_cast<Real>(s.count);  // about
                for (std::size_t i = 0; i < 6; ++i)
                    check_close(alone(together[i]), reals(expected[i]), 32, probability);
                for (std::size_t i = 6; i < 9; ++i)
                    check_close(std::vector<T>{together[i][slice]}, reals(expected[i]), 32);
            }
            target.labels = labels.data();
        }
}

TEMPLATE_TEST_CASE("a column has the same softmax wherever it stands, alone in its lane or with others side by side",
                   "[softmax]", float, double) {
    using T = TestType;
    const std::size_t count = 130, columns = 70, shift = 67;
    const auto x = numbers<T>(count * columns, 1), g = numbers<T>(count * columns, 2),
               weights = numbers<T>(count, 3, 0.5, 2);
    std::vector<std::int64_t> labels(columns);
    for (std::size_t i = 0; i < columns; ++i) labels[i] = static_cast<std::int64_t>(i * 7919 % count);
    const auto shifted = [&](auto all) {  // each row by some columns
        for (std::size_t i = 0; i < all.size(); i += columns) {
            const auto row = all.begin() + static_cast<std::ptrdiff_t>(i);
            std::rotate(row, row + shift, row + columns);
        }
        return all;
    };
    for (const LevelScope at : levels()) {
        INFO(at.name());
        const auto results_of = [&](const auto& of_x, const auto& of_g, const auto& of_labels) {
            const CrossEntropyTarget<T> target{.labels = of_labels.data(), .class_weights = weights.data()};
            return all_results<T>({1, count, columns}, of_x, of_g, target, false);
        };
        const auto expected = results_of(x, g, labels), results = results_of(shifted(x), shifted(g), shifted(labels));
        for (std::size_t i = 0; i < expected.size(); ++i) {
            CAPTURE(i);
            CHECK((results[i] == shifted(expected[i])));
        }
    }
}
