// The loops of a matrix product, for one instruction-set level. (gemm_amx.hpp has those of a matrix unit.)
//
// A tile of C is held in registers while the depth is run through: at each step one row of B (a few vectors) is
// multiplied with each number of a column of A. Packing copies what a tile reads next into consecutive memory, and
// transposes on the way where needed. Tiles at the edges have kernels of their own: fewer rows, a partial last vector.
#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/gemm_amx.hpp>
#include <xgrad/autodiff/kernels/gemm_dots.hpp>
#include <xgrad/autodiff/kernels/gemm_vector.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

#if defined(__AVX512F__)
constexpr size_t max_rows = 14, wide_sums = 24, run_rows = 8;              // 14 × 2 sums in 32 registers
constexpr size_t wide_vectors[] = {16, 8, 4, 3};
constexpr size_t block_rows = 182, block_bytes = 2048, reread_rows = 182;  // for a second-level cache of 1 MB
#elif defined(__AVX2__)
constexpr size_t max_rows = 6, wide_sums = 12, run_rows = 6;               // 6 × 2 sums in 16 registers
constexpr size_t wide_vectors[] = {8, 4};
constexpr size_t block_rows = 192, block_bytes = 1536, reread_rows = 112;  // for a second-level cache of 512 KB
#else
constexpr size_t max_rows = 4, wide_sums = 8, run_rows = 4;
constexpr size_t wide_vectors[] = {8, 4};
constexpr size_t block_rows = 160, block_bytes = 1024, reread_rows = 112;
#endif
// Vectors of a tile's row. A wide tile has one of wide_vectors, whole lines of the cache, and as few rows as make
// wide_sums; of a B that is read in long runs tiles have run_rows at most.
constexpr size_t max_vectors = 2;
static_assert(block_rows % max_rows == 0);

template <class T> constexpr size_t max_columns = max_vectors* lanes<T>;
template <class T> constexpr size_t block_depth = block_bytes / sizeof(T);

// --- Packing ---------------------------------------------------------------------------------------------------------

// A panel is what a row or column of tiles reads: for each step of the depth `width` consecutive numbers, of which the
// last may be beyond the matrix. Its memory must have room for one vector more, for stores may overlap what follows.

// From a matrix in whose rows the panel's numbers stand side by side: rows are steps of the depth.
template <class T> void pack_rows(T* to, size_t width, const T* from, size_t stride, size_t size, size_t depth) {
    const size_t whole = size / lanes<T> * lanes<T>;
    for (size_t k = 0; k < depth; ++k, from += stride, to += width) {
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
            if (rows == lanes<T> && steps == lanes<T>)
                transpose_square(target, width, source, stride);
            else if (rows <= lanes<T> / 2 && steps <= lanes<T> / 2)
                transpose_part<HalfVector<T>>(target, width, source, stride, rows, steps);
            else
                transpose_part<Vector<T>>(target, width, source, stride, rows, steps);
        }
    }
}

// --- Tiles -----------------------------------------------------------------------------------------------------------

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
    size_t columns = 0;  // of its last vector, where that is partial
    // What the tile after this one reads in the first step: fetched into the cache on the way.
    const T* a_ahead = nullptr;
    size_t b_ahead = 0;  // how much further on B is fetched, or 0
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

// From what depth on a tile fetches its part of C into the second-level cache ahead of need.
constexpr size_t depth_to_fetch_c = 192;

// Packed tiles are whole ones of a packed A and B: all strides are known.
template <class T, size_t Rows, size_t Vectors, bool Partial, bool Packed = false>
void multiply_tile(const Tile<T>& t) {
    Vector<T> sums[Rows][Vectors] = {};
    const size_t a_stride = Packed ? 1 : t.a_stride, a_step = Packed ? Rows : t.a_step,
                 b_step = Packed ? Vectors * lanes<T> : t.b_step;
    if (t.depth >= depth_to_fetch_c)
        for_each<Rows, Vectors>(
            [&](size_t r, size_t v) { __builtin_prefetch(t.c + r * t.c_stride + v * lanes<T>, 0, 2); });
    // A pointer for every third row: adding one stride or two is part of an instruction's address.
    const T* a[(Rows + 2) / 3];
    a[0] = t.a;
    for (size_t i = 1; i < (Rows + 2) / 3; ++i) a[i] = a[i - 1] + 3 * a_stride;
    const T* b = t.b;
    const T* ahead = t.a_ahead;
    const size_t b_ahead = t.b_ahead;
    const auto advance = [&]() __attribute__((always_inline)) {
        Vector<T> row[Vectors];
        load_row<T, Vectors, Partial>(row, b, t.columns);
        const auto step = [&](size_t r, size_t v) { sums[r][v] += broadcast(a[r / 3][r % 3 * a_stride]) * row[v]; };
        // What is read of one matrix stays in registers while the other is run through: better the shorter one.
        if constexpr (Rows < Vectors)
            for_each<Vectors, Rows>([&](size_t v, size_t r) { step(r, v); });
        else
            for_each<Rows, Vectors>(step);
        if (!Packed && b_ahead > 0)  // the line of each vector, and of the last number
#pragma GCC unroll 16
            for (size_t v = 0; v <= Vectors; ++v) __builtin_prefetch(b + b_ahead + v * lanes<T> - v / Vectors, 0, 3);
        b += b_step;
        // The processor reads ahead by itself only up to the end of a page.
        __builtin_prefetch(ahead, 0, 2);
        ahead += max_rows;
#pragma GCC unroll 16
        for (size_t i = 0; i < (Rows + 2) / 3; ++i) a[i] += a_step;
    };
    size_t k = 0;
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

// The columns of the next panel of a B that is read as it stands, for tiles of `height` rows. Long runs of its rows are
// read ahead by the processor; many rows of A leave no registers for them.
template <class T> size_t panel_columns(size_t height, size_t columns) {
    for (size_t vectors : wide_vectors)
        if (vectors * height <= wide_sums && vectors * lanes<T> <= columns) return vectors * lanes<T>;
    return min(columns, max_columns<T>);
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
        tile.b_ahead = 0;  // the tiles below find B in the cache
        tile.a += a_per_tile;
        tile.c += height * tile.c_stride;
    }
}

// --- Blocks ----------------------------------------------------------------------------------------------------------

// Rows that are packed in one go: their parts in the several panels stand side by side in memory, and the pages they
// are on should stay known to the processor.
constexpr size_t packed_together = 32;

template <class T>
void pack(T* to, size_t width, const T* from, size_t stride, bool in_rows, size_t size, size_t depth) {
    (in_rows ? pack_rows<T> : pack_columns<T>)(to, width, from, stride, size, depth);
}

template <class T> const T* a_at(const Gemm<T>& g, size_t row, size_t k) {
    return g.transpose_a ? g.a + k * g.a_stride + row : g.a + row * g.a_stride + k;
}
template <class T> const T* b_at(const Gemm<T>& g, size_t k, size_t column) {
    return g.transpose_b ? g.b + column * g.b_stride + k : g.b + k * g.b_stride + column;
}

template <class T> size_t a_stride(const Gemm<T>& g) { return g.transpose_a ? 1 : g.a_stride; }
template <class T> size_t a_step(const Gemm<T>& g) { return g.transpose_a ? g.a_stride : 1; }

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

// A slab of the depth: C += A·B over all rows and columns of a piece. B is packed once for all of it. Rows go block by
// block, and each block through the whole slab, so that its part of C stays in the cache.
template <class T> class Slab {
public:
    Slab(const Gemm<T>& piece, const GemmPlan& plan, const T* packed_a, T* packed_b, size_t begin, size_t end)
        : g_(piece), plan_(plan), packed_a_(packed_a), packed_b_(packed_b), begin_(begin), end_(end) {}

    static size_t room_for_b(const Gemm<T>& g, const GemmPlan& plan) {
        return min(plan.slab_depth, g.depth) * round_up(g.columns, max_columns<T>);
    }

    void multiply() {
        if (plan_.pack_b) pack_b();
        for (size_t row = 0; row < g_.rows; row += plan_.block_rows) {
            size_t k = begin_;
            do {  // once also for a depth of 0, which gives zeros or the bias
                multiply_block({row, min(row + plan_.block_rows, g_.rows)}, {k, min(k + plan_.block_depth, end_)});
                k += plan_.block_depth;
            } while (k < end_);
        }
    }

private:
    struct Interval {
        size_t begin, end;
    };

    size_t used(size_t column) const { return min(max_columns<T>, g_.columns - column); }
    size_t width(size_t column) const { return round_up(used(column), lanes<T>); }
    T* packed_b(size_t k, size_t column) const {
        return packed_b_ + column * (end_ - begin_) + (k - begin_) * width(column);
    }

    void pack_b() {
        // A transposed panel's parts stand side by side along the depth.
        const size_t together = g_.transpose_b ? plan_.block_depth : packed_together;
        for (size_t k = begin_; k < end_; k += together)
            for (size_t column = 0; column < g_.columns; column += max_columns<T>)
                pack(packed_b(k, column), width(column), b_at(g_, k, column), g_.b_stride, !g_.transpose_b,
                     used(column), min(together, end_ - k));
    }

    void multiply_block(Interval rows, Interval depth) {
        // Rows of A as they stand can be shared out evenly: 16 rows are 8 and 8 rather than 14 and 2.
        const size_t height = packed_a_ ? max_rows : even_part(rows.end - rows.begin, plan_.in_runs ? run_rows : max_rows);
        for (size_t column = 0, columns; column < g_.columns; column += columns) {
            columns = plan_.pack_b ? used(column) : panel_columns<T>(height, g_.columns - column);
            multiply_panel(rows, height, depth, column, columns);
        }
    }

    void multiply_panel(Interval rows, size_t height, Interval depth, size_t column, size_t columns) {
        const bool first = depth.begin == 0, last = depth.end == g_.depth;
        const size_t packed_place = packed_a_place(g_, rows.begin) + depth.begin * max_rows;
        Tile<T> tile{.depth = depth.end - depth.begin,
                     .a = packed_a_ ? packed_a_ + packed_place : a_at(g_, rows.begin, depth.begin),
                     .a_stride = packed_a_ ? 1 : a_stride(g_),
                     .a_step = packed_a_ ? max_rows : a_step(g_),
                     .b = plan_.pack_b ? packed_b(depth.begin, column) : b_at(g_, depth.begin, column),
                     .b_step = plan_.pack_b ? width(column) : g_.b_stride,
                     .c = g_.c + rows.begin * g_.c_stride + column,
                     .c_stride = g_.c_stride,
                     .add = g_.accumulate || !first,
                     .bias = last && g_.bias ? g_.bias + column : nullptr,
                     .activation = last ? g_.activation : Activation::none,
                     .b_ahead = rows.begin == 0 ? plan_.b_ahead : 0};
        const size_t a_per_tile = packed_a_ ? packed_tile_size(g_) : height * tile.a_stride;
        kernels::XGRAD_LEVEL::multiply_panel(tile, rows.end - rows.begin, height, a_per_tile, columns);
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

template <class T>
constexpr GemmKernels<T> kernels = [] {
    GemmKernels<T> table{.tile_rows = max_rows,
                         .tile_columns = max_columns<T>,
                         .block_rows = block_rows,
                         .block_depth = block_depth<T>,
                         .reread_rows = reread_rows,
                         .long_row = 12 * lanes<T>,
                         .packed_a_size = packed_a_size<T>,
                         .packed_a_place = packed_a_place<T>,
                         .pack_a = pack_a<T>,
                         .workspace_size = Slab<T>::room_for_b,
                         .multiply = multiply<T>,
                         .multiply_small = multiply_small<T>,
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
