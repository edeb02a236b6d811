#include <algorithm>
#include <unistd.h>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {
namespace {

constexpr std::size_t ceil_divide(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit; }
// The size of parts of about the same size, of at most `most` each.
constexpr std::size_t even_part(std::size_t size, std::size_t most) {
    return size <= most ? size : ceil_divide(size, ceil_divide(size, most));
}
constexpr std::size_t round_up(std::size_t size, std::size_t unit) { return ceil_divide(size, unit) * unit; }
// The size of parts of the depth: of whole lines of the cache, where there are several.
template <class T> constexpr std::size_t depth_part(std::size_t depth, std::size_t most) {
    return depth <= most ? std::max<std::size_t>(1, depth) : round_up(even_part(depth, most), 64 / sizeof(T));
}

// --- Memory for what is packed: each thread keeps its own from one product to the next -------------------------------

// (Small products would notice a trip to the pool.) What may fill a second-level cache gets a large page.
constexpr std::size_t fills_cache = 512u << 10;

struct Kept {
    void* memory = nullptr;
    std::size_t bytes = 0;
};

// Without destructors, as products may still be computed in destructors that run after those of the thread.
constinit thread_local Kept kept_for_product, kept_for_piece;
constinit thread_local bool thread_ends = false;

void release(Kept& kept) {
    if (kept.memory) memory::deallocate(kept.memory, kept.bytes);
    kept = {};
}

struct ReleaseAtThreadExit {
    ~ReleaseAtThreadExit() {
        thread_ends = true;
        release(kept_for_product);
        release(kept_for_piece);
    }
};

template <class T> class Workspace {
public:
    Workspace(Kept& kept, std::size_t size) : kept_(kept) {
        const std::size_t bytes = size * sizeof(T);
        if (kept.bytes >= bytes) return;
        release(kept);
        const std::size_t wanted = bytes < fills_cache ? bytes : std::max(bytes, memory::large_page);
        kept.memory = memory::allocate(wanted);
        kept.bytes = wanted;
        if (!thread_ends) static thread_local ReleaseAtThreadExit at_exit;
    }
    ~Workspace() {
        if (thread_ends) release(kept_);
    }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    T* data() const { return static_cast<T*>(kept_.memory); }

private:
    Kept& kept_;
};

// --- Plans: sums depend on sizes, strides and the processor, never on the number of threads --------------------------

// How C is cut into pieces, a thread's unit of work.
struct Grid {
    std::size_t rows, columns;  // of one piece
    std::size_t down, across;   // the number of pieces
};

// In operations: what is worth sharing with another core, what makes a piece, and up to what a product is brief.
constexpr double work_to_share = 0.3e6, work_of_a_piece = 0.15e6, brief_work = 4e6;

template <class T> double work(const Gemm<T>& g) {
    return 2.0 * static_cast<double>(g.rows) * static_cast<double>(g.columns) * static_cast<double>(g.depth);
}

template <class T> bool is_brief(const Gemm<T>& g, std::size_t count = 1) {
    return static_cast<double>(count) * work(g) < brief_work;
}

// Rows that are whole pages apart compete for the ways of a cache, of which a first-level one has 8. Rows of B are slow
// where it is pairs of pages. (Measured.)
constexpr std::size_t page = 4096, ways = 8;
template <class T> bool a_competes(const Gemm<T>& g) { return !g.transpose_a && g.a_stride * sizeof(T) % page == 0; }
template <class T> bool b_competes(const Gemm<T>& g) { return g.b_stride * sizeof(T) % (2 * page) == 0; }

// Scalar products pack nothing, which counts when few rows would use what is packed, and waste no lanes on few columns;
// but every entry of C costs the sum of a vector's lanes, which only a depth makes up for.
template <class T> bool suits_dots(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    const bool a_runs = !g.transpose_a || (g.rows == 1 && g.a_stride == 1);
    const bool b_runs = g.transpose_b || (g.columns == 1 && g.b_stride == 1);
    if (!a_runs || !b_runs) return false;
    if (g.rows <= 2 || g.columns <= 2 || (g.columns <= 24 && 4 * g.columns <= g.depth)) return true;
    if (b_competes(g) && g.rows > 24 && g.columns >= 512) return false;  // worth packing
    return g.rows <= kernels.dots_rows && g.rows * kernels.dots_depth <= g.depth;
}

// Bytes of a core's second-level cache.
std::size_t second_level_cache() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    static const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (bytes > 0) return static_cast<std::size_t>(bytes);
#endif
    return 1u << 20;
}

template <class T> std::size_t bytes_of_b(const Gemm<T>& g) { return g.depth * g.columns * sizeof(T); }
// What is as large as this comes from memory, most likely: others use the last cache as well.
constexpr std::size_t beyond_caches = 8u << 20;

// For one row of C: what the cache holds is best read in several rows of B at a time, what it does not in the order of
// memory.
template <class T> bool suits_row(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    return g.rows == 1 && g.depth >= kernels.long_row && bytes_of_b(g) > second_level_cache() / 8 * 7;
}

// Where packing would take longer than it saves.
template <class T> bool is_small(const Gemm<T>& g) { return g.rows <= 48 && g.columns <= 48 && g.depth <= small_depth; }

// Whether a small B is read as it stands, again and again, as the first-level cache holds what is used of it at a time.
template <class T> bool rereads_b(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    return !g.transpose_b && bytes_of_b(g) <= (64u << 10) && g.rows <= kernels.reread_rows;
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
    const bool is_shallow = g.depth <= kernels.short_depth && g.rows >= 4 && g.columns >= 256;
    if (g.transpose_b) return is_shallow && g.rows * g.columns >= (1u << 20);
    if (is_shallow) return true;
    const bool in_lines = g.columns * sizeof(T) % 64 == 0;
    if (rereads_b(g, kernels) && (g.transpose_a || (in_lines && g.rows > 24))) return false;
    return g.rows <= (b_competes(g) ? 4 * kernels.tile_rows : g.transpose_a ? 64 : kernels.reread_rows);
}

// With short parts of the depth C is read and written more often. With long ones what is fetched next pushes out what
// is in use, where the second-level cache does not hold B; the more so where few runs have to fetch all of it from
// memory.
template <class T> std::size_t depth_of_runs(const Gemm<T>& g) {
    if (g.depth <= run_depth || bytes_of_b(g) <= second_level_cache()) return run_depth;
    return bytes_of_b(g) < beyond_caches || g.rows > 8 ? 64 : 48;
}

// Of scalar products: where the longer matrix fills half of the second-level cache, which other things need as well,
// and enough of them use what is read of it; or where it comes from memory.
template <class T> bool fetches_dots(const Gemm<T>& g) {
    const std::size_t bytes = std::max(g.rows, g.columns) * g.depth * sizeof(T);
    return bytes >= (std::min(g.rows, g.columns) < 8 ? beyond_caches : second_level_cache() / 2);
}

template <class T> GemmPlan choose_plan(const Gemm<T>& g, const GemmKernels<T>& kernels, Level at) {
    if (at == Level::amx && kernels.multiply_on_unit && suits_unit(g)) return {.method = GemmMethod::unit};
    if (suits_dots(g, kernels)) {
        if (suits_row(g, kernels)) return {.method = GemmMethod::row};
        return {.method = GemmMethod::dots, .fetch_next = fetches_dots(g), .b_is_longer = g.rows < g.columns};
    }
    if (is_small(g)) return {.method = GemmMethod::small};
    if (suits_runs(g, kernels))
        return {.method = GemmMethod::runs,
                .fetch_next = g.depth > run_depth && (g.rows > kernels.run_rows || bytes_of_b(g) >= beyond_caches),
                .block_depth = depth_part<T>(g.depth, depth_of_runs(g))};
    const bool flat = g.rows <= 2 * kernels.block_rows;
    // With a flat C the cache holds all of A's rows, and besides a panel of B the one that is fetched.
    const std::size_t block_depth = depth_part<T>(g.depth, kernels.block_depth / (flat ? 2 : 1));
    return {.block_depth = block_depth,
            .block_rows = kernels.block_rows,
            .slab_depth = flat ? block_depth : 4 * block_depth,
            .tile_rows = a_competes(g) ? std::min(ways, kernels.tile_rows) : kernels.tile_rows,
            .pack_a = packs_a(g, kernels),
            .pack_b = !rereads_b(g, kernels),
            .flat = flat};
}

// What a piece should have, where B is packed for it.
constexpr std::size_t rows_of_a_piece = 192, columns_of_a_piece = 64;

// Only in what follows does the number of threads matter: how C is cut changes no sum.

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
    const std::size_t least_rows = plan.pack_b ? rows_of_a_piece : 4 * kernels.tile_rows;
    const std::size_t most_down = std::min(most_pieces, plan.pack_b ? pieces_wanted : 64) / across;
    const std::size_t down = std::clamp<std::size_t>(g.rows / least_rows, 1, std::max<std::size_t>(1, most_down));
    const std::size_t rows = round_up(ceil_divide(g.rows, down), kernels.tile_rows);
    return {rows, columns, ceil_divide(g.rows, rows), across};
}

// Whether C is too small to make enough pieces of. Counted without the threads, as cutting the depth changes sums.
template <class T> bool suits_cut_depth(const Gemm<T>& g, std::size_t count) {
    return count * ceil_divide(g.rows, rows_of_a_piece) * ceil_divide(g.columns, columns_of_a_piece) < 8;
}

// --- Products --------------------------------------------------------------------------------------------------------

struct Range {
    std::size_t begin, size;
};

// The i-th part of `size`, in parts of `unit`.
constexpr Range part(std::size_t i, std::size_t unit, std::size_t size) {
    return {i * unit, std::min(unit, size - i * unit)};
}

template <class T> Gemm<T> cut(Gemm<T> g, Range rows, Range columns) {
    g.a += g.transpose_a ? rows.begin : rows.begin * g.a_stride;
    g.b += g.transpose_b ? columns.begin * g.b_stride : columns.begin;
    g.c += rows.begin * g.c_stride + columns.begin;
    if (g.bias) g.bias += columns.begin;
    g.rows = rows.size;
    g.columns = columns.size;
    return g;
}

// The share of some steps of the depth in C: what is there before is added to, and bias and activation come last.
template <class T> Gemm<T> cut_depth(Gemm<T> g, Range depth) {
    g.a += g.transpose_a ? depth.begin * g.a_stride : depth.begin;
    g.b += g.transpose_b ? depth.begin : depth.begin * g.b_stride;
    if (depth.begin > 0) g.accumulate = true;
    if (depth.begin + depth.size < g.depth) g.bias = nullptr, g.activation = Activation::none;
    g.depth = depth.size;
    return g;
}

template <class T> struct Batch {
    const Gemm<T>& first;
    std::size_t count, a_step, b_step, c_step;

    Gemm<T> operator[](std::size_t index) const {
        Gemm<T> g = first;
        g.a += index * a_step;
        g.b += index * b_step;
        g.c += index * c_step;
        return g;
    }
};

template <class T> class Multiplication {
public:
    Multiplication(const Gemm<T>& g, Level at) : kernels_(gemm_kernels<T>(at)), plan_(choose_plan(g, kernels_, at)) {}

    void run(const Batch<T>& batch) const {
        const Gemm<T>& g = batch.first;
        if (batch.count == 1 && work(g) < work_to_share) return multiply(g);
        const Grid grid = choose_grid(g, plan_, kernels_, batch.count);
        const std::size_t pieces = grid.down * grid.across;
        if (pieces == 1 && work(g) < work_of_a_piece) return run_small(batch);
        if (g.depth >= 4 * deep && suits_cut_depth(g, batch.count))
            return each(batch, [&](const Gemm<T>& one) { run_deep(one, grid); });
        if (plan_.pack_a) return each(batch, [&](const Gemm<T>& one) { run_packed(one); });
        parallel(
            batch.count * pieces, [&](std::size_t i) { multiply_piece(batch[i / pieces], grid, i % pieces); },
            is_brief(g, batch.count));
    }

private:
    static constexpr std::size_t deep = 1024;

    template <class F> static void each(const Batch<T>& batch, F f) {
        for (std::size_t i = 0; i < batch.count; ++i) f(batch[i]);
    }

    // Several products to a piece.
    void run_small(const Batch<T>& batch) const {
        const double together = work_of_a_piece / std::max(1.0, work(batch.first));
        const std::size_t group =
            together < static_cast<double>(batch.count) / 2 ? static_cast<std::size_t>(together) : batch.count;
        const auto multiply_group = [&](std::size_t i) {
            for (std::size_t j = i * group; j < std::min(batch.count, (i + 1) * group); ++j) multiply(batch[j]);
        };
        parallel(ceil_divide(batch.count, group), multiply_group, is_brief(batch.first, batch.count));
    }

    // A is packed once for all pieces, several of which have the same rows. Large ones part by part, to bound memory.
    void run_packed(const Gemm<T>& g) const {
        const std::size_t rows = round_up(2048, kernels_.tile_rows);
        const std::size_t depth = std::max<std::size_t>(1, 2048 / plan_.block_depth) * plan_.block_depth;
        for (std::size_t i = 0; i * rows < g.rows; ++i)
            for (std::size_t k = 0; k * depth < g.depth; ++k)
                run_packed_part(cut_depth(cut(g, part(i, rows, g.rows), {0, g.columns}), part(k, depth, g.depth)));
    }

    void run_packed_part(const Gemm<T>& g) const {
        const std::size_t rows = 8 * kernels_.tile_rows;
        const Workspace<T> packed(kept_for_product, kernels_.packed_a_size(g));
        parallel(
            ceil_divide(g.rows, rows),
            [&](std::size_t i) { kernels_.pack_a(g, i * rows, std::min(g.rows, (i + 1) * rows), packed.data()); },
            is_brief(g));
        const Grid grid = choose_grid(g, plan_, kernels_);
        parallel(
            grid.down * grid.across, [&](std::size_t i) { multiply_piece(g, grid, i, packed.data()); }, is_brief(g));
    }

    // Where C is too small to make pieces of, the depth is cut: each part has a C of its own, and they are added up.
    void run_deep(const Gemm<T>& g, const Grid& grid) const {
        const std::size_t parts = std::min<std::size_t>(16, g.depth / deep), depth = ceil_divide(g.depth, parts);
        const std::size_t pieces = grid.down * grid.across, size = g.rows * g.columns;
        const Workspace<T> sums(kept_for_product, parts * size);
        const auto multiply_share = [&](std::size_t i) {
            Gemm<T> share = cut_depth(g, part(i / pieces, depth, g.depth));
            share.c = sums.data() + i / pieces * size;
            share.c_stride = g.columns;
            share.accumulate = false, share.bias = nullptr, share.activation = Activation::none;
            multiply_piece(share, grid, i % pieces);
        };
        parallel(parts * pieces, multiply_share, is_brief(g));
        for (std::size_t row = 0; row < g.rows; ++row) add_up(g, row, sums.data(), parts);
    }

    static void add_up(const Gemm<T>& g, std::size_t row, const T* sums, std::size_t parts) {
        T* c = g.c + row * g.c_stride;
        for (std::size_t part = 0; part < parts; ++part) {
            const T* sum = sums + (part * g.rows + row) * g.columns;
            const bool add = g.accumulate || part > 0;
            for (std::size_t j = 0; j < g.columns; ++j) c[j] = add ? c[j] + sum[j] : sum[j];
        }
        if (g.bias)
            for (std::size_t j = 0; j < g.columns; ++j) c[j] += g.bias[j];
        if (g.activation == Activation::relu)
            for (std::size_t j = 0; j < g.columns; ++j) c[j] = c[j] < 0 ? 0 : c[j];
    }

    void multiply_piece(const Gemm<T>& g, const Grid& grid, std::size_t index, const T* packed_a = nullptr) const {
        const Range rows = part(index % grid.down, grid.rows, g.rows);
        const Range columns = part(index / grid.down, grid.columns, g.columns);
        multiply(cut(g, rows, columns), packed_a ? packed_a + kernels_.packed_a_place(g, rows.begin) : nullptr);
    }

    void multiply(const Gemm<T>& piece, const T* packed_a = nullptr) const {
        switch (plan_.method) {
            case GemmMethod::small:
                return kernels_.multiply_small(piece);
            case GemmMethod::dots:
                return multiply_dots(piece);
            case GemmMethod::row:
                return kernels_.multiply_row(piece);
            case GemmMethod::unit:
                return multiply_on_unit(piece);
            case GemmMethod::runs:
                return multiply_runs(piece);
            case GemmMethod::blocks:
                break;
        }
        if (!plan_.pack_b) return kernels_.multiply(piece, plan_, packed_a, nullptr);
        const Workspace<T> workspace(kept_for_piece, kernels_.workspace_size(piece, plan_));
        kernels_.multiply(piece, plan_, packed_a, workspace.data());
    }

    template <class F> static void each_part(const Gemm<T>& piece, std::size_t depth, F multiply_part) {
        std::size_t i = 0;
        do {  // once also for a depth of 0
            multiply_part(cut_depth(piece, part(i, depth, piece.depth)));
        } while (++i * depth < piece.depth);
    }

    // (Only products of a single part have a transposed B.)
    void multiply_runs(const Gemm<T>& piece) const {
        const Workspace<T> workspace(kept_for_piece, kernels_.runs_workspace_size(piece));
        each_part(piece, plan_.block_depth, [&](const Gemm<T>& g) {
            const bool unfetched = !plan_.fetch_next || g.b == piece.b;
            const T* next = nullptr;
            if (plan_.fetch_next) {
                // After the last part, what the next piece begins with, most likely.
                next = g.b + g.depth * g.b_stride;
                if (next == piece.b + piece.depth * piece.b_stride)
                    next = piece.columns < piece.b_stride ? piece.b + piece.columns : piece.b;
            }
            kernels_.multiply_runs(g, unfetched, next, workspace.data());
        });
    }

    // One matrix's rows of a part stay in the cache while the other is run through.
    void multiply_dots(const Gemm<T>& piece) const {
        each_part(piece, depth_part<T>(piece.depth, 8192 / sizeof(T)),
                  [&](const Gemm<T>& g) { kernels_.multiply_dots(g, plan_.b_is_longer, plan_.fetch_next); });
    }

    void multiply_on_unit(const Gemm<T>& piece) const {
        const Workspace<T> workspace(kept_for_piece, kernels_.unit_workspace_size(piece));
        kernels_.multiply_on_unit(piece, workspace.data());
    }

    const GemmKernels<T>& kernels_;
    const GemmPlan plan_;
};

// C of one column is computed as one of one row, Cᵀ = op(B)ᵀ·op(A)ᵀ, where that lets rows of A be read as they stand.
template <class T> bool is_row_on_end(const Gemm<T>& g) {
    return g.columns == 1 && g.rows > 1 && g.c_stride == 1 && g.transpose_a && !g.bias;
}

template <class T> Gemm<T> turned(const Gemm<T>& g) {
    Gemm<T> row = g;
    row.rows = 1, row.columns = g.rows;
    row.a = g.b, row.a_stride = g.b_stride, row.transpose_a = !g.transpose_b;
    row.b = g.a, row.b_stride = g.a_stride, row.transpose_b = !g.transpose_a;
    return row;
}

}  // namespace

template <class T>
void gemm_batch(const Gemm<T>& first, std::size_t count, std::size_t a_step, std::size_t b_step, std::size_t c_step,
                Level at) {
    if (first.rows == 0 || first.columns == 0 || count == 0) return;
    if (is_row_on_end(first)) return gemm_batch(turned(first), count, b_step, a_step, c_step, at);
    // (A plan would take as long as multiplying 8³.)
    const GemmKernels<T>& kernels = gemm_kernels<T>(at);
    if (count == 1 && is_small(first) && !suits_dots(first, kernels)) return kernels.multiply_small(first);
    Multiplication<T>(first, at).run({first, count, a_step, b_step, c_step});
}

template <class T> void gemm(const Gemm<T>& product, Level at) { gemm_batch(product, 1, 0, 0, 0, at); }

template void gemm(const Gemm<float>&, Level);
template void gemm(const Gemm<double>&, Level);
template void gemm_batch(const Gemm<float>&, std::size_t, std::size_t, std::size_t, std::size_t, Level);
template void gemm_batch(const Gemm<double>&, std::size_t, std::size_t, std::size_t, std::size_t, Level);

}  // namespace xgrad::kernels
