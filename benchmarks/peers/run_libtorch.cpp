// LibTorch's side of the comparison: its modules, its autograd and torch::optim::Adam.
#include <cmath>
#include <functional>
#include <map>
#include <torch/torch.h>
#include <torch/version.h>

#include "models.hpp"
#include "workload.hpp"

using peers::Case;
using peers::Measured;
using torch::Tensor;

namespace {

double seconds = 0;  // timed in each case

Tensor tensor(std::vector<float> numbers, at::IntArrayRef shape) {
    return torch::from_blob(numbers.data(), shape).clone();
}

Tensor tensor(std::vector<std::int64_t> numbers) {
    return torch::from_blob(numbers.data(), {static_cast<std::int64_t>(numbers.size())}, torch::kInt64).clone();
}

std::vector<double> fingerprint(const Tensor& x) {
    return peers::fingerprint(x.contiguous().data_ptr<float>(), static_cast<std::size_t>(x.numel()));
}

// A function of one array, and what it is trained with.
struct Function {
    std::function<Tensor(const Tensor&)> call;
    std::vector<Tensor> parameters = {};
};

const double root = 0.79788456080286535588;  // √(2/π)

const std::map<std::string, std::function<Tensor(const Tensor&)>> functions = {
    {"silu", [](const Tensor& x) { return torch::silu(x); }},
    {"tanh", [](const Tensor& x) { return torch::tanh(x); }},
    {"gelu_tanh", [](const Tensor& x) { return torch::gelu(x, "tanh"); }},
    {"gelu_erf", [](const Tensor& x) { return torch::gelu(x); }},
    {"sigmoid", [](const Tensor& x) { return torch::sigmoid(x); }},
    {"mish", [](const Tensor& x) { return torch::mish(x); }},
    {"composed_gelu", [](const Tensor& x) { return 0.5 * x * (1 + torch::tanh(root * (x + 0.044715 * x * x * x))); }},
    {"composed_swish", [](const Tensor& x) { return x / (1 + torch::exp(-x)); }},
    {"softmax", [](const Tensor& x) { return torch::softmax(x, 1); }},
    {"log_softmax", [](const Tensor& x) { return torch::log_softmax(x, 1); }},
    {"sum_rows", [](const Tensor& x) { return x.sum(1); }},
    {"sum_columns", [](const Tensor& x) { return x.sum(0); }},
    {"mean_rows", [](const Tensor& x) { return x.mean(1); }},
    {"mean_columns", [](const Tensor& x) { return x.mean(0); }},
    {"variance_rows", [](const Tensor& x) { return torch::var(x, 1, false); }},
    {"variance_columns", [](const Tensor& x) { return torch::var(x, 0, false); }},
    {"max_rows", [](const Tensor& x) { return x.amax(1); }},
    {"max_columns", [](const Tensor& x) { return x.amax(0); }},
    {"logsumexp_rows", [](const Tensor& x) { return torch::logsumexp(x, 1); }},
    {"softmax_columns", [](const Tensor& x) { return torch::softmax(x, 0); }},
    {"transposed", [](const Tensor& x) { return x.t().contiguous(); }},
    {"stacked", [](const Tensor& x) { return torch::stack({x, x}, -1); }},
    {"outer", [](const Tensor& x) { return x.unsqueeze(2) * x.unsqueeze(1); }},
    {"every_second", [](const Tensor& x) { return x.slice(1, 0, x.size(1), 2).contiguous(); }},
};

Function function_named(const std::string& name, std::int64_t rows, std::int64_t columns) {
    if (name == "cross_entropy") {
        const auto labels = tensor(peers::labels(1, static_cast<std::size_t>(rows), static_cast<std::size_t>(columns)));
        return {[labels](const Tensor& x) { return torch::nn::functional::cross_entropy(x, labels); }};
    }
    if (name == "batch_norm") {
        torch::nn::BatchNorm1d layer(columns);
        return {[layer](const Tensor& x) mutable { return layer(x); }, layer->parameters()};
    }
    if (name == "layer_norm") {
        torch::nn::LayerNorm layer(torch::nn::LayerNormOptions({columns}));
        return {[layer](const Tensor& x) mutable { return layer(x); }, layer->parameters()};
    }
    if (name == "times_row" || name == "times_column") {
        const std::vector<std::int64_t> shape = name == "times_row" ? std::vector{columns} : std::vector{rows, 1l};
        const auto size = static_cast<std::size_t>(shape[0]);
        const Tensor factor = tensor(peers::values(4, size), shape).requires_grad_(true);
        return {[factor](const Tensor& x) { return x * factor; }, {factor}};
    }
    if (name == "matrix_vector" || name == "scalar_products") {
        const bool is_matrix = name == "matrix_vector";
        const auto samples = static_cast<std::size_t>(rows), numbers = static_cast<std::size_t>(columns);
        const std::size_t size = is_matrix ? static_cast<std::size_t>(std::lround(std::sqrt(numbers))) : numbers;
        const auto length = static_cast<std::int64_t>(size);
        const std::vector<std::int64_t> shape{rows, is_matrix ? length : 1, length};
        const Tensor vectors = tensor(peers::values(4, samples * size), {rows, length, 1}).requires_grad_(true);
        return {[=](const Tensor& x) { return x.view(shape).matmul(vectors); }, {vectors}};
    }
    if (name == "taken") {
        const auto size = static_cast<std::size_t>(columns);
        return {
            [indices = tensor(peers::labels(1, size, size))](const Tensor& x) { return x.index_select(1, indices); }};
    }
    if (name == "masked") {
        const auto mask = tensor(peers::labels(1, static_cast<std::size_t>(columns), 2)).to(torch::kBool);
        return {[mask](const Tensor& x) { return torch::where(mask, x, -1); }};
    }
    if (name == "pooled")
        return {[=](const Tensor& x) { return x.view({rows / 2, 2, columns / 2, 2}).amax({1, 3}); }};
    return {functions.at(name)};
}

// "group/name/128x256/forward" without a graph, or "…/backward": forward and backward.
Measured function(const Case& which) {
    const auto sizes = which.sizes(2);
    const auto rows = static_cast<std::int64_t>(sizes.at(0)), columns = static_cast<std::int64_t>(sizes.at(1));
    const Function f = function_named(which.part(1), rows, columns);
    Tensor x = tensor(peers::values(2, sizes[0] * sizes[1], 4.0), {rows, columns}), y;
    if (which.part(3) == "forward") {
        const torch::InferenceMode no_grad;
        Measured result = peers::measure(seconds, [&] { y = f.call(x); });
        result.values = fingerprint(y);
        return result;
    }
    x.requires_grad_(true);
    y = f.call(x);
    const Tensor g = tensor(peers::values(3, static_cast<std::size_t>(y.numel())), y.sizes());
    Measured result = peers::measure(seconds, [&] {
        x.mutable_grad().reset();
        for (Tensor parameter : f.parameters) parameter.mutable_grad().reset();
        y = f.call(x);
        y.backward(g);
    });
    result.values = peers::joined(fingerprint(y), fingerprint(x.grad()));
    for (const Tensor& parameter : f.parameters)
        result.values = peers::joined(result.values, fingerprint(parameter.grad()));
    return result;
}

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

// "steps/mnist" for many training steps; "start/mnist" for the first one, timed from outside.
Measured steps(const Case& which) {
    (void)(torch::ones({1}) + 1);
    const double baseline_kb = peers::memory_kb("VmRSS");
    const auto workload = peers::workload(which.part(1));
    const auto batch = static_cast<std::int64_t>(workload.batch);
    const auto x = tensor(peers::input(workload), {batch, static_cast<std::int64_t>(workload.sizes.front())});
    const auto y = workload.regression
                       ? tensor(peers::targets(workload), {batch, static_cast<std::int64_t>(workload.sizes.back())})
                       : tensor(peers::labels(workload));

    auto net = network(workload);
    torch::optim::Adam optimizer(net->parameters(), torch::optim::AdamOptions(1e-3));
    Tensor loss;
    const auto step = [&] {
        optimizer.zero_grad();
        const auto output = net->forward(x);
        loss = workload.regression ? torch::nn::functional::mse_loss(output, y)
                                   : torch::nn::functional::cross_entropy(output, y);
        loss.backward();
        optimizer.step();
    };
    const auto read_loss = [&] { return loss.item<float>(); };
    if (which.part(0) == "steps") return peers::measure_steps(seconds, baseline_kb, step, read_loss);
    step();
    return {{}, {static_cast<double>(read_loss())}};
}

using Tensors = std::vector<Tensor>;

const std::map<std::string, Tensor (*)(const Tensors& p, const Tensors& inputs)> losses = {
    {"transformer",
     [](const Tensors& p, const Tensors& inputs) {
         const auto& x = inputs[0];
         const auto normalized = torch::layer_norm(x, {128}, p[0], p[1]);
         const auto heads = torch::linear(normalized, p[2], p[3]).view({8, 64, 3, 4, 32}).permute({2, 0, 3, 1, 4});
         const auto attended = torch::scaled_dot_product_attention(heads[0], heads[1], heads[2]);
         const auto y = x + torch::linear(attended.permute({0, 2, 1, 3}).reshape({8, 64, 128}), p[4], p[5]);
         const auto up = torch::linear(torch::layer_norm(y, {128}, p[6], p[7]), p[8], p[9]);
         return (y + torch::linear(torch::gelu(up), p[10], p[11])).square().mean();
     }},
    {"lstm",
     [](const Tensors& p, const Tensors& inputs) {
         const auto zeros = torch::zeros({1, 32, 128});
         const auto result = torch::lstm(inputs[0], {zeros, zeros}, {p[0], p[1]}, false, 1, 0, true, false, false);
         return std::get<1>(result).square().mean();
     }},
    {"burgers",
     [](const Tensors& p, const Tensors& inputs) {
         const auto x = inputs[0].detach().requires_grad_(true), t = inputs[1].detach().requires_grad_(true);
         auto u = torch::cat({x, t}, 1);
         for (std::size_t layer = 0; layer < 3; ++layer) u = torch::linear(u, p[2 * layer], p[2 * layer + 1]).tanh();
         u = torch::linear(u, p[6], p[7]);
         const auto first = torch::autograd::grad({u.sum()}, {x, t}, {}, true, true);
         const auto second = torch::autograd::grad({first[0].sum()}, {x}, {}, true, true)[0];
         return (first[1] + u * first[0] - 0.01 * second).square().mean();
     }},
    {"mixture",
     [](const Tensors& p, const Tensors& inputs) {
         const auto distance = (inputs[0] - p[1]) * torch::exp(-p[2]);
         const auto log_density = torch::log_softmax(p[0], 0) - p[2].sum(1) - 0.5 * distance.square().sum(-1);
         return -torch::logsumexp(log_density, 1).mean();
     }},
};

// "models/lstm": the loss and its gradient.
Measured models(const Case& which) {
    const auto model = peers::model(which.part(1));
    const auto shape = [](const peers::Shape& extents) {
        return std::vector<std::int64_t>(extents.begin(), extents.end());
    };
    Tensors inputs, parameters;
    for (std::size_t k = 0; k < model.inputs.size(); ++k)
        inputs.push_back(tensor(peers::input(model, k), shape(model.inputs[k])));
    for (std::size_t k = 0; k < model.parameters.size(); ++k)
        parameters.push_back(tensor(peers::parameter(model, k), shape(model.parameters[k])).requires_grad_(true));
    Tensor loss;
    Tensors gradients;
    Measured result = peers::measure(seconds, [&] {
        loss = losses.at(model.name)(parameters, inputs);
        gradients = torch::autograd::grad({loss}, parameters);
    });
    result.values = {loss.item<double>()};
    for (const Tensor& gradient : gradients)
        result.values = peers::joined(result.values, peers::relative(fingerprint(gradient)));
    return result;
}

// "inference/mnist/1": the last part is the batch.
Measured inference(const Case& which) {
    const torch::InferenceMode no_grad;
    const auto workload = peers::workload(which.part(1));
    const auto batch = static_cast<std::int64_t>(which.sizes(2).at(0));
    const auto x =
        tensor(peers::input(workload, which.sizes(2)[0]), {batch, static_cast<std::int64_t>(workload.sizes.front())});
    auto net = network(workload);
    net->eval();
    Tensor y;
    const auto predict = [&] { y = net->forward(x); };
    Measured result = batch == 1 ? peers::measure_each(seconds, predict) : peers::measure(seconds, predict);
    result.values = fingerprint(y);
    return result;
}

// "scalar/900": so many operations on single numbers, one after the other, forward and backward; the time of one.
Measured scalar(const Case& which) {
    const auto operations = which.sizes(1).at(0);
    Tensor x = torch::tensor(0.5f).requires_grad_(true), y;
    Measured result = peers::measure(seconds, [&] {
        x.mutable_grad().reset();
        y = x;
        for (std::size_t i = 0; i < operations; i += 3) y = torch::tanh(y * x + x);
        y.backward();
    });
    for (auto& number : result.numbers) number.second /= static_cast<double>(operations);
    result.values = {y.item<double>(), x.grad().item<double>()};
    return result;
}

}  // namespace

int main(int argc, char** argv) {
    const auto how = peers::arguments(argc, argv);
    torch::set_num_threads(how.threads);
    seconds = how.seconds;
    const std::map<std::string, Measured (*)(const Case&)> groups = {
        {"steps", steps},      {"start", steps},   {"elementwise", function}, {"rows", function},  {"arrays", function},
        {"batches", function}, {"models", models}, {"inference", inference},  {"scalar", scalar}};
    return peers::run("LibTorch " TORCH_VERSION, how, [&](const Case& each) { return groups.at(each.part(0))(each); });
}
