// The networks that training steps and inference are compared on. run_jax.py says the same in Python.
//
// Element i (row-major) of every tensor comes from the streams of measure.hpp:
//     the input (batch, sizes[0]):       value(0, i)
//     the labels (batch):                hash(1, i) mod sizes.back(), or for mean squared error
//     the targets (batch, sizes.back()): value(1, i)
//     the weight of linear layer k from 0, shape (out, in): value(100 + k, i) * sqrt(1 / in), in double, then rounded
// Biases are zero. The same batch serves every step.
#pragma once

#include "measure.hpp"

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

inline Workload workload(const std::string& name) {
    std::vector<std::size_t> deep(51, 128);
    deep.push_back(10);
    for (const Workload& each : std::vector<Workload>{
             {"tiny", {2, 32, 32, 1}, 32, false, true},
             {"small", {64, 128, 128, 10}, 64, true, false},
             {"mnist", {784, 256, 128, 10}, 128, true, false},
             {"deep", deep, 64, true, false},
             {"wide", {2048, 4096, 4096, 1000}, 256, false, false},
             {"simplechains", {4, 32, 16, 4}, 10'000, false, true},  // of the Julia package of this name
         })
        if (each.name == name) return each;
    throw std::invalid_argument("there is no workload " + name);
}

inline std::vector<float> input(const Workload& w, std::size_t batch) { return values(0, batch * w.sizes.front()); }
inline std::vector<float> input(const Workload& w) { return input(w, w.batch); }

inline std::vector<float> targets(const Workload& w) { return values(1, w.batch * w.sizes.back()); }

inline std::vector<std::int64_t> labels(const Workload& w) { return labels(1, w.batch, w.sizes.back()); }

inline std::vector<float> weight(const Workload& w, std::size_t layer) {
    const auto in = w.sizes[layer], out = w.sizes[layer + 1];
    return values(100 + layer, out * in, std::sqrt(1.0 / static_cast<double>(in)));
}

// Losses of the first 20 steps, which show that all frameworks compute the same; then the time of a step and the peak
// of memory. loss() reads the last step's loss.
template <class Step, class Loss> Measured measure_steps(double seconds, double baseline_kb, Step&& step, Loss&& loss) {
    std::vector<double> losses;
    const MemoryPeak memory(baseline_kb);
    for (int i = 0; i < 20; ++i) {
        step();
        losses.push_back(static_cast<double>(loss()));
    }
    Measured result = measure(seconds, step, loss);
    memory.add_to(result);
    result.values = losses;
    return result;
}

}  // namespace peers
