#include <algorithm>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>

namespace xgrad::kernels {

Extents::Extents(std::span<const std::size_t> shape) : rank_(shape.size()) {
    if (rank_ > max_rank)
        throw Error(fmt::format("an array has at most {} dimensions, not {}: {}", max_rank, rank_, describe(shape)));
    std::copy(shape.begin(), shape.end(), extents_);
}

Extents broadcast_shapes(std::string_view operation, std::initializer_list<std::span<const std::size_t>> shapes) {
    // The shape of most dimensions is the frame; the others are laid into it, aligned at the last axis.
    const auto longest = std::max_element(shapes.begin(), shapes.end(),
                                          [](const auto& a, const auto& b) { return a.size() < b.size(); });
    Extents result(*longest);
    for (const auto& shape : shapes) {
        const std::size_t lead = result.rank() - shape.size();
        for (std::size_t axis = 0; axis < shape.size(); ++axis) {
            std::size_t& extent = result[lead + axis];
            if (shape[axis] == extent || shape[axis] == 1) continue;
            if (extent != 1)
                throw Error(fmt::format("{}: shapes do not broadcast: {} · {}", operation, describe(*shapes.begin()),
                                        describe(shape)));
            extent = shape[axis];
        }
    }
    return result;
}

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

template <class T>
void gather(const Broadcast& loop, std::size_t operand, const T* from, std::size_t begin, std::size_t count, T* to) {
    std::size_t index[max_rank];
    for (std::size_t d = 0, rest = begin; d < loop.rank; ++d) {
        index[d] = rest % loop.extent[d];
        rest /= loop.extent[d];
        from += index[d] * loop.stride[d][operand];
    }
    const T* run = from - index[0] * loop.stride[0][operand];  // where the innermost dimension begins
    for (T* const end = to + count; to < end; index[0] = 0) {
        const std::size_t length = std::min<std::size_t>(loop.extent[0] - index[0], static_cast<std::size_t>(end - to));
        if (loop.stride[0][operand] == 0)
            for (std::size_t i = 0; i < length; ++i) to[i] = *run;
        else
            for (std::size_t i = 0; i < length; ++i) to[i] = run[index[0] + i];
        to += length;
        std::size_t d = 1;
        for (; d + 1 < loop.rank && index[d] + 1 == loop.extent[d]; ++d) {
            run -= index[d] * loop.stride[d][operand];
            index[d] = 0;
        }
        ++index[d];
        run += loop.stride[d][operand];
    }
}
template void gather(const Broadcast&, std::size_t, const float*, std::size_t, std::size_t, float*);
template void gather(const Broadcast&, std::size_t, const double*, std::size_t, std::size_t, double*);

}  // namespace xgrad::kernels
