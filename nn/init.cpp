#include <xgrad/autodiff/generator.hpp>
#include <xgrad/nn/init.hpp>

namespace xgrad::nn::init {

template <class T>
void uniform(Variable<T>& parameter, double low, double high) {
    parameter.update([&](Array<T>& values) {
        current_generator().fill_uniform(std::span<T>(values.data(), values.size()), static_cast<T>(low),
                                         static_cast<T>(high));
    });
}

template <class T>
void normal(Variable<T>& parameter, double mean, double deviation) {
    parameter.update([&](Array<T>& values) {
        current_generator().fill_normal(std::span<T>(values.data(), values.size()), static_cast<T>(mean),
                                        static_cast<T>(deviation));
    });
}

#define XGRAD_INSTANTIATE(T) \
    template void uniform(Variable<T>&, double, double); \
    template void normal(Variable<T>&, double, double);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad::nn::init
