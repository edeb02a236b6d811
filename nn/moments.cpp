// Moments of activations by quadrature, and the initialiser that is made of them.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <xgrad/autodiff/tape.hpp>
#include <xgrad/nn/init.hpp>
#include <xgrad/nn/instruments.hpp>

namespace xgrad::nn::init {
namespace {

// Nodes and weights of the Gauss–Legendre rule on [−1, 1]: the roots of the Legendre polynomial, by Newton's method.
constexpr std::size_t nodes = 10;
struct Rule {
    std::array<double, nodes> node{}, weight{};

    static const Rule& get() {
        static const Rule rule;
        return rule;
    }

private:
    Rule() {
        for (std::size_t i = 0; i < nodes; ++i) {
            double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (nodes + 0.5)), slope = 0;
            for (int round = 0; round < 10; ++round) {
                double before = 1, p = x;
                for (std::size_t n = 2; n <= nodes; ++n) {
                    const auto order = static_cast<double>(n);
                    before = std::exchange(p, ((2 * order - 1) * x * p - (order - 1) * before) / order);
                }
                slope = static_cast<double>(nodes) * (x * p - before) / (x * x - 1);
                x -= p / slope;
            }
            node[i] = x;
            weight[i] = 2 / ((1 - x * x) * slope * slope);
        }
    }
};

// ψ, ψ², ψ′² and |ψ|, integrated over an interval with the normal density as the weight.
using Integrals = std::array<double, 4>;
struct Interval {
    double low, high;
    Integrals integrals{};
};

// Halves intervals until each agrees with its two halves. No rule of fixed places would do: activations have kinks
// (ReLU at 0, hardtanh at ±1) and jumps anywhere, and only there the intervals become small.
template <class T> class Quadrature {
public:
    using Function = std::function<Variable<T>(const Variable<T>&)>;

    Quadrature(const Function& function, double deviation) : function_(function), deviation_(deviation) {}

    Moments run() {
        std::vector<Interval> open = first_intervals();
        Integrals total{};
        for (int round = 0; !open.empty(); ++round) {
            if (round == 60 || open.size() > 20000)
                throw Error("init::moments: the integrals of the activation do not converge");
            std::vector<Interval> halves;
            for (const Interval& whole : open) {
                const double middle = 0.5 * (whole.low + whole.high);
                halves.push_back({whole.low, middle});
                halves.push_back({middle, whole.high});
            }
            evaluate(halves);
            const Integrals allowed = errors_allowed(total, halves);
            std::vector<Interval> still_open;
            for (std::size_t n = 0; n < open.size(); ++n) {
                const Integrals &a = halves[2 * n].integrals, &b = halves[2 * n + 1].integrals;
                bool agree = true;
                for (std::size_t i = 0; i < total.size(); ++i)
                    agree = agree && std::abs(a[i] + b[i] - open[n].integrals[i]) <= allowed[i];
                if (agree)
                    for (std::size_t i = 0; i < total.size(); ++i) total[i] += a[i] + b[i];
                else
                    still_open.insert(still_open.end(), {halves[2 * n], halves[2 * n + 1]});
            }
            open = std::move(still_open);
        }
        return {total[0], total[1], total[2]};
    }

private:
    // As far out as anything contributes. At 12 deviations the density is below 1e-31, but ψ² may grow against it.
    std::vector<Interval> first_intervals() const {
        constexpr int first = 12, last = 42;
        std::vector<Interval> all;
        for (int edge = first; edge <= last; edge += 6) {
            std::vector<Interval> outer;
            for (int i = edge == first ? 0 : 2 * (edge - 6); i < 2 * edge; ++i) {
                outer.push_back({-0.5 * (i + 1), -0.5 * i});
                outer.push_back({0.5 * i, 0.5 * (i + 1)});
            }
            evaluate(outer);
            if (edge == first) check_pointwise(outer.back());
            all.insert(all.end(), outer.begin(), outer.end());
            const Integrals allowed = errors_allowed({}, all);
            const auto negligible = [&](const Interval& interval) {
                for (std::size_t i = 0; i < allowed.size(); ++i)
                    if (!(std::abs(interval.integrals[i]) <= allowed[i])) return false;
                return true;
            };
            if (std::all_of(all.end() - 2, all.end(), negligible)) return all;
        }
        throw Error(fmt::format(
            "init::moments: the activation grows so fast that a moment is infinite, or still rises at {} deviations",
            last));
    }

    // Relative to the moments of |ψ| and |ψ′|: a mean that cancels is no reason for more precision.
    static Integrals errors_allowed(const Integrals& done, const std::vector<Interval>& open) {
        Integrals sum = done;
        for (const Interval& interval : open)
            for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += interval.integrals[i];
        sum[0] = sum[3];
        for (double& value : sum) {
            if (!std::isfinite(value)) throw Error("init::moments: a moment of the activation is beyond all numbers");
            value *= std::same_as<T, float> ? 1e-7 : 1e-13;
        }
        return sum;
    }

    void evaluate(std::vector<Interval>& intervals) const {
        const Rule& rule = Rule::get();
        Array<T> z = empty<T>(Shape{intervals.size() * nodes});
        for (std::size_t n = 0; n < intervals.size(); ++n)
            for (std::size_t i = 0; i < nodes; ++i)
                z(n * nodes + i) = static_cast<T>(deviation_ * place(intervals[n], i));
        const auto [value, slope] = call(z);
        for (std::size_t n = 0; n < intervals.size(); ++n) {
            Interval& interval = intervals[n];
            for (std::size_t i = 0; i < nodes; ++i) {
                const double at = place(interval, i), y = value(n * nodes + i), dy = slope(n * nodes + i);
                if (!std::isfinite(y) || !std::isfinite(dy))
                    throw Error(fmt::format("init::moments: at {} the activation is {} and its derivative {}",
                                            deviation_ * at, y, dy));
                // The density alone may be too small for a number, and ψ² too large, where their product is not.
                const double root = std::sqrt(0.5 * (interval.high - interval.low) * rule.weight[i] /
                                              std::sqrt(2 * std::numbers::pi)) *
                                    std::exp(-0.25 * at * at);
                interval.integrals[0] += root * y * root;
                interval.integrals[1] += root * y * (root * y);
                interval.integrals[2] += root * dy * (root * dy);
                interval.integrals[3] += root * std::abs(y) * root;
            }
        }
    }
    static double place(const Interval& interval, std::size_t i) {
        return 0.5 * (interval.low + interval.high + (interval.high - interval.low) * Rule::get().node[i]);
    }

    // ψ and ψ′ at these places; a ψ that does not depend on them in a way that is recorded has the derivative 0.
    std::pair<Array<T>, Array<T>> call(const Array<T>& z) const {
        const EnableGrad enable_grad;
        const detail::Unwatched unwatched;
        Variable<T> x(z);
        x.requires_grad(true);
        const Variable<T> y = function_(x);
        if (y.shape() != z.shape())
            throw Error(
                fmt::format("init::moments: the activation makes {} of {}; expected a function of each element alone",
                            describe(y.shape()), describe(z.shape())));
        Variable<T> slope;
        if (y.requires_grad()) slope = grad<T>({y}, {x}, {Variable<T>(full(z.shape(), T{1}))})[0];
        return {y.value(), slope.defined() ? slope.value() : full(z.shape(), T{0})};
    }

    // The same places among others must give the same.
    void check_pointwise(const Interval& last) const {
        std::vector<Interval> alone{{last.low, last.high}};
        evaluate(alone);
        if (std::abs(alone[0].integrals[1] - last.integrals[1]) > 1e-5 * last.integrals[1])
            throw Error("init::moments: the activation is no function of each element alone");
    }

    const Function& function_;
    const double deviation_;
};

double gain_of(const Moments& moments) {
    if (!(moments.second_moment > 0)) throw Error("init::gain: the activation is zero everywhere");
    return 1 / std::sqrt(moments.second_moment);
}

void check_deviation(double deviation) {
    if (!(deviation >= 0 && std::isfinite(deviation)))
        throw Error(fmt::format("init::moments: the deviation is {}; expected a finite number ≥ 0", deviation));
}

}  // namespace

Moments moments(const ActivationFunction& activation, double deviation) {
    check_deviation(deviation);
    return Quadrature<double>(activation, deviation).run();
}
template <class T> Moments moments(const Layer<T>& activation, double deviation) {
    check_deviation(deviation);
    const typename Quadrature<T>::Function forward = [&](const Variable<T>& z) {
        const EvalMode eval_mode;
        return const_cast<Layer<T>&>(activation)(z);  // in evaluation mode it changes nothing
    };
    return Quadrature<T>(forward, deviation).run();
}

double gain(const ActivationFunction& activation) { return gain_of(moments(activation)); }
template <class T> double gain(const Layer<T>& activation) { return gain_of(moments(activation)); }

template <class T> void variance_preserving(Variable<T>& weight, const ActivationFunction& activation) {
    he_normal(weight, gain(activation));
}
template <class T> void variance_preserving(Variable<T>& weight, const Layer<T>& activation) {
    he_normal(weight, gain(activation));
}

#define XGRAD_INSTANTIATE(T)                                                    \
    template Moments moments(const Layer<T>&, double);                          \
    template double gain(const Layer<T>&);                                      \
    template void variance_preserving(Variable<T>&, const ActivationFunction&); \
    template void variance_preserving(Variable<T>&, const Layer<T>&);
XGRAD_INSTANTIATE(float)
XGRAD_INSTANTIATE(double)

}  // namespace xgrad::nn::init
