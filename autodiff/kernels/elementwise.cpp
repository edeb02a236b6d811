#include <algorithm>
#include <optional>

#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {
namespace {

// How many numbers of what is summed up are in the nearest cache at a time, about, and how many may be.
constexpr std::size_t block_size = 2048, largest_block = 4096;

// What is summed up for an operand that repeats along one group of neighbouring dimensions.
std::optional<Slices> repeated(const Broadcast& loop, std::size_t operand) {
    Slices slices;
    std::size_t d = 0;
    const auto take = [&](bool repeats, std::size_t& size) {
        for (; d < loop.rank && (loop.stride[d][operand] == 0) == repeats; ++d) size *= loop.extent[d];
    };
    take(false, slices.inner);
    take(true, slices.count);
    take(false, slices.outer);
    return d == loop.rank ? std::optional(slices) : std::nullopt;
}

// How many numbers have to be in one block: a row to be added to others, or all that makes up some sums.
std::size_t unit(const Slices& slices) { return slices.outer == 1 ? slices.inner : slices.count * slices.inner; }

// Arrays that are computed part by part, some of them (those with slices of more than one number) only to be summed up,
// block by block. Units are products of the innermost dimensions, so that the largest one is made of whole others.
template <class T, std::size_t N> class BlockSums {
public:
    BlockSums(std::size_t size, T* const* results, const std::array<Slices, N>& slices)
        : size_(size), results_(results), slices_(slices) {
        std::size_t largest = 1, longest_row = 0;
        for (std::size_t k = 0; k < N; ++k) {
            if (!is_summed(k)) continue;
            largest = std::max(largest, unit(slices[k]));
            if (adds(k)) longest_row = std::max(longest_row, slices[k].inner);
            room_ += largest_block;
        }
        room_ += longest_row;
        block_ = largest >= block_size / 2 ? largest : block_size / largest * largest;  // long rows one by one
        // A piece adds up its blocks one after the other. What it gives is little beside what that is of, and so are
        // all pieces, as their sums are put together by one thread.
        const std::size_t blocks = ceil_divide(size, block_);
        if (size >= worth_sharing)
            piece_ = std::clamp(blocks / 32, std::max<std::size_t>(2, 16 * largest / block_), std::size_t{64}) * block_;
        else
            piece_ = size;
        pieces_ = ceil_divide(size, piece_);
        for (std::size_t k = 0; k < N; ++k)
            if (is_summed(k) && adds(k) && pieces_ > 1) partial_[k] = memory::Scratch<T>(pieces_ * slices[k].inner);
    }

    /// Has compute(begin, end, where) write a part of each array, for all parts, and sums them up.
    template <class Compute> void run(const Compute& compute) {
        const auto piece = [&](std::size_t i) { run_piece(i, compute); };
        parallel(pieces_, piece, size_ < brief_size);
        for (std::size_t k = 0; k < N; ++k)
            if (partial_[k]) sum(partial_[k].data(), {1, pieces_, slices_[k].inner}, results_[k]);
    }

private:
    bool is_summed(std::size_t k) const { return slices_[k].count > 1; }
    // Whether all blocks add to the same sums.
    bool adds(std::size_t k) const { return slices_[k].outer == 1; }

    template <class Compute> void run_piece(std::size_t piece, const Compute& compute) const {
        const memory::Scratch<T> room(room_);
        const std::size_t first = piece * piece_, last = std::min(size_, first + piece_);
        for (std::size_t begin = first; begin < last; begin += block_) {
            const std::size_t end = std::min(last, begin + block_);
            T *to[N], *row = room.data();
            for (std::size_t k = 0; k < N; ++k) {
                to[k] = is_summed(k) ? row : results_[k] ? results_[k] + begin : nullptr;
                if (is_summed(k)) row += largest_block;
            }
            compute(begin, end, to);
            for (std::size_t k = 0; k < N; ++k) {
                if (!is_summed(k)) continue;
                const auto [outer, count, inner] = slices_[k];
                if (!adds(k)) {
                    sum(to[k], {(end - begin) / (count * inner), count, inner}, results_[k] + begin / count);
                    continue;
                }
                T* const total = partial_[k] ? partial_[k].data() + piece * inner : results_[k];
                const std::size_t rows = (end - begin) / inner;
                if (begin == first || rows > 1) sum(to[k], {1, rows, inner}, begin == first ? total : row);
                if (begin > first) add_in_place(total, rows > 1 ? row : to[k], inner);
            }
        }
    }

    const std::size_t size_;
    T* const* const results_;
    const std::array<Slices, N> slices_;
    std::size_t block_, piece_, pieces_, room_ = 0;
    memory::Scratch<T> partial_[N];
};

}  // namespace

bool sums_up(const Broadcast& loop, std::size_t operand) {
    const std::optional<Slices> slices = repeated(loop, operand);
    return slices && slices->count > 1 && unit(*slices) <= largest_block && loop.size > 0;
}

template <class T, std::size_t N>
void ElementwiseValues<T, N>::forward(const void* formula, const Broadcast& loop, T* out,
                                      const T* const* inputs) const {
    const Pass<T, N> pass(loop, inputs);
    in_pieces(loop.size, 1, [&](std::size_t first, std::size_t count) {
        pass.each_stretch(first, first + count, [&](std::size_t begin, const Stretch<T, N>& stretch) {
            stretch_values(formula, stretch, out + begin);
        });
    });
}

template <class T, std::size_t N>
void ElementwiseValues<T, N>::forward_summed(const void* formula, const Broadcast& loop, const Broadcast& target,
                                             T* out, const T* const* inputs) const {
    const Pass<T, N> pass(loop, inputs);
    BlockSums<T, 1>(loop.size, &out, {*repeated(target, 0)}).run([&](std::size_t first, std::size_t last, T** to) {
        pass.each_stretch(first, last, [&](std::size_t begin, const Stretch<T, N>& stretch) {
            stretch_values(formula, stretch, *to + (begin - first));
        });
    });
}

template <class T, std::size_t N>
void ElementwiseKernel<T, N>::backward(const void* formula, const Broadcast& loop, const T* cotangent,
                                       const T* const* inputs, T* const* gradients,
                                       const std::array<bool, N>& summed) const {
    if (std::all_of(gradients, gradients + N, [](const T* gradient) { return !gradient; })) return;
    const Pass<T, N> pass(loop, inputs);
    const auto compute = [&](std::size_t first, std::size_t last, T* const* to) {
        pass.each_stretch(first, last, [&](std::size_t begin, const Stretch<T, N>& stretch) {
            Stretch<T, N + 1> with_cotangent;
            T* here[N];
            for (std::size_t k = 0; k < N; ++k) {
                with_cotangent.at[k] = stretch.at[k];
                with_cotangent.stride[k] = stretch.stride[k];
                with_cotangent.row_stride[k] = stretch.row_stride[k];
                here[k] = to[k] ? to[k] + (begin - first) : nullptr;
            }
            with_cotangent.length = stretch.length;
            with_cotangent.rows = stretch.rows;
            with_cotangent.at[N] = cotangent + begin;
            with_cotangent.stride[N] = 1;
            with_cotangent.row_stride[N] = stretch.length;
            stretch_gradients(formula, with_cotangent, here);
        });
    };
    if (std::find(summed.begin(), summed.end(), true) != summed.end()) {
        std::array<Slices, N> slices;
        for (std::size_t k = 0; k < N; ++k)
            if (summed[k]) slices[k] = *repeated(loop, k);
        return BlockSums<T, N>(loop.size, gradients, slices).run(compute);
    }
    in_pieces(loop.size, 1, [&](std::size_t first, std::size_t count) {
        T* to[N];
        for (std::size_t k = 0; k < N; ++k) to[k] = gradients[k] ? gradients[k] + first : nullptr;
        compute(first, first + count, to);
    });
}

// For every number of operands that a formula may have.
#define XGRAD_ELEMENTWISE(N)                      \
    template struct ElementwiseValues<float, N>;  \
    template struct ElementwiseValues<double, N>; \
    template struct ElementwiseKernel<float, N>;  \
    template struct ElementwiseKernel<double, N>;
XGRAD_ELEMENTWISE(1)
XGRAD_ELEMENTWISE(2)
XGRAD_ELEMENTWISE(3)
XGRAD_ELEMENTWISE(4)
XGRAD_ELEMENTWISE(5)
XGRAD_ELEMENTWISE(6)
XGRAD_ELEMENTWISE(7)
XGRAD_ELEMENTWISE(8)
static_assert(max_operands == 8);

}  // namespace xgrad::kernels
