// What the examples about digits have in common: MNIST or generated digits, a seed, threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "program.hpp"
#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>
#include <xgrad/training/idx.hpp>
#include <xgrad/training/synthetic_digits.hpp>

struct Digits {
    xgrad::training::Dataset<> train, test;
};

struct DigitsOptions {
    std::string data;
    std::size_t samples = 20000, threads = xgrad::threads();
    std::uint64_t seed = 1;

    explicit DigitsOptions(Program& program) {
        program.folder("--data", data,
                       "folder with MNIST's four IDX files, gzipped or not; generated digits if none is given");
        program.option("--samples", samples, "how many digits to generate for training", {.least = 1});
        program.option("--seed", seed, "of the initial weights, the order of the samples and the generated digits");
        program.option("--threads", threads, "threads to compute with", {.least = 1});
    }

    /// Seeds the generator of the initial weights, sets the threads, and reads or generates the digits.
    Digits load() const {
        using namespace xgrad::training;
        xgrad::set_threads(threads);
        xgrad::seed(seed);
        if (!data.empty()) return {load_mnist(data, Split::train), load_mnist(data, Split::test)};
        return {synthetic_digits(samples, seed), synthetic_digits(5000, ~seed)};
    }
};
