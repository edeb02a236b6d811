// How shapes broadcast, and how a pass over the result walks through its operands.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>

#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {

/// The most dimensions that are left when neighbours alike are one, and the most operands of one formula.
inline constexpr std::size_t max_rank = 16, max_operands = 8;

/// How a pass over a contiguous result walks through contiguous row-major operands that broadcast to its shape, with as
/// few dimensions as say the same: operands of the result's own shape, or of one element, leave a single one.
struct Broadcast {
    /// Operands that all have the result's shape, of which only the size matters then.
    Broadcast(std::size_t elements, std::size_t operands) : size(elements), rank(1) {
        extent[0] = elements;
        std::fill_n(stride[0], operands, std::size_t{1});
    }
    /// The operands' shapes must broadcast to that of the result. Throws Error where more than max_rank dimensions take
    /// turns in being repeated and not.
    Broadcast(std::span<const std::size_t> result, std::span<const std::span<const std::size_t>> operands);
    Broadcast(std::span<const std::size_t> result, std::initializer_list<std::span<const std::size_t>> operands)
        : Broadcast(result, std::span(operands.begin(), operands.size())) {}

    /// Whether an operand has the result's own shape.
    bool is_whole(std::size_t operand) const;
    /// Whether an operand is the same all along the dimensions from `along` on: with 1, one row for all of the result.
    bool is_repeated(std::size_t operand, std::size_t along) const;

    std::size_t size;                            // of the result
    std::size_t rank;                            // at least 1; dimension 0 is the innermost
    std::size_t extent[max_rank];                // of each dimension
    std::size_t stride[max_rank][max_operands];  // of each operand in each dimension; in dimension 0 it is 0 or 1
};

/// A part of a pass: rows of the innermost dimension, or a part of one, that lie one after the other in the result.
template <class T, std::size_t N> struct Stretch {
    std::size_t length, rows;
    const T* at[N];             // where each operand begins
    std::size_t stride[N];      // 0 for an operand that is one number for all of a row, otherwise 1
    std::size_t row_stride[N];  // from one row to the next
};

/// Rows of fewer numbers are short: operands that are broadcast are gathered first.
inline constexpr std::size_t short_row = 32;

/// Copies what `count` elements of the result, whose rows are short, need of one operand from `begin` on, one after the
/// other. Up to short_row numbers behind them are overwritten.
template <class T>
void gather(const Broadcast& loop, std::size_t operand, const T* from, std::size_t begin, std::size_t count, T* to);

/// The same where an operand's numbers recur after a block of the result's, which is found once for all parts of a
/// pass.
template <class T> class RecurringOperand {
public:
    /// (An operand that does not recur is gathered row by row.)
    RecurringOperand(const Broadcast& loop, std::size_t operand, const T* from);

    void operator()(std::size_t begin, std::size_t count, T* to) const;

    /// Whether the operand recurs so that this is faster than gathering it row by row.
    static bool pays(const Broadcast& loop, std::size_t operand);

    std::size_t operand() const { return operand_; }

private:
    const Broadcast* loop_;
    std::size_t operand_;
    const T* from_;
    std::size_t block_, step_;  // after so many numbers of the result, the next so many of the operand come
    std::size_t size_ = 1;      // of the operand
    bool is_column_;            // of numbers that are repeated a few times
    const MoveKernels<T>* kernels_;
    Rearrangement places_;  // in a block that is no column's
};

/// Calls run(begin of the stretch, stretch) for the part [begin, end) of a pass, which is not empty, in as many whole
/// rows at a time as can be. The stretch is of N operands of the loop, from the `first` one on.
template <std::size_t N, class T, class Run>
void each_stretch_of_rows(const Broadcast& loop, const T* const* inputs, std::size_t begin, std::size_t end,
                          const Run& run, std::size_t first = 0) {
    Stretch<T, N> stretch;
    std::size_t index[max_rank], offset[N] = {};
    for (std::size_t d = 0, rest = begin; d < loop.rank; ++d) {
        const bool within = rest < loop.extent[d];  // mostly, and divisions are slow
        index[d] = within ? rest : rest % loop.extent[d];
        rest = within ? 0 : rest / loop.extent[d];
        for (std::size_t k = 0; k < N; ++k) offset[k] += index[d] * loop.stride[d][first + k];
    }
    const bool has_rows = loop.rank > 1;
    for (std::size_t k = 0; k < N; ++k) {
        stretch.stride[k] = loop.stride[0][first + k];
        stretch.row_stride[k] = has_rows ? loop.stride[1][first + k] : 0;
    }
    while (begin < end) {
        stretch.length = std::min(loop.extent[0] - index[0], end - begin);
        stretch.rows = 1;
        if (has_rows && stretch.length == loop.extent[0])
            stretch.rows = std::min(loop.extent[1] - index[1], (end - begin) / stretch.length);
        for (std::size_t k = 0; k < N; ++k) stretch.at[k] = inputs[k] + offset[k];
        run(begin, stretch);
        begin += stretch.length * stretch.rows;
        index[0] += stretch.length;
        if (has_rows) index[1] += stretch.rows - 1;
        for (std::size_t k = 0; k < N; ++k)
            offset[k] += stretch.length * stretch.stride[k] + (stretch.rows - 1) * stretch.row_stride[k];
#pragma GCC unroll 1
        for (std::size_t d = 0; index[d] == loop.extent[d] && d + 1 < loop.rank; ++d) {
            index[d] = 0;
            ++index[d + 1];
            for (std::size_t k = 0; k < N; ++k)
                offset[k] = offset[k] + loop.stride[d + 1][first + k] - loop.extent[d] * loop.stride[d][first + k];
        }
    }
}

/// A pass that can be cut into parts, by several threads.
template <class T, std::size_t N> class Pass {
public:
    Pass(const Broadcast& loop, const T* const* inputs) : loop_(loop), inputs_(inputs) {
        are_short_ = loop.rank > 1 && loop.extent[0] < short_row;
        if (!are_short_ || loop.size < enough) return;
        std::size_t count = 0;
        for (std::size_t k = 0; k < N; ++k) count += RecurringOperand<T>::pays(loop, k);
        if (count == 0) return;
        recurring_.reserve(count);
        for (std::size_t k = 0; k < N; ++k)
            if (RecurringOperand<T>::pays(loop, k)) recurring_.emplace_back(loop, k, inputs[k]);
    }

    /// The size of the result.
    std::size_t size() const { return loop_.size; }

    /// Cuts the part [begin, end) into stretches: calls run(begin of the stretch, stretch).
    template <class Run> void each_stretch(std::size_t begin, std::size_t end, const Run& run) const {
        if (begin == end) return;
        if (are_short_)
            each_gathered_stretch(begin, end, run);
        else
            each_stretch_of_rows<N>(loop_, inputs_, begin, end, run);
    }

private:
    // Operands that are broadcast are gathered first, so that short rows become long ones.
    template <class Run> void each_gathered_stretch(std::size_t begin, std::size_t end, const Run& run) const {
        constexpr std::size_t most = 768;  // which many short rows divide, and vectors of them
        // Stretches of whole blocks, which are the inner dimensions that fit. What is the same for all blocks is
        // gathered once, and once more where the first stretch began within a block.
        std::size_t block = loop_.extent[0], along = 1;
        while (along < loop_.rank && block * loop_.extent[along] <= most) block *= loop_.extent[along++];
        std::size_t unit = block;  // after which places in vectors recur, where that is not too far
        while (!recurring_.empty() && unit % 16 != 0 && 2 * unit <= most) unit *= 2;
        const std::size_t longest = most / unit * unit, within = begin % block;
        Stretch<T, N> stretch;
        std::fill_n(stretch.stride, N, std::size_t{1});
        std::fill_n(stretch.row_stride, N, std::size_t{0});  // there is one row only
        stretch.rows = 1;
        alignas(64) T gathered[N][most + short_row];  // so that no lane is on two lines of the cache
        bool is_gathered[N];
        for (std::size_t k = 0; k < N; ++k) {
            is_gathered[k] = !loop_.is_whole(k);
            if (is_gathered[k]) stretch.at[k] = gathered[k];
        }
        const auto gather_operand = [&](std::size_t k) {
            for (const RecurringOperand<T>& gathering : recurring_)
                if (gathering.operand() == k) return gathering(begin, stretch.length, gathered[k]);
            gather(loop_, k, inputs_[k], begin, stretch.length, gathered[k]);
        };
        std::size_t times = within == 0 ? 1 : 2;
        for (stretch.length = std::min(within == 0 ? longest : block - within, end - begin); begin < end;
             begin += stretch.length, stretch.length = std::min(longest, end - begin)) {
            for (std::size_t k = 0; k < N; ++k)
                if (!is_gathered[k])
                    stretch.at[k] = inputs_[k] + begin;
                else if (times > 0 || !loop_.is_repeated(k, along))
                    gather_operand(k);
            if (times > 0) --times;
            run(begin, stretch);
        }
    }

    // Whether numbers recur in a pass over fewer takes longer to find out than it saves.
    static constexpr std::size_t enough = 2048;

    const Broadcast& loop_;
    const T* const* const inputs_;
    bool are_short_;
    memory::Vector<RecurringOperand<T>> recurring_;  // of operands that have one
};

}  // namespace xgrad::kernels
