#include <concepts>
#include <utility>

#include <xgrad/autodiff/kernels/losses.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

template <class Loss> consteval std::size_t operands() {
    using L = Lane<float>;
    return std::invocable<Loss, L, L> ? 2 : 4;
}

// F(load(operand 0), load(operand 1), …)
template <class T, std::size_t N, class Loss, class Load>
Lane<T> apply(const Loss& loss, const Operands<T, N>& operands, const Load& load) {
    return [&]<std::size_t... K>(std::index_sequence<K...>) { return loss(load(operands.at[K])...); }
    (std::make_index_sequence<N>());
}

// Adds the losses of a stretch to four lanes in turn, so that no addition waits for the one before.
template <class T, std::size_t N, class Loss>
[[gnu::flatten]] void add_stretch(const Loss& formula, std::size_t length, Operands<T, N> operands, Lane<T>* totals) {
    using L = Lane<T>;
    const Loss loss = formula;
    std::size_t i = 0, k = 0;
    for (; i + L::width <= length; i += L::width) {
        totals[k] += apply(loss, operands, [](const T* from) { return L::load(from); });
        k = (k + 1) % 4;
        operands.advance();
    }
    if (const std::size_t rest = length - i) {
        T last[L::width]{};
        apply(loss, operands, [&](const T* from) { return L::load_partial(from, rest); }).store_partial(last, rest);
        totals[k] += L::load(last);
    }
}

template <class T, std::size_t N, class Loss>
void block_sums(const void* loss, const Broadcast& loop, const T* const* inputs, std::size_t first, std::size_t last,
                T* sums) {
    for (std::size_t block = first; block < last; ++block) {
        Lane<T> totals[4]{0, 0, 0, 0};
        each_stretch<N>(loop, block * loss_block, std::min(loop.size, (block + 1) * loss_block),
                        [&](std::size_t, std::size_t length, const std::size_t(&offset)[N]) {
                            add_stretch<T, N>(*static_cast<const Loss*>(loss), length,
                                              Operands<T, N>(loop, inputs, offset), totals);
                        });
        T numbers[Lane<T>::width];
        ((totals[0] + totals[1]) + (totals[2] + totals[3])).store(numbers);
        sums[block] = 0;
        for (const T number : numbers) sums[block] += number;
    }
}

template <class Loss, class T> constexpr LossKernel<T> kernel_of() {
    constexpr std::size_t N = operands<Loss>();
    return {.values = &Elementwise<Loss, T, N>::forward,
            .block_sums = &block_sums<T, N, Loss>,
            .derivatives = {&Elementwise<formulas::LossDerivative<Loss, 0>, T, N + 1>::forward,
                            &Elementwise<formulas::LossDerivative<Loss, 1>, T, N + 1>::forward}};
}

template <class T, class... Loss> const LossKernel<T>* table(formulas::List<Loss...>) {
    static constexpr LossKernel<T> kernels[] = {kernel_of<Loss, T>()...};
    return kernels;
}

}  // namespace

template <class T> const LossKernel<T>* loss_kernels() { return table<T>(formulas::Losses()); }
template const LossKernel<float>* loss_kernels();
template const LossKernel<double>* loss_kernels();

}  // namespace xgrad::kernels::XGRAD_LEVEL
