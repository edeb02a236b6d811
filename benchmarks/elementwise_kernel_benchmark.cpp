// Elementwise kernels at 128×256 floats, forward and backward, beside a copy of the same memory by hand.
//     xgrad_benchmarks --benchmark_filter=elementwise
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>

namespace {

using namespace xgrad;

constexpr std::size_t rows = 128, columns = 256, size = rows * columns;

struct Arrays {
    std::vector<float> x = std::vector<float>(size), g = std::vector<float>(size), out = std::vector<float>(size);
    Arrays() {
        for (std::size_t i = 0; i < size; ++i) {
            x[i] = static_cast<float>(i * 7919 % 1000) / 125 - 4;
            g[i] = static_cast<float>(i * 104729 % 1000) / 500 - 1;
        }
    }
};

template <class Formula> void forward(benchmark::State& state, Formula formula) {
    Arrays a;
    const std::size_t shape[] = {rows, columns};
    const float* inputs[] = {a.x.data()};
    const auto& kernel = kernels::elementwise_kernel<Formula, float, 1>();
    for (auto _ : state) {
        kernel.forward(&formula, kernels::Broadcast(shape, {shape}), a.out.data(), inputs);
        benchmark::ClobberMemory();
    }
}

template <class Formula> void backward(benchmark::State& state, Formula formula) {
    Arrays a;
    const std::size_t shape[] = {rows, columns};
    const float* inputs[] = {a.x.data()};
    float* gradients[] = {a.out.data()};
    const auto& kernel = kernels::elementwise_kernel<Formula, float, 1>();
    for (auto _ : state) {
        kernel.backward(&formula, kernels::Broadcast(shape, {shape}), a.g.data(), inputs, gradients);
        benchmark::ClobberMemory();
    }
}

// The floor under a forward: read and write the same memory.
void copy_by_hand(benchmark::State& state) {
    Arrays a;
    for (auto _ : state) {
        for (std::size_t i = 0; i < size; ++i) a.out[i] = a.x[i] + 1;
        benchmark::ClobberMemory();
    }
}

// The floor under a backward: read two arrays and write one.
void multiply_by_hand(benchmark::State& state) {
    Arrays a;
    for (auto _ : state) {
        for (std::size_t i = 0; i < size; ++i) a.out[i] = a.x[i] * a.g[i];
        benchmark::ClobberMemory();
    }
}

// a + b with the second operand broadcast: its shape is the argument.
void add(benchmark::State& state) {
    Arrays a;
    const std::size_t shape[] = {rows, columns};
    const std::size_t other[] = {static_cast<std::size_t>(state.range(0)), static_cast<std::size_t>(state.range(1))};
    const float* inputs[] = {a.x.data(), a.g.data()};
    const formulas::Add formula;
    const auto& kernel = kernels::elementwise_kernel<formulas::Add, float, 2>();
    for (auto _ : state) {
        kernel.forward(&formula, kernels::Broadcast(shape, {shape, other}), a.out.data(), inputs);
        benchmark::ClobberMemory();
    }
}

// The same in 10 000 rows of few numbers: the argument says how many, and whether it is a row or a column that repeats.
void add_to_short_rows(benchmark::State& state) {
    const std::size_t n = static_cast<std::size_t>(state.range(0));
    const bool column = state.range(1) != 0;
    const std::size_t shape[] = {10000, n};
    const std::size_t other[] = {column ? std::size_t{10000} : 1, column ? 1 : n};
    const std::vector<float> a(10000 * n, 1), b(column ? 10000 : n, 2);
    std::vector<float> out(a.size());
    const float* inputs[] = {a.data(), b.data()};
    const formulas::Add formula;
    const auto& kernel = kernels::elementwise_kernel<formulas::Add, float, 2>();
    for (auto _ : state) {
        kernel.forward(&formula, kernels::Broadcast(shape, {shape, other}), out.data(), inputs);
        benchmark::ClobberMemory();
    }
}

template <class Formula> void both(const std::string& name, Formula formula = {}) {
    benchmark::RegisterBenchmark(("elementwise/" + name).c_str(),
                                 [=](benchmark::State& state) { forward(state, formula); });
    benchmark::RegisterBenchmark(("elementwise/" + name + "/backward").c_str(),
                                 [=](benchmark::State& state) { backward(state, formula); });
}

const bool registered = [] {
    benchmark::RegisterBenchmark("elementwise/copy_ref", copy_by_hand);
    benchmark::RegisterBenchmark("elementwise/multiply_ref", multiply_by_hand);
    benchmark::RegisterBenchmark("elementwise/add", add)->Args({rows, columns})->Args({1, columns})->Args({rows, 1});
    benchmark::RegisterBenchmark("elementwise/add_to_short_rows", add_to_short_rows)
        ->ArgsProduct({{2, 10, 17, 50}, {0, 1}});
    both<formulas::Exp>("exp");
    both<formulas::Log>("log");
    both<formulas::Tanh>("tanh");
    both<formulas::Sigmoid>("sigmoid");
    both<formulas::Erf>("erf");
    both<formulas::Relu>("relu");
    both<formulas::Elu>("elu");
    both<formulas::Softplus>("softplus");
    both<formulas::Silu>("silu");
    both<formulas::Gelu>("gelu");
    both<formulas::GeluTanh>("gelu_tanh");
    both<formulas::Mish>("mish");
    both<formulas::Sin>("sin");
    both("pow_1.7", formulas::PowNumber{1.7});
    both("user_swish", [](auto x) { return x / (1 + exp(-x)); });
    return true;
}();

}  // namespace
