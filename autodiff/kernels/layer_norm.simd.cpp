#include <xgrad/autodiff/kernels/layer_norm.hpp>
#include <xgrad/autodiff/kernels/normalization.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

template <class T> XGRAD_FLATTEN void layer_norm(const LayerNorm<T>& norm) {
    const T *const weight = norm.weight, *const bias = norm.bias, count = static_cast<T>(norm.count);
    each_row<T, longest_computed>(
        norm.rows, norm.count, [&](std::size_t offset, std::size_t row, auto slice) {
            const T* const x = norm.x + offset;
            T* const y = norm.y + offset;
            const Lane<T> mean =
                slice.template fold<Sum>([&](std::size_t i, auto part) { return part.load(x + i); }) / count;
            const auto centre = slice.spread(mean);
            const Lane<T> squares = slice.template fold<Sum>([&](std::size_t i, auto part) {
                const auto deviation = part.load(x + i) - centre;
                return deviation * deviation;
            });
            const Lane<T> rstd = rsqrt(squares / count + norm.epsilon);
            slice.put(mean, norm.mean + row);
            slice.put(rstd, norm.rstd + row);
            const auto scale = slice.spread(rstd);
            slice.each([&](std::size_t i, auto part) {
                const auto normal = (part.load(x + i) - centre) * scale;
                part.store(normal * load_or(weight, i, part, T(1)) + load_or(bias, i, part, T(0)), y + i);
            });
        });
}

// The cotangents of `size` rows from the given one on; dweight and dbias are added to. The rows are read side by side,
// once for all sums and once more for dx.
template <std::size_t size, class T>
XGRAD_FLATTEN void layer_norm_backward_rows(const LayerNormBackward<T>& norm, std::size_t first_row) {
    const std::size_t n = norm.count, start = first_row * n;
    const T *const weight = norm.weight, *const x = norm.x + start, *const g = norm.g + start;
    T *const dweight = norm.dweight, *const dbias = norm.dbias;
    const T *const means = norm.mean + first_row, *const rstds = norm.rstd + first_row;
    const auto sums = pairwise(n, 64 * Lane<T>::width, Add(), [=](std::size_t first, std::size_t numbers) {
        Lane<T> mean[size], rstd[size];
        for (std::size_t r = 0; r < size; ++r) mean[r] = means[r], rstd[r] = rstds[r];
        SideBySide<CotangentSums<T>, size> rows;
        each_lane<T>(numbers, [&](std::size_t j, auto part) {
            const std::size_t i = first + j;
            const Lane<T> factor = load_or(weight, i, part, T(1));
            CotangentSums<T> column;
            for (std::size_t r = 0; r < size; ++r) {
                const Lane<T> cotangent = part.load(g + r * n + i),
                              normal = (part.load(x + r * n + i) - mean[r]) * rstd[r];
                column.add(cotangent, normal);
                rows.lanes[r].add(part.fill(cotangent * factor, T(0)), normal);
            }
            if (dweight) part.store(part.load(dweight + i) + column.g_deviation, dweight + i);
            if (dbias) part.store(part.load(dbias + i) + column.g, dbias + i);
        });
        return rows;
    });
    if (!norm.dx) return;
    const T count = static_cast<T>(n);
    for (std::size_t r = 0; r < size; ++r) {
        const T *const row = x + r * n, *const cotangents = g + r * n;
        T* const dx = norm.dx + start + r * n;
        const Lane<T> mean(means[r]), rstd(rstds[r]), constant(across<Sum>(sums.lanes[r].g) / count),
            slope(across<Sum>(sums.lanes[r].g_deviation) / count);
        each_lane<T>(n, [=](std::size_t i, auto part) {
            // The next rows: a processor does not read several short runs ahead by itself.
            __builtin_prefetch(row + size * n + i, 0, 2), __builtin_prefetch(cotangents + size * n + i, 0, 2);
            const Lane<T> weighted = part.load(cotangents + i) * load_or(weight, i, part, T(1)),
                          normal = (part.load(row + i) - mean) * rstd;
            part.store((weighted - constant - normal * slope) * rstd, dx + i);
        });
    }
}

template <class T> void layer_norm_backward(const LayerNormBackward<T>& norm) {
    constexpr std::size_t together = 4, cached = 8192;
    std::size_t row = 0;
    for (; norm.count <= cached && row + together <= norm.rows; row += together)
        layer_norm_backward_rows<together>(norm, row);
    for (; row < norm.rows; ++row) layer_norm_backward_rows<1>(norm, row);
}

}  // namespace

template <class T> const LayerNormKernels<T>& layer_norm_kernels() {
    static constexpr LayerNormKernels<T> table{.layer_norm = layer_norm<T>, .backward = layer_norm_backward<T>};
    return table;
}

template const LayerNormKernels<float>& layer_norm_kernels<float>();
template const LayerNormKernels<double>& layer_norm_kernels<double>();

}  // namespace xgrad::kernels::XGRAD_LEVEL
