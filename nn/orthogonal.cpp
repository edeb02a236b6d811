// init::orthogonal, in a file of its own: programs that do not use it carry no linear algebra.
#include <algorithm>

#include <fmt/format.h>
#include <xtensor-blas/xlinalg.hpp>

#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/xtensor.hpp>
#include <xgrad/nn/init.hpp>

namespace xgrad::nn::init {

template <class T> void orthogonal(Variable<T>& weight, double gain) {
    const Shape& shape = weight.shape();
    if (shape.size() < 2)
        throw Error(
            fmt::format("init::orthogonal: a weight of shape {} is no matrix; expected (out, in, …)", describe(shape)));
    if (weight.size() == 0) return;
    const std::size_t out = shape[0], in = weight.size() / out;
    const std::size_t rows = std::max(out, in), columns = std::min(out, in);
    xt::xtensor<double, 2> random(std::array{rows, columns});
    current_generator().fill_normal(std::span(random.data(), random.size()));
    const auto [q, r] = xt::linalg::qr(random);
    // QR leaves the signs of q's columns open; with those for which r's diagonal is positive, q is uniform.
    weight.update([&, &q = q, &r = r](Array<T>& values) {
        for (std::size_t i = 0; i < out; ++i)
            for (std::size_t j = 0; j < in; ++j) {
                const std::size_t column = out < in ? i : j;
                const double entry = out < in ? q(j, i) : q(i, j);
                values.data()[i * in + j] = static_cast<T>(gain * (r(column, column) < 0 ? -entry : entry));
            }
    });
}

template void orthogonal(Variable<float>&, double);
template void orthogonal(Variable<double>&, double);

}  // namespace xgrad::nn::init
