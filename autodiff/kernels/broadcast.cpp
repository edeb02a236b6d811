#include <algorithm>
#include <cstring>
#include <numeric>

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
void gather(const Broadcast& loop, std::size_t operand, const T* from, std::size_t begin, std::size_t count, T* to) {
    const auto append = [&](std::size_t, const Stretch<T, 1>& stretch) {
        const std::size_t length = stretch.length, total = stretch.rows * length;
        if (stretch.stride[0] == 1 && (stretch.rows == 1 || stretch.row_stride[0] == length))
            std::copy_n(stretch.at[0], total, to);
        else if (length <= 4 && stretch.stride[0] == 0 && stretch.row_stride[0] == 1)
            transpose(stretch.at[0], 0, stretch.rows, length, to, length);  // as if several columns were the same
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
    each_stretch_of_rows<1>(loop, &from, begin, begin + count, append, operand);
}
template void gather(const Broadcast&, std::size_t, const float*, std::size_t, std::size_t, float*);
template void gather(const Broadcast&, std::size_t, const double*, std::size_t, std::size_t, double*);

namespace {

// The fewest inner dimensions behind which the operand goes on at one step: a block, of which vectors can be picked.
struct Recurrence {
    static constexpr std::size_t longest = 256;

    std::size_t dimensions, block = 1, step;

    Recurrence(const Broadcast& loop, std::size_t operand) : dimensions(loop.rank - 1) {
        const auto stride = [&](std::size_t d) { return loop.stride[d][operand]; };
        while (dimensions > 1 && stride(dimensions) == stride(dimensions - 1) * loop.extent[dimensions - 1])
            --dimensions;
        for (std::size_t d = 0; d < dimensions; ++d) block *= loop.extent[d];
        step = stride(dimensions);
    }

    bool is_column() const { return block <= 4 && step == 1; }
    bool exists() const { return step > 0 && block <= longest; }
};

}  // namespace

template <class T> bool RecurringOperand<T>::pays(const Broadcast& loop, std::size_t operand) {
    if (loop.rank == 1 || loop.extent[0] > 16 || loop.is_whole(operand)) return false;
    const Recurrence recurrence(loop, operand);
    if (!recurrence.exists()) return false;
    // As measured: finding the places of a vector takes as long as gathering so many rows.
    const bool is_matrix = loop.rank == 2;  // of long columns, which are gathered well
    if (is_matrix && (recurrence.is_column() || level() == Level::avx2)) return false;
    if (level() == Level::portable && !recurrence.is_column()) return false;
    const std::size_t rows = loop.size / loop.extent[0];
    const std::size_t vectors = recurrence.block / std::gcd(recurrence.block, std::size_t{16});
    return rows >= 100 + (is_matrix ? 300 : 25) * vectors;
}

template <class T>
RecurringOperand<T>::RecurringOperand(const Broadcast& loop, std::size_t operand, const T* from)
    : loop_(&loop), operand_(operand), from_(from), kernels_(&move_kernels<T>()) {
    const Recurrence recurrence(loop, operand);
    block_ = recurrence.block, step_ = recurrence.step, is_column_ = recurrence.is_column();
    for (std::size_t d = 0; d < loop.rank; ++d)
        if (loop.stride[d][operand] != 0) size_ *= loop.extent[d];
    if (!recurrence.exists()) block_ = 0;
    if (is_column_ || block_ == 0) return;  // a column is transposed, as if several columns were the same
    int source[Recurrence::longest];
    source[0] = 0;
    for (std::size_t d = 0, done = 1; d < recurrence.dimensions; done *= loop.extent[d++])
        for (std::size_t i = done; i < done * loop.extent[d]; ++i)
            source[i] = source[i - done] + static_cast<int>(loop.stride[d][operand]);
    if (!kernels_->prepare({source, block_, step_}, places_)) block_ = 0;
}

template <class T> void RecurringOperand<T>::operator()(std::size_t begin, std::size_t count, T* to) const {
    std::size_t done = 0;
    if (block_ > 0 && begin % block_ == 0) {
        const T* const from = from_ + begin / block_ * step_;
        if (is_column_) {
            done = count / block_ * block_;
            kernels_->transpose(from, 0, count / block_, block_, to, block_);
        } else {
            done = kernels_->pick(places_, from, static_cast<std::size_t>(from_ + size_ - from), to, count);
        }
    }
    if (done < count) gather(*loop_, operand_, from_, begin + done, count - done, to + done);
}

template class RecurringOperand<float>;
template class RecurringOperand<double>;

}  // namespace xgrad::kernels
