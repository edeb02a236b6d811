// One instruction-set level against another: kernels, on shapes and values drawn at random, must agree with the
// portable level up to rounding. What each kernel computes is held by its own tests; here it is enough that nobody
// deviates, so that many more cases can be tried.
#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "kernel_twins.hpp"
#include "message.hpp"
#include <xgrad/autodiff/kernels/batch_norm.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>
#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/layer_norm.hpp>
#include <xgrad/autodiff/kernels/losses.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/kernels/softmax.hpp>

using namespace xgrad;
using namespace xgrad::twins;

namespace {

// run() returns numbers.
template <class Run>
void check_levels(const Run& run, long double tolerance = 64, const testing::Levels& among = levels()) {
    const auto expected = [&] {
        const LevelScope portable(Level::portable);
        return reals(run());
    }();
    for (const LevelScope at : among) {
        INFO(at.name());
        check_close(run(), expected, tolerance);
    }
}

// Sizes, numbers and choices of one case.
class Draw {
public:
    explicit Draw(unsigned seed) : engine_(seed) {}

    std::size_t size(std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(engine_); }
    bool coin() { return size(1) == 1; }
    template <class T> std::vector<T> numbers(std::size_t count, double low = -2, double high = 2) {
        std::uniform_real_distribution<double> draw(low, high);
        std::vector<T> result(count);
        for (T& number : result) number = static_cast<T>(draw(engine_));
        return result;
    }
    // Here and there what arithmetic treats in a way of its own.
    template <class T> void strew(std::vector<T>& numbers) {
        constexpr T infinity = std::numeric_limits<T>::infinity();
        constexpr std::array<T, 7> special{0, -T(0), 1, -1, infinity, -infinity, std::numeric_limits<T>::quiet_NaN()};
        for (T& number : numbers)
            if (size(9) == 0) number = special[size(special.size() - 1)];
    }

private:
    std::mt19937 engine_;
};

template <class T, class... Vectors> std::vector<T> joined(const std::vector<T>& first, const Vectors&... rest) {
    std::vector<T> all = first;
    (all.insert(all.end(), rest.begin(), rest.end()), ...);
    return all;
}

// A shape of up to three dimensions, and that of an operand which broadcasts to it.
using Sizes = std::vector<std::size_t>;

Sizes shape(Draw& draw) {
    Sizes result(draw.size(3));
    for (std::size_t& extent : result) extent = draw.size(draw.coin() ? 4 : 35);
    return result;
}

Sizes operand(Draw& draw, const Sizes& result) {
    Sizes shape(result.begin() + static_cast<std::ptrdiff_t>(draw.size(result.size())), result.end());
    for (std::size_t& extent : shape)
        if (draw.size(3) == 0) extent = 1;
    return draw.coin() ? result : shape;
}

std::size_t count(const Sizes& shape) {
    std::size_t product = 1;
    for (std::size_t extent : shape) product *= extent;
    return product;
}

template <class Formula, class T> void check_formula(Draw& draw) {
    constexpr std::size_t N = kernels::operands_of<Formula>();
    INFO("formula " << formulas::Formulas::position<Formula> << " of the list");
    const Formula formula{};
    const Sizes result = shape(draw);
    const bool positive = draw.coin();  // where every function has a value
    std::array<Sizes, N> shapes;
    std::array<std::vector<T>, N> inputs, plain;
    std::array<std::span<const std::size_t>, N> spans;
    std::array<const T*, N> data, plain_data;
    for (std::size_t k = 0; k < N; ++k) {
        shapes[k] = operand(draw, result);
        plain[k] = inputs[k] = draw.numbers<T>(count(shapes[k]), positive ? 0.1 : -3, positive ? 1.5 : 3);
        draw.strew(inputs[k]);
        spans[k] = shapes[k], data[k] = inputs[k].data(), plain_data[k] = plain[k].data();
    }
    const kernels::Broadcast loop(result, spans);
    const auto g = draw.numbers<T>(count(result));
    check_levels([&] {
        std::vector<T> y(count(result));
        kernels::elementwise_kernel<Formula, T, N>().forward(&formula, loop, y.data(), data.data());
        return y;
    });
    check_levels(
        [&] {
            std::array<std::vector<T>, N> gradients;
            std::array<T*, N> places;
            for (std::size_t k = 0; k < N; ++k) gradients[k].resize(count(result)), places[k] = gradients[k].data();
            const auto& kernel = kernels::elementwise_kernel<Formula, T, N>();
            kernel.backward(&formula, loop, g.data(), plain_data.data(), places.data());
            // Each on its own is as it is beside the others.
            for (std::size_t k = 0; N > 1 && k < N; ++k) {
                std::vector<T> alone(count(result));
                std::array<T*, N> place{};
                place[k] = alone.data();
                kernel.backward(&formula, loop, g.data(), plain_data.data(), place.data());
                const bool same = std::equal(alone.begin(), alone.end(), gradients[k].begin(), [](T a, T b) {
                    return (a != a && b != b) || a == Approx(b);
                });
                CHECK(same);
            }
            return std::apply([](const auto&... gradient) { return joined<T>(gradient...); }, gradients);
        },
        512);
}

template <class T, class... Formulas> void check_formulas(Draw& draw, formulas::List<Formulas...>) {
    (check_formula<Formulas, T>(draw), ...);
}

template <class Loss, class T> void check_loss(Draw& draw) {
    constexpr std::size_t N = kernels::operands_of<Loss>();
    INFO("loss " << formulas::Losses::position<Loss> << " of the list");
    const Loss loss = [] {
        if constexpr (std::same_as<Loss, formulas::Huber>)
            return Loss{0.7, 1.3};
        else
            return Loss{};
    }();
    // Prediction and target have the full shape, weights broadcast to it; some are of several blocks.
    const Sizes result = draw.coin() ? shape(draw) : Sizes{draw.size(90) + 1, draw.size(90) + 1};
    std::array<Sizes, N + 1> shapes;
    std::array<std::vector<T>, N + 1> inputs;
    std::array<const T*, N + 1> data;
    for (std::size_t k = 0; k <= N; ++k) {
        shapes[k] = k == 2 || k == 3 ? operand(draw, result) : result;
        inputs[k] = draw.numbers<T>(count(shapes[k]), 0, 1);
        data[k] = inputs[k].data();
    }
    const std::array<std::span<const std::size_t>, N + 1> spans =
        std::apply([](const auto&... each) { return std::array{std::span<const std::size_t>(each)...}; }, shapes);
    const kernels::Broadcast loop(result, std::span(spans).template first<N>()), with_cotangent(result, spans);
    check_levels(
        [&] {
            const auto& kernel = kernels::loss_kernel<Loss, T>();
            const std::size_t blocks = (loop.size + kernels::loss_block - 1) / kernels::loss_block;
            std::vector<T> values(loop.size), sums(blocks), by_prediction(loop.size), by_target(loop.size);
            kernel.values.forward(&loss, loop, values.data(), data.data());
            kernel.block_sums(&loss, kernels::Pass<T, N>(loop, data.data()), 0, blocks, sums.data());
            const formulas::LossDerivative<Loss, 0> prediction{loss};
            const formulas::LossDerivative<Loss, 1> target{loss};
            kernel.derivatives[0].forward(&prediction, with_cotangent, by_prediction.data(), data.data());
            kernel.derivatives[1].forward(&target, with_cotangent, by_target.data(), data.data());
            for (std::size_t block = 0; block < blocks; ++block) {
                const std::size_t begin = block * kernels::loss_block;
                const std::size_t end = std::min(loop.size, begin + kernels::loss_block);
                double sum = 0;
                for (std::size_t i = begin; i < end; ++i) sum += values[i];
                CHECK(sums[block] == Approx(sum).epsilon(sizeof(T) == 4 ? 1e-4 : 1e-12).margin(1e-6));
            }
            return joined<T>(values, sums, by_prediction, by_target);
        },
        512);
}

template <class T, class... Losses> void check_losses(Draw& draw, formulas::List<Losses...>) {
    (check_loss<Losses, T>(draw), ...);
}

}  // namespace

TEST_CASE("a level can be chosen, unless the processor lacks it", "[levels]") {
    const LevelScope before(level());
    for (const Level at : {Level::portable, Level::avx2, Level::avx512, Level::amx}) {
        const std::string expected =
            available(at) ? "no Error was thrown"
                          : "set_level: this processor, system or build has no level '" + std::string(name(at)) + "'";
        CHECK(testing::message([&] { set_level(at); }) == expected);
        if (available(at)) CHECK(level() == at);
    }
}

#if defined(__x86_64__)
TEST_CASE("the kernels are those of the level in use", "[levels]") {
    for (const LevelScope at : testing::Levels{Level::portable, Level::avx2, Level::avx512, Level::amx}) {
        INFO(at.name());
        const bool is_avx2 = level() == Level::avx2, is_portable = level() == Level::portable;
        CHECK(&kernels::reduce_kernels<float>() == &(is_portable ? kernels::portable::reduce_kernels<float>()
                                                     : is_avx2   ? kernels::avx2::reduce_kernels<float>()
                                                                 : kernels::avx512::reduce_kernels<float>()));
        CHECK(&kernels::gemm_kernels<double>() == &(is_portable ? kernels::portable::gemm_kernels<double>()
                                                    : is_avx2   ? kernels::avx2::gemm_kernels<double>()
                                                                : kernels::avx512::gemm_kernels<double>()));
    }
}
#endif

TEMPLATE_TEST_CASE("all levels compute the same losses", "[levels]", float, double) {
    for (unsigned seed = 0; seed < 20; ++seed) {
        Draw draw(seed);
        INFO("seed " << seed);
        check_losses<TestType>(draw, formulas::Losses());
    }
}

TEMPLATE_TEST_CASE("all levels compute the same formulas", "[levels]", float, double) {
    for (unsigned seed = 0; seed < 40; ++seed) {
        Draw draw(seed);
        INFO("seed " << seed);
        check_formulas<TestType>(draw, formulas::Formulas());
    }
}

TEMPLATE_TEST_CASE("all levels compute the same products", "[levels]", float, double) {
    using T = TestType;
    // The last has kernels of its own for products only.
    const testing::Levels among{Level::portable, Level::avx2, Level::avx512, Level::amx};
    for (unsigned seed = 0; seed < 150; ++seed) {
        Draw draw(seed);
        INFO("seed " << seed);
        const std::size_t most = seed % 10 == 0 ? 300 : draw.coin() ? 20 : 130;
        kernels::Gemm<T> g{.rows = draw.size(most), .columns = draw.size(most), .depth = draw.size(most)};
        g.transpose_a = draw.coin(), g.transpose_b = draw.coin(), g.accumulate = draw.coin();
        g.activation = draw.coin() ? Activation::relu : Activation::none;
        g.a_stride = (g.transpose_a ? g.rows : g.depth) + draw.size(3);
        g.b_stride = (g.transpose_b ? g.depth : g.columns) + draw.size(3);
        g.c_stride = g.columns + draw.size(3);
        const auto a = draw.numbers<T>((g.transpose_a ? g.depth : g.rows) * g.a_stride);
        const auto b = draw.numbers<T>((g.transpose_b ? g.columns : g.depth) * g.b_stride);
        const auto c = draw.numbers<T>(g.rows * g.c_stride), bias = draw.numbers<T>(g.columns);
        g.a = a.data(), g.b = b.data(), g.bias = draw.coin() ? bias.data() : nullptr;
        check_levels(
            [&] {
                std::vector<T> result = c;
                g.c = result.data();
                kernels::gemm(g);
                return result;
            },
            64, among);
    }
}

TEMPLATE_TEST_CASE("all levels compute the same along rows and columns", "[levels]", float, double) {
    using T = TestType;
    for (unsigned seed = 0; seed < 150; ++seed) {
        Draw draw(seed);
        INFO("seed " << seed);
        const kernels::Slices slices{draw.size(5), 1 + draw.size(70), draw.coin() ? 1 : draw.size(40)};
        const auto x = draw.numbers<T>(slices.size()), g = draw.numbers<T>(slices.size());
        using Reduction = void (*)(const T*, const kernels::Slices&, T*);
        for (const Reduction reduction : {kernels::sum<T>, kernels::max<T>, kernels::min<T>,
                                          kernels::logsumexp<T>, kernels::softmax<T>, kernels::log_softmax<T>})
            check_levels([&] {
                std::vector<T> y(slices.size());
                reduction(x.data(), slices, y.data());
                return y;
            });
        check_levels([&] {
            std::vector<T> mean(slices.results()), variance(slices.results());
            kernels::mean_and_variance(x.data(), slices, 0, mean.data(), variance.data());
            return joined(mean, variance);
        });
        using Backward = void (*)(const T*, const T*, const kernels::Slices&, T*);
        for (const Backward backward : {kernels::softmax_backward<T>, kernels::log_softmax_backward<T>})
            check_levels([&] {
                std::vector<T> dx(slices.size());
                backward(x.data(), g.data(), slices, dx.data());
                return dx;
            });
        std::vector<std::int64_t> labels(slices.results());
        for (auto& label : labels) label = static_cast<std::int64_t>(draw.size(slices.count - 1));
        const kernels::CrossEntropyTarget<T> target{labels.data(), nullptr, T(0.1)};
        check_levels([&] {
            std::vector<T> losses(slices.results()), probabilities(slices.size()), dx(slices.size());
            kernels::softmax_cross_entropy(x.data(), slices, target, {losses.data(), probabilities.data()});
            kernels::softmax_cross_entropy_backward(probabilities.data(), slices, target, g.data(), false, dx.data());
            return joined(losses, probabilities, dx);
        });
    }
}

TEMPLATE_TEST_CASE("all levels normalise the same way", "[levels]", float, double) {
    using T = TestType;
    for (unsigned seed = 0; seed < 100; ++seed) {
        Draw draw(seed);
        INFO("seed " << seed);
        const kernels::Channels shape{2 + draw.size(40), 1 + draw.size(40), draw.coin() ? 1 : 1 + draw.size(9)};
        const auto x = draw.numbers<T>(shape.size()), g = draw.numbers<T>(shape.size());
        const auto weight = draw.numbers<T>(shape.channels), bias = draw.numbers<T>(shape.channels);
        const bool relu = draw.coin();
        check_levels(
            [&] {
                std::vector<T> y(shape.size()), mean(shape.channels), rstd(shape.channels), dx(shape.size()),
                    dweight(shape.channels), dbias(shape.channels);
                kernels::batch_norm({shape, x.data(), weight.data(), bias.data(), T(1e-3), relu, y.data()},
                                    kernels::BatchStatistics<T>{mean.data(), rstd.data()});
                kernels::batch_norm_backward(kernels::BatchNormBackward<T>{
                    shape, x.data(), mean.data(), rstd.data(), weight.data(), g.data(), relu ? y.data() : nullptr,
                    false, dx.data(), dweight.data(), dbias.data()});
                return joined(y, mean, rstd, dx, dweight, dbias);
            },
            2048);
        const std::size_t rows = 1 + draw.size(9), count = shape.size() / rows;
        const auto gain = draw.numbers<T>(count), shift = draw.numbers<T>(count);
        check_levels(
            [&] {
                std::vector<T> y(rows * count), mean(rows), rstd(rows), dx(rows * count), dweight(count), dbias(count);
                kernels::layer_norm(kernels::LayerNorm<T>{rows, count, x.data(), gain.data(), shift.data(), T(1e-3),
                                                          y.data(), mean.data(), rstd.data()});
                kernels::layer_norm_backward(kernels::LayerNormBackward<T>{rows, count, x.data(), mean.data(),
                                                                           rstd.data(), gain.data(), g.data(),
                                                                           dx.data(), dweight.data(), dbias.data()});
                return joined(y, mean, rstd, dx, dweight, dbias);
            },
            2048);
    }
}
