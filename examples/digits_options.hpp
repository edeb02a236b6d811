// What the examples about digits have in common: MNIST or generated digits, a seed, threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>

#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>
#include <xgrad/training/idx.hpp>
#include <xgrad/training/synthetic_digits.hpp>

#include "program.hpp"

struct Digits {
    xgrad::training::Dataset<> train, test;
};

struct DigitsOptions {
    std::string data;
    std::size_t samples = 20000, threads = xgrad::threads();
    std::uint64_t seed = 1;

    explicit DigitsOptions(CLI::App& app) {
        app.add_option("--data", data,
                       "folder with MNIST's four IDX files, gzipped or not; generated digits if none is given")
            ->check(CLI::ExistingDirectory);
        app.add_option("--samples", samples, "how many digits to generate for training")->check(at_least_one);
        app.add_option("--seed", seed, "of the initial weights, the order of the samples and the generated digits");
        app.add_option("--threads", threads, "threads to compute with")->check(at_least_one);
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
