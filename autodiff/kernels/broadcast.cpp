#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/move.hpp>

namespace xgrad::kernels {

Broadcast::Broadcast(std::span<const std::size_t> result, std::span<const std::span<const std::size_t>> operands)
    : size(1), rank(0) {
    std::size_t contiguous[max_operands];  // each operand's stride in the dimension at hand
    std::fill_n(contiguous, operands.size(), std::size_t{1});
    for (std::size_t back = 1; back <= result.size(); ++back) {
        const std::size_t length = result[result.size() - back];
        size *= length;
        if (length == 1) continue;
        std::size_t here[max_operands];
        bool continues = rank > 0;  // this dimension goes on where the one within it ends, for every operand
        for (std::size_t k = 0; k < operands.size(); ++k) {
            const auto& shape = operands[k];
            const std::size_t own = back <= shape.size() ? shape[shape.size() - back] : 1;
            here[k] = own == 1 ? 0 : contiguous[k];
            contiguous[k] *= own;
            continues = continues && here[k] == stride[rank - 1][k] * extent[rank - 1];
        }
        if (continues) {
            extent[rank - 1] *= length;
        } else {
            if (rank == max_rank)
                throw Error(
                    fmt::format("broadcasting to the shape {}: more than {} dimensions take turns in being "
                                "repeated and not",
                                describe(result), max_rank));
            extent[rank] = length;
            std::copy_n(here, operands.size(), stride[rank]);
            ++rank;
        }
    }
    if (rank == 0 || size == 0) {
        rank = 1;
        extent[0] = size;
        std::fill_n(stride[0], operands.size(), std::size_t{1});
    }
}

bool Broadcast::is_whole(std::size_t operand) const {
    for (std::size_t d = 0, contiguous = 1; d < rank; contiguous *= extent[d++])
        if (stride[d][operand] != contiguous) return false;
    return true;
}

bool Broadcast::is_repeated(std::size_t operand, std::size_t along) const {
    for (std::size_t d = along; d < rank; ++d)
        if (stride[d][operand] != 0) return false;
    return true;
}

namespace {

/// Writes a stretch's rows of Width/2 to Width numbers: each a number that is repeated, or all the same row. By fixed
/// widths, also beyond the end, as a loop over so few numbers would take longer.
template <std::size_t Width, class T> void append_rows(const Stretch<T, 1>& stretch, T* to) {
    const T* row = stretch.at[0];
    const std::size_t length = stretch.length;
    T* const end = to + stretch.rows * length;
    if (stretch.stride[0] == 0) {
        for (; to < end; to += length, row += stretch.row_stride[0])
            std::fill_n(to, std::max(Width, std::size_t{4}), *row);
        return;
    }
    // Of two halves, which overlap; then as many at a time as the widest holds.
    constexpr std::size_t half = Width / 2, copies = short_row / Width;
    const T* const first = to;
    for (std::size_t r = 0; r < copies && to != end; ++r, to += length) {
        std::memcpy(to, row, half * sizeof(T));
        std::memcpy(to + length - half, row + length - half, half * sizeof(T));
    }
    T rows[short_row];
    std::memcpy(rows, first, sizeof(rows));
    for (; to < end; to += copies * length) std::memcpy(to, rows, sizeof(rows));
}

}  // namespace

template <class T>
Gathering<T>::Gathering(const Broadcast& loop, std::size_t operand, const T* from, Level at)
    : loop_(loop), operand_(operand), from_(from), level_(at) {
    constexpr std::size_t enough = 512;  // for fewer numbers, finding the places takes longer than it saves
    if (loop.size < enough) return;
    for (std::size_t d = 0; d < loop.rank; ++d)
        if (loop.stride[d][operand] != 0) size_ *= loop.extent[d];
    find_recurring();
}

// The fewest inner dimensions behind which the operand goes on at one step are a block, of which vectors are picked.
template <class T> void Gathering<T>::find_recurring() {
    constexpr std::size_t longest = 512;
    std::size_t dimensions = loop_.rank - 1;
    const auto goes_on = [&](std::size_t d) {
        return loop_.stride[d][operand_] == loop_.stride[d - 1][operand_] * loop_.extent[d - 1];
    };
    while (dimensions > 1 && goes_on(dimensions)) --dimensions;
    std::size_t block = 1;
    for (std::size_t d = 0; d < dimensions; ++d) block *= loop_.extent[d];
    const std::size_t step = loop_.stride[dimensions][operand_];
    if (step == 0 || block > longest) return;
    int source[longest] = {};
    for (std::size_t d = 0, done = 1; d < dimensions; done *= loop_.extent[d++])
        for (std::size_t i = done; i < done * loop_.extent[d]; ++i)
            source[i] = source[i - done] + static_cast<int>(loop_.stride[d][operand_]);
    if (!move_kernels<T>(level_).prepare({source, block, step}, places_)) return;
    block_ = block;
    step_ = step;
}

template <class T> void Gathering<T>::operator()(std::size_t begin, std::size_t count, T* to) const {
    if (block_ == 0 || begin % block_ != 0) return by_rows(begin, count, to);
    const std::size_t first = begin / block_ * step_;
    const MoveKernels<T>& kernels = move_kernels<T>(level_);
    std::size_t done;
    if (block_ <= 4 && step_ == 1) {
        done = count / block_ * block_;
        kernels.transpose(from_ + first, 0, count / block_, block_, to, block_);  // as if several columns were the same
    } else {
        done = kernels.pick(places_, from_ + first, size_ - first, to, count);
    }
    if (done < count) by_rows(begin + done, count - done, to + done);
}

template <class T> void Gathering<T>::by_rows(std::size_t begin, std::size_t count, T* to) const {
    const auto append = [&](std::size_t, const Stretch<T, 1>& stretch) {
        const std::size_t length = stretch.length, total = stretch.rows * length;
        if (stretch.stride[0] == 1 && (stretch.rows == 1 || stretch.row_stride[0] == length))
            std::copy_n(stretch.at[0], total, to);
        else if (length <= 2)
            append_rows<2>(stretch, to);
        else if (length <= 4)
            append_rows<4>(stretch, to);
        else if (length <= 8)
            append_rows<8>(stretch, to);
        else if (length <= 16)
            append_rows<16>(stretch, to);
        else
            append_rows<short_row>(stretch, to);
        to += total;
    };
    each_stretch_of_rows<1>(loop_, &from_, begin, begin + count, append, operand_);
}

template class Gathering<float>;
template class Gathering<double>;

}  // namespace xgrad::kernels
