// The loops of a matrix product, for one instruction-set level. (gemm_amx.hpp has those of a matrix unit.)
//
// A tile of C is held in registers while the depth is run through: at each step one row of B (a few vectors) is
// multiplied with each number of a column of A. Packing copies what a tile reads next into consecutive memory, and
// transposes on the way where needed. Tiles at the edges have kernels of their own: fewer rows, a partial last vector.
#include <cstddef>
#include <type_traits>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/gemm_amx.hpp>
#include <xgrad/autodiff/kernels/gemm_dots.hpp>
#include <xgrad/autodiff/kernels/gemm_runs.hpp>
#include <xgrad/autodiff/kernels/gemm_shallow.hpp>
#include <xgrad/autodiff/kernels/gemm_tile.hpp>
#include <xgrad/autodiff/kernels/gemm_tiny.hpp>
#include <xgrad/autodiff/kernels/gemm_vectors.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// --- Blocks ----------------------------------------------------------------------------------------------------------

// Packed tiles of A hold the whole depth each, one after the other with a gap for the surplus lanes of the last store.
template <class T> size_t packed_tile_size(const Gemm<T>& g) { return max_rows * g.depth + 64 / sizeof(T); }

template <class T> size_t packed_a_place(const Gemm<T>& g, size_t row) { return row / max_rows * packed_tile_size(g); }

template <class T> size_t packed_a_size(const Gemm<T>& g) { return packed_a_place(g, round_up(g.rows, max_rows)); }

template <class T> void pack_a(const Gemm<T>& g, size_t begin, size_t end, T* packed) {
    const size_t together = g.transpose_a ? packed_together : g.depth;
    for (size_t k = 0; k < g.depth; k += together)
        for (size_t row = begin; row < end; row += max_rows)
            pack(packed + packed_a_place(g, row) + k * max_rows, max_rows, a_at(g, row, k), g.a_stride, g.transpose_a,
                 min(max_rows, end - row), min(together, g.depth - k));
}

// A slab of the depth: C += A·B over all rows and columns of a piece.
template <class T> class Slab {
public:
    Slab(const Gemm<T>& piece, const GemmPlan& plan, const T* packed_a, T* packed_b, size_t begin, size_t end)
        : g_(piece), plan_(plan), packed_a_(packed_a), packed_b_(packed_b), begin_(begin), end_(end) {}

    static size_t room_for_b(const Gemm<T>& g, const GemmPlan& plan) {
        const size_t columns = plan.flat ? max_columns<T> : round_up(g.columns, max_columns<T>);
        return min(plan.slab_depth, g.depth) * columns;
    }

    void multiply() { plan_.flat ? multiply_flat() : multiply_blocks(); }

private:
    struct Interval {
        size_t begin, end;
    };

    // Few rows: panel by panel of B, of which the next one is fetched while one that was just packed is multiplied.
    void multiply_flat() {
        const size_t height = tile_height(g_.rows);
        for (size_t column = 0, columns; column < g_.columns; column += columns) {
            columns = plan_.pack_b ? used(column) : panel_columns<T>(height, g_.columns - column);
            if (plan_.pack_b && begin_ < end_) pack_panel(packed_b_, {begin_, end_}, column);
            multiply_with({0, g_.rows}, height, {begin_, end_}, column, columns, packed_b_, next(column, columns));
        }
    }

    // B is packed once for all rows. These go block by block, and each block through the whole slab, so that its part
    // of C stays in the cache.
    void multiply_blocks() {
        pack_b();
        for (size_t row = 0; row < g_.rows; row += plan_.block_rows) {
            size_t k = begin_;
            do {  // once also for a depth of 0, which gives zeros or the bias
                multiply_block({row, min(row + plan_.block_rows, g_.rows)}, {k, min(k + plan_.block_depth, end_)});
                k += plan_.block_depth;
            } while (k < end_);
        }
    }

    void multiply_block(Interval rows, Interval depth) {
        const size_t height = tile_height(rows.end - rows.begin);
        for (size_t column = 0; column < g_.columns; column += max_columns<T>)
            multiply_with(rows, height, depth, column, used(column), packed_b(depth.begin, column));
    }

    size_t used(size_t column) const { return min(max_columns<T>, g_.columns - column); }
    size_t width(size_t column) const { return round_up(used(column), lanes<T>); }
    // Rows of A as they stand can be shared out evenly: 16 rows are 8 and 8 rather than 14 and 2.
    size_t tile_height(size_t rows) const { return packed_a_ ? max_rows : even_part(rows, plan_.tile_rows); }

    T* packed_b(size_t k, size_t column) const {
        return packed_b_ + column * (end_ - begin_) + (k - begin_) * width(column);
    }

    void pack_panel(T* to, Interval depth, size_t column) const {
        pack(to, width(column), b_at(g_, depth.begin, column), g_.b_stride, !g_.transpose_b, used(column),
             depth.end - depth.begin);
    }

    void pack_b() const {
        // A transposed panel's parts stand side by side along the depth.
        const size_t together = g_.transpose_b ? plan_.block_depth : packed_together;
        for (size_t k = begin_; k < end_; k += together)
            for (size_t column = 0; column < g_.columns; column += max_columns<T>)
                pack_panel(packed_b(k, column), {k, min(k + together, end_)}, column);
    }

    // The panel after this one; after the last one, what the next slab or piece begins with, most likely.
    Next<T> next(size_t column, size_t columns) const {
        if (begin_ == end_) return {};
        const bool last = column + columns == g_.columns;
        const T* const at = !last             ? b_at(g_, begin_, column + columns)
                            : end_ < g_.depth ? b_at(g_, end_, 0)
                                              : b_at(g_, 0, g_.columns);
        return {at, g_.b_stride, g_.transpose_b ? columns : end_ - begin_};
    }

    // All rows of A from `rows` on with one panel of B, packed or as it stands.
    void multiply_with(Interval rows, size_t height, Interval depth, size_t column, size_t columns, const T* packed,
                       Next<T> next = {}) {
        const bool first = depth.begin == 0, last = depth.end == g_.depth;
        const size_t packed_place = packed_a_place(g_, rows.begin) + depth.begin * max_rows;
        Tile<T> tile{.depth = depth.end - depth.begin,
                     .a = packed_a_ ? packed_a_ + packed_place : a_at(g_, rows.begin, depth.begin),
                     .a_stride = packed_a_ ? 1 : a_stride(g_),
                     .a_step = packed_a_ ? max_rows : a_step(g_),
                     .b = plan_.pack_b ? packed : b_at(g_, depth.begin, column),
                     .b_step = plan_.pack_b ? width(column) : g_.b_stride,
                     .c = g_.c + rows.begin * g_.c_stride + column,
                     .c_stride = g_.c_stride,
                     .add = g_.accumulate || !first,
                     .bias = last && g_.bias ? g_.bias + column : nullptr,
                     .activation = last ? g_.activation : Activation::none,
                     .next = next};
        const size_t a_per_tile = packed_a_ ? packed_tile_size(g_) : height * tile.a_stride;
        multiply_panel(tile, rows.end - rows.begin, height, a_per_tile, columns);
    }

    const Gemm<T>& g_;
    const GemmPlan& plan_;
    const T* packed_a_;
    T* packed_b_;
    const size_t begin_, end_;
};

template <class T> void multiply(const Gemm<T>& piece, const GemmPlan& plan, const T* packed_a, T* workspace) {
    size_t begin = 0;
    do {  // once also for a depth of 0
        const size_t end = min(begin + plan.slab_depth, piece.depth);
        Slab<T>(piece, plan, packed_a, workspace, begin, end).multiply();
        begin = end;
    } while (begin < piece.depth);
}

// --- Small products: read as they stand, but for panels of a transposed B, which are packed on the stack -------------

template <class T> void multiply_small(const Gemm<T>& g) {
    alignas(64) T packed[small_depth * max_columns<T>];
    const size_t height = even_part(g.rows, max_rows);
    for (size_t column = 0, columns; column < g.columns; column += columns) {
        columns =
            g.transpose_b ? min(max_columns<T>, g.columns - column) : panel_columns<T>(height, g.columns - column);
        const size_t width = round_up(columns, lanes<T>);
        if (g.transpose_b) pack_columns(packed, width, b_at(g, 0, column), g.b_stride, columns, g.depth);
        Tile<T> tile{.depth = g.depth,
                     .a = g.a,
                     .a_stride = a_stride(g),
                     .a_step = a_step(g),
                     .b = g.transpose_b ? packed : b_at(g, 0, column),
                     .b_step = g.transpose_b ? width : g.b_stride,
                     .c = g.c + column,
                     .c_stride = g.c_stride,
                     .add = g.accumulate,
                     .bias = g.bias ? g.bias + column : nullptr,
                     .activation = g.activation};
        multiply_panel(tile, g.rows, height, height * tile.a_stride, columns);
    }
}

// --- The level's table -----------------------------------------------------------------------------------------------

template <class T> constexpr GemmKernels<T> kernels = [] {
    GemmKernels<T> table{.tile_rows = max_rows,
                         .tile_columns = max_columns<T>,
                         .block_rows = block_rows,
                         .block_depth = block_depth<T>,
                         .reread_rows = reread_rows,
                         .reread_rows_apart = reread_rows_apart,
                         .run_rows = run_rows,
                         .short_depth = short_depth,
                         .dots_rows = dots_rows,
                         .dots_depth = dots_depth,
                         .few_columns = few_columns<T>,
                         .long_row = 12 * lanes<T>,
                         .packed_a_size = packed_a_size<T>,
                         .packed_a_place = packed_a_place<T>,
                         .pack_a = pack_a<T>,
                         .workspace_size = Slab<T>::room_for_b,
                         .multiply = multiply<T>,
                         .runs_workspace_size = room_for_runs<T>,
                         .multiply_runs = multiply_runs<T>,
                         .multiply_small = multiply_small<T>,
                         .shallow_depth = most_steps,
                         .multiply_shallow = multiply_shallow<T>,
                         .tiny_size = tiny_size<T>,
                         .tiny_depth = tiny_depth,
                         .multiply_tiny = multiply_tiny<T>,
                         .suits_vectors = suits_vectors<T>,
                         .multiply_vectors = multiply_vectors<T>,
                         .multiply_dots = multiply_dots<T>,
                         .multiply_row = multiply_row<T>,
                         .unit_workspace_size = nullptr,
                         .multiply_on_unit = nullptr};
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>)
        table.unit_workspace_size = unit_workspace_size, table.multiply_on_unit = multiply_on_unit;
#endif
    return table;
}();

}  // namespace

template <class T> const GemmKernels<T>& gemm_kernels() { return kernels<T>; }

template const GemmKernels<float>& gemm_kernels();
template const GemmKernels<double>& gemm_kernels();

}  // namespace xgrad::kernels::XGRAD_LEVEL
