// The loops of a matrix product, for one instruction-set level.
//
// A tile of C is held in registers while the depth is run through: at each step one row of B (a few vectors) is
// multiplied with each number of a column of A. Packing copies what a tile reads next into consecutive memory, and
// transposes on the way where needed. Tiles at the edges have kernels of their own: fewer rows, a partial last vector.
#include <cstddef>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <xgrad/autodiff/kernels/gemm.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

using std::size_t;

#if defined(__AVX512F__)
constexpr size_t vector_bytes = 64, max_rows = 14;                         // 14 × 2 sums in 32 registers
constexpr size_t block_rows = 182, block_bytes = 2048, reread_rows = 320;  // for a second-level cache of 1 MB
#elif defined(__AVX2__)
constexpr size_t vector_bytes = 32, max_rows = 6;                          // 6 × 2 sums in 16 registers
constexpr size_t block_rows = 192, block_bytes = 1536, reread_rows = 112;  // for a second-level cache of 512 KB
#else
constexpr size_t vector_bytes = 16, max_rows = 4;
constexpr size_t block_rows = 160, block_bytes = 1024, reread_rows = 112;
#endif
constexpr size_t max_vectors = 2;  // of a tile's row
static_assert(block_rows % max_rows == 0);

template <class T> struct VectorOf {
    typedef T type __attribute__((vector_size(vector_bytes)));  // NOLINT: cannot be written with using
};
template <class T> using Vector = typename VectorOf<T>::type;
template <class T> constexpr size_t lanes = vector_bytes / sizeof(T);
template <class T> constexpr size_t max_columns = max_vectors* lanes<T>;
template <class T> constexpr size_t block_depth = block_bytes / sizeof(T);

constexpr size_t min(size_t a, size_t b) { return a < b ? a : b; }
constexpr size_t ceil_divide(size_t size, size_t unit) { return (size + unit - 1) / unit; }
constexpr size_t round_up(size_t size, size_t unit) { return ceil_divide(size, unit) * unit; }
// The size of parts of about the same size, of at most `most` each.
constexpr size_t even_part(size_t size, size_t most) {
    return size <= most ? size : ceil_divide(size, ceil_divide(size, most));
}

// --- Vectors ---------------------------------------------------------------------------------------------------------

template <class T> [[gnu::always_inline]] inline Vector<T> load(const T* from) {
    Vector<T> x;
    __builtin_memcpy(&x, from, sizeof x);
    return x;
}

template <class T> [[gnu::always_inline]] inline void store(T* to, Vector<T> x) { __builtin_memcpy(to, &x, sizeof x); }

template <class T> [[gnu::always_inline]] inline Vector<T> broadcast(T x) { return x - Vector<T>{}; }

// The first `count` lanes only; the others are read as 0 and not touched in memory.
#if defined(__AVX512F__)
inline __mmask16 first(size_t count) { return static_cast<__mmask16>((1u << count) - 1u); }
inline Vector<float> load(const float* from, size_t count) { return _mm512_maskz_loadu_ps(first(count), from); }
inline Vector<double> load(const double* from, size_t count) {
    return _mm512_maskz_loadu_pd(static_cast<__mmask8>(first(count)), from);
}
inline void store(float* to, Vector<float> x, size_t count) { _mm512_mask_storeu_ps(to, first(count), x); }
inline void store(double* to, Vector<double> x, size_t count) {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>(first(count)), x);
}
#elif defined(__AVX2__)
inline __m256i first8(size_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first4(size_t count) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(count)), _mm256_setr_epi64x(0, 1, 2, 3));
}
inline Vector<float> load(const float* from, size_t count) { return _mm256_maskload_ps(from, first8(count)); }
inline Vector<double> load(const double* from, size_t count) { return _mm256_maskload_pd(from, first4(count)); }
inline void store(float* to, Vector<float> x, size_t count) { _mm256_maskstore_ps(to, first8(count), x); }
inline void store(double* to, Vector<double> x, size_t count) { _mm256_maskstore_pd(to, first4(count), x); }
#else
template <class T> Vector<T> load(const T* from, size_t count) {
    Vector<T> x{};
    for (size_t i = 0; i < count; ++i) x[i] = from[i];
    return x;
}
template <class T> void store(T* to, Vector<T> x, size_t count) {
    for (size_t i = 0; i < count; ++i) to[i] = x[i];
}
#endif

// NaN stays NaN: the comparison is false for it.
template <class T> [[gnu::always_inline]] inline Vector<T> activate(Vector<T> x, Activation activation) {
    switch (activation) {
        case Activation::relu:
            return x < Vector<T>{} ? Vector<T>{} : x;
        case Activation::none:
            break;
    }
    return x;
}

// --- Transposes in registers: pairs of rows are deinterleaved, at ever greater distances ------------------------------

// x gets the even units of x and then of y, y the odd ones. A unit is one number within 16 bytes, or 16 bytes within the
// vector: either is one instruction.
template <size_t Unit, size_t Whole, class V, size_t... Lane>
[[gnu::always_inline]] inline void deinterleave(V& x, V& y, std::index_sequence<Lane...>) {
    constexpr auto source = [](size_t lane, size_t odd) {
        const size_t place = 2 * (lane % Whole / Unit) + odd, count = Whole / Unit;
        return lane / Whole * Whole + place % count * Unit + lane % Unit + (place < count ? 0 : sizeof...(Lane));
    };
    const V even = __builtin_shufflevector(x, y, source(Lane, 0)...);
    y = __builtin_shufflevector(x, y, source(Lane, 1)...);
    x = even;
}

template <class T, size_t Distance> [[gnu::always_inline]] inline void deinterleave(Vector<T>& x, Vector<T>& y) {
    constexpr auto all = std::make_index_sequence<lanes<T>>{};
    constexpr size_t short_run = 16 / sizeof(T);
    if constexpr (Distance < short_run)
        deinterleave<1, short_run>(x, y, all);
    else
        deinterleave<short_run, lanes<T>>(x, y, all);
}

template <class T, size_t Distance = 1> [[gnu::always_inline]] inline void transpose(Vector<T> (&x)[lanes<T>]) {
    if constexpr (Distance < lanes<T>) {
#pragma GCC unroll 16
        for (size_t i = 0; i < lanes<T>; ++i)
            if ((i & Distance) == 0) deinterleave<T, Distance>(x[i], x[i + Distance]);
        transpose<T, 2 * Distance>(x);
    }
}

// Writes the transpose of lanes × lanes numbers. (A function of its own, or else the compiler keeps some thirty addresses
// up to date on the stack for whoever calls it in a loop.)
template <class T>
[[gnu::noinline]] void transpose_square(T* to, size_t to_stride, const T* from, size_t from_stride) {
    Vector<T> x[lanes<T>];
#pragma GCC unroll 16
    for (size_t i = 0; i < lanes<T>; ++i) x[i] = load(from + i * from_stride);
    transpose<T>(x);
#pragma GCC unroll 16
    for (size_t i = 0; i < lanes<T>; ++i) store(to + i * to_stride, x[i]);
}

// The same for an edge: `rows` rows of `columns` numbers, at most lanes each. The rows written are whole vectors, whose
// surplus lanes nobody reads.
template <class T>
[[gnu::noinline]] void transpose_part(T* to, size_t to_stride, const T* from, size_t from_stride, size_t rows,
                                      size_t columns) {
    Vector<T> x[lanes<T>];
#pragma GCC unroll 16
    for (size_t i = 0; i < lanes<T>; ++i) x[i] = load(from + min(i, rows - 1) * from_stride, columns);
    transpose<T>(x);
#pragma GCC unroll 16
    for (size_t i = 0; i < lanes<T>; ++i)
        if (i < columns) store(to + i * to_stride, x[i]);
}

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
            if (size - i >= lanes<T> && steps == lanes<T>)
                transpose_square(target, width, source, stride);
            else
                transpose_part(target, width, source, stride, min(lanes<T>, size - i), steps);
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
    const T* a_ahead;  // what the tile after this one reads in the first step: fetched into the cache on the way
    size_t columns;    // of its last vector, where that is partial
    bool add;          // to what C holds
    const T* bias;     // or null
    Activation activation;
};

template <size_t Rows, size_t Vectors, class F> [[gnu::always_inline]] inline void for_each(F f) {
#pragma GCC unroll 16
    for (size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (size_t v = 0; v < Vectors; ++v) f(r, v);
}

// A row of a tile. Where the tile is Partial, its last vector has only `columns` lanes that are in the matrices.
template <class T, size_t Vectors, bool Partial>
[[gnu::always_inline]] inline void load_row(Vector<T> (&x)[Vectors], const T* from, size_t columns) {
#pragma GCC unroll 8
    for (size_t v = 0; v < Vectors; ++v)
        x[v] = Partial && v + 1 == Vectors ? load(from + v * lanes<T>, columns) : load(from + v * lanes<T>);
}

template <class T, size_t Vectors, bool Partial>
[[gnu::always_inline]] inline void store_row(T* to, const Vector<T> (&x)[Vectors], size_t columns) {
#pragma GCC unroll 8
    for (size_t v = 0; v < Vectors; ++v)
        Partial && v + 1 == Vectors ? store(to + v * lanes<T>, x[v], columns) : store(to + v * lanes<T>, x[v]);
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
#pragma GCC unroll 8
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

template <class T, size_t Rows, size_t Vectors, bool Partial> void multiply_tile(const Tile<T>& t) {
    Vector<T> sums[Rows][Vectors] = {};
    // A pointer for every third row: adding one stride or two is part of an instruction's address.
    const T* a[(Rows + 2) / 3];
    a[0] = t.a;
    for (size_t i = 1; i < (Rows + 2) / 3; ++i) a[i] = a[i - 1] + 3 * t.a_stride;
    const T* b = t.b;
    const T* ahead = t.a_ahead;
    for (size_t k = 0; k < t.depth; ++k) {
        Vector<T> row[Vectors];
        load_row<T, Vectors, Partial>(row, b, t.columns);
#pragma GCC unroll 16
        for (size_t r = 0; r < Rows; ++r) {
            const Vector<T> x = broadcast(a[r / 3][r % 3 * t.a_stride]);
#pragma GCC unroll 8
            for (size_t v = 0; v < Vectors; ++v) sums[r][v] += x * row[v];
        }
        b += t.b_step;
        // The processor reads ahead by itself only up to the end of a page.
        __builtin_prefetch(ahead, 0, 2);
        ahead += max_rows;
#pragma GCC unroll 8
        for (size_t i = 0; i < (Rows + 2) / 3; ++i) a[i] += t.a_step;
    }
    finish<T, Rows, Vectors, Partial>(t, sums);
}

template <class T> using TileKernel = void (*)(const Tile<T>&);

template <class T> struct TileKernels { TileKernel<T> with_rows[max_rows + 1]; };

template <class T, size_t Vectors, bool Partial, size_t... Row>
constexpr TileKernels<T> tile_kernels(std::index_sequence<Row...>) {
    return {{nullptr, multiply_tile<T, Row + 1, Vectors, Partial>...}};
}

template <class T> const TileKernels<T>& tile_kernels(size_t columns) {
    constexpr auto rows = std::make_index_sequence<max_rows>{};
    static constexpr TileKernels<T> kernels[max_vectors][2] = {
        {tile_kernels<T, 1, false>(rows), tile_kernels<T, 1, true>(rows)},
        {tile_kernels<T, 2, false>(rows), tile_kernels<T, 2, true>(rows)}};
    return kernels[columns > lanes<T>][columns % lanes<T> != 0];
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

    size_t width(size_t column) const { return g_.columns - column <= lanes<T> ? lanes<T> : max_columns<T>; }
    size_t used(size_t column) const { return min(max_columns<T>, g_.columns - column); }
    T* packed_b(size_t k, size_t column) const {
        return packed_b_ + column * (end_ - begin_) + (k - begin_) * width(column);
    }

    void pack_b() {
        // A transposed panel's parts stand side by side along the depth.
        const size_t together = g_.transpose_b ? plan_.block_depth : packed_together;
        for (size_t k = begin_; k < end_; k += together)
            for (size_t column = 0; column < g_.columns; column += max_columns<T>)
                pack(packed_b(k, column), width(column), b_at(g_, k, column), g_.b_stride, !g_.transpose_b, used(column),
                     min(together, end_ - k));
    }

    void multiply_block(Interval rows, Interval depth) {
        for (size_t column = 0; column < g_.columns; column += max_columns<T>) multiply_panel(rows, depth, column);
    }

    void multiply_panel(Interval rows, Interval depth, size_t column) {
        const bool first = depth.begin == 0, last = depth.end == g_.depth;
        Tile<T> tile{};
        tile.depth = depth.end - depth.begin;
        tile.b = plan_.pack_b ? packed_b(depth.begin, column) : b_at(g_, depth.begin, column);
        tile.b_step = plan_.pack_b ? width(column) : g_.b_stride;
        tile.c_stride = g_.c_stride;
        tile.columns = used(column) % lanes<T>;
        tile.add = g_.accumulate || !first;
        tile.bias = last && g_.bias ? g_.bias + column : nullptr;
        tile.activation = last ? g_.activation : Activation::none;
        tile.a_stride = packed_a_ || g_.transpose_a ? 1 : g_.a_stride;
        tile.a_step = packed_a_ ? max_rows : g_.transpose_a ? g_.a_stride : 1;
        const TileKernels<T>& kernels = tile_kernels<T>(used(column));
        // Rows of A as they stand can be shared out evenly: 16 rows are 8 and 8 rather than 14 and 2.
        const size_t height = packed_a_ ? max_rows : even_part(rows.end - rows.begin, max_rows);
        for (size_t row = rows.begin; row < rows.end; row += height) {
            const size_t count = min(height, rows.end - row);
            tile.a = packed_a_ ? packed_a_ + packed_a_place(g_, row) + depth.begin * max_rows : a_at(g_, row, depth.begin);
            tile.a_ahead = packed_a_ ? tile.a + packed_tile_size(g_) : a_at(g_, row + height, depth.begin);
            tile.c = g_.c + row * g_.c_stride + column;
            kernels.with_rows[count](tile);
        }
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

// --- Few rows or columns: scalar products of a's rows and b's, nothing to pack ---------------------------------------

#if defined(__AVX512F__)
constexpr size_t dot_rows = 4, dot_columns = 5;
#elif defined(__AVX2__)
constexpr size_t dot_rows = 3, dot_columns = 3;
#else
constexpr size_t dot_rows = 2, dot_columns = 2;
#endif

// A vector whose lane i holds the sum over all lanes of x[i]: a transpose whose rows are added on the way.
template <class T, size_t Distance = 1, size_t Count>
[[gnu::always_inline]] inline Vector<T> sum_each(Vector<T> (&x)[Count]) {
    if constexpr (Distance == lanes<T>) {
        return x[0];
    } else {
        Vector<T> sums[(Count + 1) / 2];
#pragma GCC unroll 8
        for (size_t i = 0; i < (Count + 1) / 2; ++i) {
            Vector<T> even = x[2 * i], odd = x[2 * i + 1 < Count ? 2 * i + 1 : 2 * i];
            deinterleave<T, Distance>(even, odd);
            sums[i] = even + odd;
        }
        return sum_each<T, 2 * Distance>(sums);
    }
}

template <class T, size_t Rows, size_t Columns> void multiply_dots(const Gemm<T>& g, size_t row, size_t column) {
    Vector<T> sums[Rows][Columns] = {};
    const T *a = g.a + row * g.a_stride, *b = g.b + column * g.b_stride;
    const auto step = [&](auto load_part) {
        Vector<T> x[Rows];
#pragma GCC unroll 8
        for (size_t r = 0; r < Rows; ++r) x[r] = load_part(a + r * g.a_stride);
#pragma GCC unroll 8
        for (size_t c = 0; c < Columns; ++c) {
            const Vector<T> y = load_part(b + c * g.b_stride);
#pragma GCC unroll 8
            for (size_t r = 0; r < Rows; ++r) sums[r][c] += x[r] * y;
        }
        a += lanes<T>, b += lanes<T>;
    };
    const size_t rest = g.depth % lanes<T>;
    for (size_t k = lanes<T>; k <= g.depth; k += lanes<T>) step([](const T* from) { return load(from); });
    if (rest > 0) step([rest](const T* from) { return load(from, rest); });
    const Vector<T> bias = g.bias ? load(g.bias + column, Columns) : Vector<T>{};
    T* c = g.c + row * g.c_stride + column;
#pragma GCC unroll 8
    for (size_t r = 0; r < Rows; ++r, c += g.c_stride) {
        Vector<T> x = sum_each<T>(sums[r]);
        if (g.accumulate) x += load(c, Columns);
        if (g.bias) x += bias;
        store(c, activate<T>(x, g.activation), Columns);
    }
}

template <class T> using DotKernel = void (*)(const Gemm<T>&, size_t row, size_t column);

template <class T> struct DotKernels { DotKernel<T> of[dot_rows * dot_columns]; };

template <class T, size_t... Size> constexpr DotKernels<T> dot_kernels(std::index_sequence<Size...>) {
    return {{multiply_dots<T, Size / dot_columns + 1, Size % dot_columns + 1>...}};
}

template <class T> void dots(const Gemm<T>& g) {
    static constexpr auto kernels = dot_kernels<T>(std::make_index_sequence<dot_rows * dot_columns>{});
    const size_t rows = even_part(g.rows, dot_rows), columns = even_part(g.columns, dot_columns);
    for (size_t row = 0; row < g.rows; row += rows)
        for (size_t column = 0; column < g.columns; column += columns) {
            const size_t height = min(rows, g.rows - row), width = min(columns, g.columns - column);
            kernels.of[(height - 1) * dot_columns + width - 1](g, row, column);
        }
}

template <class T>
constexpr GemmKernels<T> kernels{.tile_rows = max_rows,
                                 .tile_columns = max_columns<T>,
                                 .block_rows = block_rows,
                                 .block_depth = block_depth<T>,
                                 .reread_rows = reread_rows,
                                 .packed_a_size = packed_a_size<T>,
                                 .packed_a_place = packed_a_place<T>,
                                 .pack_a = pack_a<T>,
                                 .workspace_size = Slab<T>::room_for_b,
                                 .multiply = multiply<T>,
                                 .dots = dots<T>};

}  // namespace

template <class T> const GemmKernels<T>& gemm_kernels() { return kernels<T>; }

template const GemmKernels<float>& gemm_kernels();
template const GemmKernels<double>& gemm_kernels();

}  // namespace xgrad::kernels::XGRAD_LEVEL
