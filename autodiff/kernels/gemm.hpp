// Products of matrices over raw memory: packed where it pays, in registers otherwise, on all threads where they help.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/activation.hpp>
#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::kernels {

/// One product of row-major matrices, C = activation(op(A)·op(B) + bias), where op transposes or not:
///
///     gemm<float>({.rows = 64, .columns = 10, .depth = 128,
///                  .a = x, .a_stride = 128, .b = weight, .b_stride = 128, .transpose_b = true,
///                  .c = y, .c_stride = 10, .bias = bias});
///
/// C has rows × columns entries, op(A) rows × depth and op(B) depth × columns. A stride is the distance in memory from
/// one stored row to the next. Sizes may be 0 (depth 0 gives the bias), no alignment is asked for. C overlaps nothing.
template <class T> struct Gemm {
    std::size_t rows = 0, columns = 0, depth = 0;
    const T* a = nullptr;
    std::size_t a_stride = 0;
    bool transpose_a = false;  ///< a is stored as depth × rows
    const T* b = nullptr;
    std::size_t b_stride = 0;
    bool transpose_b = false;  ///< b is stored as columns × depth
    T* c = nullptr;
    std::size_t c_stride = 0;
    bool accumulate = false;  ///< add to what C holds, before the activation
    const T* bias = nullptr;  ///< one number for each column, added to every row; or none
    Activation activation = Activation::none;
};

/// Computes the product, for T = float or double. Bitwise the same for any number of threads.
template <class T> void gemm(const Gemm<T>& product);

/// Computes `count` products of the same sizes. Those after the first have their matrices a_step, b_step and c_step
/// further on in memory (0 to use one matrix for all); the bias is shared.
template <class T>
void gemm_batch(const Gemm<T>& first, std::size_t count, std::size_t a_step, std::size_t b_step, std::size_t c_step);

// What follows is between gemm.cpp, which plans (gemm_plan.hpp), and gemm.simd.cpp, which multiplies.

enum class GemmMethod { blocks, runs, small, shallow, dots, row, unit };

// How a product is computed. It is chosen once, from the sizes and strides of the whole product, and the same for all
// pieces of it.
struct GemmPlan {
    GemmMethod method = GemmMethod::blocks;  // what else is here is for blocks, unless it says otherwise
    bool fetch_next = false;                 // what is needed next, meanwhile: for dots, and from part to part of runs
    bool b_is_longer = false;                // for dots, which run through it once
    std::size_t block_depth = 0;             // of what is multiplied in one go; for runs, too
    std::size_t block_rows = 0;              // of A, which stay in the cache while they are multiplied with B
    std::size_t slab_depth = 0;              // of B that is packed in one go, a multiple of block_depth
    std::size_t tile_rows = 0;               // of tiles where A is not packed
    bool pack_a = false, pack_b = false;
    bool flat = false;  // few rows, all of them in one block: B is packed panel by panel
};

// The depth of B's panels that still fit on the stack.
constexpr std::size_t small_depth = 128;
// The depth of the blocks of runs, at most.
constexpr std::size_t run_depth = 128;
// The depth that the matrix unit takes in one block.
constexpr std::size_t unit_single_block = 256;

template <class T> struct GemmKernels {
    std::size_t tile_rows, tile_columns;  // of C that are held in registers
    std::size_t block_rows, block_depth;  // of A that suit the caches of processors with this level
    std::size_t reread_rows;              // of A, up to which B is read as it stands again and again, also by runs
    std::size_t reread_rows_apart;        // the same for runs where B's rows are pages apart, and caches have the ways
    std::size_t run_rows, short_depth;    // rows of tiles in runs, and the depth up to which these suit any rows
    std::size_t dots_rows, dots_depth;    // multiply_dots suits so many rows of A, with a depth of so much for each
    std::size_t few_columns;              // of B, which are made rows for multiply_dots
    std::size_t long_row;                 // the depth from which a single row is computed by multiply_row
    // Packs the rows from begin to end of op(A), begin being divisible by tile_rows, into memory for packed_a_size
    // numbers. All pieces of a product share it; the one from `row` on finds its rows at packed_a_place.
    std::size_t (*packed_a_size)(const Gemm<T>& product);
    std::size_t (*packed_a_place)(const Gemm<T>& product, std::size_t row);
    void (*pack_a)(const Gemm<T>& product, std::size_t begin, std::size_t end, T* packed);
    // Computes a piece, from A itself or from its first packed row. The workspace is aligned to 64 bytes.
    std::size_t (*workspace_size)(const Gemm<T>& piece, const GemmPlan& plan);
    void (*multiply)(const Gemm<T>& piece, const GemmPlan& plan, const T* packed_a, T* workspace);
    // Computes a part of a piece, of a depth of at most run_depth, from B as it stands or from its transpose in the
    // workspace. Meanwhile it fetches as much from next_b on, unless that is null, and its own B where it is unfetched.
    std::size_t (*runs_workspace_size)(const Gemm<T>& piece);
    void (*multiply_runs)(Gemm<T> part, bool unfetched, const T* next_b, T* workspace);
    // Computes a product without a workspace, for a depth of at most small_depth where B is transposed.
    void (*multiply_small)(const Gemm<T>& product);
    // The same for a depth of 1 to shallow_depth. It does not add to what C holds.
    std::size_t shallow_depth;
    void (*multiply_shallow)(const Gemm<T>& product);
    // Computes `count` products one after the other in memory without a gap, or with one A, or one B, for all: of
    // matrices of at most tiny_size numbers and a depth of 1 to tiny_depth, without bias and activation.
    std::size_t tiny_size, tiny_depth;
    void (*multiply_tiny)(const Gemm<T>& first, std::size_t count, bool one_a, bool one_b);
    // The same for products of a matrix and a vector, of two vectors, or of a column and a row, each with an A and a B
    // of its own, where suits_vectors says so.
    bool (*suits_vectors)(const Gemm<T>& first, std::size_t count);
    void (*multiply_vectors)(const Gemm<T>& first, std::size_t count);
    // Computes a piece where rows of both A and B run along the depth, for few rows or columns, or for a single row.
    void (*multiply_dots)(const Gemm<T>& piece, bool b_is_longer, bool fetch_next);
    void (*multiply_row)(const Gemm<T>& piece);
    // Computes a piece on the processor's matrix unit, where level and precision have one: rows and columns are cut at
    // multiples of 32. The workspace is aligned to 64 bytes.
    std::size_t (*unit_workspace_size)(const Gemm<T>& piece);
    void (*multiply_on_unit)(const Gemm<T>& piece, T* workspace);
};

XGRAD_AT_EVERY_LEVEL(template <class T> const GemmKernels<T>& gemm_kernels();)
template <class T> const GemmKernels<T>& gemm_kernels() { XGRAD_SELECT(gemm_kernels<T>()) }

}  // namespace xgrad::kernels
