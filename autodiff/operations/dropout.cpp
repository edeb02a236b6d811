#include <fmt/format.h>

#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/formulas.hpp>
#include <xgrad/autodiff/operations/dropout.hpp>
#include <xgrad/autodiff/record.hpp>

namespace xgrad {

template <class T> Variable<T> dropout(const Variable<T>& x, double probability, Generator& generator) {
    if (!(probability >= 0 && probability <= 1))
        throw Error(fmt::format("dropout: the probability is {}; expected 0 to 1", probability));
    if (probability == 0) return x;
    const T scale = probability < 1 ? static_cast<T>(1 / (1 - probability)) : T{0};
    Array<T> factors = empty<T>(x.shape());
    generator.fill_bernoulli(std::span<T>(factors.data(), factors.size()), 1 - probability, scale);
    const Variable<T> mask(std::move(factors));
    return record("dropout",
                  detail::run_forward<T, 2>(detail::any_formula<T, 2>("dropout", formulas::Multiply{}), {&x, &mask}),
                  with("probability", probability), wrt(x, [mask](Variable<T> g) { return std::move(g) * mask; }));
}

template Variable<float> dropout(const Variable<float>&, double, Generator&);
template Variable<double> dropout(const Variable<double>&, double, Generator&);

}  // namespace xgrad
