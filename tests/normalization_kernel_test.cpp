#include <algorithm>
#include <array>

#include "kernel_twins.hpp"
#include <xgrad/autodiff/kernels/batch_norm.hpp>
#include <xgrad/autodiff/kernels/layer_norm.hpp>

using namespace xgrad;
using namespace xgrad::twins;
using kernels::Channels;

namespace {

const std::vector<Channels> shapes{
    {2, 0, 1},    {1, 3, 2},     {2, 1, 1},     {5, 3, 1},     {4, 7, 1},   {3, 8, 1},    {3, 9, 1},
    {33, 15, 1},  {65, 16, 1},   {7, 17, 1},    {129, 63, 1},  {9, 64, 1},  {5, 65, 1},   {3, 130, 1},
    {2, 3, 5},    {3, 2, 15},    {2, 2, 16},    {2, 3, 17},    {300, 1, 3}, {1, 2, 5000}, {3, 1, 2048},
    {2, 1, 2049}, {500, 300, 1}, {40, 30, 129}, {4200, 65, 1},  // fetched ahead
};

constexpr Real epsilon = 1e-3L;

struct Arrays {
    Reals x, weight, bias;
};

Reals mean_of(const Reals& x, const Channels& s) {
    Reals mean(s.channels);
    for (std::size_t i = 0; i < x.size(); ++i) mean[i / s.inner % s.channels] += x[i];
    for (Real& number : mean) number /= static_cast<Real>(s.samples());
    return mean;
}

Reals variance_of(const Reals& x, const Channels& s) {
    const Reals mean = mean_of(x, s);
    Reals variance(s.channels);
    for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t c = i / s.inner % s.channels;
        variance[c] += (x[i] - mean[c]) * (x[i] - mean[c]);
    }
    for (Real& number : variance) number /= static_cast<Real>(s.samples());
    return variance;
}

Reals normalized(const Arrays& in, const Channels& s, const Reals& mean, const Reals& variance, bool relu) {
    Reals y(in.x.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
        const std::size_t c = i / s.inner % s.channels;
        y[i] = (in.x[i] - mean[c]) / std::sqrt(variance[c] + epsilon) * in.weight[c] + in.bias[c];
        if (relu) y[i] = std::max(y[i], Real(0));
    }
    return y;
}

Reals batch_norm_of(const Arrays& in, const Channels& s, bool relu) {
    return normalized(in, s, mean_of(in.x, s), variance_of(in.x, s), relu);
}

Reals layer_norm_of(const Arrays& in, std::size_t rows, std::size_t count) {
    Reals y(in.x.size());
    for (std::size_t r = 0; r < rows; ++r) {
        const Reals row(in.x.begin() + static_cast<std::ptrdiff_t>(r * count),
                        in.x.begin() + static_cast<std::ptrdiff_t>((r + 1) * count));
        const Real mean = mean_of(row, {1, 1, count})[0], variance = variance_of(row, {1, 1, count})[0];
        for (std::size_t i = 0; i < count; ++i)
            y[r * count + i] = (row[i] - mean) / std::sqrt(variance + epsilon) * in.weight[i] + in.bias[i];
    }
    return y;
}

// A copy of `in` with one of its arrays replaced.
Arrays with(Arrays in, Reals Arrays::*member, const Reals& value) {
    in.*member = value;
    return in;
}

// What batch_norm and its backward are given, and all that they give.
template <class T> struct Trial {
    Channels shape;
    std::vector<T> x, weight, bias, g;
    std::vector<T> y = std::vector<T>(x.size()), mean = std::vector<T>(weight.size()), rstd = mean, variance = mean;
    std::vector<T> dx = y, dweight = mean, dbias = mean;

    kernels::BatchNorm<T> forward(bool relu) {
        return {.shape = shape,
                .x = x.data(),
                .weight = weight.data(),
                .bias = bias.data(),
                .epsilon = T(epsilon),
                .relu = relu,
                .y = y.data()};
    }
    kernels::BatchStatistics<T> statistics() { return {mean.data(), rstd.data(), variance.data()}; }
    kernels::BatchNormBackward<T> backward(bool relu) {
        return {.shape = shape,
                .x = x.data(),
                .mean = mean.data(),
                .rstd = rstd.data(),
                .weight = weight.data(),
                .g = g.data(),
                .relu_y = relu ? y.data() : nullptr,
                .dx = dx.data(),
                .dweight = dweight.data(),
                .dbias = dbias.data()};
    }
};

template <class T, class Body> void everywhere(const Body& body) {
    for (const LevelScope at : levels())
        for (const Channels& s : shapes) {
            CAPTURE(at.name(), s.batch, s.channels, s.inner);
            body(s, numbers<T>(s.size(), s.size() + s.inner), numbers<T>(s.channels, 3, 0.5, 2),
                 numbers<T>(s.channels, 4));
        }
}

}  // namespace

TEMPLATE_TEST_CASE("batch_norm normalises each channel and saves its statistics", "[normalization]", float, double) {
    using T = TestType;
    everywhere<T>(
        [](const Channels& s, const std::vector<T>& x, const std::vector<T>& weight, const std::vector<T>& bias) {
            const Arrays exact{reals(x), reals(weight), reals(bias)};
            Trial<T> trial{s, x, weight, bias, {}};
            for (const bool relu : {false, true}) {
                kernels::batch_norm(trial.forward(relu), trial.statistics());
                const Reals exact_variance = variance_of(exact.x, s);
                check_close(trial.mean, mean_of(exact.x, s), 16);
                check_close(trial.variance, exact_variance, 32);
                Reals exact_rstd;
                for (const Real v : exact_variance) exact_rstd.push_back(1 / std::sqrt(v + epsilon));
                check_close(trial.rstd, exact_rstd, 32);
                check_close(trial.y, batch_norm_of(exact, s, relu), 64);

                // In place, without weight and bias.
                auto z = x;
                kernels::batch_norm<T>({.shape = s, .x = z.data(), .epsilon = T(epsilon), .relu = relu, .y = z.data()},
                                       trial.statistics());
                check_close(z, batch_norm_of({exact.x, Reals(s.channels, 1), Reals(s.channels, 0)}, s, relu), 64);

                kernels::batch_norm_inference(trial.forward(relu), bias.data(), weight.data());
                check_close(trial.y, normalized(exact, s, exact.bias, exact.weight, relu), 16);
            }
        });
}

TEMPLATE_TEST_CASE("batch_norm keeps a small variance beside a large mean", "[normalization]", float, double) {
    using T = TestType;
    everywhere<T>([](const Channels& s, std::vector<T> x, const std::vector<T>&, const std::vector<T>&) {
        for (T& number : x) number += 1000;
        std::vector<T> y(x.size()), mean(s.channels), rstd(s.channels), variance(s.channels);
        kernels::batch_norm<T>({.shape = s, .x = x.data(), .epsilon = T(epsilon), .y = y.data()},
                               {mean.data(), rstd.data(), variance.data()});
        check_close(mean, mean_of(reals(x), s), 4);
        check_close(variance, variance_of(reals(x), s), 32);
    });
}

TEMPLATE_TEST_CASE("batch_norm passes its cotangents back", "[normalization]", float, double) {
    using T = TestType;
    everywhere<T>([](const Channels& s, const std::vector<T>& x, const std::vector<T>& weight,
                     const std::vector<T>& bias) {
        if (s.size() > 150) return;
        const Arrays exact{reals(x), reals(weight), reals(bias)};
        const auto g = numbers<T>(x.size(), 8);
        Trial<T> trial{s, x, weight, bias, g};
        for (const bool relu : {false, true}) {
            CAPTURE(relu);
            kernels::batch_norm(trial.forward(relu), trial.statistics());
            const auto derivatives = [&](Reals Arrays::*member) {
                return central_differences(
                    [&](const Reals& value) {
                        return dot(batch_norm_of(with(exact, member, value), s, relu), reals(g));
                    },
                    exact.*member);
            };
            kernels::BatchNormBackward<T> backward = trial.backward(relu);
            kernels::batch_norm_backward(backward);
            check_close(trial.dx, derivatives(&Arrays::x), derivative_tolerance<T>);
            check_close(trial.dweight, derivatives(&Arrays::weight), derivative_tolerance<T>);
            check_close(trial.dbias, derivatives(&Arrays::bias), derivative_tolerance<T>);

            // Parts alone, and dx over g.
            auto alone = g;
            backward.g = backward.dx = alone.data();
            backward.dweight = backward.dbias = nullptr;
            kernels::batch_norm_backward(backward);
            CHECK(alone == trial.dx);
        }

        // With constant statistics y is linear in x.
        auto linear = trial.backward(false);
        linear.constant_statistics = true;
        kernels::batch_norm_backward(linear);
        Reals exact_dx(x.size()), exact_dweight(s.channels), exact_dbias(s.channels);
        for (std::size_t i = 0; i < x.size(); ++i) {
            const std::size_t c = i / s.inner % s.channels;
            exact_dx[i] = Real(g[i]) * trial.rstd[c] * weight[c];
            exact_dweight[c] += Real(g[i]) * trial.rstd[c] * (Real(x[i]) - trial.mean[c]);
            exact_dbias[c] += g[i];
        }
        check_close(trial.dx, exact_dx);
        check_close(trial.dweight, exact_dweight, 32);
        check_close(trial.dbias, exact_dbias, 32);
    });
}

TEMPLATE_TEST_CASE("batch_norm passes the cotangents of many rows back", "[normalization]", float, double) {
    using T = TestType;
    for (const LevelScope at : levels())
        for (const Channels s : {Channels{300, 5, 1}, Channels{4200, 65, 1}})
            for (const bool relu : {false, true}) {
                CAPTURE(at.name(), s.batch, relu);
                Trial<T> trial{s, numbers<T>(s.size(), 1), numbers<T>(s.channels, 3), numbers<T>(s.channels, 4),
                               numbers<T>(s.size(), 2)};
                kernels::batch_norm(trial.forward(relu), trial.statistics());
                kernels::batch_norm_backward(trial.backward(relu));
                Reals exact_dx(s.size()), exact_dweight(s.channels), exact_dbias(s.channels);
                const auto cotangent = [&](std::size_t i) {
                    return relu && !(trial.y[i] > 0) ? Real(0) : Real(trial.g[i]);
                };
                const auto deviation = [&](std::size_t i) {
                    return (Real(trial.x[i]) - trial.mean[i % s.channels]) * trial.rstd[i % s.channels];
                };
                for (std::size_t i = 0; i < s.size(); ++i) {
                    exact_dweight[i % s.channels] += cotangent(i) * deviation(i);
                    exact_dbias[i % s.channels] += cotangent(i);
                }
                for (std::size_t i = 0; i < s.size(); ++i) {
                    const std::size_t c = i % s.channels;
                    const Real common = (exact_dbias[c] + deviation(i) * exact_dweight[c]) / static_cast<Real>(s.batch);
                    exact_dx[i] = (cotangent(i) - common) * trial.rstd[c] * trial.weight[c];
                }
                check_close(trial.dx, exact_dx, 64);
                check_close(trial.dweight, exact_dweight, 256);
                check_close(trial.dbias, exact_dbias, 256);
            }
}

TEMPLATE_TEST_CASE("relu after batch_norm lets NaN through", "[normalization]", float, double) {
    using T = TestType;
    const T nan = std::numeric_limits<T>::quiet_NaN();
    for (const LevelScope at : levels()) {
        INFO(at.name());
        const std::vector<T> x{1, nan, 3, 4}, mean{0, 0}, variance{1, 1};
        std::vector<T> y(4);
        kernels::batch_norm_inference<T>(
            {.shape = {2, 2, 1}, .x = x.data(), .epsilon = T(0), .relu = true, .y = y.data()}, mean.data(),
            variance.data());
        check_close(y, Reals{1, nan, 3, 4});
    }
}

TEMPLATE_TEST_CASE("layer_norm normalises each row and passes its cotangents back", "[normalization]", float, double) {
    using T = TestType;
    for (const LevelScope at : levels())
        for (const auto& [rows, count] : std::vector<std::pair<std::size_t, std::size_t>>{{0, 5},
                                                                                          {3, 1},
                                                                                          {2, 3},
                                                                                          {4, 7},
                                                                                          {3, 8},
                                                                                          {3, 9},
                                                                                          {5, 15},
                                                                                          {5, 16},
                                                                                          {5, 17},
                                                                                          {2, 65},
                                                                                          {65, 4},
                                                                                          {200, 3},
                                                                                          {3, 4999},
                                                                                          {300, 257}}) {
            CAPTURE(at.name(), rows, count);
            const auto x = numbers<T>(rows * count, 6), weight = numbers<T>(count, 3, 0.5, 2),
                       bias = numbers<T>(count, 4);
            const auto g = numbers<T>(rows * count, 8);
            const Arrays exact{reals(x), reals(weight), reals(bias)};
            std::vector<T> y(x.size()), mean(rows), rstd(rows);
            kernels::layer_norm<T>({.rows = rows,
                                    .count = count,
                                    .x = x.data(),
                                    .weight = weight.data(),
                                    .bias = bias.data(),
                                    .epsilon = T(epsilon),
                                    .y = y.data(),
                                    .mean = mean.data(),
                                    .rstd = rstd.data()});
            check_close(y, layer_norm_of(exact, rows, count), 32);

            std::vector<T> dx(x.size()), dweight(count), dbias(count);
            kernels::layer_norm_backward<T>({.rows = rows,
                                             .count = count,
                                             .x = x.data(),
                                             .mean = mean.data(),
                                             .rstd = rstd.data(),
                                             .weight = weight.data(),
                                             .g = g.data(),
                                             .dx = dx.data(),
                                             .dweight = dweight.data(),
                                             .dbias = dbias.data()});
            Reals exact_dweight(count), exact_dbias(count);
            for (std::size_t i = 0; i < x.size(); ++i) {
                exact_dweight[i % count] += Real(g[i]) * (Real(x[i]) - mean[i / count]) * rstd[i / count];
                exact_dbias[i % count] += g[i];
            }
            check_close(dweight, exact_dweight, 64);
            check_close(dbias, exact_dbias, 64);
            auto alone = g;
            kernels::layer_norm_backward<T>({.rows = rows,
                                             .count = count,
                                             .x = x.data(),
                                             .mean = mean.data(),
                                             .rstd = rstd.data(),
                                             .weight = weight.data(),
                                             .g = alone.data(),
                                             .dx = alone.data()});
            CHECK(alone == dx);
            if (x.size() > 150) continue;
            check_close(dx,
                        central_differences(
                            [&, rows = rows, count = count](const Reals& value) {
                                return dot(layer_norm_of(with(exact, &Arrays::x, value), rows, count), reals(g));
                            },
                            exact.x),
                        derivative_tolerance<T>);
        }
}

TEMPLATE_TEST_CASE("batch_norm does not depend on the number of threads", "[normalization]", float, double) {
    using T = TestType;
    for (const LevelScope at : levels())
        for (const Channels s : {Channels{1000, 192, 1}, Channels{4200, 130, 1}, Channels{10, 192, 100}}) {
            CAPTURE(at.name(), s.batch);
            auto x = numbers<T>(s.size(), 1);
            const auto g = numbers<T>(s.size(), 2);
            x[70] = 1000;  // a bad guess at the mean of a channel: its variance is computed again
            check_any_threads([&] {
                std::vector<T> y(x.size()), mean(s.channels), rstd(s.channels), dx(x.size()), dweight(s.channels);
                kernels::batch_norm<T>({.shape = s, .x = x.data(), .epsilon = T(1e-5), .y = y.data()},
                                       {mean.data(), rstd.data()});
                kernels::batch_norm_backward<T>({.shape = s,
                                                 .x = x.data(),
                                                 .mean = mean.data(),
                                                 .rstd = rstd.data(),
                                                 .g = g.data(),
                                                 .dx = dx.data(),
                                                 .dweight = dweight.data()});
                return std::array{y, mean, rstd, dx, dweight};
            });
        }
}

TEST_CASE("layer_norm does not depend on the number of threads", "[normalization]") {
    const auto x = numbers<float>(1000 * 192, 1), g = numbers<float>(x.size(), 2);
    check_any_threads([&] {
        std::vector<float> y(x.size()), mean(1000), rstd(1000), dx(x.size()), dweight(192), dbias(192);
        kernels::layer_norm<float>({.rows = 1000,
                                    .count = 192,
                                    .x = x.data(),
                                    .epsilon = 1e-5f,
                                    .y = y.data(),
                                    .mean = mean.data(),
                                    .rstd = rstd.data()});
        kernels::layer_norm_backward<float>({.rows = 1000,
                                             .count = 192,
                                             .x = x.data(),
                                             .mean = mean.data(),
                                             .rstd = rstd.data(),
                                             .g = g.data(),
                                             .dx = dx.data(),
                                             .dweight = dweight.data(),
                                             .dbias = dbias.data()});
        return std::array{y, mean, rstd, dx, dweight, dbias};
    });
}
