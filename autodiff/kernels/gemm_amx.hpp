// Products of single precision on the processor's matrix unit (Intel's AMX). Only gemm.simd.cpp includes it.
//
// The unit multiplies matrices of numbers with 8 significant bits (bfloat16) and adds the products up in single
// precision, sixteen times as fast as vectors would. Three such numbers hold the 24 bits of a float: x = high + middle
// + low, exactly. Of the nine products of two floats' parts six are computed,
//
//     high·high + high·middle + middle·high + high·low + low·high + middle·middle;
//
// what the others would add is at most 2⁻²⁴ of the product, as much as rounding it to a float may. (The method is that
// of Henry, Tang and Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision
// computations", 2019.) The unit takes numbers below 2⁻¹²⁶ for zero, read or computed, so factors and products below
// 2⁻¹⁰² count with fewer bits. Where a sum is not finite its square of C is multiplied again by vectors, as infinity has
// no parts.
//
// C is computed in squares of two by two tiles of 16 × 16. Vectors split the numbers of some steps of the depth into
// their parts and put what a tile reads into consecutive memory; then the unit multiplies them.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/vector.hpp>

#if defined(__AVX512F__)
#define XGRAD_AMX gnu::target("amx-tile,amx-bf16")

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

constexpr size_t tile_size = 16;    // rows of A or columns of B in a tile, and both of C
constexpr size_t tile_depth = 32;   // of A and B in a tile
constexpr size_t tile_words = 256;  // of memory, as floats: 16 rows of 64 bytes
constexpr size_t tile_row_bytes = 64;
constexpr size_t square = 2 * tile_size;
constexpr size_t square_words = 4 * tile_words;

// The unit's registers, in the form used here, for as long as a product takes: in use they make what is saved of a
// thread 8 kB larger.
class MatrixUnit {
public:
    [[XGRAD_AMX]] MatrixUnit() {
        struct alignas(64) Configuration {
            std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
            std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        };
        static constexpr Configuration configuration;
        _tile_loadconfig(&configuration);
    }
    [[XGRAD_AMX]] ~MatrixUnit() { _tile_release(); }
    MatrixUnit(const MatrixUnit&) = delete;
    MatrixUnit& operator=(const MatrixUnit&) = delete;
};

// --- Packing ---------------------------------------------------------------------------------------------------------

enum Part { high, middle, low };
constexpr size_t parts = 3;

using Bits = Vector<std::uint32_t>;

[[gnu::always_inline]] inline Bits bits(Vector<float> x) { return __builtin_bit_cast(Bits, x); }

// To the nearest number of 8 significant bits. (A NaN may become 0; what is left after that is NaN then.)
[[gnu::always_inline]] inline Vector<float> rounded(Vector<float> x) {
    return __builtin_bit_cast(Vector<float>, (bits(x) + 0x8000u) & 0xFFFF0000u);
}

// Numbers of 8 bits in pairs: lane i has first[i] in its lower half and second[i] in its upper one.
[[gnu::always_inline]] inline Vector<float> paired(Vector<float> first, Vector<float> second) {
    return __builtin_bit_cast(Vector<float>, (bits(first) >> 16) | (bits(second) & 0xFFFF0000u));
}

// A row of the tile of each part.
[[gnu::always_inline]] inline void store_parts(float* to, size_t part_stride, Vector<float> first,
                                               Vector<float> second) {
    const Vector<float> first_high = rounded(first), second_high = rounded(second);
    first -= first_high, second -= second_high;
    const Vector<float> first_middle = rounded(first), second_middle = rounded(second);
    first -= first_middle, second -= second_middle;
    store(to + high * part_stride, paired(first_high, second_high));
    store(to + middle * part_stride, paired(first_middle, second_middle));
    store(to + low * part_stride, paired(first, second));
}

// Up to 16 rows of up to 16 numbers in memory.
struct Block {
    const float* from;
    size_t stride, rows, columns;

    bool is_whole() const { return rows == tile_size && columns == tile_size; }
};

// The tiles of two blocks, a row of one being paired with that of the other. What the blocks lack is 0.
template <bool Whole>
[[gnu::noinline]] void split_blocks(float* to, size_t part_stride, const Block& first, const Block& second) {
    const auto row = [](const Block& block, size_t i) {
        if constexpr (Whole) return load(block.from + i * block.stride);
        return i < block.rows ? load(block.from + i * block.stride, block.columns) : Vector<float>{};
    };
    for (size_t i = 0; i < tile_size; ++i)
        store_parts(to + i * lanes<float>, part_stride, row(first, i), row(second, i));
}

void transpose_block(float* to, Block& block) {
    if (block.is_whole())
        transpose_square(to, tile_size, block.from, block.stride);
    else if (block.rows > 0 && block.columns > 0)
        transpose_part<Vector<float>>(to, tile_size, block.from, block.stride, block.rows, block.columns);
    block = {to, tile_size, block.columns, block.rows};
}

// A or B. Its lines, the rows of op(A) or the columns of op(B), stand along the rows of memory or across them.
struct Operand {
    const float* from;
    size_t stride;
    size_t lines;
    bool along_rows;
    bool transposed;
};

Operand operand_a(const Gemm<float>& g) { return {g.a, g.a_stride, g.rows, !g.transpose_a, g.transpose_a}; }
Operand operand_b(const Gemm<float>& g) { return {g.b, g.b_stride, g.columns, g.transpose_b, g.transpose_b}; }

// The tile of the 16 lines from `line` on and of the 32 steps from k on, as far as `end`. In it a step is paired with
// the one 16 steps on, which takes no shuffles. Rows of A's tiles are lines, rows of B's are pairs of steps.
void pack_tile(float* to, size_t part_stride, const Operand& x, size_t line, size_t k, size_t end) {
    const size_t lines = min(tile_size, x.lines - line), depth = min(tile_depth, end - k);
    const auto block = [&](size_t begin) {
        const size_t count = begin < depth ? min(tile_size, depth - begin) : 0;
        const float* const from = count == 0     ? x.from
                                  : x.along_rows ? x.from + line * x.stride + k + begin
                                                 : x.from + (k + begin) * x.stride + line;
        return x.along_rows ? Block{from, x.stride, lines, count} : Block{from, x.stride, count, lines};
    };
    Block first = block(0), second = block(tile_size);
    alignas(64) float transposed[2][tile_words];
    if (x.transposed) transpose_block(transposed[0], first), transpose_block(transposed[1], second);
    const bool whole = first.is_whole() && second.is_whole();
    (whole ? split_blocks<true> : split_blocks<false>)(to, part_stride, first, second);
}

// A strip is two tiles of lines, or one at the edge. For every 32 steps it has the tiles of the high parts, those of
// the middle ones and those of the low ones.
constexpr size_t strips(size_t lines) { return ceil_divide(lines, square); }
constexpr size_t tiles(size_t lines) { return ceil_divide(min(square, lines), tile_size); }  // in the first strip
constexpr size_t steps(size_t depth) { return ceil_divide(depth, tile_depth); }
constexpr size_t strip_words(size_t depth) { return steps(depth) * parts * 2 * tile_words; }

// The strips of the lines from begin to end, begin being divisible by 32, for the depth from k to k_end.
void pack_strips(float* to, const Operand& x, size_t begin, size_t end, size_t k, size_t k_end) {
    const auto pack_at = [&](size_t line, size_t step) {
        const size_t first = line / square * square, part_stride = tiles(end - first) * tile_words;
        float* const strip = to + (first - begin) / square * strip_words(k_end - k);
        float* const high_parts = strip + (step - k) / tile_depth * parts * part_stride;
        pack_tile(high_parts + (line - first) / tile_size * tile_words, part_stride, x, line, step, k_end);
    };
    // In the order of memory.
    if (x.along_rows)
        for (size_t line = begin; line < end; line += tile_size)
            for (size_t step = k; step < k_end; step += tile_depth) pack_at(line, step);
    else
        for (size_t step = k; step < k_end; step += tile_depth)
            for (size_t line = begin; line < end; line += tile_size) pack_at(line, step);
}

// --- Squares ---------------------------------------------------------------------------------------------------------

// The unit's registers 0 to 3 are tiles of C, 4 and 5 of A, 6 and 7 of B.
template <size_t Down> [[gnu::always_inline, XGRAD_AMX]] inline void load_a(const float* a, Part part) {
    _tile_loadd(4, a + part * Down * tile_words, tile_row_bytes);
    if constexpr (Down == 2) _tile_loadd(5, a + (part * Down + 1) * tile_words, tile_row_bytes);
}

template <size_t Across> [[gnu::always_inline, XGRAD_AMX]] inline void load_b(const float* b, Part part) {
    _tile_loadd(6, b + part * Across * tile_words, tile_row_bytes);
    if constexpr (Across == 2) _tile_loadd(7, b + (part * Across + 1) * tile_words, tile_row_bytes);
}

template <size_t Down, size_t Across> [[gnu::always_inline, XGRAD_AMX]] inline void add_products() {
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (Across == 2) _tile_dpbf16ps(1, 4, 7);
    if constexpr (Down == 2) _tile_dpbf16ps(2, 5, 6);
    if constexpr (Down == 2 && Across == 2) _tile_dpbf16ps(3, 5, 7);
}

// Adds the products of a strip of A and one of B to the sums of a square, or begins the sums with them.
template <size_t Down, size_t Across>
[[gnu::noinline, XGRAD_AMX]] void multiply_strips(float* sums, const float* a, const float* b, size_t steps, bool add) {
    asm volatile("" ::: "memory");  // compilers do not see that tiles read what was packed
    if (add) {
        _tile_loadd(0, sums, tile_row_bytes);
        if constexpr (Across == 2) _tile_loadd(1, sums + tile_words, tile_row_bytes);
        if constexpr (Down == 2) _tile_loadd(2, sums + 2 * tile_words, tile_row_bytes);
        if constexpr (Down == 2 && Across == 2) _tile_loadd(3, sums + 3 * tile_words, tile_row_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (; steps > 0; --steps, a += parts * Down * tile_words, b += parts * Across * tile_words) {
        // In an order in which each pair of parts shares one with the pair before.
        load_a<Down>(a, high), load_b<Across>(b, low), add_products<Down, Across>();
        load_b<Across>(b, middle), add_products<Down, Across>();
        load_a<Down>(a, middle), add_products<Down, Across>();
        load_b<Across>(b, high), add_products<Down, Across>();
        load_a<Down>(a, low), add_products<Down, Across>();
        load_a<Down>(a, high), add_products<Down, Across>();
    }
    _tile_stored(0, sums, tile_row_bytes);
    if constexpr (Across == 2) _tile_stored(1, sums + tile_words, tile_row_bytes);
    if constexpr (Down == 2) _tile_stored(2, sums + 2 * tile_words, tile_row_bytes);
    if constexpr (Down == 2 && Across == 2) _tile_stored(3, sums + 3 * tile_words, tile_row_bytes);
}

using StripsKernel = void (*)(float* sums, const float* a, const float* b, size_t steps, bool add);

constexpr StripsKernel strips_kernels[2][2] = {{multiply_strips<1, 1>, multiply_strips<1, 2>},
                                               {multiply_strips<2, 1>, multiply_strips<2, 2>}};

// Where a square has the sums of the first 16 columns of row i; those of the others are a tile further on.
constexpr size_t sums_at(size_t i) { return i / tile_size * 2 * tile_words + i % tile_size * tile_size; }

// The share in one square of C of the depth from k to end: what is there before is added to, and bias and activation
// come last.
[[gnu::always_inline]] inline Gemm<float> cut_square(Gemm<float> g, size_t row, size_t column, size_t k, size_t end) {
    g.a += g.transpose_a ? k * g.a_stride + row : row * g.a_stride + k;
    g.b += g.transpose_b ? column * g.b_stride + k : k * g.b_stride + column;
    g.c += row * g.c_stride + column;
    g.accumulate = g.accumulate || k > 0;
    g.bias = g.bias && end == g.depth ? g.bias + column : nullptr;
    if (end < g.depth) g.activation = Activation::none;
    g.rows = min(square, g.rows - row), g.columns = min(square, g.columns - column), g.depth = end - k;
    return g;
}

// Puts the sums of a square into C, unless one of them is not finite. A whole square has 32 columns.
template <bool Whole> bool finish_square(const Gemm<float>& g, const float* sums) {
    // Read once: for all that the compiler knows, what is stored to C might change them.
    const size_t rows = g.rows, left = min(g.columns, tile_size), right = g.columns - left, stride = g.c_stride;
    const bool add = g.accumulate, add_bias = g.bias;
    const Activation activation = g.activation;
    constexpr int nan_or_infinity = 0x99;
    unsigned found = 0;
    for (size_t i = 0; i < rows; ++i) {  // at an edge the other lanes hold anything
        found |= _mm512_mask_fpclass_ps_mask(first(left), load(sums + sums_at(i)), nan_or_infinity);
        found |= _mm512_mask_fpclass_ps_mask(first(right), load(sums + sums_at(i) + tile_words), nan_or_infinity);
    }
    if (found != 0) return false;
    const auto load_part = [](const float* from, size_t count) { return Whole ? load(from) : load(from, count); };
    const auto store_part = [](float* to, Vector<float> x, size_t count) {
        Whole ? store(to, x) : store(to, x, count);
    };
    Vector<float> left_bias{}, right_bias{};
    if (add_bias) left_bias = load_part(g.bias, left), right_bias = load_part(g.bias + tile_size, right);
    float* c = g.c;
    for (size_t i = 0; i < rows; ++i, c += stride) {
        Vector<float> x = load(sums + sums_at(i)), y = load(sums + sums_at(i) + tile_words);
        if (add) x += load_part(c, left), y += load_part(c + tile_size, right);
        if (add_bias) x += left_bias, y += right_bias;
        store_part(c, activate<float>(x, activation), left);
        store_part(c + tile_size, activate<float>(y, activation), right);
    }
    return true;
}

// --- Products --------------------------------------------------------------------------------------------------------

// The depth for which a strip of A is in the first-level cache, unless one block is enough: that is better than to keep
// sums. And the depth after which sums are added to C, for long ones round more.
constexpr size_t unit_block_depth = 128, unit_sum_depth = 1024;

class UnitProduct {
public:
    UnitProduct(const Gemm<float>& g, float* workspace)
        : g_(g), a_(workspace), b_(a_ + room_for_a(g)), sums_(b_ + room_for_b(g)) {}

    static size_t workspace_size(const Gemm<float>& g) {
        return room_for_a(g) + room_for_b(g) + squares_kept(g) * square_words;
    }

    void multiply() {
        const MatrixUnit unit;
        for (begin_ = 0; begin_ < g_.depth; begin_ = end_) {
            end_ = min(begin_ + unit_sum_depth, g_.depth);
            for (size_t k = begin_; k < end_; k += block_depth(g_)) multiply_block(k, min(k + block_depth(g_), end_));
        }
    }

private:
    static bool is_single_block(const Gemm<float>& g) { return g.depth <= unit_single_block; }
    static size_t block_depth(const Gemm<float>& g) { return is_single_block(g) ? g.depth : unit_block_depth; }

    static size_t room_for_a(const Gemm<float>& g) { return strip_words(block_depth(g)); }
    static size_t room_for_b(const Gemm<float>& g) { return strips(g.columns) * room_for_a(g); }

    // All, but if their sums are complete at once: then the one at hand and the one before.
    static size_t squares_kept(const Gemm<float>& g) {
        return is_single_block(g) ? 2 : strips(g.rows) * strips(g.columns);
    }

    // Squares are counted along rows of C.
    float* sums(size_t index) const { return sums_ + index % squares_kept(g_) * square_words; }

    void multiply_block(size_t k, size_t end) {
        pack_strips(b_, operand_b(g_), 0, g_.columns, k, end);
        size_t index = 0;
        for (size_t row = 0; row < g_.rows; row += square) {
            pack_strips(a_, operand_a(g_), row, min(row + square, g_.rows), k, end);
            const float* b = b_;
            for (size_t column = 0; column < g_.columns; column += square, ++index, b += strip_words(end - k)) {
                const StripsKernel kernel = strips_kernels[tiles(g_.rows - row) - 1][tiles(g_.columns - column) - 1];
                kernel(sums(index), a_, b, steps(end - k), k > begin_);
                // Vectors finish a square while the unit is busy with the next one.
                if (end == end_ && index > 0) finish(index - 1);
            }
        }
        if (end == end_) finish(index - 1);
    }

    void finish(size_t index) const {
        const size_t row = index / strips(g_.columns) * square, column = index % strips(g_.columns) * square;
        const Gemm<float> one = cut_square(g_, row, column, begin_, end_);
        if ((one.columns == square ? finish_square<true> : finish_square<false>)(one, sums(index))) return;
        for (size_t k = 0; k < one.depth; k += small_depth)
            gemm_kernels<float>().multiply_small(cut_square(one, 0, 0, k, min(k + small_depth, one.depth)));
    }

    const Gemm<float>& g_;
    float *const a_, *const b_, *const sums_;
    size_t begin_ = 0, end_ = 0;  // of the depth that is summed
};

size_t unit_workspace_size(const Gemm<float>& piece) { return UnitProduct::workspace_size(piece); }
void multiply_on_unit(const Gemm<float>& piece, float* workspace) { UnitProduct(piece, workspace).multiply(); }

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
#undef XGRAD_AMX
#endif
