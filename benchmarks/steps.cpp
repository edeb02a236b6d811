// One training step of each workload of benchmarks/peers, as a user would write it.
#include <fmt/format.h>

#include <xgrad/xgrad.hpp>

#include "peers/workload.hpp"

using namespace xgrad;

namespace {

nn::Sequential<> network(const peers::Workload& workload) {
    nn::Sequential<> net;
    for (std::size_t layer = 0; layer < workload.layers(); ++layer) {
        const std::size_t in = workload.sizes[layer], out = workload.sizes[layer + 1];
        nn::Linear<> linear(in, out, {.bias = workload.has_bias(layer)});
        auto weight = peers::weight(workload, layer);
        linear.weight().assign(Variable<>(std::span(weight), {out, in}));
        if (linear.bias()) nn::init::zeros(linear.bias());
        net.add(std::move(linear));
        if (layer + 1 == workload.layers()) break;
        if (workload.batch_norm) net.add(nn::BatchNorm<>(out));
        if (workload.regression)
            net.add(nn::Tanh<>());
        else
            net.add(nn::ReLU<>());
    }
    return net;
}

}  // namespace

int main(int argc, char** argv) {
    const auto how = peers::arguments(argc, argv);
    const auto& workload = how.workload;
    set_threads(static_cast<std::size_t>(how.threads));

    auto input = peers::input(workload), targets = peers::targets(workload);
    auto labels = peers::labels(workload);
    const Variable<> x{std::span(input), {workload.batch, workload.sizes.front()}};
    const Variable<> y{std::span(targets), {workload.batch, workload.sizes.back()}};
    const auto classes = borrow(std::span(labels), Shape{workload.batch});

    auto net = network(workload);
    optim::Adam optimizer(net.parameters(), {.learning_rate = 1e-3});
    double loss = 0;
    const auto step = [&] {
        const auto output = net(x);
        loss = optimizer.minimize(workload.regression ? nn::mse_loss(output, y) : nn::cross_entropy(output, classes));
    };
    const std::string framework = fmt::format("xgrad ({})", name(level()));
    return peers::measure(framework, how, step, [&] { return loss; });
}
