// What all products are made of, for one instruction-set level: packed panels, and tiles of C. Only gemm.simd.cpp and
// its parts include it.
#pragma once

#include <cstddef>
#include <iterator>
#include <utility>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/vector.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

#if defined(__AVX512F__)
constexpr size_t max_rows = 14, wide_sums = 24, run_rows = 8;  // 14 × 2 sums in 32 registers
constexpr size_t wide_vectors[] = {16, 8, 4, 3};
constexpr size_t block_rows = 182, block_bytes = 2048, reread_rows = 182;  // for a second-level cache of 1 MB
constexpr size_t reread_rows_apart = reread_rows, short_depth = run_depth;
#elif defined(__AVX2__)
constexpr size_t max_rows = 6, wide_sums = 12, run_rows = 6;  // 6 × 2 sums in 16 registers
constexpr size_t wide_vectors[] = {8, 4};
constexpr size_t block_rows = 192, block_bytes = 1536, reread_rows = 112;  // for a second-level cache of 512 KB
constexpr size_t reread_rows_apart = 4 * max_rows, short_depth = run_depth / 4;
#else
constexpr size_t max_rows = 4, wide_sums = 8, run_rows = 4;
constexpr size_t wide_vectors[] = {8, 4};
constexpr size_t block_rows = 160, block_bytes = 1024, reread_rows = 112;
constexpr size_t reread_rows_apart = 4 * max_rows, short_depth = run_depth / 4;
#endif
// Vectors of a tile's row. A wide tile has one of wide_vectors, whole lines of the cache, and at most as many rows as
// make wide_sums. In runs of B and C tiles have run_rows at most.
constexpr size_t max_vectors = 2;
static_assert(block_rows % max_rows == 0);
static_assert(reread_rows <= 2 * block_rows);  // B is packed but for a flat C

template <class T> constexpr size_t max_columns = max_vectors * (lanes<T>);
template <class T> constexpr size_t block_depth = block_bytes / sizeof(T);

// --- Where matrices are ----------------------------------------------------------------------------------------------

template <class T> const T* a_at(const Gemm<T>& g, size_t row, size_t k) {
    return g.transpose_a ? g.a + k * g.a_stride + row : g.a + row * g.a_stride + k;
}
template <class T> const T* b_at(const Gemm<T>& g, size_t k, size_t column) {
    return g.transpose_b ? g.b + column * g.b_stride + k : g.b + k * g.b_stride + column;
}

template <class T> size_t a_stride(const Gemm<T>& g) { return g.transpose_a ? 1 : g.a_stride; }
template <class T> size_t a_step(const Gemm<T>& g) { return g.transpose_a ? g.a_stride : 1; }

// --- Packing ---------------------------------------------------------------------------------------------------------

// A panel is what a row or column of tiles reads: for each step of the depth `width` consecutive numbers, of which the
// last may be beyond the matrix. Its memory must have room for one vector more, for stores may overlap what follows.

// Rows that are packed in one go: their parts in the several panels stand side by side in memory, and the pages they
// are on should stay known to the processor.
constexpr size_t packed_together = 32;

// From a matrix in whose rows the panel's numbers stand side by side: rows are steps of the depth. What is as many rows
// ahead as are packed in one go is fetched.
template <class T> void pack_rows(T* to, size_t width, const T* from, size_t stride, size_t size, size_t depth) {
    const size_t whole = size / lanes<T> * lanes<T>;
    for (size_t k = 0; k < depth; ++k, from += stride, to += width) {
        for (size_t i = 0; i < size; i += line_size<T>) fetch(from + packed_together * stride + i);
        for (size_t i = 0; i < whole; i += lanes<T>) store(to + i, load(from + i));
        if (whole < size) store(to + whole, load(from + whole, size - whole));
    }
}

// From a matrix in whose columns they stand: columns are steps of the depth.
template <class T> void pack_columns(T* to, size_t width, const T* from, size_t stride, size_t size, size_t depth) {
    for (size_t k = 0; k < depth; k += lanes<T>) {
        const size_t steps = min(lanes<T>, depth - k);
        // From the last vector to the first, as a vector's surplus lanes overlap the first one of the next step.
        for (size_t i = round_up(size, lanes<T>); i > 0;) {
            i -= lanes<T>;
            T* const target = to + k * width + i;
            const T* const source = from + i * stride + k;
            const size_t rows = min(lanes<T>, size - i);
            constexpr size_t half = lanes<T> / 2;
            if (rows == lanes<T> && steps == lanes<T>) {
                transpose_square(target, width, source, stride);
            } else if (rows <= half) {
                for (size_t step = 0; step < steps; step += half)
                    transpose_part<HalfVector<T>>(target + step * width, width, source + step, stride, rows,
                                                  min(half, steps - step));
            } else {
                transpose_part<Vector<T>>(target, width, source, stride, rows, steps);
            }
        }
    }
}

template <class T>
void pack(T* to, size_t width, const T* from, size_t stride, bool in_rows, size_t size, size_t depth) {
    (in_rows ? pack_rows<T> : pack_columns<T>)(to, width, from, stride, size, depth);
}

// --- Tiles -----------------------------------------------------------------------------------------------------------

// A part of B's memory that is needed after this tile, and fetched on the way: with each step of the depth as many
// numbers as the tile has columns, of one row after the other, and after the last row those beside them.
template <class T> struct Next {
    const T* at = nullptr;
    size_t stride = 0, rows = 0;
};

template <class T> struct Tile {
    size_t depth;
    const T* a;
    size_t a_stride, a_step;  // to the next row, to the next step of the depth
    const T* b;
    size_t b_step;
    T* c;
    size_t c_stride;
    bool add;       // to what C holds
    const T* bias;  // or null
    Activation activation;
    size_t columns = 0;          // of its last vector, where that is partial
    const T* a_ahead = nullptr;  // what the tile after this one reads in the first step: fetched on the way
    Next<T> next = {};

    // Past `count` columns, of a B as it stands.
    void skip(size_t count) {
        b += count;
        c += count;
        if (bias) bias += count;
    }
};

template <size_t Rows, size_t Vectors, class F> [[gnu::always_inline]] inline void for_each(F f) {
#pragma GCC unroll 16
    for (size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 16
        for (size_t v = 0; v < Vectors; ++v) f(r, v);
}

// A row of a tile. Where the tile is Partial, its last vector has only `columns` lanes that are in the matrices.
template <class T, size_t Vectors, bool Partial>
[[gnu::always_inline]] inline void load_row(Vector<T> (&x)[Vectors], const T* from, size_t columns) {
#pragma GCC unroll 16
    for (size_t v = 0; v < Vectors; ++v)
        x[v] = Partial && v + 1 == Vectors ? load(from + v * lanes<T>, columns) : load(from + v * lanes<T>);
}

template <class T, size_t Vectors, bool Partial>
[[gnu::always_inline]] inline void store_row(T* to, const Vector<T> (&x)[Vectors], size_t columns) {
#pragma GCC unroll 16
    for (size_t v = 0; v < Vectors; ++v)
        (Partial && v + 1 == Vectors) ? store(to + v * lanes<T>, x[v], columns) : store(to + v * lanes<T>, x[v]);
}

template <class T, size_t Rows, size_t Vectors, bool Partial>
[[gnu::always_inline]] inline void finish(const Tile<T>& t, Vector<T> (&sums)[Rows][Vectors]) {
    // Read once: for all that the compiler knows, what is stored to C might change them.
    T* const c = t.c;
    const size_t c_stride = t.c_stride, columns = t.columns;
    const auto add = [&](const T* from, size_t stride) {
#pragma GCC unroll 16
        for (size_t r = 0; r < Rows; ++r) {
            Vector<T> row[Vectors];
            load_row<T, Vectors, Partial>(row, from + r * stride, columns);
#pragma GCC unroll 16
            for (size_t v = 0; v < Vectors; ++v) sums[r][v] += row[v];
        }
    };
    if (t.add) add(c, c_stride);
    if (t.bias) add(t.bias, 0);
    if (t.activation == Activation::relu)
        for_each<Rows, Vectors>([&](size_t r, size_t v) { sums[r][v] = activate<T>(sums[r][v], Activation::relu); });
#pragma GCC unroll 16
    for (size_t r = 0; r < Rows; ++r) store_row<T, Vectors, Partial>(c + r * c_stride, sums[r], columns);
}

// A column of A: a pointer for every third row, as adding one stride or two is part of an instruction's address.
template <class T, size_t Rows> class Column {
public:
    [[gnu::always_inline]] Column(const T* first, size_t stride) : stride_(stride) {
        for (size_t i = 0; i < pointers; ++i) rows_[i] = first + 3 * i * stride;
    }
    [[gnu::always_inline]] T operator[](size_t row) const { return rows_[row / 3][row % 3 * stride_]; }
    [[gnu::always_inline]] void advance(size_t step) {
#pragma GCC unroll 16
        for (size_t i = 0; i < pointers; ++i) rows_[i] += step;
    }

private:
    static constexpr size_t pointers = (Rows + 2) / 3;
    const T* rows_[pointers];
    const size_t stride_;
};

// One step of the depth. What is read of one matrix stays in registers while the other is run through: better the
// shorter one.
template <class T, size_t Rows, size_t Vectors>
[[gnu::always_inline]] inline void add_products(Vector<T> (&sums)[Rows][Vectors], const Column<T, Rows>& a,
                                                const Vector<T> (&row)[Vectors]) {
    const auto add = [&](size_t r, size_t v) { sums[r][v] += broadcast(a[r]) * row[v]; };
    if constexpr (Rows < Vectors)
        for_each<Vectors, Rows>([&](size_t v, size_t r) { add(r, v); });
    else
        for_each<Rows, Vectors>(add);
}

// Prefetches into the second-level cache the lines that a row of vectors ends on; the line it begins on was fetched
// with its left neighbour. (From a pointer of the caller's own: sums of two are kept in registers that products need.)
template <class T, size_t Vectors> [[gnu::always_inline]] inline void fetch_row(const T* row) {
#pragma GCC unroll 16
    for (size_t i = 0; i < Vectors * lanes<T>; i += line_size<T>) fetch(row + i + line_size<T> - 1);
}

// The lines that a row of vectors is on, into the first-level cache.
template <class T, size_t Vectors> [[gnu::always_inline]] inline void fetch_row_close(const T* row) {
#pragma GCC unroll 16
    for (size_t v = 0; v <= Vectors; ++v) fetch_close(row + v * lanes<T> - v / Vectors);
}

// From what depth on a tile fetches its part of C into the second-level cache, of each vector the line it ends on, as
// the one it begins on belongs to what stands before it: with fewer steps it would not be there in time. (In a training
// step no cache but the last holds C.)
constexpr size_t depth_to_fetch_c = 8;

// Packed tiles are whole ones of a packed A and B: all strides are known.
template <class T, size_t Rows, size_t Vectors, bool Partial, bool Packed = false>
void multiply_tile(const Tile<T>& t) {
    Vector<T> sums[Rows][Vectors] = {};
    const size_t a_stride = Packed ? 1 : t.a_stride, a_step = Packed ? Rows : t.a_step,
                 b_step = Packed ? Vectors * lanes<T> : t.b_step;
    if (t.depth >= depth_to_fetch_c)
        for_each<Rows, Vectors>([&](size_t r, size_t v) {
            const size_t used = Partial && v + 1 == Vectors ? t.columns : lanes<T>;
            fetch(t.c + r * t.c_stride + v * lanes<T> + used - 1);
        });
    Column<T, Rows> a(t.a, a_stride);
    const T* b = t.b;
    const T* ahead = t.a_ahead;
    const auto advance = [&]() __attribute__((always_inline)) {
        Vector<T> row[Vectors];
        load_row<T, Vectors, Partial>(row, b, t.columns);
        add_products<T>(sums, a, row);
        b += b_step;
        fetch(ahead);  // the processor reads ahead by itself only up to the end of a page
        ahead += max_rows;
        a.advance(a_step);
    };
    size_t k = 0;
    if (const T* next = t.next.at) {
        for (; k < t.depth; next += Vectors * lanes<T>) {
            const T* row = next;
            for (const size_t end = min(t.depth, k + t.next.rows); k < end; ++k, row += t.next.stride) {
                advance();
                fetch_row<T, Vectors>(row);
            }
        }
    }
    // Two steps at a time: half as many additions to pointers compete with the products.
    if constexpr (Packed)
        for (; k + 2 <= t.depth; k += 2) advance(), advance();
    for (; k < t.depth; ++k) advance();
    finish<T, Rows, Vectors, Partial>(t, sums);
}

template <class T> using TileKernel = void (*)(const Tile<T>&);

template <class T> struct TileKernels { TileKernel<T> with_rows[max_rows + 1]; };

template <class T, size_t Vectors, bool Partial, size_t... Row>
constexpr TileKernels<T> tile_kernels(std::index_sequence<Row...>) {
    return {{nullptr, multiply_tile<T, Row + 1, Vectors, Partial>...}};
}
template <class T, size_t... Wide>
const TileKernels<T>& wide_tile_kernels(size_t vectors, std::index_sequence<Wide...>) {
    static constexpr TileKernels<T> kernels[] = {
        tile_kernels<T, wide_vectors[Wide], false>(std::make_index_sequence<wide_sums / wide_vectors[Wide]>{})...};
    size_t i = 0;
    while (wide_vectors[i] != vectors) ++i;
    return kernels[i];
}

template <class T> const TileKernels<T>& tile_kernels(size_t columns) {
    constexpr auto rows = std::make_index_sequence<max_rows>{};
    static constexpr TileKernels<T> kernels[max_vectors][2] = {
        {tile_kernels<T, 1, false>(rows), tile_kernels<T, 1, true>(rows)},
        {tile_kernels<T, 2, false>(rows), tile_kernels<T, 2, true>(rows)}};
    if (columns <= max_columns<T>) return kernels[columns > lanes<T>][columns % lanes<T> != 0];
    return wide_tile_kernels<T>(columns / lanes<T>, std::make_index_sequence<std::size(wide_vectors)>{});
}

// The vectors of a row of B that is read as it stands, for tiles of `height` rows. Long runs are read ahead by the
// processor; many rows of A leave no registers for them.
constexpr size_t panel_vectors(size_t height, size_t most = wide_sums) {
    if (most <= max_vectors) return max_vectors;
    most = min(most, wide_sums / height);
    for (size_t vectors : wide_vectors)
        if (vectors <= most) return vectors;
    return max_vectors;
}

// The columns of the next panel of such a B, of `columns` that are left.
template <class T> size_t panel_columns(size_t height, size_t columns) {
    return min(columns, panel_vectors(height, columns / lanes<T>) * lanes<T>);
}

// All rows of A with one panel of B, tile by tile: `tile` is the first one, of `height` rows, and what the next one
// reads of A starts a_per_tile further on. Without that many rows left the last tile is lower.
template <class T> void multiply_panel(Tile<T>& tile, size_t rows, size_t height, size_t a_per_tile, size_t columns) {
    const TileKernels<T>& kernels = tile_kernels<T>(columns);
    tile.columns = columns % lanes<T>;
    // The strides are those of packed matrices.
    const bool packed = tile.a_stride == 1 && tile.a_step == max_rows && height == max_rows &&
                        tile.b_step == max_columns<T> && columns == max_columns<T>;
    for (size_t row = 0; row < rows; row += height) {
        tile.a_ahead = tile.a + a_per_tile;
        const bool whole = packed && rows - row >= max_rows;
        (whole ? multiply_tile<T, max_rows, max_vectors, false, true>
               : kernels.with_rows[min(height, rows - row)])(tile);
        tile.next = {};  // once is enough
        tile.a += a_per_tile;
        tile.c += height * tile.c_stride;
    }
}

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
