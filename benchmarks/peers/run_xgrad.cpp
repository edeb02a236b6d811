// xgrad's side of the comparison, as a user would write it.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include <fmt/format.h>

#include "matmul.hpp"
#include "models.hpp"
#include "workload.hpp"
#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/xgrad.hpp>

using namespace xgrad;
using peers::Case;
using peers::Measured;

namespace {

double seconds = 0;  // timed in each case

std::vector<double> fingerprint(const Variable<>& x) { return peers::fingerprint(x.value().data(), x.size()); }

// The numbers in memory of our own, as the other frameworks have them.
Array<float> array(const std::vector<float>& numbers, const Shape& shape) {
    Array<float> result = empty<float>(shape);
    std::ranges::copy(numbers, result.data());
    return result;
}

// A function of one array, and what it is trained with.
struct Function {
    std::function<Variable<>(const Variable<>&)> call;
    std::vector<Variable<>> parameters = {};
};

const double root = 0.79788456080286535588;  // √(2/π)

const std::map<std::string, std::function<Variable<>(const Variable<>&)>> built_in = {
    {"silu", silu<float>},
    {"tanh", tanh<float>},
    {"gelu_tanh", gelu_tanh<float>},
    {"gelu_erf", gelu<float>},
    {"sigmoid", sigmoid<float>},
    {"mish", mish<float>},
    // From basic operations, each of which is one pass over memory.
    {"composed_gelu", [](const Variable<>& x) { return 0.5 * x * (1 + tanh(root * (x + 0.044715 * x * x * x))); }},
    {"composed_swish", [](const Variable<>& x) { return x / (1 + exp(-x)); }},
};

// The same as a user's own formulas.
const std::map<std::string, std::function<Variable<>(const Variable<>&)>> formulas = {
    {"silu", elementwise([](auto x) { return x * sigmoid(x); })},
    {"tanh", elementwise([](auto x) { return tanh(x); })},
    {"gelu_tanh", elementwise([](auto x) { return 0.5 * x * (1 + tanh(root * (x + 0.044715 * x * square(x)))); })},
    {"gelu_erf", elementwise([](auto x) { return 0.5 * x * (1 + erf(x / std::numbers::sqrt2)); })},
    {"sigmoid", elementwise([](auto x) { return 1 / (1 + exp(-x)); })},
    {"mish", elementwise([](auto x) { return x * tanh(softplus(x)); })},
    {"composed_gelu", elementwise([](auto x) { return 0.5 * x * (1 + tanh(root * (x + 0.044715 * x * x * x))); })},
    {"composed_swish", elementwise([](auto x) { return x / (1 + exp(-x)); })},
};

// Of an array of rows × columns.
Function function_named(const std::string& name, std::size_t rows, std::size_t columns) {
    if (name == "cross_entropy") {
        auto numbers = peers::labels(1, rows, columns);
        const Array<std::int64_t> labels = borrow(std::span(numbers), Shape{rows});
        return {[labels](const Variable<>& x) { return nn::cross_entropy(x, labels); }};
    }
    if (name == "batch_norm" || name == "layer_norm") {
        std::shared_ptr<nn::Layer<>> layer;
        if (name == "batch_norm")
            layer = std::make_shared<nn::BatchNorm<>>(columns);
        else
            layer = std::make_shared<nn::LayerNorm<>>(columns);
        return {[layer](const Variable<>& x) { return (*layer)(x); }, layer->parameters()};
    }
    if (name == "times_row" || name == "times_column") {
        const Shape shape = name == "times_row" ? Shape{columns} : Shape{rows, 1};
        Variable<> factor = array(peers::values(4, element_count(shape)), shape);
        factor.requires_grad(true);
        return {[factor](const Variable<>& x) { return x * factor; }, {factor}};
    }
    if (name == "matrix_vector" || name == "scalar_products") {
        const bool is_matrix = name == "matrix_vector";
        const std::size_t size = is_matrix ? static_cast<std::size_t>(std::lround(std::sqrt(columns))) : columns;
        const Shape shape{rows, is_matrix ? size : 1, size};
        Variable<> vectors = array(peers::values(4, rows * size), Shape{rows, size, 1});
        vectors.requires_grad(true);
        return {[=](const Variable<>& x) { return matmul(reshape(x, shape), vectors); }, {vectors}};
    }
    if (name == "taken") {
        auto numbers = peers::labels(1, columns, columns);
        const Array<std::int64_t> indices = borrow(std::span(numbers), Shape{columns});
        return {[indices](const Variable<>& x) { return take(x, indices, 1); }};
    }
    if (name == "masked") {
        const auto numbers = peers::labels(1, columns, 2);
        Array<bool> mask = empty<bool>({columns});
        std::copy(numbers.begin(), numbers.end(), mask.begin());
        return {[mask](const Variable<>& x) { return where(mask, x, -1); }};
    }
    if (name == "pooled") {
        const Shape pairs{rows / 2, 2, columns / 2, 2};
        return {[pairs](const Variable<>& x) { return max(reshape(x, pairs), {1, 3}); }};
    }
    const std::map<std::string, std::function<Variable<>(const Variable<>&)>> others = {
        {"softmax", [](const Variable<>& x) { return softmax(x); }},
        {"log_softmax", [](const Variable<>& x) { return log_softmax(x); }},
        {"sum_rows", [](const Variable<>& x) { return sum(x, {1}); }},
        {"sum_columns", [](const Variable<>& x) { return sum(x, {0}); }},
        {"mean_rows", [](const Variable<>& x) { return mean(x, {1}); }},
        {"mean_columns", [](const Variable<>& x) { return mean(x, {0}); }},
        {"variance_rows", [](const Variable<>& x) { return variance(x, {1}); }},
        {"variance_columns", [](const Variable<>& x) { return variance(x, {0}); }},
        {"max_rows", [](const Variable<>& x) { return max(x, {1}); }},
        {"max_columns", [](const Variable<>& x) { return max(x, {0}); }},
        {"logsumexp_rows", [](const Variable<>& x) { return logsumexp(x, {1}); }},
        {"softmax_columns", [](const Variable<>& x) { return softmax(x, 0); }},
        {"transposed", [](const Variable<>& x) { return transpose(x); }},
        {"stacked", [](const Variable<>& x) { return stack({x, x}, -1); }},
        {"outer", [](const Variable<>& x) { return expand_dims(x, 2) * expand_dims(x, 1); }},
        {"every_second", [](const Variable<>& x) { return view(x, xt::all(), xt::range(0, xt::placeholders::_, 2)); }},
    };
    return {others.at(name)};
}

// "group/name/128x256/forward" without a graph, or "…/backward": forward and backward.
Measured function(const Case& which) {
    const auto sizes = which.sizes(2);
    const Shape shape{sizes.at(0), sizes.at(1)};
    const Function f = which.part(0) == "elementwise" ? Function{built_in.at(which.part(1))}
                       : which.part(0) == "formula"   ? Function{formulas.at(which.part(1))}
                                                      : function_named(which.part(1), sizes[0], sizes[1]);
    Variable<> x = array(peers::values(2, element_count(shape), 4.0), shape), y;
    if (which.part(3) == "forward") {
        const NoGrad no_grad;
        Measured result = peers::measure(seconds, [&] { y = f.call(x); });
        result.values = fingerprint(y);
        return result;
    }
    x.requires_grad(true);
    y = f.call(x);
    const Variable<> g = array(peers::values(3, y.size()), y.shape());
    Measured result = peers::measure(seconds, [&] {
        x.zero_grad();
        for (Variable<> parameter : f.parameters) parameter.zero_grad();
        y = f.call(x);
        y.backward(g);
    });
    result.values = peers::joined(fingerprint(y), fingerprint(x.grad()));
    for (const Variable<>& parameter : f.parameters)
        result.values = peers::joined(result.values, fingerprint(parameter.grad()));
    return result;
}

Measured matmul(const Case& which) {
    return peers::Product(which).measure(seconds, [](peers::Product& p) {
        kernels::gemm_batch<float>({.rows = p.rows,
                                    .columns = p.columns,
                                    .depth = p.depth,
                                    .a = p.a,
                                    .a_stride = p.a_stride(),
                                    .transpose_a = p.transpose_a,
                                    .b = p.b,
                                    .b_stride = p.b_stride(),
                                    .transpose_b = p.transpose_b,
                                    .c = p.c,
                                    .c_stride = p.columns},
                                   p.count, p.rows * p.depth, p.depth * p.columns, p.rows * p.columns);
    });
}

nn::Sequential<> network(const peers::Workload& workload) {
    nn::Sequential<> net;
    for (std::size_t layer = 0; layer < workload.layers(); ++layer) {
        const std::size_t in = workload.sizes[layer], out = workload.sizes[layer + 1];
        nn::Linear<> linear(in, out, {.bias = workload.has_bias(layer)});
        linear.weight().assign(array(peers::weight(workload, layer), {out, in}));
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

// "steps/mnist" for many training steps; "start/mnist" for the first one, timed from outside.
Measured steps(const Case& which) {
    (void)(Variable<>(1) + 1);
    const double baseline_kb = peers::memory_kb("VmRSS");
    const auto workload = peers::workload(which.part(1));
    const Variable<> x = array(peers::input(workload), {workload.batch, workload.sizes.front()});
    const Variable<> y = array(peers::targets(workload), {workload.batch, workload.sizes.back()});
    auto labels = peers::labels(workload);
    const auto classes = borrow(std::span(labels), Shape{workload.batch});

    auto net = network(workload);
    optim::Adam optimizer(net.parameters(), {.learning_rate = 1e-3});
    double loss = 0;
    const auto step = [&] {
        const auto output = net(x);
        loss = optimizer.minimize(workload.regression ? nn::mse_loss(output, y) : nn::cross_entropy(output, classes));
    };
    if (which.part(0) == "steps") return peers::measure_steps(seconds, baseline_kb, step, [&] { return loss; });
    step();
    return {{}, {loss}};
}

using Variables = std::vector<Variable<>>;

const std::map<std::string, Variable<> (*)(const Variables& p, const Variables& inputs)> losses = {
    {"transformer",
     [](const Variables& p, const Variables& inputs) {
         const auto& x = inputs[0];
         const auto normalized = layer_norm(x, {128}, p[0], p[1]);
         const auto heads = transpose(reshape(linear(normalized, p[2], p[3]), {8, 64, 3, 4, 32}), {2, 0, 3, 1, 4});
         const auto q = view(heads, 0), k = view(heads, 1), v = view(heads, 2);
         const auto attention = softmax(matmul(q, k, {.transpose_b = true}) / std::sqrt(32.0));
         const auto attended = reshape(transpose(matmul(attention, v), {0, 2, 1, 3}), {8, 64, 128});
         const auto y = x + linear(attended, p[4], p[5]);
         const auto z = linear(gelu(linear(layer_norm(y, {128}, p[6], p[7]), p[8], p[9])), p[10], p[11]);
         return mean(square(y + z));
     }},
    {"lstm",
     [](const Variables& p, const Variables& inputs) {
         Variable<> h = full({32, 128}, 0.0f), c = h;
         for (int step = 0; step < 32; ++step) {
             const auto x = view(inputs[0], step);
             const auto gates = split(linear(x, p[0]) + linear(h, p[1]), 4, 1);
             c = sigmoid(gates[1]) * c + sigmoid(gates[0]) * tanh(gates[2]);
             h = sigmoid(gates[3]) * tanh(c);
         }
         return mean(square(h));
     }},
    {"burgers",
     [](const Variables& p, const Variables& inputs) {
         auto x = inputs[0].detach(), t = inputs[1].detach();
         x.requires_grad(true), t.requires_grad(true);
         auto u = concatenate({x, t}, 1);
         for (std::size_t layer = 0; layer < 3; ++layer) u = tanh(linear(u, p[2 * layer], p[2 * layer + 1]));
         u = linear(u, p[6], p[7]);
         const auto first = grad(sum(u), {x, t}, {.create_graph = true});
         const auto second = grad(sum(first[0]), x, {.create_graph = true});
         return mean(square(first[1] + u * first[0] - 0.01 * second));
     }},
    {"mixture",
     [](const Variables& p, const Variables& inputs) {
         const auto distance = (inputs[0] - p[1]) * exp(-p[2]);
         const auto log_density = log_softmax(p[0]) - sum(p[2], 1) - 0.5 * sum(square(distance), -1);
         return -mean(logsumexp(log_density, 1));
     }},
};

// "models/lstm": the loss and its gradient.
Measured models(const Case& which) {
    const auto model = peers::model(which.part(1));
    Variables inputs, parameters;
    const auto shape = [](const peers::Shape& extents) { return Shape(extents.begin(), extents.end()); };
    for (std::size_t k = 0; k < model.inputs.size(); ++k)
        inputs.emplace_back(array(peers::input(model, k), shape(model.inputs[k])));
    for (std::size_t k = 0; k < model.parameters.size(); ++k) {
        parameters.emplace_back(array(peers::parameter(model, k), shape(model.parameters[k])));
        parameters.back().requires_grad(true);
    }
    Variable<> loss;
    Variables gradients;
    Measured result = peers::measure(seconds, [&] {
        loss = losses.at(model.name)(parameters, inputs);
        gradients = grad(loss, parameters);
    });
    result.values = {static_cast<double>(loss.item())};
    for (const Variable<>& gradient : gradients)
        result.values = peers::joined(result.values, peers::relative(fingerprint(gradient)));
    return result;
}

// "inference/mnist/1": the last part is the batch.
Measured inference(const Case& which) {
    const auto workload = peers::workload(which.part(1));
    const auto batch = which.sizes(2).at(0);
    const Variable<> x = array(peers::input(workload, batch), {batch, workload.sizes.front()});
    std::vector<float> output(batch * workload.sizes.back());
    const auto net = network(workload);
    const auto predict = [&] { net.predict(x, std::span(output)); };
    Measured result = batch == 1 ? peers::measure_each(seconds, predict) : peers::measure(seconds, predict);
    result.values = peers::fingerprint(output.data(), output.size());
    return result;
}

// "scalar/900": so many operations on single numbers, one after the other, forward and backward; the time of one.
Measured scalar(const Case& which) {
    const auto operations = which.sizes(1).at(0);
    Variable<> x = 0.5, y;
    x.requires_grad(true);
    Measured result = peers::measure(seconds, [&] {
        x.zero_grad();
        y = x;
        for (std::size_t i = 0; i < operations; i += 3) y = tanh(y * x + x);
        y.backward();
    });
    for (auto& number : result.numbers) number.second /= static_cast<double>(operations);
    result.values = {static_cast<double>(y.item()), static_cast<double>(x.grad().item())};
    return result;
}

}  // namespace

int main(int argc, char** argv) {
    const auto how = peers::arguments(argc, argv);
    set_threads(static_cast<std::size_t>(how.threads));
    seconds = how.seconds;
    const std::map<std::string, Measured (*)(const Case&)> groups = {
        {"steps", steps},   {"start", steps},         {"elementwise", function}, {"formula", function},
        {"rows", function}, {"arrays", function},     {"batches", function},     {"matmul", matmul},
        {"models", models}, {"inference", inference}, {"scalar", scalar}};
    return peers::run(fmt::format("xgrad ({})", name(level())), how,
                      [&](const Case& each) { return groups.at(each.part(0))(each); });
}
