// Products of few rows or of a short depth: B, or C, is most of what passes through the caches, so both are gone
// through in long runs, as memory has them. Only gemm.simd.cpp includes it.
#pragma once

#include <cstddef>
#include <utility>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/gemm_tile.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// What is fetched meanwhile, if anything: as much as some tiles read of B, this far from it. Every n-th tile takes a
// turn.
struct Ahead {
    std::ptrdiff_t distance = 0;
    size_t turn = 0, every = 1;

    bool at(size_t tile) const { return distance != 0 && tile % every == turn; }
};

// Tiles side by side, as wide as their rows leave registers for. `tile` is the first one, of a B as it stands.
template <class T, size_t Rows> void multiply_run(Tile<T> tile, size_t tiles, Ahead ahead) {
    constexpr size_t vectors = panel_vectors(Rows), columns = vectors * lanes<T>;
    for (size_t i = 0; i < tiles; ++i, tile.skip(columns)) {
        Vector<T> sums[Rows][vectors] = {};
        Column<T, Rows> a(tile.a, tile.a_stride);
        const T *b = tile.b, *c_ahead = tile.c + columns;
        size_t k = 0;
        const auto advance = [&]() __attribute__((always_inline)) {
            Vector<T> row[vectors];
            load_row<T, vectors, false>(row, b, 0);
            add_products<T>(sums, a, row);
            // On the way the next tile's rows of C, one with each step.
            if (k < Rows) fetch_row_close<T, vectors>(c_ahead), c_ahead += tile.c_stride;
            a.advance(tile.a_step), b += tile.b_step;
        };
        if (ahead.at(i)) {
            const T* next = b + ahead.distance;
            for (; k < tile.depth; ++k, next += tile.b_step) {
                advance();
                fetch_row<T, vectors>(next);
            }
        }
        for (; k < tile.depth; ++k) advance();
        finish<T, Rows, vectors, false>(tile, sums);
    }
}

template <class T> struct RunKernels { void (*with_rows[run_rows + 1])(Tile<T> tile, size_t tiles, Ahead ahead); };

template <class T, size_t... Row> constexpr RunKernels<T> run_kernels(std::index_sequence<Row...>) {
    return {{nullptr, multiply_run<T, Row + 1>...}};
}

// The transpose of a transposed B: an odd number of vectors in a row, so that rows do not compete for the same places
// of the cache.
template <class T> size_t transpose_stride(const Gemm<T>& g) {
    return (ceil_divide(g.columns, lanes<T>) | 1) * lanes<T>;
}

template <class T> size_t room_for_runs(const Gemm<T>& g) { return g.transpose_b ? g.depth * transpose_stride(g) : 0; }

template <class T> void multiply_runs(Gemm<T> g, bool unfetched, const T* next_b, T* workspace) {
    static constexpr auto kernels = run_kernels<T>(std::make_index_sequence<run_rows>{});
    if (g.transpose_b) {
        pack_columns(workspace, transpose_stride(g), g.b, g.b_stride, g.columns, g.depth);
        g.b = workspace, g.b_stride = transpose_stride(g);
    }
    const size_t height = even_part(g.rows, run_rows);
    // The first run fetches what no part before has, a tile ahead. (Fewer rows than 4 would do nothing else.) All other
    // runs share what the next part reads.
    const size_t runs = ceil_divide(g.rows, height), own = unfetched && !g.transpose_b && g.rows >= 4 ? 1 : 0;
    const std::ptrdiff_t to_next = next_b ? next_b - g.b : 0;
    const auto ahead = [&](size_t run, size_t columns) -> Ahead {
        if (run < own) return {static_cast<std::ptrdiff_t>(columns)};
        return {to_next, run - own, max(1, runs - own)};
    };
    for (size_t row = 0; row < g.rows; row += height) {
        const size_t rows = min(height, g.rows - row), columns = panel_vectors(rows) * lanes<T>;
        // (A's steps are far apart in memory only where it is transposed.)
        alignas(64) T packed_a[run_rows * run_depth + lanes<T>];
        if (g.transpose_a) pack_rows(packed_a, rows, a_at(g, row, 0), g.a_stride, rows, g.depth);
        const T* const a = g.transpose_a ? packed_a : a_at(g, row, 0);
        Tile<T> tile{.depth = g.depth,
                     .a = a,
                     .a_stride = a_stride(g),
                     .a_step = g.transpose_a ? rows : 1,
                     .b = g.b,
                     .b_step = g.b_stride,
                     .c = g.c + row * g.c_stride,
                     .c_stride = g.c_stride,
                     .add = g.accumulate,
                     .bias = g.bias,
                     .activation = g.activation,
                     .a_ahead = a};
        const size_t run = row / height;
        kernels.with_rows[rows](tile, g.columns / columns, ahead(run, columns));
        tile.skip(g.columns / columns * columns);
        for (size_t left = g.columns % columns, next; left > 0; left -= next, tile.skip(next)) {
            next = panel_columns<T>(rows, left);
            tile.columns = next % lanes<T>;
            if (next_b && run == own) tile.next = {tile.b + to_next, g.b_stride, g.depth};
            tile_kernels<T>(next).with_rows[rows](tile);
        }
    }
}

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
