#include <algorithm>
#include <type_traits>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>

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

bool Broadcast::is_repeated_row(std::size_t operand) const {
    for (std::size_t d = 1; d < rank; ++d)
        if (stride[d][operand] != 0) return false;
    return true;
}

template <class T>
void gather(const Broadcast& loop, std::size_t operand, const T* from, std::size_t begin, std::size_t count, T* to) {
    // As many numbers whatever the length, though no more vectors than need be: a loop would take longer.
    const auto repeat = [&](const Stretch<T, 1>& stretch, auto width) {
        const T* row = stretch.at[0];
        for (std::size_t r = 0; r < stretch.rows; ++r, row += stretch.row_stride[0], to += stretch.length)
            std::fill_n(to, width(), *row);
    };
    const auto append = [&](std::size_t, const Stretch<T, 1>& stretch) {
        if (stretch.stride[0] == 0) {
            if (stretch.length <= 4) return repeat(stretch, std::integral_constant<std::size_t, 4>());
            if (stretch.length <= 8) return repeat(stretch, std::integral_constant<std::size_t, 8>());
            return repeat(stretch, std::integral_constant<std::size_t, short_row>());
        }
        const T* row = stretch.at[0];
        for (std::size_t r = 0; r < stretch.rows; ++r, row += stretch.row_stride[0], to += stretch.length)
            std::copy_n(row, stretch.length, to);
    };
    each_stretch_of_rows<1>(loop, &from, begin, begin + count, append, operand);
}
template void gather(const Broadcast&, std::size_t, const float*, std::size_t, std::size_t, float*);
template void gather(const Broadcast&, std::size_t, const double*, std::size_t, std::size_t, double*);

}  // namespace xgrad::kernels
