// A product of matrices for the programs that compare it. The case is "matmul/nt/128x256x784", op(A)·op(B) with rows,
// columns and depth, where n is a matrix as it is and t a transposed one; "matmul/nn/64x64x64/batch32" for many; or
// "matmul/nt/128x256x784/turns", where as many such products take turns as no second-level cache holds, like those of a
// training step.
#pragma once

#include <memory>
#include <new>

#include "measure.hpp"

namespace peers {

struct Product {
    explicit Product(const Case& which)
        : rows(which.sizes(2).at(0)),
          columns(which.sizes(2).at(1)),
          depth(which.sizes(2).at(2)),
          count(how(which).rfind("batch", 0) == 0 ? std::stoul(how(which).substr(std::strlen("batch"))) : 1),
          transpose_a(which.part(1).at(0) == 't'),
          transpose_b(which.part(1).at(1) == 't'),
          turns_(how(which) == "turns" ? 1 + beyond_caches / size() : 1),
          a_(numbers(4, count * rows * depth)),
          b_(numbers(5, count * depth * columns)),
          c_(numbers(6, count * rows * columns)) {}

    const float* a() const { return a_.get() + turn_ * count * rows * depth; }
    const float* b() const { return b_.get() + turn_ * count * depth * columns; }
    float* c() const { return c_.get() + turn_ * count * rows * columns; }
    std::size_t a_stride() const { return transpose_a ? rows : depth; }
    std::size_t b_stride() const { return transpose_b ? depth : columns; }

    // The time of multiply(*this), and the product.
    template <class Multiply> Measured measure(double seconds, Multiply&& multiply) {
        Measured result = peers::measure(seconds, [&] {
            turn_ = (turn_ + 1) % turns_;
            multiply(*this);
        });
        result.numbers.emplace_back("flops", 2.0 * static_cast<double>(count * rows * columns * depth));
        result.values = fingerprint(c(), count * rows * columns);
        return result;
    }

    std::size_t rows, columns, depth, count;
    bool transpose_a, transpose_b;

private:
    struct Free {
        void operator()(float* memory) const { ::operator delete (memory, std::align_val_t{64}); }
    };
    using Matrices = std::unique_ptr<float[], Free>;

    static constexpr std::size_t beyond_caches = (12u << 20) / sizeof(float);

    static std::string how(const Case& which) { return which.parts.size() > 3 ? which.part(3) : ""; }

    std::size_t size() const { return count * (rows * depth + depth * columns + rows * columns); }

    Matrices numbers(std::uint64_t stream, std::size_t size) const {
        const std::size_t bytes = turns_ * size * sizeof(float);
        Matrices result(static_cast<float*>(::operator new (bytes, std::align_val_t{64})));
        const auto from = values(stream, size);
        for (std::size_t turn = 0; turn < turns_; ++turn)
            std::copy(from.begin(), from.end(), result.get() + turn * size);
        return result;
    }

    std::size_t turns_, turn_ = 0;
    Matrices a_, b_, c_;
};

}  // namespace peers
