#include <algorithm>

#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/losses.hpp>

namespace xgrad::kernels {

template <class T, std::size_t N>
void LossKernel<T, N>::block_sums(const void* loss, const Pass<T, N>& pass, std::size_t first, std::size_t last,
                                  T* sums) const {
    for (std::size_t block = first; block < last; ++block) {
        alignas(64) T totals[4 * widest]{};
        pass.each_stretch(block * loss_block, std::min(pass.size(), (block + 1) * loss_block),
                          [&](std::size_t, const Stretch<T, N>& stretch) { add(loss, stretch, totals); });
        sums[block] = 0;
        for (std::size_t i = 0; i < width; ++i)
            sums[block] += (totals[i] + totals[width + i]) + (totals[2 * width + i] + totals[3 * width + i]);
    }
}

template struct LossKernel<float, 2>;
template struct LossKernel<float, 4>;
template struct LossKernel<double, 2>;
template struct LossKernel<double, 4>;

}  // namespace xgrad::kernels
