// A product of matrices for the programs that compare it. The case is "matmul/nt/128x256x784", op(A)·op(B) with rows,
// columns and depth, where n is a matrix as it is and t a transposed one; "matmul/nn/64x64x64/batch32" for many; or
// "matmul/nt/128x256x784/turns", where as many such products take turns as no second-level cache holds, like those of a
// training step.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <stdexcept>

#include "measure.hpp"

namespace peers {

struct Product {
    explicit Product(const Case& which)
        : rows(which.sizes(2).at(0)),
          columns(which.sizes(2).at(1)),
          depth(which.sizes(2).at(2)),
          transpose_a(which.part(1).at(0) == 't'),
          transpose_b(which.part(1).at(1) == 't') {
        const std::string how = which.parts.size() > 3 ? which.part(3) : "batch1";
        if (how == "turns")
            turns_ = 2 + beyond_second_level / (rows * depth + depth * columns + rows * columns);
        else if (how.rfind("batch", 0) == 0)
            count = std::stoul(how.substr(std::strlen("batch")));
        else
            throw std::invalid_argument("matmul: '" + how + "' is neither 'turns' nor 'batch' with a number");
        a_ = numbers(4, count * rows * depth);
        b_ = numbers(5, count * depth * columns);
        c_ = numbers(6, count * rows * columns);
        take_turn(0);
    }

    std::size_t a_stride() const { return transpose_a ? rows : depth; }
    std::size_t b_stride() const { return transpose_b ? depth : columns; }
    bool takes_turns() const { return turns_ > 1; }

    // The time of multiply(*this), and the product.
    template <class Multiply> Measured measure(double seconds, Multiply&& multiply) {
        std::fill_n(c_.get(), turns_ * whole_lines(count * rows * columns), std::nanf(""));
        Measured result = peers::measure(seconds, [&] {
            if (takes_turns()) take_turn(turn_ + 1 < turns_ ? turn_ + 1 : 0);
            multiply(*this);
        });
        result.numbers.emplace_back("flops", 2.0 * static_cast<double>(count * rows * columns * depth));
        result.values = fingerprint(c, count * rows * columns);
        return result;
    }

    std::size_t rows, columns, depth, count = 1;
    bool transpose_a, transpose_b;
    float *a = nullptr, *b = nullptr, *c = nullptr;  // of this turn

private:
    struct Free {
        void operator()(float* memory) const { ::operator delete (memory, std::align_val_t{64}); }
    };
    using Matrices = std::unique_ptr<float[], Free>;

    static constexpr std::size_t beyond_second_level = (12u << 20) / sizeof(float);

    static std::size_t whole_lines(std::size_t size) { return (size + 15) / 16 * 16; }

    void take_turn(std::size_t turn) {
        turn_ = turn;
        a = a_.get() + turn * whole_lines(count * rows * depth);
        b = b_.get() + turn * whole_lines(count * depth * columns);
        c = c_.get() + turn * whole_lines(count * rows * columns);
    }

    Matrices numbers(std::uint64_t stream, std::size_t size) const {
        const std::size_t bytes = turns_ * whole_lines(size) * sizeof(float);
        Matrices result(static_cast<float*>(::operator new (bytes, std::align_val_t{64})));
        const auto from = values(stream, size);
        for (std::size_t turn = 0; turn < turns_; ++turn)
            std::copy(from.begin(), from.end(), result.get() + turn * whole_lines(size));
        return result;
    }

    std::size_t turns_ = 1, turn_ = 0;
    Matrices a_, b_, c_;
};

}  // namespace peers
