// Kernels along rows and columns, at 128×256 and 4096×256 floats, beside a copy: bytes that must be read and written
// per second. XGRAD_THREADS=1 shows one thread.
//     xgrad_benchmarks --benchmark_filter=^rows
#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <xgrad/autodiff/array.hpp>
#include <xgrad/autodiff/kernels/batch_norm.hpp>
#include <xgrad/autodiff/kernels/layer_norm.hpp>
#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/kernels/softmax.hpp>
#include <xgrad/autodiff/kernels/update.hpp>

namespace {

using namespace xgrad;
using kernels::Slices;

struct Arrays {
    std::size_t rows, columns, size = rows * columns;
    Array<float> x = numbers(size), g = numbers(size), y = numbers(size), dx = numbers(size), weight = numbers(columns),
                 bias = numbers(columns), dweight = numbers(columns), dbias = numbers(columns),
                 mean = numbers(rows + columns), rstd = numbers(rows + columns);
    std::vector<std::int64_t> labels = std::vector<std::int64_t>(rows + columns, 3);

    static Array<float> numbers(std::size_t n) {
        Array<float> result = empty<float>({n});
        for (std::size_t i = 0; i < n; ++i) result(i) = static_cast<float>(i * 7919 % 1009) / 126 - 4;
        return result;
    }
    Slices along_rows() const { return {rows, columns, 1}; }
    Slices down_columns() const { return {1, rows, columns}; }
};

// Measures run(arrays), which must touch `passes` arrays of the full size.
void measure(const std::string& name, std::size_t passes, const std::function<void(Arrays&)>& run) {
    for (const std::size_t rows : {128, 4096}) {
        const auto body = [=](benchmark::State& state) {
            Arrays arrays{rows, 256};
            for (auto _ : state) {
                run(arrays);
                benchmark::ClobberMemory();
            }
            state.SetBytesProcessed(
                static_cast<std::int64_t>(state.iterations() * passes * arrays.size * sizeof(float)));
        };
        benchmark::RegisterBenchmark(("rows/" + name + "/" + std::to_string(rows) + "x256").c_str(), body)
            ->Unit(benchmark::kMicrosecond)
            ->UseRealTime();
    }
}

kernels::BatchNorm<float> batch_norm(Arrays& a, bool relu) {
    return {.shape = {a.rows, a.columns, 1},
            .x = a.x.data(),
            .weight = a.weight.data(),
            .bias = a.bias.data(),
            .epsilon = 1e-5f,
            .relu = relu,
            .y = a.y.data()};
}

kernels::BatchNormBackward<float> batch_norm_backward(Arrays& a, bool relu) {
    return {.shape = {a.rows, a.columns, 1},
            .x = a.x.data(),
            .mean = a.mean.data(),
            .rstd = a.rstd.data(),
            .weight = a.weight.data(),
            .g = a.g.data(),
            .relu_y = relu ? a.y.data() : nullptr,
            .dx = a.dx.data(),
            .dweight = a.dweight.data(),
            .dbias = a.dbias.data()};
}

[[maybe_unused]] const bool registered = [] {
    measure("copy", 2, [](Arrays& a) { std::memcpy(a.y.data(), a.x.data(), a.size * sizeof(float)); });
    measure("transpose", 2,
            [](Arrays& a) { kernels::transpose(a.x.data(), a.columns, a.columns, a.rows, a.y.data(), a.rows); });
    measure("broadcast/along_rows", 1, [](Arrays& a) {
        kernels::broadcast_to<float>(a.mean.data(), std::array{a.rows, std::size_t{1}}, a.y.data(),
                                     std::array{a.rows, a.columns});
    });
    measure("broadcast/down_columns", 1, [](Arrays& a) {
        kernels::broadcast_to<float>(a.weight.data(), std::array{a.columns}, a.y.data(), std::array{a.rows, a.columns});
    });
    measure("sum/full", 1, [](Arrays& a) { kernels::sum(a.x.data(), {1, a.size, 1}, a.y.data()); });
    measure("sum/along_rows", 1, [](Arrays& a) { kernels::sum(a.x.data(), a.along_rows(), a.y.data()); });
    measure("sum/down_columns", 1, [](Arrays& a) { kernels::sum(a.x.data(), a.down_columns(), a.y.data()); });
    measure("max/along_rows", 1, [](Arrays& a) { kernels::max(a.x.data(), a.along_rows(), a.y.data()); });
    measure("max/down_columns", 1, [](Arrays& a) { kernels::max(a.x.data(), a.down_columns(), a.y.data()); });
    measure("argmax/along_rows", 1, [](Arrays& a) { kernels::argmax(a.x.data(), a.along_rows(), a.labels.data()); });
    measure("argmax/down_columns", 1,
            [](Arrays& a) { kernels::argmax(a.x.data(), a.down_columns(), a.labels.data()); });
    measure("logsumexp/along_rows", 1, [](Arrays& a) { kernels::logsumexp(a.x.data(), a.along_rows(), a.y.data()); });
    measure("softmax/forward", 2, [](Arrays& a) { kernels::softmax(a.x.data(), a.along_rows(), a.y.data()); });
    measure("softmax/backward", 3,
            [](Arrays& a) { kernels::softmax_backward(a.y.data(), a.g.data(), a.along_rows(), a.dx.data()); });
    measure("softmax/down_columns", 2, [](Arrays& a) { kernels::softmax(a.x.data(), a.down_columns(), a.y.data()); });
    measure("log_softmax/forward", 2, [](Arrays& a) { kernels::log_softmax(a.x.data(), a.along_rows(), a.y.data()); });
    measure("log_softmax/backward", 3,
            [](Arrays& a) { kernels::log_softmax_backward(a.y.data(), a.g.data(), a.along_rows(), a.dx.data()); });
    measure("cross_entropy/forward", 2, [](Arrays& a) {
        kernels::softmax_cross_entropy<float>(a.x.data(), a.along_rows(), {.labels = a.labels.data()},
                                              {.losses = a.mean.data(), .probabilities = a.y.data()});
    });
    measure("cross_entropy/backward", 2, [](Arrays& a) {
        kernels::softmax_cross_entropy_backward<float>(a.y.data(), a.along_rows(), {.labels = a.labels.data()},
                                                       a.rstd.data(), true, a.dx.data());
    });
    measure("cross_entropy/10_classes", 1, [](Arrays& a) {
        const Slices slices{a.rows, 10, 1};
        kernels::softmax_cross_entropy<float>(a.x.data(), slices, {.labels = a.labels.data()},
                                              {.losses = a.mean.data(), .probabilities = a.y.data()});
        kernels::softmax_cross_entropy_backward<float>(a.y.data(), slices, {.labels = a.labels.data()}, a.rstd.data(),
                                                       true, a.dx.data());
    });
    measure("batch_norm/forward", 2, [](Arrays& a) {
        kernels::batch_norm<float>(batch_norm(a, false), {a.mean.data(), a.rstd.data(), a.dbias.data()});
    });
    measure("batch_norm/backward", 3, [](Arrays& a) { kernels::batch_norm_backward(batch_norm_backward(a, false)); });
    measure("batch_norm_relu/forward", 2, [](Arrays& a) {
        kernels::batch_norm<float>(batch_norm(a, true), {a.mean.data(), a.rstd.data(), a.dbias.data()});
    });
    measure("batch_norm_relu/backward", 4,
            [](Arrays& a) { kernels::batch_norm_backward(batch_norm_backward(a, true)); });
    measure("batch_norm/images", 2, [](Arrays& a) {
        kernels::BatchNorm<float> norm = batch_norm(a, false);
        norm.shape = {a.rows / 16, 16, 256};
        kernels::batch_norm<float>(norm, {a.mean.data(), a.rstd.data(), a.dbias.data()});
    });
    measure("batch_norm/images_backward", 3, [](Arrays& a) {
        kernels::BatchNormBackward<float> norm = batch_norm_backward(a, false);
        norm.shape = {a.rows / 16, 16, 256};
        kernels::batch_norm_backward(norm);
    });
    measure("layer_norm/forward", 2, [](Arrays& a) {
        kernels::layer_norm<float>({.rows = a.rows,
                                    .count = a.columns,
                                    .x = a.x.data(),
                                    .weight = a.weight.data(),
                                    .bias = a.bias.data(),
                                    .epsilon = 1e-5f,
                                    .y = a.y.data(),
                                    .mean = a.mean.data(),
                                    .rstd = a.rstd.data()});
    });
    measure("layer_norm/backward", 3, [](Arrays& a) {
        kernels::layer_norm_backward<float>({.rows = a.rows,
                                             .count = a.columns,
                                             .x = a.x.data(),
                                             .mean = a.mean.data(),
                                             .rstd = a.rstd.data(),
                                             .weight = a.weight.data(),
                                             .g = a.g.data(),
                                             .dx = a.dx.data(),
                                             .dweight = a.dweight.data(),
                                             .dbias = a.dbias.data()});
    });
    measure("update/sgd_momentum", 5, [](Arrays& a) {
        kernels::sgd_update<float>({.momentum = 0.9}, a.g.data(), a.x.data(), a.y.data(), a.size);
    });
    measure("update/adam", 7, [](Arrays& a) {
        kernels::adam_update<float>({}, a.g.data(), a.x.data(), a.y.data(), a.dx.data(), nullptr, a.size);
    });
    return true;
}();

}  // namespace
