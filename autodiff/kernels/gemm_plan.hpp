// How a product is computed, and how its C is cut into pieces. Only gemm.cpp includes it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <unistd.h>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/sizes.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>

namespace xgrad::kernels {
namespace {

// The size of parts of the depth: of whole lines of the cache, where there are several.
template <class T> constexpr std::size_t depth_part(std::size_t depth, std::size_t most) {
    return depth <= most ? std::max<std::size_t>(1, depth) : round_up(even_part(depth, most), 64 / sizeof(T));
}

// --- Plans: sums depend on sizes, strides and the processor, never on the number of threads --------------------------

// In operations: what is worth sharing with another core, what makes a piece, and up to what a product is brief. (Fewer
// columns than fill a vector, or hardly a depth, take no less time.)
constexpr double work_to_share = 0.3e6, work_of_a_piece = 0.15e6, brief_work = 4e6;

template <class T> double work(const Gemm<T>& g) {
    if (g.depth == 0) return 0;
    const std::size_t columns = std::max<std::size_t>(8, g.columns), depth = std::max<std::size_t>(4, g.depth);
    return 2.0 * static_cast<double>(g.rows) * static_cast<double>(columns) * static_cast<double>(depth);
}

template <class T> bool is_brief(const Gemm<T>& g, std::size_t count = 1) {
    return static_cast<double>(count) * work(g) < brief_work;
}

// Rows that are whole pages apart compete for the ways of a cache, of which a first-level one has 8. Rows of B are slow
// where it is pairs of pages. (Measured.)
constexpr std::size_t page = 4096, ways = 8;
template <class T> bool a_competes(const Gemm<T>& g) { return !g.transpose_a && g.a_stride * sizeof(T) % page == 0; }
template <class T> bool b_competes(const Gemm<T>& g) { return g.b_stride * sizeof(T) % (2 * page) == 0; }

// What is as large as this comes from memory, most likely: others use the last cache as well.
constexpr std::size_t beyond_caches = 8u << 20;

// Where registers hold what stands in some columns of B. (A large C is better written in long runs, and so is a wide
// one where they hold only a vector of each row; more steps of a transposed A than a cache has ways drive each other
// out of it where they are whole pages apart.)
constexpr std::size_t few_steps = 12, long_row_of_c = 160;
template <class T> bool is_shallow(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    if (g.transpose_a && g.depth > ways && g.a_stride * sizeof(T) % page == 0) return false;
    if (g.depth > few_steps && g.columns >= long_row_of_c) return false;
    return g.depth > 0 && g.depth <= kernels.shallow_depth && g.rows >= 16 && !g.accumulate &&
           (g.columns < 256 || g.rows * g.columns * sizeof(T) < beyond_caches);
}

// Scalar products pack nothing, which counts when few rows would use what is packed, and waste no lanes on few columns;
// but every entry of C costs the sum of a vector's lanes, which only a depth makes up for.
template <class T> bool suits_dots(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    const bool a_runs = !g.transpose_a || (g.rows == 1 && g.a_stride == 1);
    const bool b_runs = g.transpose_b || (g.columns == 1 && g.b_stride == 1);
    if (!a_runs || !b_runs) return false;
    if (g.columns <= 2 && g.depth <= 5 && is_shallow(g, kernels)) return false;  // hardly anything to add up
    if (g.rows <= 2 || g.columns <= 2 || (g.columns <= 24 && 4 * g.columns <= g.depth)) return true;
    if (b_competes(g) && g.rows > 24 && g.columns >= 512) return false;  // worth packing
    return g.rows <= kernels.dots_rows && g.rows * kernels.dots_depth <= g.depth;
}

// Bytes of a core's caches for data.
std::size_t first_level_cache() {
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    static const long bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE);
    if (bytes > 0) return static_cast<std::size_t>(bytes);
#endif
    return 32u << 10;
}
std::size_t second_level_cache() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    static const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (bytes > 0) return static_cast<std::size_t>(bytes);
#endif
    return 1u << 20;
}

template <class T> std::size_t bytes_of_b(const Gemm<T>& g) { return g.depth * g.columns * sizeof(T); }

// For one row of C: what the cache holds is best read in several rows of B at a time, what it does not in the order of
// memory.
template <class T> bool suits_row(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    return g.rows == 1 && g.depth >= kernels.long_row && bytes_of_b(g) > second_level_cache() / 8 * 7;
}

// Where packing would take longer than it saves.
template <class T> bool is_small(const Gemm<T>& g) { return g.rows <= 48 && g.columns <= 48 && g.depth <= small_depth; }

// The gradient of a small weight from many samples: what a step of the depth reads of A and of B are a few whole lines,
// and packing them would take as long as multiplying.
template <class T> bool suits_streams(const Gemm<T>& g) {
    return g.transpose_a && !g.transpose_b && (g.a_stride + g.b_stride) * sizeof(T) <= 512;
}

// C of few columns leaves lanes of its vectors empty, its transpose does not. Where enough is summed up for each entry,
// that is worth writing it twice.
template <class T> bool suits_transposing(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    return g.transpose_a && !g.transpose_b && g.columns <= kernels.tile_columns / 4 * 3 && 2 * g.columns <= g.rows &&
           g.rows * g.columns * sizeof(T) <= second_level_cache() && g.depth >= 32 && !g.bias &&
           g.activation == Activation::none;
}

// Whether the first-level cache has room for more than 32 KB that are used at a time, and 12 ways for what competes.
bool has_roomy_caches() { return first_level_cache() >= (48u << 10); }

// Whether B is read as it stands, again and again, for a flat C.
template <class T> bool rereads_b(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    if (g.transpose_b) return false;
    if (bytes_of_b(g) <= (64u << 10) && g.rows <= kernels.reread_rows) return true;
    return has_roomy_caches() && bytes_of_b(g) <= beyond_caches && g.b_stride * sizeof(T) % page != 0 &&
           g.rows <= 2 * kernels.block_rows;
}

// An A that competes with itself, or is transposed, needs fewer uses to make up for packing: what a tile reads of a
// transposed one is on as many lines as it has steps, none of which the processor reads ahead.
template <class T> bool packs_a(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    const bool is_deep = g.depth >= 64;
    std::size_t enough = 1024;
    if (is_deep && (g.transpose_a || a_competes(g))) enough = 384;
    if (is_deep && g.transpose_a && g.rows * g.depth * sizeof(T) > second_level_cache()) enough = 96;
    return g.columns >= enough && g.rows > 2 * kernels.tile_rows;
}

// Where the matrix unit makes up for packing: each number of A takes part in `columns` products, each of B in `rows`.
// For fewer rows of A it does where B is large. (Measured; 32 is the unit's own depth.)
template <class T> bool suits_unit(const Gemm<T>& g) {
    if (g.rows * g.columns >= 54 * (g.rows + g.columns)) return g.depth >= 32;
    return !g.transpose_b && g.rows > 32 && g.columns >= 512 && g.depth >= 512;
}

// Few rows use what is read of B too seldom for packing it, or for reading it tile by tile; and where the depth is
// short, C is most of what passes through the caches. (Where they do not hold C, a transposed B is worth transposing.)
// How few they are was measured: a transposed A is packed for each run anew, tiles of a small B read whole lines.
template <class T> bool suits_runs(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    const bool is_short = g.depth <= kernels.short_depth && g.rows >= 4 &&
                          g.columns >= (g.depth <= kernels.shallow_depth ? long_row_of_c : 256);
    if (g.transpose_b) return is_short && g.rows * g.columns >= (1u << 20);
    if (is_short) return true;
    const bool in_lines = g.columns * sizeof(T) % 64 == 0;
    if (rereads_b(g, kernels) && (g.transpose_a || (in_lines && g.rows > 24))) return false;
    if (b_competes(g)) return g.rows <= (has_roomy_caches() ? kernels.reread_rows_apart : 4 * kernels.tile_rows);
    return g.rows <= (g.transpose_a ? 64 : kernels.reread_rows);
}

// With short parts of the depth C is read and written more often. With long ones what is fetched next pushes out what
// is in use, where the second-level cache does not hold B; the more so where few runs have to fetch all of it from
// memory, or where its rows, four pages apart, compete for the ways of that cache.
template <class T> std::size_t depth_of_runs(const Gemm<T>& g) {
    if (g.depth <= run_depth || bytes_of_b(g) <= second_level_cache()) return run_depth;
    if (bytes_of_b(g) < beyond_caches) return 64;
    return g.rows <= 8 || g.b_stride * sizeof(T) % (4 * page) == 0 ? 48 : 64;
}

// Of scalar products: where the longer matrix fills half of the second-level cache, which other things need as well,
// and enough of them use what is read of it; or where it comes from memory.
template <class T> bool fetches_dots(const Gemm<T>& g) {
    const std::size_t bytes = std::max(g.rows, g.columns) * g.depth * sizeof(T);
    return bytes >= (std::min(g.rows, g.columns) < 8 ? beyond_caches : second_level_cache() / 2);
}

template <class T> GemmPlan choose_plan(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    if (level() == Level::amx && kernels.multiply_on_unit && suits_unit(g)) return {.method = GemmMethod::unit};
    if (suits_dots(g, kernels)) {
        if (suits_row(g, kernels)) return {.method = GemmMethod::row};
        return {.method = GemmMethod::dots, .fetch_next = fetches_dots(g), .b_is_longer = g.rows < g.columns};
    }
    if (is_shallow(g, kernels)) return {.method = GemmMethod::shallow};
    if (is_small(g) || suits_streams(g)) return {.method = GemmMethod::small};
    if (suits_runs(g, kernels))
        return {.method = GemmMethod::runs,
                .fetch_next = g.depth > run_depth && (g.rows > kernels.run_rows || bytes_of_b(g) >= beyond_caches),
                .block_depth = depth_part<T>(g.depth, depth_of_runs(g))};
    const bool flat = g.rows <= 2 * kernels.block_rows, pack_b = !rereads_b(g, kernels);
    // With a flat C the cache holds all of A's rows, and besides a panel that is packed of B the one that is fetched.
    const std::size_t block_depth = depth_part<T>(g.depth, kernels.block_depth / (flat && pack_b ? 2 : 1));
    return {.block_depth = block_depth,
            .block_rows = kernels.block_rows,
            .slab_depth = flat ? block_depth : 4 * block_depth,
            .tile_rows = a_competes(g) ? std::min(ways, kernels.tile_rows) : kernels.tile_rows,
            .pack_a = packs_a(g, kernels),
            .pack_b = pack_b,
            .flat = flat};
}

// --- Pieces of C: a thread's unit of work. Here the number of threads matters, as how C is cut changes no sum --------

struct Grid {
    std::size_t rows, columns;  // of one piece
    std::size_t down, across;   // the number of pieces
};

// What a piece should have, where B is packed for it.
constexpr std::size_t rows_of_a_piece = 192, columns_of_a_piece = 64;

// Pieces for the matrix unit pack what they need of A and B, so they are large; long ones where sums need not be kept
// from one block of the depth to the next. They begin at multiples of 32. There are `count` products to share.
template <class T> Grid choose_grid_for_unit(const Gemm<T>& g, std::size_t count) {
    std::size_t rows = round_up(even_part(g.rows, g.depth <= unit_single_block ? 1024 : 256), 32);
    std::size_t columns = round_up(even_part(g.columns, 512), 32);
    const auto pieces = [&] { return count * ceil_divide(g.rows, rows) * ceil_divide(g.columns, columns); };
    while (pieces() < 4 * threads() && pieces() % threads() != 0 && std::max(rows, columns) > 64) {
        std::size_t& longer = rows >= columns ? rows : columns;
        longer = round_up(longer / 2, 32);
    }
    return {rows, columns, ceil_divide(g.rows, rows), ceil_divide(g.columns, columns)};
}

// Long runs of B and C, but not so long that a block of B leaves the cache. Where there are as many rows or columns,
// each thread takes 32 or 192 at least, in rounds of the threads.
template <class T>
Grid choose_grid_for_runs(const Gemm<T>& g, const GemmPlan& plan, const GemmKernels<T>& kernels, std::size_t count) {
    const auto most_pieces = std::max<std::size_t>(1, static_cast<std::size_t>(work(g) / work_of_a_piece));
    const std::size_t pieces = threads() > 1 ? std::min(ceil_divide(4 * threads(), count), most_pieces) : 1;
    const auto parts = [pieces](std::size_t size, std::size_t least) {
        const std::size_t whole_rounds = std::max<std::size_t>(1, size / least / threads()) * threads();
        return std::min(pieces, whole_rounds);
    };
    const std::size_t cached = std::max<std::size_t>(1024, (256u << 10) / sizeof(T) / plan.block_depth);
    std::size_t rows = g.rows, columns = even_part(g.columns, cached);
    if (g.rows > g.depth && !g.transpose_b) {  // C has more rows than B
        rows = round_up(ceil_divide(rows, pieces), kernels.run_rows);
    } else if (g.rows >= 64 && !g.transpose_a && !g.transpose_b && bytes_of_b(g) < beyond_caches) {
        // There are many, and a cache holds B for all threads.
        rows = round_up(ceil_divide(rows, parts(rows, 32)), kernels.run_rows);
    } else {  // Each thread reads, or transposes, only its part of B.
        columns = std::min(columns, ceil_divide(g.columns, parts(g.columns, 192)));
    }
    columns = round_up(columns, 64 / sizeof(T));
    return {rows, columns, ceil_divide(g.rows, rows), ceil_divide(g.columns, columns)};
}

template <class T>
Grid choose_grid(const Gemm<T>& g, const GemmPlan& plan, const GemmKernels<T>& kernels, std::size_t count = 1) {
    if (plan.method == GemmMethod::unit) return choose_grid_for_unit(g, count);
    if (work(g) < work_to_share) return {g.rows, g.columns, 1, 1};
    if (plan.method == GemmMethod::runs) return choose_grid_for_runs(g, plan, kernels, count);
    const auto most_pieces = static_cast<std::size_t>(work(g) / work_of_a_piece);
    const std::size_t pieces_wanted = 4 * threads();  // so that whoever is done first helps the others

    // Columns first, for a piece packs the columns of B that it needs, and pieces in one row of the grid share none.
    // (A flat C is gone through block by block of the depth, so that longer rows of it are worth keeping together.)
    std::size_t columns = columns_of_a_piece;
    if (plan.flat) {
        columns *= 4;
        while (threads() > 1 && columns > columns_of_a_piece && g.columns < columns * pieces_wanted) columns /= 2;
    } else if (g.columns >= 1024) {
        columns *= 2;
    }
    if (threads() > 1 && g.columns < columns_of_a_piece * pieces_wanted) columns /= 2;
    columns = std::max(columns, round_up(ceil_divide(g.columns, most_pieces), kernels.tile_columns));
    const std::size_t across = ceil_divide(g.columns, columns);

    // Then rows: as few parts as threads need where each packs B anew, otherwise as many as do no harm.
    const std::size_t least_rows = plan.pack_b || threads() == 1 ? rows_of_a_piece : 4 * kernels.tile_rows;
    const std::size_t most_down = std::min(most_pieces, plan.pack_b ? pieces_wanted : 64) / across;
    const std::size_t down = std::clamp<std::size_t>(g.rows / least_rows, 1, std::max<std::size_t>(1, most_down));
    const std::size_t rows = round_up(ceil_divide(g.rows, down), kernels.tile_rows);
    return {rows, columns, ceil_divide(g.rows, rows), across};
}

// Whether C is too small to make enough pieces of. Counted without the threads, as cutting the depth changes sums.
template <class T> bool suits_cut_depth(const Gemm<T>& g, std::size_t count) {
    return count * ceil_divide(g.rows, rows_of_a_piece) * ceil_divide(g.columns, columns_of_a_piece) < 8;
}

}  // namespace
}  // namespace xgrad::kernels
