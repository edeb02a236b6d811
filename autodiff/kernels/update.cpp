#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/update.hpp>

namespace xgrad::kernels {

template <class T>
void sgd_update(const SgdOptions& options, const T* gradient, T* parameter, T* momentum_buffer, std::size_t n) {
    const auto update = update_kernels<T>().sgd;
    in_pieces(n, 1, [&](std::size_t first, std::size_t count) {
        update(options, gradient + first, parameter + first, momentum_buffer ? momentum_buffer + first : nullptr,
               count);
    });
}

template <class T>
void adam_update(const AdamOptions& options, const T* gradient, T* parameter, T* first_moment, T* second_moment,
                 T* largest_second_moment, std::size_t n) {
    const auto update = update_kernels<T>().adam;
    in_pieces(n, 1, [&](std::size_t first, std::size_t count) {
        update(options, gradient + first, parameter + first, first_moment + first, second_moment + first,
               largest_second_moment ? largest_second_moment + first : nullptr, count);
    });
}

#define XGRAD_UPDATE(T)                                                         \
    template void sgd_update(const SgdOptions&, const T*, T*, T*, std::size_t); \
    template void adam_update(const AdamOptions&, const T*, T*, T*, T*, T*, std::size_t);
XGRAD_UPDATE(float)
XGRAD_UPDATE(double)

}  // namespace xgrad::kernels
