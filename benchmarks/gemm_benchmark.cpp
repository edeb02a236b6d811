// Products of matrices: ours, and BLAS's as twins. Arguments: rows, columns, depth, transpose_a, transpose_b.
// The median of repetitions counts, on one thread:
//   XGRAD_THREADS=1 OPENBLAS_NUM_THREADS=1 xgrad_benchmarks --benchmark_filter=gemm --benchmark_repetitions=9
#include <algorithm>
#include <cblas.h>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>

#include <benchmark/benchmark.h>

#include <xgrad/autodiff/kernels/gemm.hpp>

namespace {

using xgrad::kernels::Gemm;
using xgrad::kernels::gemm;

template <class T> struct Matrix {
    Matrix(std::size_t rows, std::size_t columns, T value)
        : data(static_cast<T*>(::operator new (rows* columns * sizeof(T), std::align_val_t{64}))) {
        for (std::size_t i = 0; i < rows * columns; ++i) data.get()[i] = value + T(i % 7) / 8;
    }
    struct Delete {
        void operator()(T* memory) const { ::operator delete (memory, std::align_val_t{64}); }
    };
    std::unique_ptr<T, Delete> data;
};

template <class T> struct Product {
    explicit Product(const benchmark::State& state)
        : g{.rows = size(state, 0),
            .columns = size(state, 1),
            .depth = size(state, 2),
            .transpose_a = state.range(3) != 0,
            .transpose_b = state.range(4) != 0},
          a(g.rows, g.depth, T(-1)),
          b(g.depth, g.columns, T(0.5)),
          c(g.rows, g.columns, T(0)) {
        g.a = a.data.get(), g.a_stride = g.transpose_a ? g.rows : g.depth;
        g.b = b.data.get(), g.b_stride = g.transpose_b ? g.depth : g.columns;
        g.c = c.data.get(), g.c_stride = g.columns;
    }
    static std::size_t size(const benchmark::State& state, std::size_t which) {
        return static_cast<std::size_t>(state.range(which));
    }
    double flops() const { return 2.0 * static_cast<double>(g.rows * g.columns * g.depth); }

    Gemm<T> g;
    Matrix<T> a, b, c;
};

template <class T> void blas(const Gemm<T>& g) {
    const auto op = [](bool transpose) { return transpose ? CblasTrans : CblasNoTrans; };
    const auto call = [&](auto function) {
        function(CblasRowMajor, op(g.transpose_a), op(g.transpose_b), static_cast<int>(g.rows),
                 static_cast<int>(g.columns), static_cast<int>(g.depth), T(1), g.a, static_cast<int>(g.a_stride), g.b,
                 static_cast<int>(g.b_stride), T(0), g.c, static_cast<int>(g.c_stride));
    };
    if constexpr (std::is_same_v<T, float>)
        call(cblas_sgemm);
    else
        call(cblas_dgemm);
}

template <class T, class Multiply> void measure(benchmark::State& state, Multiply multiply) {
    Product<T> product(state);
    for (auto _ : state) {
        multiply(product.g);
        benchmark::ClobberMemory();
    }
    state.counters["GFLOPS"] =
        benchmark::Counter(product.flops() * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

template <class T> void gemm_ours(benchmark::State& state) {
    measure<T>(state, [](const Gemm<T>& g) { gemm(g); });
}

template <class T> void gemm_blas(benchmark::State& state) { measure<T>(state, blas<T>); }

void squares(benchmark::internal::Benchmark* benchmark) {
    for (std::int64_t size = 8; size <= 2048; size *= 2) benchmark->Args({size, size, size, 0, 0});
}

// Of linear layers: forward (A·Bᵀ), the gradient of the input (A·B) and of the weight (Aᵀ·B); (rows, columns, depth)
// are those of the forward product, and named so in all three.
void layers(benchmark::internal::Benchmark* benchmark) {
    constexpr std::int64_t sizes[][3] = {{32, 32, 32},    {64, 128, 64},    {64, 128, 128}, {64, 10, 128},
                                         {128, 256, 784}, {128, 128, 256},  {128, 10, 128}, {256, 1024, 1024},
                                         {1, 256, 784},   {256, 4096, 2048}};
    for (auto [rows, columns, depth] : sizes) {
        benchmark->Args({rows, columns, depth, 0, 0});
        benchmark->Args({rows, columns, depth, 0, 1});
        benchmark->Args({rows, depth, columns, 0, 0});
        benchmark->Args({columns, depth, rows, 1, 0});
    }
}

BENCHMARK(gemm_ours<float>)->Apply(squares)->Apply(layers)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK(gemm_blas<float>)->Apply(squares)->Apply(layers)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK(gemm_ours<double>)->Apply(squares)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK(gemm_blas<double>)->Apply(squares)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
