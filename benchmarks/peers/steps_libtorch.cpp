// One training step of each workload with LibTorch's modules, autograd and torch::optim::Adam.
#include <torch/torch.h>
#include <torch/version.h>

#include "workload.hpp"

namespace {

torch::nn::Sequential network(const peers::Workload& workload) {
    torch::nn::Sequential net;
    for (std::size_t layer = 0; layer < workload.layers(); ++layer) {
        const auto in = static_cast<std::int64_t>(workload.sizes[layer]);
        const auto out = static_cast<std::int64_t>(workload.sizes[layer + 1]);
        torch::nn::Linear linear(torch::nn::LinearOptions(in, out).bias(workload.has_bias(layer)));
        {
            torch::NoGradGuard guard;
            auto weight = peers::weight(workload, layer);
            linear->weight.copy_(torch::from_blob(weight.data(), {out, in}));
            if (linear->bias.defined()) linear->bias.zero_();
        }
        net->push_back(linear);
        if (layer + 1 == workload.layers()) break;
        if (workload.batch_norm) net->push_back(torch::nn::BatchNorm1d(out));
        if (workload.regression) {
            net->push_back(torch::nn::Tanh());
        } else {
            net->push_back(torch::nn::ReLU());
        }
    }
    return net;
}

}  // namespace

int main(int argc, char** argv) {
    const auto how = peers::arguments(argc, argv);
    const auto& workload = how.workload;
    torch::set_num_threads(how.threads);

    const auto batch = static_cast<std::int64_t>(workload.batch);
    auto input = peers::input(workload);
    auto targets = peers::targets(workload);
    auto labels = peers::labels(workload);
    const auto x = torch::from_blob(input.data(), {batch, static_cast<std::int64_t>(workload.sizes.front())}).clone();
    const auto y =
        workload.regression
            ? torch::from_blob(targets.data(), {batch, static_cast<std::int64_t>(workload.sizes.back())}).clone()
            : torch::from_blob(labels.data(), {batch}, torch::kInt64).clone();

    auto net = network(workload);
    torch::optim::Adam optimizer(net->parameters(), torch::optim::AdamOptions(1e-3));
    torch::Tensor loss;
    const auto step = [&] {
        optimizer.zero_grad();
        const auto output = net->forward(x);
        loss = workload.regression ? torch::nn::functional::mse_loss(output, y)
                                   : torch::nn::functional::cross_entropy(output, y);
        loss.backward();
        optimizer.step();
    };
    return peers::measure("LibTorch " TORCH_VERSION, how, step, [&] { return loss.item<float>(); });
}
