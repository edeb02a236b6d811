#include <algorithm>

#include <fmt/format.h>

#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/gemm.hpp>
#include <xgrad/autodiff/kernels/move.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace {

// The last two sizes as they enter the product.
struct Operand {
    std::size_t rows, columns;  // after the transpose
    std::size_t stride;         // of a stored row
    Shape batch;

    Operand(const Shape& shape, bool transpose) : batch(shape.begin(), shape.end() - 2) {
        rows = shape[shape.size() - 2];
        columns = stride = shape[shape.size() - 1];
        if (transpose) std::swap(rows, columns);
    }
};

// C = the sum of a batch of products, or C += that.
template <class T>
void multiply_and_add(kernels::Gemm<T> product, std::size_t count, std::size_t a_step, std::size_t b_step) {
    const std::size_t size = product.rows * product.columns, small = 256, together = std::size_t{1} << 16;
    if (size >= small) {
        for (std::size_t i = 0; i < count; ++i, product.a += a_step, product.b += b_step) {
            kernels::gemm(product);
            product.accumulate = true;
        }
        return;
    }
    // Small ones are computed some at a time, and then added up.
    const std::size_t most = std::min(count, together / size);
    const memory::Scratch<T> terms((most + 1) * size);
    T *const total = product.c, *const sums = terms.data() + most * size;
    product.c = terms.data();
    bool add = std::exchange(product.accumulate, false);
    for (std::size_t i = 0, n; i < count; i += n, product.a += n * a_step, product.b += n * b_step) {
        n = std::min(most, count - i);
        kernels::gemm_batch(product, n, a_step, b_step, size);
        kernels::sum(terms.data(), {1, n, size}, add ? sums : total);
        if (add) kernels::add_in_place(total, sums, size);
        add = true;
    }
}

// C = op(A)·op(B), or C += op(A)·op(B), for each product of a batch; products that share a C are added up.
template <class T>
void multiply(const Array<T>& a, const Array<T>& b, MatmulOptions options, Array<T>& c, bool accumulate = false) {
    if (c.size() == 0) return;
    const Operand left(a.shape(), options.transpose_a), right(b.shape(), options.transpose_b), result(c.shape(), false);
    kernels::Gemm<T> product{.rows = result.rows, .columns = result.columns, .depth = left.columns,
                             .a = a.data(), .a_stride = left.stride, .transpose_a = options.transpose_a,
                             .b = b.data(), .b_stride = right.stride, .transpose_b = options.transpose_b,
                             .c = c.data(), .c_stride = result.columns, .accumulate = accumulate};
    if (left.batch.empty() && right.batch.empty()) return kernels::gemm(product);
    const Shape shape = broadcast_shape("matmul", left.batch, right.batch);
    const kernels::Broadcast batch(shape, {left.batch, right.batch, result.batch});
    const std::size_t a_size = left.rows * left.columns, b_size = right.rows * right.columns,
                      c_size = result.rows * result.columns;

    // Along the innermost axis of the batch matrices may be one: rows of A, or steps of the depth of A and B.
    const bool a_moves = batch.stride[0][0] != 0, b_moves = batch.stride[0][1] != 0, c_moves = batch.stride[0][2] != 0;
    std::size_t count = batch.extent[0];
    if (a_moves && c_moves && !b_moves && !product.transpose_a)
        product.rows *= std::exchange(count, 1);
    else if (a_moves && b_moves && !c_moves && product.transpose_a && !product.transpose_b)
        product.depth *= std::exchange(count, 1);

    bool is_sum = batch.size == 0;
    for (std::size_t d = 1; d < batch.rank; ++d) is_sum = is_sum || batch.stride[d][2] == 0;
    if (is_sum && !accumulate) kernels::fill(c.data(), T{0}, c.size());
    product.accumulate = accumulate || is_sum;

    std::size_t index[kernels::max_rank] = {};
    for (std::size_t done = 0; done < batch.size; done += batch.extent[0]) {
        std::size_t place[3] = {};
        for (std::size_t d = 1; d < batch.rank; ++d)
            for (std::size_t k = 0; k < 3; ++k) place[k] += index[d] * batch.stride[d][k];
        product.a = a.data() + place[0] * a_size;
        product.b = b.data() + place[1] * b_size;
        product.c = c.data() + place[2] * c_size;
        const std::size_t a_step = a_moves ? a_size : 0, b_step = b_moves ? b_size : 0;
        if (c_moves || count == 1)
            kernels::gemm_batch(product, count, a_step, b_step, c_size);
        else
            multiply_and_add(product, count, a_step, b_step);
        for (std::size_t d = 1; d < batch.rank && ++index[d] == batch.extent[d]; ++d) index[d] = 0;
    }
}

template <class T> Array<T> multiply(const Variable<T>& a, const Variable<T>& b, MatmulOptions options) {
    const Operand left(a.shape(), options.transpose_a), right(b.shape(), options.transpose_b);
    std::optional<Shape> batch = common_shape(left.batch, right.batch);
    if (!batch)
        throw Error(fmt::format("matmul: the axes before the last two do not broadcast: {} · {}", describe(a.shape()),
                                describe(b.shape())));
    batch->push_back(left.rows);
    batch->push_back(right.columns);
    Array<T> value = empty<T>(*batch);
    multiply(a.value(), b.value(), options, value);
    return value;
}

// The cotangent of an input from compute(array, accumulate): added to what the input has received, or else new.
template <class T, class F> Variable<T> cotangent_of(std::size_t input, const Needs& needs, const F& compute) {
    if (!needs[input]) return {};
    if (Array<T>* const sum = needs.arrived<T>(input)) {
        compute(*sum, true);
        return {};
    }
    Array<T> cotangent = empty<T>(needs.shape(input));
    compute(cotangent, false);
    return cotangent;
}

// With C = op(A)·op(B): dop(A) = G·op(B)ᵀ and dop(B) = op(A)ᵀ·G, transposed once more where op did.
template <class T>
std::array<Variable<T>, 2> matmul_cotangents(const Variable<T>& g, const Variable<T>& a, const Variable<T>& b,
                                             MatmulOptions options, const Needs& needs) {
    const auto [transpose_a, transpose_b] = options;
    const auto product = [&](std::size_t input, const Variable<T>& left, const Variable<T>& right, MatmulOptions as) {
        if (detail::thread_state.recording) return needs[input] ? matmul(left, right, as) : Variable<T>();
        return cotangent_of<T>(input, needs, [&](Array<T>& c, bool accumulate) {
            multiply(left.value(), right.value(), as, c, accumulate);
        });
    };
    return {transpose_a ? product(0, b, g, {transpose_b, true}) : product(0, g, b, {false, !transpose_b}),
            transpose_b ? product(1, g, a, {true, transpose_a}) : product(1, a, g, {!transpose_a, false})};
}

// The product of arrays that both have two axes or more.
template <class T> Variable<T> multiply_matrices(const Variable<T>& a, const Variable<T>& b, MatmulOptions options) {
    Array<T> value = multiply(a, b, options);
    if (!detail::is_recorded(a, b)) return value;
    // Each for the other one's cotangent.
    const Variable<T> none, &kept_a = detail::is_differentiated(b) ? a : none,
                            &kept_b = detail::is_differentiated(a) ? b : none;
    return record("matmul", std::move(value), with("transpose_a", options.transpose_a),
                  with("transpose_b", options.transpose_b),
                  wrt(std::tie(a, b), [kept_a, kept_b, options](const Variable<T>& g, const Needs& needs) {
                      return matmul_cotangents(g, kept_a, kept_b, options, needs);
                  }));
}

// The scalar product.
template <class T> Variable<T> multiply_vectors(const Variable<T>& a, const Variable<T>& b) {
    return record("matmul", full(Shape{}, kernels::dot(a.value().data(), b.value().data(), a.size())),
                  with("transpose_a", false), with("transpose_b", false),
                  wrt(a, [b](const Variable<T>& g) { return g * b; }),
                  wrt(b, [a](const Variable<T>& g) { return g * a; }));
}

}  // namespace

template <class T>
Variable<T> matmul(const Variable<T>& a, const std::type_identity_t<Variable<T>>& b, MatmulOptions options) {
    if (a.dimension() == 0 || b.dimension() == 0)
        throw Error(fmt::format("matmul: {} · {}: a scalar is no matrix; use * instead", describe(a.shape()),
                                describe(b.shape())));
    if ((a.dimension() == 1 && options.transpose_a) || (b.dimension() == 1 && options.transpose_b))
        throw Error(
            fmt::format("matmul: {} · {}: a vector has no transpose", describe(a.shape()), describe(b.shape())));
    if (a.dimension() == 1 && b.dimension() == 1 && a.size() == b.size()) return multiply_vectors(a, b);
    const Variable<T> left = a.dimension() == 1 ? expand_dims(a, 0) : a;
    const Variable<T> right = b.dimension() == 1 ? expand_dims(b, 1) : b;
    if (left.shape(options.transpose_a ? -2 : -1) != right.shape(options.transpose_b ? -1 : -2))
        throw Error(fmt::format("matmul: inner sizes differ: {}{} · {}{}", describe(a.shape()),
                                options.transpose_a ? "ᵀ" : "", describe(b.shape()), options.transpose_b ? "ᵀ" : ""));
    Variable<T> product = multiply_matrices(left, right, options);
    if (a.dimension() == 1) return squeeze(product, -2);
    return b.dimension() == 1 ? squeeze(product, -1) : product;
}

namespace {

template <class T> void check_linear(const Variable<T>& x, const Variable<T>& weight, const Variable<T>& bias) {
    if (weight.dimension() != 2)
        throw Error(fmt::format("linear: the weight has shape {}; expected (out, in)", describe(weight.shape())));
    if (x.dimension() == 0 || x.shape(-1) != weight.shape()[1])
        throw Error(
            fmt::format("linear: an input of shape {} does not fit a weight of shape {}: the last size must be {}",
                        describe(x.shape()), describe(weight.shape()), weight.shape()[1]));
    if (bias.defined() && bias.shape() != Shape{weight.shape()[0]})
        throw Error(fmt::format("linear: a bias of shape {} does not fit a weight of shape {}; expected ({},)",
                                describe(bias.shape()), describe(weight.shape()), weight.shape()[0]));
}

// x as a matrix: all axes but the last made one.
template <class T> Variable<T> as_rows(const Variable<T>& x) {
    if (x.dimension() == 2) return x;
    std::size_t rows = 1;
    for (std::size_t i = 0; i + 1 < x.dimension(); ++i) rows *= x.shape()[i];
    return reshape(x, Shape{rows, x.shape(-1)});
}

// The cotangents of x, weight and bias from that of x·weightᵀ + bias, in operations that are recorded.
template <class T>
std::array<Variable<T>, 3> recorded_linear_cotangents(const Variable<T>& g, const Variable<T>& x,
                                                      const Variable<T>& weight, const Needs& needs) {
    std::array<Variable<T>, 3> cotangents;
    if (needs[0]) cotangents[0] = matmul(g, weight);
    if (needs[1]) cotangents[1] = matmul(as_rows(g), as_rows(x), {.transpose_a = true});
    if (needs[2]) cotangents[2] = sum(as_rows(g), 0);
    return cotangents;
}

// The same from the kernels.
template <class T>
std::array<Variable<T>, 3> linear_cotangents(const Variable<T>& g, const Variable<T>& x, const Variable<T>& weight,
                                             const Needs& needs) {
    if (detail::thread_state.recording) return recorded_linear_cotangents(g, x, weight, needs);
    const std::size_t out = weight.shape()[0], in = weight.shape()[1];
    const std::size_t rows = element_count(std::span(g.shape()).first(g.dimension() - 1));
    const T* const cotangent = g.value().data();
    std::array<Variable<T>, 3> cotangents;
    cotangents[0] = cotangent_of<T>(0, needs, [&](Array<T>& dx, bool accumulate) {
        kernels::gemm<T>({.rows = rows, .columns = in, .depth = out,
                          .a = cotangent, .a_stride = out,
                          .b = weight.value().data(), .b_stride = in,
                          .c = dx.data(), .c_stride = in, .accumulate = accumulate});
    });
    cotangents[1] = cotangent_of<T>(1, needs, [&](Array<T>& dweight, bool accumulate) {
        kernels::gemm<T>({.rows = out, .columns = in, .depth = rows,
                          .a = cotangent, .a_stride = out, .transpose_a = true,
                          .b = x.value().data(), .b_stride = in,
                          .c = dweight.data(), .c_stride = in, .accumulate = accumulate});
    });
    if (needs[2]) {
        Array<T> dbias = empty<T>(Shape{out});
        kernels::sum(cotangent, {1, rows, out}, dbias.data());
        cotangents[2] = std::move(dbias);
    }
    return cotangents;
}

}  // namespace

template <class T>
Variable<T> linear(const Variable<T>& x, const std::type_identity_t<Variable<T>>& weight,
                   const std::type_identity_t<Variable<T>>& bias, Activation activation) {
    check_linear(x, weight, bias);
    const std::size_t in = weight.shape()[1], out = weight.shape()[0];
    Shape shape = x.shape();
    shape[shape.size() - 1] = out;
    Array<T> value = empty<T>(shape);
    if (value.size() > 0)
        kernels::gemm<T>({.rows = value.size() / out, .columns = out, .depth = in,
                          .a = x.value().data(), .a_stride = in,
                          .b = weight.value().data(), .b_stride = in, .transpose_b = true,
                          .c = value.data(), .c_stride = out,
                          .bias = bias.defined() ? bias.value().data() : nullptr,
                          .activation = activation});
    if (!detail::is_recorded(x, weight, bias)) return value;
    const auto inputs = std::tie(x, weight, bias);
    if (activation == Activation::none)
        return record("linear", std::move(value), wrt(inputs, [x, weight](const Variable<T>& g, const Needs& needs) {
                          return linear_cotangents(g, x, weight, needs);
                      }));
    return record("linear_relu", std::move(value),
                  wrt(inputs, [x, weight](Variable<T> g, Variable<T> y, const Needs& needs) {
                      g = detail::elementwise_operation("relu", formulas::ReluVjp{}, std::move(g), y);
                      y = {};  // the cotangent of x may have its memory
                      return linear_cotangents(g, x, weight, needs);
                  }));
}

#define XGRAD_INSTANTIATE(T) \
    template Variable<T> matmul(const Variable<T>&, const Variable<T>&, MatmulOptions); \
    template Variable<T> linear(const Variable<T>&, const Variable<T>&, const Variable<T>&, Activation);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad
