#include <tuple>
#include <utility>

#include <xgrad/autodiff/kernels/losses.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// Adds the losses of a stretch to four lanes in turn, so that no addition waits for the one before.
template <class T, std::size_t N, class Loss>
XGRAD_FLATTEN void add(const void* formula, const Stretch<T, N>& stretch, T* totals) {
    using L = Lane<T>;
    static_assert(L::width <= LossKernel<T, N>::widest);
    const Loss loss = *static_cast<const Loss*>(formula);
    for (std::size_t row = 0; row < stretch.rows; ++row) {
        Lanes<T, N> lanes;
        Operands<T, N> x(stretch, row, lanes);
        T last[L::width]{};
        std::size_t turn = 0;
        T* to = totals;
        each_lane<L::width>(
            stretch.length,
            [&] {
                const L y = [&]<std::size_t... K>(std::index_sequence<K...>) { return loss(x[K]...); }
                (std::make_index_sequence<N>());
                (L::load(to) + y).store(to);
                x.advance();
                turn = (turn + 1) % 4;
                to = totals + turn * L::width;
            },
            [&](std::size_t rest) {
                x.begin_rest(rest);
                to = last;
            });
        if (const std::size_t rest = stretch.length % L::width) {
            to = totals + (turn + 3) % 4 * L::width;
            (L::load(to) + L::load(last)).store_partial(to, rest);
        }
    }
}

template <class Loss, class T, std::size_t N = operands_of<Loss>()>
constexpr LossKernel<T, N> kernel{.values = {&Elementwise<Loss, T, N>::values},
                                  .derivatives = {{&Elementwise<formulas::LossDerivative<Loss, 0>, T, N + 1>::values},
                                                  {&Elementwise<formulas::LossDerivative<Loss, 1>, T, N + 1>::values}},
                                  .width = Lane<T>::width,
                                  .add = &add<T, N, Loss>};

}  // namespace

template <class Loss, class T> const LossKernel<T, operands_of<Loss>()>& loss_kernel() { return kernel<Loss, T>; }

namespace {

// As in elementwise.simd.cpp: named, the kernels of all losses are made.
template <class T, class... Loss> constexpr auto all(formulas::List<Loss...>) {
    return std::tuple{&loss_kernel<Loss, T>...};
}
[[gnu::used]] constexpr auto of_floats = all<float>(formulas::Losses());
[[gnu::used]] constexpr auto of_doubles = all<double>(formulas::Losses());

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
