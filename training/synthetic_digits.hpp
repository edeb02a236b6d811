// Digits that are drawn instead of collected: a task like MNIST that needs no file.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xgrad/training/dataset.hpp>

namespace xgrad::training {

/// Images (count, 784) of 28 × 28 pixels in [0, 1] and labels 0 … 9, all equally likely. Every digit is written with
/// the strokes of one of its styles, which are bent, slanted, turned, stretched and moved at random, with a pen of
/// random width and sharpness, on noise. The same seed gives the same samples, and sample i does not depend on the
/// count. Throws Error when the count is 0.
template <class T = float> Dataset<T> synthetic_digits(std::size_t count, std::uint64_t seed);

}  // namespace xgrad::training
