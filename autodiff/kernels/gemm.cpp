#include <algorithm>
#include <cstdlib>
#include <new>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>

namespace xgrad::kernels {
namespace {

constexpr std::size_t ceil_divide(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit; }
constexpr std::size_t round_up(std::size_t size, std::size_t unit) { return ceil_divide(size, unit) * unit; }

// --- Memory for what is packed: each thread keeps its own from one product to the next -------------------------------

constexpr std::align_val_t alignment{64};

struct Scratch {
    void* memory = nullptr;
    std::size_t bytes = 0;
};

// Without destructors, as products may still be computed in destructors that run after those of the thread.
constinit thread_local Scratch scratch_for_a, scratch_for_pieces;
constinit thread_local bool thread_ends = false;

void release(Scratch& scratch) {
    ::operator delete(scratch.memory, alignment);
    scratch = {};
}

struct ReleaseAtThreadExit {
    ~ReleaseAtThreadExit() {
        thread_ends = true;
        release(scratch_for_a);
        release(scratch_for_pieces);
    }
};

template <class T> class Workspace {
public:
    Workspace(Scratch& scratch, std::size_t size) : scratch_(scratch) {
        if (scratch.bytes >= size * sizeof(T)) return;
        release(scratch);
        scratch.memory = ::operator new(size * sizeof(T), alignment);
        scratch.bytes = size * sizeof(T);
        if (!thread_ends) static thread_local ReleaseAtThreadExit at_exit;
    }
    ~Workspace() {
        if (thread_ends) release(scratch_);
    }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    T* data() const { return static_cast<T*>(scratch_.memory); }

private:
    Scratch& scratch_;
};

// --- Plans -----------------------------------------------------------------------------------------------------------

// How C is cut into pieces, a thread's unit of work. It depends on nothing but the sizes.
struct Grid {
    std::size_t rows, columns;  // of one piece
    std::size_t down, across;   // the number of pieces
};

template <class T> double work(const Gemm<T>& g) {
    return 2.0 * static_cast<double>(g.rows) * static_cast<double>(g.columns) * static_cast<double>(g.depth);
}

template <class T> bool suits_dots(const Gemm<T>& g) {
    const bool a_runs = !g.transpose_a || (g.rows == 1 && g.a_stride == 1);
    const bool b_runs = g.transpose_b || (g.columns == 1 && g.b_stride == 1);
    return a_runs && b_runs && (g.rows <= 8 || g.columns <= 16);
}

template <class T> GemmPlan choose_plan(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    constexpr std::size_t depth = 384;
    GemmPlan plan;
    plan.block_depth =
        std::max<std::size_t>(1, ceil_divide(g.depth, std::max<std::size_t>(1, ceil_divide(g.depth, depth))));
    plan.block_rows = round_up(240, kernels.tile_rows);
    plan.dots = suits_dots(g);
    plan.pack_b = g.transpose_b || g.rows > 192;
    plan.pack_a = g.columns > 256 && g.rows > 8;
    return plan;
}

template <class T> Grid choose_grid(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    constexpr double worth_waking = 2e6, worth_a_piece = 1e6;
    if (work(g) < worth_waking) return {g.rows, g.columns, 1, 1};
    const auto wanted = static_cast<std::size_t>(std::min(64.0, work(g) / worth_a_piece));
    // Columns first, as packed columns of B are then used by one piece only; but not to pieces that are slim.
    const std::size_t across = std::clamp<std::size_t>(g.columns / 128, 1, wanted);
    const std::size_t columns = round_up(ceil_divide(g.columns, across), kernels.tile_columns);
    const std::size_t down = std::clamp<std::size_t>(g.rows / 256, 1, ceil_divide(wanted, across));
    const std::size_t rows = round_up(ceil_divide(g.rows, down), kernels.tile_rows);
    return {rows, columns, ceil_divide(g.rows, rows), ceil_divide(g.columns, columns)};
}

template <class T> Gemm<T> cut(Gemm<T> g, std::size_t row, std::size_t rows, std::size_t column, std::size_t columns) {
    g.a += g.transpose_a ? row : row * g.a_stride;
    g.b += g.transpose_b ? column * g.b_stride : column;
    g.c += row * g.c_stride + column;
    if (g.bias) g.bias += column;
    g.rows = std::min(rows, g.rows - row);
    g.columns = std::min(columns, g.columns - column);
    return g;
}

// --- Products --------------------------------------------------------------------------------------------------------

template <class T> struct Batch {
    Gemm<T> first;
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
    Multiplication(const Gemm<T>& g, Level at)
        : kernels_(gemm_kernels<T>(at)), plan_(choose_plan(g, kernels_)), grid_(choose_grid(g, kernels_)) {}

    void run(const Batch<T>& batch) const {
        if (plan_.pack_a && !plan_.dots)
            for (std::size_t i = 0; i < batch.count; ++i) run_packed(batch[i]);
        else
            run_plain(batch);
    }

private:
    std::size_t pieces() const { return grid_.down * grid_.across; }

    void run_plain(const Batch<T>& batch) const {
        parallel(batch.count * pieces(),
                 [&](std::size_t index) { multiply(batch[index / pieces()], index % pieces(), nullptr); });
    }

    // A is packed once, for all pieces: several of them have the same rows.
    void run_packed(const Gemm<T>& g) const {
        const std::size_t rows = kernels_.tile_rows * 8;
        const Workspace<T> packed(scratch_for_a, kernels_.packed_a_size(g));
        const auto pack = [&](std::size_t i) {
            kernels_.pack_a(g, i * rows, std::min(g.rows, (i + 1) * rows), packed.data());
        };
        parallel(ceil_divide(g.rows, rows), pack);
        parallel(pieces(), [&](std::size_t index) { multiply(g, index, packed.data()); });
    }

    void multiply(const Gemm<T>& g, std::size_t index, const T* packed_a) const {
        const std::size_t row = index % grid_.down * grid_.rows, column = index / grid_.down * grid_.columns;
        const Gemm<T> piece = cut(g, row, grid_.rows, column, grid_.columns);
        if (plan_.dots) return kernels_.dots(piece);
        if (packed_a)
            packed_a +=
                row / kernels_.tile_rows * (kernels_.packed_a_size(g) / ceil_divide(g.rows, kernels_.tile_rows));
        const Workspace<T> workspace(scratch_for_pieces, kernels_.workspace_size(piece, plan_));
        kernels_.multiply(piece, plan_, packed_a, workspace.data());
    }

    const GemmKernels<T>& kernels_;
    const GemmPlan plan_;
    const Grid grid_;
};

}  // namespace

template <class T>
void gemm_batch(const Gemm<T>& first, std::size_t count, std::size_t a_step, std::size_t b_step, std::size_t c_step,
                Level at) {
    if (first.rows == 0 || first.columns == 0) return;
    Multiplication<T>(first, at).run({first, count, a_step, b_step, c_step});
}

template <class T> void gemm(const Gemm<T>& product, Level at) { gemm_batch(product, 1, 0, 0, 0, at); }

template void gemm(const Gemm<float>&, Level);
template void gemm(const Gemm<double>&, Level);
template void gemm_batch(const Gemm<float>&, std::size_t, std::size_t, std::size_t, std::size_t, Level);
template void gemm_batch(const Gemm<double>&, std::size_t, std::size_t, std::size_t, std::size_t, Level);

}  // namespace xgrad::kernels
