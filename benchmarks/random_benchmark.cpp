// Random arrays of a million numbers.
//     xgrad_benchmarks --benchmark_filter=random
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <xgrad/autodiff/generator.hpp>

namespace {

using namespace xgrad;

template <class T, class Fill> void add(const char* name, Fill fill) {
    const std::string precision = sizeof(T) == 4 ? "/float" : "/double";
    benchmark::RegisterBenchmark(("random/" + std::string(name) + precision).c_str(), [=](benchmark::State& state) {
        Generator generator(1);
        std::vector<T> numbers(1 << 20);
        for (auto _ : state) {
            fill(generator, std::span(numbers));
            benchmark::ClobberMemory();
        }
        state.SetItemsProcessed(static_cast<std::int64_t>(numbers.size()) * state.iterations());
    })->UseRealTime();
}

template <class T> void add_all() {
    add<T>("uniform", [](Generator& generator, std::span<T> numbers) { generator.fill_uniform(numbers); });
    add<T>("normal", [](Generator& generator, std::span<T> numbers) { generator.fill_normal(numbers); });
    add<T>("bernoulli", [](Generator& generator, std::span<T> numbers) { generator.fill_bernoulli(numbers, 0.5); });
}

const bool registered = [] {
    add_all<float>();
    add_all<double>();
    return true;
}();

}  // namespace
