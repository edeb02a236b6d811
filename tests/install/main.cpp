// Fits a line to points on y = 3x − 1.
#include <cmath>
#include <cstdio>

#include <xgrad/autodiff/variable.hpp>
#include <xgrad/training.hpp>

using namespace xgrad;

int main() {
    Generator generator(1);
    Array<float> xs = empty<float>({64, 1}), ys = empty<float>({64, 1});
    generator.fill_uniform(std::span(xs.data(), xs.size()), -1, 1);
    for (std::size_t i = 0; i < xs.size(); ++i) ys(i, 0) = 3 * xs(i, 0) - 1;
    const training::Dataset<float, float> points(xs, ys);

    Variable slope = 0.f, offset = 0.f;
    slope.requires_grad(true);
    offset.requires_grad(true);
    for (int epoch = 0; epoch < 50; ++epoch)
        for (auto [x, y] : points.batches(16, generator)) {
            const Variable error = slope * x + offset - y;
            (error * error).backward(Variable<float>(full<float>(error.shape(), 1.f / 16)));
            for (Variable<float>* parameter : {&slope, &offset}) {
                parameter->assign(parameter->detach() - 0.1 * parameter->grad());
                parameter->zero_grad();
            }
        }
    std::printf("y = %.3f x + %.3f\n", slope.item(), offset.item());
    return std::abs(slope.item() - 3) < 1e-2 && std::abs(offset.item() + 1) < 1e-2 ? 0 : 1;
}
