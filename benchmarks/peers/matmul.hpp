// A product of matrices for the programs that compare it. The case is "matmul/nt/128x256x784", op(A)·op(B) with rows,
// columns and depth, where n is a matrix as it is and t a transposed one; or "matmul/nn/64x64x64/batch32" for many.
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
          count(which.parts.size() > 3 ? std::stoul(which.part(3).substr(std::strlen("batch"))) : 1),
          transpose_a(which.part(1).at(0) == 't'),
          transpose_b(which.part(1).at(1) == 't'),
          a(numbers(4, count * rows * depth)),
          b(numbers(5, count * depth * columns)),
          c(numbers(6, count * rows * columns)) {}

    std::size_t a_stride() const { return transpose_a ? rows : depth; }
    std::size_t b_stride() const { return transpose_b ? depth : columns; }

    // The time of multiply(*this), and the product.
    template <class Multiply> Measured measure(double seconds, Multiply&& multiply) {
        Measured result = peers::measure(seconds, [&] { multiply(*this); });
        result.numbers.emplace_back("flops", 2.0 * static_cast<double>(count * rows * columns * depth));
        result.values = fingerprint(c.get(), count * rows * columns);
        return result;
    }

    struct Free {
        void operator()(float* memory) const { ::operator delete (memory, std::align_val_t{64}); }
    };
    using Matrix = std::unique_ptr<float[], Free>;

    std::size_t rows, columns, depth, count;
    bool transpose_a, transpose_b;
    Matrix a, b, c;

private:
    static Matrix numbers(std::uint64_t stream, std::size_t size) {
        Matrix result(static_cast<float*>(::operator new (size * sizeof(float), std::align_val_t{64})));
        const auto from = values(stream, size);
        std::copy(from.begin(), from.end(), result.get());
        return result;
    }
};

}  // namespace peers
