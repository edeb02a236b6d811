#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/formulas.hpp>
#include <xgrad/autodiff/kernels/batch_norm.hpp>
#include <xgrad/autodiff/kernels/layer_norm.hpp>
#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/normalization.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace {

template <class T> const T* data_of(const Variable<T>& x) { return x.defined() ? x.value().data() : nullptr; }
template <class T> T* writable(Variable<T>& x) { return x.defined() ? x.node()->value.data() : nullptr; }

// Memory for a cotangent of g's shape: that of g itself when nobody else sees it.
template <class T> Variable<T> like(const Variable<T>& g) {
    return detail::is_sole_owner(g) ? g : Variable<T>(empty<T>(g.shape()));
}

void check_row(const char* operation, const char* name, const Shape& row, const Shape& expected, const Shape& x) {
    if (row != expected)
        throw Error(fmt::format("{}: a {} of shape {} does not fit an input of shape {}; expected {}", operation, name,
                                describe(row), describe(x), describe(expected)));
}
template <class T>
void check_row(const char* operation, const char* name, const Variable<T>& row, const Shape& expected, const Shape& x) {
    if (row.defined()) check_row(operation, name, row.shape(), expected, x);
}

// ---- batch_norm ----

kernels::Channels channels_of(const Shape& shape) {
    kernels::Channels channels{shape[0], shape[1], 1};
    for (std::size_t i = 2; i < shape.size(); ++i) channels.inner *= shape[i];
    return channels;
}

template <class T>
kernels::Channels check_batch_norm(const char* operation, const Variable<T>& x, const Variable<T>& weight,
                                   const Variable<T>& bias) {
    if (x.dimension() < 2)
        throw Error(fmt::format("{}: an input of shape {} has no channels; expected (N, C, …)", operation,
                                describe(x.shape())));
    const Shape row{x.shape()[1]};
    check_row(operation, "weight", weight, row, x.shape());
    check_row(operation, "bias", bias, row, x.shape());
    return channels_of(x.shape());
}

// A value per channel, of shape (C), as it broadcasts against (N, C, …).
template <class T> Variable<T> per_channel(const Variable<T>& row, std::size_t dimension) {
    Shape shape(dimension - 1, 1);
    shape[0] = row.size();
    return reshape(row, shape);
}

// What the backward of batch_norm needs. The first two rows of the statistics, (C) each, are the mean and
// 1/√(variance + epsilon); they are constants when they were given. Otherwise they depend on x, and two more
// rows are what batch_norm hands out and anybody may change: the mean once more, and the variance.
template <class T> struct SavedForBatchNorm {
    Variable<T> x, weight;
    Array<T> statistics;
    double epsilon;
    bool constant;

    std::size_t channels() const { return statistics.shape()[1]; }
    const T* mean() const { return statistics.data(); }
    const T* rstd() const { return statistics.data() + channels(); }
};

// x, weight and bias.
template <class T> using BatchNormInputs = std::tuple<const Variable<T>&, const Variable<T>&, const Variable<T>&>;

// The cotangents of these.
template <class T>
std::array<Variable<T>, 3> fused_cotangents(const Variable<T>& g, const Variable<T>& y,
                                            const SavedForBatchNorm<T>& saved, const Needs& needs) {
    const T* const cotangent = g.value().data();
    std::array<Variable<T>, 3> results;
    if (needs[0]) results[0] = like(g);
    if (needs[1]) results[1] = empty<T>({saved.channels()});
    if (needs[2]) results[2] = empty<T>({saved.channels()});
    kernels::batch_norm_backward<T>({.shape = channels_of(saved.x.shape()),
                                     .x = saved.x.value().data(),
                                     .mean = saved.mean(),
                                     .rstd = saved.rstd(),
                                     .weight = data_of(saved.weight),
                                     .g = cotangent,
                                     .relu_y = data_of(y),
                                     .constant_statistics = saved.constant,
                                     .dx = writable(results[0]),
                                     .dweight = writable(results[1]),
                                     .dbias = writable(results[2])});
    return results;
}

// The same from operations that are recorded.
template <class T>
std::array<Variable<T>, 3> composed_cotangents(Variable<T> g, const Variable<T>& y, const SavedForBatchNorm<T>& saved,
                                               const Needs& needs) {
    if (y.defined()) g = detail::elementwise_operation("relu", formulas::ReluVjp{}, std::move(g), y);
    const Variable<T>& x = saved.x;
    const std::size_t dimension = x.dimension(), channels = saved.channels();
    Axes axes{0};
    for (std::size_t i = 2; i < dimension; ++i) axes.push_back(i);

    Variable<T> center, rstd;
    if (saved.constant) {
        center = per_channel(Variable<T>(share(saved.statistics, {channels})), dimension);
        rstd = per_channel(Variable<T>(share(saved.statistics, {channels}, channels)), dimension);
    } else {
        center = mean(x, axes, keep_dims);
        rstd = rsqrt(variance(x, axes, keep_dims) + saved.epsilon);
    }
    const Variable<T> normal = (x - center) * rstd;
    std::array<Variable<T>, 3> results;
    if (needs[0]) {
        const Variable<T> scale = saved.weight.defined() ? per_channel(saved.weight, dimension) * rstd : rstd;
        results[0] = saved.constant
                         ? scale * g
                         : scale * (g - mean(g, axes, keep_dims) - normal * mean(g * normal, axes, keep_dims));
    }
    if (needs[1]) results[1] = sum(g * normal, axes);
    if (needs[2]) results[2] = sum(g, axes);
    return results;
}

// `more` are settings, and inputs that get no cotangents.
template <class T, class... More>
Variable<T> record_batch_norm(Array<T>&& value, SavedForBatchNorm<T>&& saved, Activation activation,
                              BatchNormInputs<T> inputs, More... more) {
    auto vjp = [saved = std::move(saved)](Variable<T> g, const Variable<T>& y, const Needs& needs) {
        return detail::thread_state.recording ? composed_cotangents(std::move(g), y, saved, needs)
                                              : fused_cotangents(g, y, saved, needs);
    };
    if (activation == Activation::relu)
        return record("batch_norm_relu", std::move(value), wrt(inputs, std::move(vjp)), std::move(more)...);
    return record("batch_norm", std::move(value),
                  wrt(inputs, [vjp = std::move(vjp)](Variable<T> g, const Needs& needs) {
                      return vjp(std::move(g), Variable<T>(), needs);
                  }),
                  std::move(more)...);
}

template <class T>
kernels::BatchNorm<T> batch_norm_kernel(const Variable<T>& x, const Variable<T>& weight, const Variable<T>& bias,
                                        double epsilon, Activation activation, Array<T>& value) {
    return {.shape = channels_of(x.shape()),
            .x = x.value().data(),
            .weight = data_of(weight),
            .bias = data_of(bias),
            .epsilon = static_cast<T>(epsilon),
            .relu = activation == Activation::relu,
            .y = value.data()};
}

}  // namespace

template <class T>
BatchNormResult<T> batch_norm(const Variable<T>& x, const std::type_identity_t<Variable<T>>& weight,
                              const std::type_identity_t<Variable<T>>& bias, double epsilon, Activation activation) {
    const kernels::Channels shape = check_batch_norm("batch_norm", x, weight, bias);
    if (shape.samples() < 2)
        throw Error(
            fmt::format("batch_norm: an input of shape {} has {} per channel; the statistics of a batch need at "
                        "least 2",
                        describe(x.shape()), shape.samples() == 1 ? "1 value" : "no values"));
    const std::size_t count = shape.channels;
    Array<T> statistics = empty<T>({4, count});
    T* const rows = statistics.data();
    Array<T> value = empty<T>(x.shape());
    kernels::batch_norm<T>(batch_norm_kernel(x, weight, bias, epsilon, activation, value),
                           {.mean = rows, .rstd = rows + count, .variance = rows + 3 * count});
    std::copy_n(rows, count, rows + 2 * count);
    BatchNormResult<T> result{{}, share(statistics, {count}, 2 * count), share(statistics, {count}, 3 * count)};
    result.output = record_batch_norm(std::move(value), {x, weight, std::move(statistics), epsilon, false}, activation,
                                      std::tie(x, weight, bias), with("epsilon", epsilon));
    return result;
}

namespace {

template <class T, class... More>
Variable<T> infer(const Variable<T>& x, const Array<T>& mean, const Array<T>& variance, const Variable<T>& weight,
                  const Variable<T>& bias, double epsilon, Activation activation, More... more) {
    const std::size_t count = check_batch_norm("batch_norm_inference", x, weight, bias).channels;
    check_row("batch_norm_inference", "mean", mean.shape(), {count}, x.shape());
    check_row("batch_norm_inference", "variance", variance.shape(), {count}, x.shape());
    Array<T> value = empty<T>(x.shape());
    kernels::batch_norm_inference(batch_norm_kernel(x, weight, bias, epsilon, activation, value), mean.data(),
                                  variance.data());
    if (!detail::is_recorded(x, weight, bias)) return value;
    SavedForBatchNorm<T> saved{x, weight, {}, epsilon, true};
    if (detail::is_differentiated(x, weight, bias)) {
        // Of its own: running estimates may have gone on before the backward comes.
        saved.statistics = empty<T>({2, count});
        T* const rows = saved.statistics.data();
        std::copy_n(mean.data(), count, rows);
        for (std::size_t c = 0; c < count; ++c)
            rows[count + c] = T{1} / std::sqrt(variance.data()[c] + static_cast<T>(epsilon));
    }
    return record_batch_norm(std::move(value), std::move(saved), activation, std::tie(x, weight, bias),
                             std::move(more)..., with("epsilon", epsilon));
}

}  // namespace

namespace detail {

template <class T>
Variable<T> batch_norm_inference(const Variable<T>& x, const Array<T>& mean, const Array<T>& variance,
                                 const Variable<T>& weight, const Variable<T>& bias, double epsilon,
                                 Activation activation) {
    return infer(x, mean, variance, weight, bias, epsilon, activation, with("mean", mean), with("variance", variance));
}

}  // namespace detail

template <class T>
Variable<T> batch_norm_inference(const Variable<T>& x, const std::type_identity_t<Variable<T>>& mean,
                                 const std::type_identity_t<Variable<T>>& variance,
                                 const std::type_identity_t<Variable<T>>& weight,
                                 const std::type_identity_t<Variable<T>>& bias, double epsilon, Activation activation) {
    const auto none = [](const Variable<T>&) { return Variable<T>(); };
    if (!detail::is_differentiated(mean, variance))
        return infer(x, mean.value(), variance.value(), weight, bias, epsilon, activation, wrt(mean, none),
                     wrt(variance, none));
    const std::size_t dimension = x.dimension();
    const std::size_t count = check_batch_norm("batch_norm_inference", x, weight, bias).channels;
    check_row("batch_norm_inference", "mean", mean, {count}, x.shape());
    check_row("batch_norm_inference", "variance", variance, {count}, x.shape());
    Variable<T> y = (x - per_channel(mean, dimension)) * per_channel(rsqrt(variance + epsilon), dimension);
    if (weight.defined()) y *= per_channel(weight, dimension);
    if (bias.defined()) y += per_channel(bias, dimension);
    return activation == Activation::relu ? relu(y) : y;
}

// ---- layer_norm ----

namespace {

// What the backward of layer_norm needs. The statistics are a row of means and one of 1/√(variance + epsilon).
template <class T> struct SavedForLayerNorm {
    Variable<T> x, weight;
    Array<T> statistics;
    std::size_t axes;  // how many of the last ones are normalised
    double epsilon;
};

// The cotangents of x, weight and bias.
template <class T>
std::array<Variable<T>, 3> fused_cotangents(const Variable<T>& g, const SavedForLayerNorm<T>& saved,
                                            const Needs& needs) {
    const Shape& shape = saved.x.shape();
    const Shape row(shape.end() - static_cast<std::ptrdiff_t>(saved.axes), shape.end());
    const std::size_t rows = saved.statistics.shape()[1];
    const T* const cotangent = g.value().data();
    std::array<Variable<T>, 3> results;
    if (needs[0]) results[0] = like(g);
    if (needs[1]) results[1] = empty<T>(row);
    if (needs[2]) results[2] = empty<T>(row);
    kernels::layer_norm_backward<T>({.rows = rows,
                                     .count = element_count(row),
                                     .x = saved.x.value().data(),
                                     .mean = saved.statistics.data(),
                                     .rstd = saved.statistics.data() + rows,
                                     .weight = data_of(saved.weight),
                                     .g = cotangent,
                                     .dx = writable(results[0]),
                                     .dweight = writable(results[1]),
                                     .dbias = writable(results[2])});
    return results;
}

// The same from operations that are recorded. (The engine sums what weight and bias get over the rows.)
template <class T>
std::array<Variable<T>, 3> composed_cotangents(const Variable<T>& g, const SavedForLayerNorm<T>& saved,
                                               const Needs& needs) {
    Axes axes;
    for (std::size_t i = 1; i <= saved.axes; ++i) axes.push_back(-static_cast<std::ptrdiff_t>(i));
    const Variable<T>& x = saved.x;
    const Variable<T> rstd = rsqrt(variance(x, axes, keep_dims) + saved.epsilon);
    const Variable<T> normal = (x - mean(x, axes, keep_dims)) * rstd;
    std::array<Variable<T>, 3> results;
    if (needs[0]) {
        const Variable<T> scaled = saved.weight.defined() ? g * saved.weight : g;
        results[0] = rstd * (scaled - mean(scaled, axes, keep_dims) - normal * mean(scaled * normal, axes, keep_dims));
    }
    if (needs[1]) results[1] = g * normal;
    if (needs[2]) results[2] = g;
    return results;
}

}  // namespace

template <class T>
Variable<T> layer_norm(const Variable<T>& x, const Shape& normalized_shape,
                       const std::type_identity_t<Variable<T>>& weight, const std::type_identity_t<Variable<T>>& bias,
                       double epsilon) {
    const Shape& shape = x.shape();
    const std::size_t axes = normalized_shape.size(), count = element_count(normalized_shape);
    if (count == 0)
        throw Error(fmt::format("layer_norm: the normalized shape {} has no elements", describe(normalized_shape)));
    if (axes == 0 || axes > shape.size() ||
        !std::equal(normalized_shape.begin(), normalized_shape.end(), shape.end() - static_cast<std::ptrdiff_t>(axes)))
        throw Error(fmt::format("layer_norm: an input of shape {} does not end in the normalized shape {}",
                                describe(shape), describe(normalized_shape)));
    check_row("layer_norm", "weight", weight, normalized_shape, shape);
    check_row("layer_norm", "bias", bias, normalized_shape, shape);

    const std::size_t rows = x.size() / count;
    Array<T> value = empty<T>(shape), statistics = empty<T>({2, rows});
    kernels::layer_norm<T>({.rows = rows,
                            .count = count,
                            .x = x.value().data(),
                            .weight = data_of(weight),
                            .bias = data_of(bias),
                            .epsilon = static_cast<T>(epsilon),
                            .y = value.data(),
                            .mean = statistics.data(),
                            .rstd = statistics.data() + rows});
    SavedForLayerNorm<T> saved{x, weight, std::move(statistics), axes, epsilon};
    return record("layer_norm", std::move(value), with("normalized_shape", normalized_shape), with("epsilon", epsilon),
                  wrt(std::tie(x, weight, bias), [saved = std::move(saved)](Variable<T> g, const Needs& needs) {
                      return detail::thread_state.recording ? composed_cotangents(g, saved, needs)
                                                            : fused_cotangents(g, saved, needs);
                  }));
}

#define XGRAD_INSTANTIATE(T)                                                                                           \
    template BatchNormResult<T> batch_norm(const Variable<T>&, const Variable<T>&, const Variable<T>&, double,         \
                                           Activation);                                                                \
    template Variable<T> batch_norm_inference(const Variable<T>&, const Variable<T>&, const Variable<T>&,              \
                                              const Variable<T>&, const Variable<T>&, double, Activation);             \
    template Variable<T> detail::batch_norm_inference(const Variable<T>&, const Array<T>&, const Array<T>&,            \
                                                      const Variable<T>&, const Variable<T>&, double, Activation);     \
    template Variable<T> layer_norm(const Variable<T>&, const Shape&, const Variable<T>&, const Variable<T>&, double);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad
