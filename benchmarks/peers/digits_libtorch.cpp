// README's training script with LibTorch, as its own examples would have it; `benchmarks/footprint` compiles it.
#include <cstdio>
#include <torch/torch.h>

namespace nn = torch::nn;

int main(int, char** argv) {
    const int epochs = 5;
    using torch::data::datasets::MNIST;
    auto train = MNIST(argv[1], MNIST::Mode::kTrain).map(torch::data::transforms::Stack<>());
    auto test = MNIST(argv[1], MNIST::Mode::kTest).map(torch::data::transforms::Stack<>());
    auto train_batches = torch::data::make_data_loader<torch::data::samplers::RandomSampler>(train, 128);
    auto test_batches = torch::data::make_data_loader<torch::data::samplers::SequentialSampler>(test, 1000);

    nn::Sequential model(nn::Flatten(), nn::Linear(nn::LinearOptions(784, 256).bias(false)), nn::BatchNorm1d(256),
                         nn::ReLU(), nn::Linear(nn::LinearOptions(256, 128).bias(false)), nn::BatchNorm1d(128),
                         nn::ReLU(), nn::Linear(128, 10));
    torch::optim::Adam optimizer(model->parameters(), torch::optim::AdamOptions(1e-3));

    for (int epoch = 0; epoch < epochs; ++epoch)
        for (auto& batch : *train_batches) {
            optimizer.zero_grad();
            nn::functional::cross_entropy(model->forward(batch.data), batch.target).backward();
            optimizer.step();
        }

    model->eval();
    torch::NoGradGuard no_grad;
    std::int64_t right = 0, all = 0;
    for (auto& batch : *test_batches) {
        right += (model->forward(batch.data).argmax(1) == batch.target).sum().item<std::int64_t>();
        all += batch.target.size(0);
    }
    std::printf("test accuracy %.4f\n", static_cast<double>(right) / static_cast<double>(all));
}
