#include <algorithm>

#include <fmt/format.h>

#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/kernels/reduce.hpp>
#include <xgrad/autodiff/kernels/softmax.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/softmax.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {
namespace {

using kernels::Slices;

// What a reduction goes over: an array seen as (outer, count, inner), and the shapes of its result.
struct Reduction {
    Shape axes;
    Slices slices;
    Shape kept;    // with the reduced axes as 1
    Shape result;  // as asked for
    bool adjacent = true;

    Reduction(const char* operation, const Shape& shape, const Axes& asked, bool keep) {
        axes = asked.resolve(operation, shape.size());
        if (asked.empty())
            for (std::size_t i = 0; i < shape.size(); ++i) axes.push_back(i);
        std::sort(axes.begin(), axes.end());
        for (std::size_t i = 0; i < shape.size(); ++i) {
            const bool reduced = std::find(axes.begin(), axes.end(), i) != axes.end();
            kept.push_back(reduced ? 1 : shape[i]);
            if (keep || !reduced) result.push_back(reduced ? 1 : shape[i]);
            if (reduced)
                slices.count *= shape[i];
            else if (axes.empty() || i < axes[0])
                slices.outer *= shape[i];
            else
                slices.inner *= shape[i];
        }
        if (!axes.empty()) adjacent = axes[axes.size() - 1] - axes[0] + 1 == axes.size();
    }

    template <class T> Array<T> reduced(const Variable<T>& x, kernels::Reduce<T> reduce) const {
        Array<T> value = empty<T>(result);
        if (adjacent)
            reduce(x.value().data(), slices, value.data());
        else
            kernels::reduce_to(reduce, x.value().data(), x.shape(), value.data(), kept);
        return value;
    }
};

// Axes that do not lie side by side are brought to the end first; then every reduction has one run of axes.
template <class T> Variable<T> with_axes_last(const Variable<T>& x, const Reduction& reduction) {
    Axes order;
    for (std::size_t i = 0; i < x.dimension(); ++i)
        if (reduction.kept[i] != 1 ||
            std::find(reduction.axes.begin(), reduction.axes.end(), i) == reduction.axes.end())
            order.push_back(i);
    for (std::size_t axis : reduction.axes) order.push_back(axis);
    return transpose(x, order);
}

// Runs `reduce(x, reduction)` on an x whose reduced axes lie side by side.
template <class T, class Reduce>
Variable<T> over_adjacent_axes(const char* operation, const Variable<T>& x, const Axes& axes, bool keep,
                               Reduce reduce) {
    const Reduction reduction(operation, x.shape(), axes, keep);
    if (reduction.adjacent) return reduce(x, reduction);
    const Variable<T> arranged = with_axes_last(x, reduction);
    Axes last;
    for (std::size_t i = 0; i < reduction.axes.size(); ++i) last.push_back(-static_cast<std::ptrdiff_t>(i) - 1);
    return reshape(reduce(arranged, Reduction(operation, arranged.shape(), last, false)), reduction.result);
}

void check_not_empty(const char* operation, const Shape& shape, const Slices& slices) {
    if (slices.count == 0)
        throw Error(fmt::format("{}: there are no elements to reduce in the shape {}", operation, describe(shape)));
}

template <class T>
Variable<T> extremum(const char* operation, const Variable<T>& x, const Axes& axes, bool keep,
                     kernels::Reduce<T> kernel) {
    const Reduction reduction(operation, x.shape(), axes, keep);
    check_not_empty(operation, x.shape(), reduction.slices);
    Array<T> value = reduction.reduced(x, kernel);
    if (!detail::is_recorded(x)) return value;
    return record(operation, std::move(value), with("axes", reduction.axes),
                  wrt(x, [operation, x, reduction](const Variable<T>& g, const Variable<T>& y) {
                      if (reduction.adjacent && !detail::thread_state.recording) {
                          Array<T> dx = empty<T>(x.shape());
                          kernels::extremum_backward(x.value().data(), reduction.slices, y.value().data(),
                                                     g.value().data(), dx.data());
                          return Variable<T>(std::move(dx));
                      }
                      // Which elements are the extremum is constant almost everywhere.
                      const Variable<T> constant = x.detach(), best = reshape(y.detach(), reduction.kept);
                      const auto where_best = [&](const Variable<T>& number) {
                          return detail::elementwise_operation(operation, formulas::WhereSame{}, constant, best,
                                                               number);
                      };
                      const Variable<T> count = sum(where_best(1), Axes(reduction.axes), keep_dims);
                      return where_best(reshape(g, reduction.kept) / count);
                  }));
}

template <class T>
Array<std::int64_t> where_extremum(const char* operation, const Variable<T>& x, std::ptrdiff_t axis,
                                   void (*kernel)(const T*, const Slices&, std::int64_t*)) {
    const Reduction reduction(operation, x.shape(), axis, false);
    check_not_empty(operation, x.shape(), reduction.slices);
    Array<std::int64_t> result = empty<std::int64_t>(reduction.result);
    kernel(x.value().data(), reduction.slices, result.data());
    return result;
}

// For each element the product of all others along the last axis, as the kernel makes it, but written with operations,
// so that it can be differentiated again.
template <class T> Variable<T> products_of_others(const Variable<T>& x) {
    const std::size_t count = x.shape(-1);
    const Variable<T> one = broadcast_to(Variable<T>(1), x.shape());
    if (count <= 1) return one;
    const auto column = [&](std::size_t i) { return view(x, xt::ellipsis(), i); };
    std::vector<Variable<T>> before(count), after(count);
    before[0] = after[count - 1] = broadcast_to(Variable<T>(1), column(0).shape());
    for (std::size_t i = 1; i < count; ++i) before[i] = before[i - 1] * column(i - 1);
    for (std::size_t i = count - 1; i > 0; --i) after[i - 1] = after[i] * column(i);
    std::vector<Variable<T>> others;
    for (std::size_t i = 0; i < count; ++i) others.push_back(before[i] * after[i]);
    return stack(others, -1);
}

}  // namespace

template <Real T> Variable<T> sum(const Variable<T>& x, const Axes& axes, KeepDims keep) {
    const Reduction reduction("sum", x.shape(), axes, keep);
    Array<T> value = reduction.reduced(x, kernels::sum<T>);
    return record("sum", std::move(value), with("axes", reduction.axes),
                  wrt(x, [kept = reduction.kept, shape = x.shape()](const Variable<T>& g) {
                      return broadcast_to(reshape(g, kept), shape);
                  }));
}

template <Real T> Variable<T> mean(const Variable<T>& x, const Axes& axes, KeepDims keep) {
    const Reduction reduction("mean", x.shape(), axes, keep);
    check_not_empty("mean", x.shape(), reduction.slices);
    const T count = static_cast<T>(reduction.slices.count);
    Array<T> value = reduction.reduced(x, kernels::sum<T>);
    kernels::divide_in_place(value.data(), count, value.size());
    return record("mean", std::move(value), with("axes", reduction.axes),
                  wrt(x, [kept = reduction.kept, shape = x.shape(), count](const Variable<T>& g) {
                      return broadcast_to(reshape(g / count, kept), shape);
                  }));
}

template <Real T> Variable<T> variance(const Variable<T>& x, const Axes& axes, KeepDims keep, std::size_t correction) {
    return over_adjacent_axes("variance", x, axes, keep, [=](const Variable<T>& a, const Reduction& reduction) {
        check_not_empty("variance", a.shape(), reduction.slices);
        if (reduction.slices.count <= correction)
            throw Error(fmt::format("variance: {} elements are too few for a correction of {}", reduction.slices.count,
                                    correction));
        Array<T> means = empty<T>(reduction.kept), value = empty<T>(reduction.result);
        kernels::mean_and_variance(a.value().data(), reduction.slices, correction, means.data(), value.data());
        if (!detail::is_recorded(a)) return Variable<T>(std::move(value));
        const T factor = T{2} / static_cast<T>(reduction.slices.count - correction);
        return record("variance", std::move(value), with("axes", reduction.axes), with("correction", correction),
                      wrt(a, [a, reduction, factor, means = Variable<T>(std::move(means))](const Variable<T>& g) {
                          const bool recorded = detail::thread_state.recording;
                          const Variable<T> scale = reshape(g, reduction.kept) * factor;
                          return (a - (recorded ? mean(a, Axes(reduction.axes), keep_dims) : means)) * scale;
                      }));
    });
}

template <Real T> Variable<T> prod(const Variable<T>& x, const Axes& axes, KeepDims keep) {
    return over_adjacent_axes("prod", x, axes, keep, [=](const Variable<T>& a, const Reduction& reduction) {
        Array<T> value = empty<T>(reduction.result);
        kernels::prod(a.value().data(), reduction.slices, value.data());
        return record("prod", std::move(value), with("axes", reduction.axes),
                      wrt(a, [a, reduction](const Variable<T>& g) {
                          if (a.size() == 0) return Variable<T>();
                          const Slices& s = reduction.slices;
                          if (!detail::thread_state.recording) {
                              Array<T> others = empty<T>(a.shape());
                              kernels::products_of_others(a.value().data(), s, others.data());
                              return Variable<T>(std::move(others)) * reshape(g, reduction.kept);
                          }
                          const Variable<T> slices = transpose(reshape(a, Shape{s.outer, s.count, s.inner}), {0, 2, 1});
                          const Variable<T> others = transpose(products_of_others(slices), {0, 2, 1});
                          return reshape(others, a.shape()) * reshape(g, reduction.kept);
                      }));
    });
}

template <Real T> Variable<T> max(const Variable<T>& x, const Axes& axes, KeepDims keep) {
    return extremum<T>("max", x, axes, keep, kernels::max<T>);
}

template <Real T> Variable<T> min(const Variable<T>& x, const Axes& axes, KeepDims keep) {
    return extremum<T>("min", x, axes, keep, kernels::min<T>);
}

template <Real T> Variable<T> logsumexp(const Variable<T>& x, const Axes& axes, KeepDims keep) {
    return over_adjacent_axes("logsumexp", x, axes, keep, [=](const Variable<T>& a, const Reduction& reduction) {
        check_not_empty("logsumexp", a.shape(), reduction.slices);
        const auto [outer, count, inner] = reduction.slices;
        const Shape as_slices{outer, count, inner}, as_results{outer, 1, inner};
        Array<T> value = empty<T>(reduction.result);
        Variable<T> probabilities;  // which are the derivatives; those of second order come from a
        if (detail::is_differentiated(a)) {
            probabilities = empty<T>(as_slices);
            kernels::softmax_and_logsumexp(a.value().data(), reduction.slices, probabilities.node()->value.data(),
                                           value.data());
        } else {
            kernels::logsumexp(a.value().data(), reduction.slices, value.data());
        }
        return record("logsumexp", std::move(value), with("axes", reduction.axes),
                      wrt(a, [a, probabilities, as_slices, as_results](const Variable<T>& g) {
                          const bool recorded = detail::thread_state.recording;
                          return reshape((recorded ? softmax(reshape(a, as_slices), 1) : probabilities) *
                                             reshape(g, as_results),
                                         a.shape());
                      }));
    });
}

template <Real T> Array<std::int64_t> argmax(const Variable<T>& x, std::ptrdiff_t axis) {
    return where_extremum<T>("argmax", x, axis, kernels::argmax<T>);
}

template <Real T> Array<std::int64_t> argmin(const Variable<T>& x, std::ptrdiff_t axis) {
    return where_extremum<T>("argmin", x, axis, kernels::argmin<T>);
}

#define XGRAD_INSTANTIATE(T)                                                               \
    template Variable<T> sum(const Variable<T>&, const Axes&, KeepDims);                   \
    template Variable<T> mean(const Variable<T>&, const Axes&, KeepDims);                  \
    template Variable<T> variance(const Variable<T>&, const Axes&, KeepDims, std::size_t); \
    template Variable<T> prod(const Variable<T>&, const Axes&, KeepDims);                  \
    template Variable<T> max(const Variable<T>&, const Axes&, KeepDims);                   \
    template Variable<T> min(const Variable<T>&, const Axes&, KeepDims);                   \
    template Variable<T> logsumexp(const Variable<T>&, const Axes&, KeepDims);             \
    template Array<std::int64_t> argmax(const Variable<T>&, std::ptrdiff_t);               \
    template Array<std::int64_t> argmin(const Variable<T>&, std::ptrdiff_t);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad
