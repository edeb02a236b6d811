#include <algorithm>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/gemm_plan.hpp>
#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>
#include <xgrad/autodiff/memory.hpp>

namespace xgrad::kernels {
namespace {

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

    /// Whether matrices lie one after the other in memory, but where A or B is one for all.
    bool has_no_gaps() const {
        const Gemm<T>& g = first;
        return g.a_stride == (g.transpose_a ? g.rows : g.depth) &&
               g.b_stride == (g.transpose_b ? g.depth : g.columns) && g.c_stride == g.columns &&
               (a_step == 0 || a_step == g.rows * g.depth) && (b_step == 0 || b_step == g.depth * g.columns) &&
               (c_step == g.rows * g.columns || count == 1);
    }
    /// Whether nothing is done with the products.
    bool is_plain() const { return !first.bias && first.activation == Activation::none; }
};

template <class T> class Multiplication {
public:
    explicit Multiplication(const Gemm<T>& g) : kernels_(gemm_kernels<T>()), plan_(choose_plan(g, kernels_)) {}

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
    // What a small product reads of so many steps stays in a cache while its tiles are computed one after the other.
    static constexpr std::size_t cached_depth = 512;

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
            case GemmMethod::small: return each_part(piece, cached_depth, kernels_.multiply_small);
            case GemmMethod::shallow: return kernels_.multiply_shallow(piece);
            case GemmMethod::dots: return multiply_dots(piece);
            case GemmMethod::row: return kernels_.multiply_row(piece);
            case GemmMethod::unit: return multiply_on_unit(piece);
            case GemmMethod::runs: return multiply_runs(piece);
            case GemmMethod::blocks: break;
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

// A column without gaps is a row just as well.
template <class T> bool a_is_column(const Gemm<T>& g) { return g.depth == 1 && !g.transpose_a && g.a_stride == 1; }
template <class T> bool b_is_column(const Gemm<T>& g) { return g.depth == 1 && g.transpose_b && g.b_stride == 1; }
template <class T> Gemm<T> with_row(const Gemm<T>& g) {
    Gemm<T> other = g;
    other.b_stride = g.columns, other.transpose_b = false;
    return other;
}

// C of one column is computed as one of one row, Cᵀ = op(B)ᵀ·op(A)ᵀ, where that lets rows of A be read as they stand.
template <class T> bool is_row_on_end(const Gemm<T>& g) {
    return g.columns == 1 && g.rows > 1 && g.c_stride == 1 && (g.transpose_a || a_is_column(g)) && !g.bias;
}

template <class T> Gemm<T> transposed(const Gemm<T>& g) {
    Gemm<T> other = g;
    other.rows = g.columns, other.columns = g.rows;
    other.a = g.b, other.a_stride = g.b_stride, other.transpose_a = !g.transpose_b;
    other.b = g.a, other.b_stride = g.a_stride, other.transpose_b = !g.transpose_a;
    return other;
}

template <class T> void multiply_transposed(const Gemm<T>& g) {
    const memory::Scratch<T> transposed_c(g.rows * g.columns);
    Gemm<T> other = transposed(g);
    other.c = transposed_c.data(), other.c_stride = g.rows, other.accumulate = false;
    gemm(other);
    in_pieces(g.rows, g.columns, [&](std::size_t first, std::size_t rows) {
        const T* const sums = transposed_c.data() + first;
        T* const c = g.c + first * g.c_stride;
        if (!g.accumulate) return transpose(sums, g.rows, rows, g.columns, c, g.c_stride);
        for (std::size_t row = 0; row < rows; ++row)
            for (std::size_t j = 0; j < g.columns; ++j) c[row * g.c_stride + j] += sums[j * g.rows + row];
    });
}

// Where B has so few columns that most lanes of a vector would be empty: as rows, scalar products take them.
template <class T> bool suits_rows_of_b(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    return g.columns > 1 && g.columns <= kernels.few_columns && !g.transpose_a && !g.transpose_b && g.rows >= 16 &&
           g.depth >= std::max<std::size_t>(24, 4 * g.columns);
}

template <class T> void multiply_rows_of_b(const Gemm<T>& g) {
    const memory::Scratch<T> rows(g.columns * g.depth);
    transpose(g.b, g.b_stride, g.columns, g.depth, rows.data(), g.depth);
    Gemm<T> other = g;
    other.b = rows.data(), other.b_stride = g.depth, other.transpose_b = true;
    gemm(other);
}

// Where multiply_tiny is as fast as products one by one: finding its permutations takes as long as some of them.
constexpr std::size_t enough_tiny = 16;

template <class T> std::size_t largest_matrix(const Gemm<T>& g) {
    return std::max({g.rows * g.depth, g.depth * g.columns, g.rows * g.columns});
}

template <class T> bool is_tiny(const Batch<T>& batch, const GemmKernels<T>& kernels) {
    const Gemm<T>& g = batch.first;
    // (For one number of C, a permutation for each step is much.)
    const bool is_number = g.rows == 1 && g.columns == 1 && batch.a_step > 0 && batch.b_step > 0;
    return batch.count >= enough_tiny && g.depth > 0 && g.depth <= (is_number ? 4 : kernels.tiny_depth) &&
           largest_matrix(g) <= kernels.tiny_size && batch.has_no_gaps() && batch.is_plain();
}

template <class T> void multiply_tiny(const Batch<T>& batch, const GemmKernels<T>& kernels) {
    in_pieces(batch.count, largest_matrix(batch.first), [&](std::size_t first, std::size_t count) {
        kernels.multiply_tiny(batch[first], count, batch.a_step == 0, batch.b_step == 0);
    });
}

// Products with a vector, which are over before a kernel for matrices has begun.
template <class T> bool are_vectors(const Batch<T>& batch, const GemmKernels<T>& kernels) {
    const Gemm<T>& g = batch.first;
    return (g.rows == 1 || g.columns == 1 || g.depth == 1) && g.depth > 0 && batch.has_no_gaps() && batch.is_plain() &&
           (batch.count == 1 || (batch.a_step > 0 && batch.b_step > 0)) && kernels.suits_vectors(g, batch.count);
}

template <class T> void multiply_vectors(const Batch<T>& batch, const GemmKernels<T>& kernels) {
    in_pieces(batch.count, largest_matrix(batch.first),
              [&](std::size_t first, std::size_t count) { kernels.multiply_vectors(batch[first], count); });
}

}  // namespace

template <class T>
void gemm_batch(const Gemm<T>& first, std::size_t count, std::size_t a_step, std::size_t b_step, std::size_t c_step) {
    if (first.rows == 0 || first.columns == 0 || count == 0) return;
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    const Batch<T> batch{first, count, a_step, b_step, c_step};
    if (is_tiny(batch, kernels)) return multiply_tiny(batch, kernels);
    if (are_vectors(batch, kernels)) return multiply_vectors(batch, kernels);
    if (b_is_column(first)) return gemm_batch(with_row(first), count, a_step, b_step, c_step);
    if (is_row_on_end(first)) return gemm_batch(transposed(first), count, b_step, a_step, c_step);
    if (count == 1 && suits_transposing(first, kernels)) return multiply_transposed(first);
    if (count == 1 && suits_rows_of_b(first, kernels)) return multiply_rows_of_b(first);
    // (A plan would take as long as multiplying 8³.)
    if (count == 1 && is_small(first) && !suits_dots(first, kernels))
        return is_shallow(first, kernels) ? kernels.multiply_shallow(first) : kernels.multiply_small(first);
    Multiplication<T>(first).run(batch);
}

template <class T> void gemm(const Gemm<T>& product) { gemm_batch(product, 1, 0, 0, 0); }

template void gemm(const Gemm<float>&);
template void gemm(const Gemm<double>&);
template void gemm_batch(const Gemm<float>&, std::size_t, std::size_t, std::size_t, std::size_t);
template void gemm_batch(const Gemm<double>&, std::size_t, std::size_t, std::size_t, std::size_t);

}  // namespace xgrad::kernels
