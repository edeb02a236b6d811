#include <algorithm>
#include <cstdlib>
#include <new>

#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>

namespace xgrad::kernels {
namespace {

constexpr std::size_t ceil_divide(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit; }
constexpr std::size_t round_up(std::size_t size, std::size_t unit) { return ceil_divide(size, unit) * unit; }

// --- Memory for packed blocks: each thread keeps its own from one product to the next --------------------------------

constexpr std::align_val_t alignment{64};

struct Scratch {
    void* memory = nullptr;
    std::size_t bytes = 0;
    bool kept = true;  // no longer once the thread has begun to end

    void release() {
        ::operator delete(memory, alignment);
        memory = nullptr;
        bytes = 0;
    }
};
// Without a destructor, as products may still be computed in destructors that run after those of the thread.
constinit thread_local Scratch scratch;

struct ReleaseAtThreadExit {
    ~ReleaseAtThreadExit() {
        scratch.kept = false;
        scratch.release();
    }
};

class Workspace {
public:
    explicit Workspace(std::size_t bytes) {
        if (scratch.bytes >= bytes) return;
        scratch.release();
        scratch.memory = ::operator new(bytes, alignment);
        scratch.bytes = bytes;
        if (scratch.kept) static thread_local ReleaseAtThreadExit at_exit;
    }
    ~Workspace() {
        if (!scratch.kept) scratch.release();
    }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    template <class T> T* get() const { return static_cast<T*>(scratch.memory); }
};

// --- Plans -----------------------------------------------------------------------------------------------------------

// How C is cut into pieces, a thread's unit of work. It depends on nothing but the sizes.
struct Grid {
    std::size_t rows, columns;  // of one piece
    std::size_t down, across;   // the number of pieces
};

template <class T> GemmPlan choose_plan(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    constexpr std::size_t depth = 384 * sizeof(float) / sizeof(T) * 4 / 4;
    GemmPlan plan;
    plan.block_depth = g.depth == 0 ? 1 : ceil_divide(g.depth, ceil_divide(g.depth, depth));
    plan.block_rows = kernels.tile_rows * ceil_divide(256, kernels.tile_rows);
    plan.pack_b = g.transpose_b || g.rows > 192;
    plan.pack_a = g.columns > 256;
    return plan;
}

template <class T> Grid choose_grid(const Gemm<T>& g, const GemmKernels<T>& kernels) {
    constexpr double worth_waking = 2e6, worth_a_piece = 1e6;
    const double work =
        2.0 * static_cast<double>(g.rows) * static_cast<double>(g.columns) * static_cast<double>(g.depth);
    if (work < worth_waking) return {g.rows, g.columns, 1, 1};
    const auto wanted = static_cast<std::size_t>(std::min(64.0, work / worth_a_piece));
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

}  // namespace

template <class T>
void gemm_batch(const Gemm<T>& first, std::size_t count, std::size_t a_step, std::size_t b_step, std::size_t c_step,
                Level at) {
    if (first.rows == 0 || first.columns == 0) return;
    const GemmKernels<T>& kernels = gemm_kernels<T>(at);
    const GemmPlan plan = choose_plan(first, kernels);
    const Grid grid = choose_grid(first, kernels);
    const std::size_t cells = grid.down * grid.across;
    parallel(count * cells, [&](std::size_t index) {
        const std::size_t product = index / cells, cell = index % cells;
        Gemm<T> g = first;
        g.a += product * a_step;
        g.b += product * b_step;
        g.c += product * c_step;
        g = cut(g, cell % grid.down * grid.rows, grid.rows, cell / grid.down * grid.columns, grid.columns);
        const Workspace workspace(kernels.workspace(g, plan) * sizeof(T));
        kernels.multiply(g, plan, workspace.get<T>());
    });
}

template <class T> void gemm(const Gemm<T>& product, Level at) { gemm_batch(product, 1, 0, 0, 0, at); }

template void gemm(const Gemm<float>&, Level);
template void gemm(const Gemm<double>&, Level);
template void gemm_batch(const Gemm<float>&, std::size_t, std::size_t, std::size_t, std::size_t, Level);
template void gemm_batch(const Gemm<double>&, std::size_t, std::size_t, std::size_t, std::size_t, Level);

}  // namespace xgrad::kernels
