#include <array>
#include <string>

#include <fmt/format.h>

#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/losses.hpp>
#include <xgrad/autodiff/kernels/pieces.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/nn/losses.hpp>
#include <xgrad/nn/losses_reduction.hpp>

namespace xgrad::nn {
namespace {

template <class T> void check_shapes(const char* loss, const Variable<T>& prediction, const Variable<T>& target) {
    const Shape &x = prediction.shape(), &t = target.shape();
    if (x == t) return;
    const std::string shapes = fmt::format("{}: the shapes of the prediction, {}, and the target, {}, differ", loss,
                                           describe(x), describe(t));
    const std::optional<Shape> both = common_shape(x, t);
    if (!both) throw Error(shapes);
    throw Error(fmt::format("{}; broadcasting would go over {} pairs, {}: reshape one of them", shapes,
                            element_count(*both), describe(*both)));
}

// What the sum of the losses is divided by.
template <class T> T divisor(const char* loss, Reduction reduction, const Shape& shape) {
    if (reduction != Reduction::mean && reduction != Reduction::batchmean) return 1;
    if (reduction == Reduction::batchmean && shape.empty())
        throw Error(fmt::format("{}: a prediction of shape () has no batch to take the mean over", loss));
    const std::size_t count = reduction == Reduction::mean ? element_count(shape) : shape[0];
    if (count == 0) throw Error(fmt::format("{}: the mean over no element: the shape is {}", loss, describe(shape)));
    return static_cast<T>(count);
}

// How a pass goes over the operands of a loss: prediction, target, weights, and for a derivative the cotangent.
template <class T, std::size_t N> struct Operands {
    std::array<const T*, N> data;
    kernels::Broadcast loop;

    explicit Operands(const std::array<const Array<T>*, N>& operands)
        : data(each<const T*>(operands, [](const Array<T>& array) { return array.data(); })),
          loop(operands[0]->shape(), each<std::span<const std::size_t>>(
                                         operands, [](const Array<T>& array) { return std::span(array.shape()); })) {}

private:
    template <class R, class F> static std::array<R, N> each(const std::array<const Array<T>*, N>& operands, F f) {
        std::array<R, N> results;
        for (std::size_t i = 0; i < N; ++i) results[i] = f(*operands[i]);
        return results;
    }
};

template <class T, std::size_t N> std::array<const Array<T>*, N> values_of(const std::array<Variable<T>, N>& operands) {
    std::array<const Array<T>*, N> arrays;
    for (std::size_t i = 0; i < N; ++i) arrays[i] = &operands[i].value();
    return arrays;
}

// The sum of the losses, added up in blocks and then pairwise: the same for any number of threads.
template <class T, class Loss, std::size_t N> T sum_of_losses(const Loss& loss, const Operands<T, N>& operands) {
    const auto& kernel = kernels::loss_kernel<Loss, T>();
    const std::size_t blocks = (operands.loop.size + kernels::loss_block - 1) / kernels::loss_block;
    const kernels::Pass<T, N> pass(operands.loop, operands.data.data());
    T total = 0;
    if (blocks <= 1) {
        kernel.block_sums(&loss, pass, 0, blocks, &total);
        return total;
    }
    Array<T> sums = empty<T>({blocks});
    kernels::in_pieces(blocks, kernels::loss_block, [&](std::size_t first, std::size_t count) {
        kernel.block_sums(&loss, pass, first, first + count, sums.data());
    });
    kernels::sum(sums.data(), {1, blocks, 1}, &total);
    return total;
}

// The cotangent of one operand: its derivative times g, which is a number or of the operands' shape.
template <std::size_t Operand, class T, class Loss, std::size_t N>
Variable<T> derivative(const Loss& loss, const std::array<Variable<T>, N>& operands, const Array<T>& g) {
    std::array<const Array<T>*, N + 1> arrays;
    for (std::size_t i = 0; i < N; ++i) arrays[i] = &operands[i].value();
    arrays[N] = &g;
    const Operands<T, N + 1> with_g(arrays);
    const formulas::LossDerivative<Loss, Operand> formula{loss};
    Array<T> result = empty<T>(operands[0].shape());
    kernels::loss_kernel<Loss, T>().derivatives[Operand].forward(&formula, with_g.loop, result.data(),
                                                                 with_g.data.data());
    return result;
}

// The cotangents of prediction and target, written with operations: for a backward that is recorded.
template <class T, class Loss, std::size_t N>
std::array<Variable<T>, 2> recorded_derivatives(const Loss& loss, const std::array<Variable<T>, N>& operands,
                                                const Variable<T>& g) {
    using D = Dual<Variable<T>, 2>;
    const auto result = [&]<std::size_t... I>(std::index_sequence<I...>) {
        return loss(I < 2 ? D::variable(operands[I], I) : D(operands[I])...);
    }(std::make_index_sequence<N>());
    return {g * Variable<T>(result.tangent[0]), g * Variable<T>(result.tangent[1])};
}

template <class T, class Loss, std::size_t N>
auto vjp_of(const Loss& loss, const std::array<Variable<T>, N>& operands, T scale) {
    return [loss, operands, scale](const Variable<T>& g, const Needs& needs) {
        std::array<Variable<T>, N> cotangents;
        if (xgrad::detail::thread_state.recording) {
            auto both = recorded_derivatives(loss, operands, scale == 1 ? g : g * scale);
            for (std::size_t i = 0; i < 2; ++i)
                if (needs[i]) cotangents[i] = std::move(both[i]);
            return cotangents;
        }
        const Array<T> scaled = scale == 1 ? share(g.value(), g.shape()) : full(Shape{}, g.item() * scale);
        if (needs[0]) cotangents[0] = derivative<0>(loss, operands, scaled);
        if (needs[1]) cotangents[1] = derivative<1>(loss, operands, scaled);
        return cotangents;
    };
}

// The operation of a loss: operands are prediction, target and, for some, weights that broadcast to their shape.
template <class T, class Loss, std::size_t N, class... Settings>
Variable<T> operation(const char* name, const Loss& loss, const std::array<Variable<T>, N>& operands,
                      Reduction reduction, Settings... settings) {
    check_shapes(name, operands[0], operands[1]);
    const Shape& shape = operands[0].shape();
    const T count = divisor<T>(name, reduction, shape);
    const Operands<T, N> all(values_of(operands));
    Array<T> value = empty<T>(reduction == Reduction::none ? shape : Shape{});
    if (reduction == Reduction::none)
        kernels::loss_kernel<Loss, T>().values.forward(&loss, all.loop, value.data(), all.data.data());
    else
        value.data()[0] = sum_of_losses(loss, all) / count;
    const auto inputs = std::apply([](const auto&... operand) { return std::tie(operand...); }, operands);
    return record(name, std::move(value), wrt(inputs, vjp_of(loss, operands, 1 / count)), settings...,
                  with("reduction", detail::name_of(reduction)));
}

// A weight that broadcasts to the logits; 1 when none is given.
template <class T> Variable<T> checked_weight(const char* name, const Variable<T>& weight, const Shape& logits) {
    if (!weight.defined()) return 1;
    if (!can_broadcast(weight.shape(), logits))
        throw Error(fmt::format("binary_cross_entropy_with_logits: a {} of shape {} does not broadcast to logits of "
                                "shape {}",
                                name, describe(weight.shape()), describe(logits)));
    if (weight.requires_grad())
        throw Error(fmt::format("binary_cross_entropy_with_logits: the {0} requires a gradient, but has none here; "
                                "give {0}.detach()",
                                name));
    return weight;
}

}  // namespace

template <class T>
Variable<T> mse_loss(const Variable<T>& prediction, const std::type_identity_t<Variable<T>>& target,
                     LossOptions options) {
    detail::refuse_batchmean("mse_loss", options.reduction);
    return operation("mse_loss", formulas::SquaredError{}, std::array{prediction, target}, options.reduction);
}

template <class T>
Variable<T> l1_loss(const Variable<T>& prediction, const std::type_identity_t<Variable<T>>& target,
                    LossOptions options) {
    detail::refuse_batchmean("l1_loss", options.reduction);
    return operation("l1_loss", formulas::AbsoluteError{}, std::array{prediction, target}, options.reduction);
}

template <class T>
Variable<T> huber_loss(const Variable<T>& prediction, const std::type_identity_t<Variable<T>>& target,
                       HuberOptions options) {
    detail::refuse_batchmean("huber_loss", options.reduction);
    if (!(options.delta > 0)) throw Error(fmt::format("huber_loss: delta is {}; expected above 0", options.delta));
    return operation("huber_loss", formulas::Huber{options.delta, 1}, std::array{prediction, target},
                     options.reduction, with("delta", options.delta));
}

template <class T>
Variable<T> smooth_l1_loss(const Variable<T>& prediction, const std::type_identity_t<Variable<T>>& target,
                           SmoothL1Options options) {
    detail::refuse_batchmean("smooth_l1_loss", options.reduction);
    if (!(options.beta >= 0)) throw Error(fmt::format("smooth_l1_loss: beta is {}; expected at least 0", options.beta));
    if (options.beta == 0)
        return operation("smooth_l1_loss", formulas::AbsoluteError{}, std::array{prediction, target},
                         options.reduction, with("beta", options.beta));
    return operation("smooth_l1_loss", formulas::Huber{options.beta, 1 / options.beta}, std::array{prediction, target},
                     options.reduction, with("beta", options.beta));
}

template <class T>
Variable<T> binary_cross_entropy_with_logits(const Variable<T>& logits, const std::type_identity_t<Variable<T>>& target,
                                             const std::type_identity_t<BinaryCrossEntropyOptions<T>>& options) {
    detail::refuse_batchmean("binary_cross_entropy_with_logits", options.reduction);
    return operation("binary_cross_entropy_with_logits", formulas::BinaryCrossEntropy{},
                     std::array{logits, target, checked_weight("weight", options.weight, logits.shape()),
                                checked_weight("pos_weight", options.pos_weight, logits.shape())},
                     options.reduction);
}

template <class T>
Variable<T> kl_div(const Variable<T>& log_prediction, const std::type_identity_t<Variable<T>>& target,
                   KlDivOptions options) {
    const std::array operands{log_prediction, target};
    const auto log_target = with("log_target", options.log_target);
    if (options.log_target)
        return operation("kl_div", formulas::KullbackLeiblerLog{}, operands, options.reduction, log_target);
    return operation("kl_div", formulas::KullbackLeibler{}, operands, options.reduction, log_target);
}

#define XGRAD_INSTANTIATE(T) \
    template Variable<T> mse_loss(const Variable<T>&, const Variable<T>&, LossOptions); \
    template Variable<T> l1_loss(const Variable<T>&, const Variable<T>&, LossOptions); \
    template Variable<T> huber_loss(const Variable<T>&, const Variable<T>&, HuberOptions); \
    template Variable<T> smooth_l1_loss(const Variable<T>&, const Variable<T>&, SmoothL1Options); \
    template Variable<T> binary_cross_entropy_with_logits(const Variable<T>&, const Variable<T>&, \
                                                          const BinaryCrossEntropyOptions<T>&); \
    template Variable<T> kl_div(const Variable<T>&, const Variable<T>&, KlDivOptions);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad::nn
