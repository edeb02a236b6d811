// The training steps that frameworks are compared on: their networks, their numbers, and how a step is timed.
// Standard C++ only, so that every framework's program can include it; steps_jax.py says the same in Python.
//
// Element i (row-major) of every tensor comes from hash(stream, i) and value(stream, i) below:
//     the input (batch, sizes[0]):       value(0, i)
//     the labels (batch):                hash(1, i) mod sizes.back(), or for mean squared error
//     the targets (batch, sizes.back()): value(1, i)
//     the weight of linear layer k from 0, shape (out, in): value(100 + k, i) * sqrt(1 / in), in double, then rounded
// Biases are zero. The same batch serves every step.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <vector>

namespace peers {

struct Workload {
    std::string name;
    std::vector<std::size_t> sizes;  // of the input, the hidden layers and the output
    std::size_t batch;
    bool batch_norm;  // after every linear layer but the last; those layers then have no bias
    bool regression;  // tanh and mean squared error; otherwise relu and cross entropy

    std::size_t layers() const { return sizes.size() - 1; }
    bool has_bias(std::size_t layer) const { return !batch_norm || layer + 1 == layers(); }
};

inline std::vector<Workload> workloads() {
    std::vector<std::size_t> deep(51, 128);
    deep.push_back(10);
    return {
        {"tiny", {2, 32, 32, 1}, 32, false, true},
        {"small", {64, 128, 128, 10}, 64, true, false},
        {"mnist", {784, 256, 128, 10}, 128, true, false},
        {"deep", deep, 64, true, false},
        {"wide", {2048, 4096, 4096, 1000}, 256, false, false},
    };
}

inline std::uint64_t hash(std::uint64_t stream, std::uint64_t i) {
    std::uint64_t z = (stream << 40) + i + 0x9e3779b97f4a7c15;  // splitmix64
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

// In [-1, 1), exact.
inline double value(std::uint64_t stream, std::uint64_t i) {
    return static_cast<double>(hash(stream, i) >> 11) * 0x1p-52 - 1.0;
}

inline std::vector<float> values(std::uint64_t stream, std::size_t size, double factor = 1.0) {
    std::vector<float> result(size);
    for (std::size_t i = 0; i < size; ++i) result[i] = static_cast<float>(value(stream, i) * factor);
    return result;
}

inline std::vector<float> input(const Workload& w) { return values(0, w.batch * w.sizes.front()); }

inline std::vector<float> targets(const Workload& w) { return values(1, w.batch * w.sizes.back()); }

inline std::vector<std::int64_t> labels(const Workload& w) {
    std::vector<std::int64_t> result(w.batch);
    for (std::size_t i = 0; i < w.batch; ++i) result[i] = static_cast<std::int64_t>(hash(1, i) % w.sizes.back());
    return result;
}

inline std::vector<float> weight(const Workload& w, std::size_t layer) {
    const auto in = w.sizes[layer], out = w.sizes[layer + 1];
    return values(100 + layer, out * in, std::sqrt(1.0 / static_cast<double>(in)));
}

struct Arguments {
    Workload workload;
    int threads = 1;
    double seconds = 2.0;
};

// --workload NAME --threads N --seconds S
inline Arguments arguments(int argc, char** argv) {
    std::string name = "mnist";
    Arguments result;
    const auto all = workloads();
    try {
        for (int i = 1; i < argc; i += 2) {
            const std::string option = argv[i];
            const std::string text = i + 1 < argc ? argv[i + 1] : throw std::invalid_argument(option);
            if (option == "--workload") {
                name = text;
            } else if (option == "--threads") {
                result.threads = std::stoi(text);
            } else if (option == "--seconds") {
                result.seconds = std::stod(text);
            } else {
                throw std::invalid_argument(option);
            }
        }
        const auto found = std::find_if(all.begin(), all.end(), [&](const Workload& w) { return w.name == name; });
        if (found == all.end() || result.threads < 1) throw std::invalid_argument(name);
        result.workload = *found;
    } catch (const std::exception& error) {
        std::fprintf(stderr,
                     "%s: cannot use '%s'\nusage: %s --workload NAME --threads N --seconds S\nworkloads:", argv[0],
                     error.what(), argv[0]);
        for (const auto& w : all) std::fprintf(stderr, " %s", w.name.c_str());
        std::fprintf(stderr, "\n");
        std::exit(2);
    }
    return result;
}

// Runs step() (forward, loss, backward, update) and prints the one line of JSON; loss() reads the last step's loss.
//
// The first 20 steps are not timed: their losses show that all frameworks compute the same. Then come rounds of steps,
// each of 10 ms or one step at least, with the loss read at the end of a round; a round's time per step is one sample.
template <class Step, class Loss>
int measure(const std::string& framework, const Arguments& how, Step step, Loss loss) {
    using Clock = std::chrono::steady_clock;
    const auto since = [](Clock::time_point start) {
        return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    };
    std::vector<double> losses;
    auto start = Clock::now();
    for (int i = 0; i < 20; ++i) {
        if (i == 10) start = Clock::now();
        step();
        losses.push_back(static_cast<double>(loss()));
    }
    const auto per_round = std::max<std::int64_t>(1, std::llround(10'000.0 / std::max(since(start) / 10, 0.1)));

    std::vector<double> samples;
    const auto begin = Clock::now();
    do {
        start = Clock::now();
        for (std::int64_t i = 0; i < per_round; ++i) step();
        (void)loss();
        samples.push_back(since(start) / static_cast<double>(per_round));
    } while (since(begin) < how.seconds * 1e6 || samples.size() < 3);
    std::sort(samples.begin(), samples.end());
    const auto middle = samples.size() / 2;
    const auto median = samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;

    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("{\"framework\": \"%s\", \"workload\": \"%s\", \"threads\": %d, \"step_us_median\": %.3f, ",
                framework.c_str(), how.workload.name.c_str(), how.threads, median);
    std::printf("\"step_us_min\": %.3f, \"steps\": %lld, \"losses\": [", samples.front(),
                static_cast<long long>(per_round) * static_cast<long long>(samples.size()));
    for (std::size_t i = 0; i < losses.size(); ++i) std::printf("%s%.9g", i == 0 ? "" : ", ", losses[i]);
    std::printf("], \"peak_rss_kb\": %ld}\n", usage.ru_maxrss);
    return 0;
}

}  // namespace peers
