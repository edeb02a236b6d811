// The worst error of each SIMD function, in units in the last place (ulp), over a dense sweep of its arguments, for
// both precisions and every instruction-set level that this processor has. Prints the table that docs/numerics.md
// shows.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/kernels/broadcast.hpp>
#include <xgrad/autodiff/kernels/elementwise.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>

using namespace xgrad;

namespace {

struct Settings {
    std::uint64_t step = 61;          // of the floats, by their bits: 1 takes all of them
    std::uint64_t doubles = 5000000;  // random ones
    bool places = false;
};

// The references have far more digits than what they are compared with.
template <class T> using Reference = std::conditional_t<std::is_same_v<T, float>, double, long double>;

// What was found over a sweep.
struct Worst {
    double ulps = 0, where = 0, second = 0;
    std::uint64_t flushed = 0;  // results below the normal range that came out as 0
    std::uint64_t wrong = 0;    // NaN, infinity or zero where the reference has something else, or the other way round

    void join(const Worst& other) {
        if (other.ulps > ulps) ulps = other.ulps, where = other.where, second = other.second;
        flushed += other.flushed;
        wrong += other.wrong;
    }
};

template <class T, class R> void compare(Worst& worst, T value, R reference, T x, T y) {
    using Limits = std::numeric_limits<T>;
    if (std::isnan(reference)) {
        worst.wrong += !std::isnan(value);
        return;
    }
    const R magnitude = std::abs(reference);
    // What rounds to infinity, half a unit above the largest number, has to be infinite.
    const R unit_of_largest = std::ldexp(R(1), Limits::max_exponent - Limits::digits);
    if (magnitude >= static_cast<R>(Limits::max()) + unit_of_largest / 2) {
        worst.wrong += value != std::copysign(Limits::infinity(), static_cast<T>(reference > 0 ? 1 : -1));
        return;
    }
    if (!std::isfinite(value)) {
        // One unit too large may be infinity, but not more.
        if (magnitude > static_cast<R>(Limits::max()) - 4 * unit_of_largest && std::isinf(value))
            worst.join({.ulps = static_cast<double>((static_cast<R>(Limits::max()) - magnitude) / unit_of_largest) + 1,
                        .where = static_cast<double>(x), .second = static_cast<double>(y)});
        else
            ++worst.wrong;
        return;
    }
    if (magnitude < static_cast<R>(Limits::min())) {  // denormal: 0, the smallest normal number, or about right
        const R error = std::abs(static_cast<R>(value) - reference);
        if (value == 0)
            worst.flushed += magnitude >= static_cast<R>(Limits::denorm_min());
        else if (error > static_cast<R>(Limits::min()) * static_cast<R>(Limits::epsilon()) * 4)
            ++worst.wrong;
        return;
    }
    worst.wrong += value == 0;
    int exponent;
    std::frexp(magnitude, &exponent);
    const R unit = std::ldexp(R(1), exponent - Limits::digits);
    const double ulps = static_cast<double>(std::abs(static_cast<R>(value) - reference) / unit);
    if (ulps > worst.ulps)
        worst.ulps = ulps, worst.where = static_cast<double>(x), worst.second = static_cast<double>(y);
}

std::vector<Level> levels() {
    std::vector<Level> result;
    for (Level at : {Level::portable, Level::avx2, Level::avx512})
        if (available(at)) result.push_back(at);
    return result;
}

// The arguments of a sweep: float by float, or random doubles of all magnitudes and those around powers of two.
template <class T> class Arguments {
public:
    explicit Arguments(const Settings& settings) : settings_(settings) {}

    std::uint64_t size() const {
        if constexpr (std::is_same_v<T, float>)
            return (std::uint64_t{1} << 32) / settings_.step;
        else
            return settings_.doubles + near_powers;
    }
    T operator[](std::uint64_t i) const {
        if constexpr (std::is_same_v<T, float>) {
            return std::bit_cast<float>(static_cast<std::uint32_t>(i * settings_.step));
        } else {
            if (i < near_powers) {  // 2ᵏ and its neighbours, all k, denormal ones and infinity too
                const std::uint64_t bits = (i / 16) << 52;
                return std::bit_cast<double>(bits + i % 8 - 4) * (i / 8 % 2 ? -1 : 1);
            }
            // Half of them are spread over all exponents, half over those from 2⁻³² to 2³², where functions vary.
            std::uint64_t bits = mixed(i);
            if (i % 2) bits = (bits & 0x800fffffffffffff) | ((1023 - 32 + mixed(i ^ 0x5555) % 64) << 52);
            return std::bit_cast<double>(bits);
        }
    }

private:
    static constexpr std::uint64_t near_powers = 2048 * 16;

    // Random bits of a number: the finaliser of SplitMix64 (Steele et al. 2014).
    static std::uint64_t mixed(std::uint64_t i) {
        i = (i + 1) * 0x9e3779b97f4a7c15;
        i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9;
        i = (i ^ (i >> 27)) * 0x94d049bb133111eb;
        return i ^ (i >> 31);
    }

    Settings settings_;
};

constexpr std::size_t block = 1 << 14;

// A formula's kernel at all levels. (They run outside of their levels, which is all the same where nothing broadcasts.)
template <class Formula, class T, std::size_t N> auto kernels_at_levels() {
    const Level before = level();
    std::vector<const kernels::ElementwiseKernel<T, N>*> result;
    for (const Level at : levels()) {
        set_level(at);
        result.push_back(&kernels::elementwise_kernel<Formula, T, N>());
    }
    set_level(before);
    return result;
}

// One function at all levels, block by block.
template <class T, class Formula, class F>
std::vector<Worst> sweep(const Settings& settings, const Formula& formula, F reference) {
    const Arguments<T> arguments(settings);
    const auto at = kernels_at_levels<Formula, T, 1>();
    std::vector<Worst> worst(at.size());
    std::mutex mutex;
    const std::uint64_t count = arguments.size();
    kernels::parallel((count + block - 1) / block, [&](std::size_t piece) {
        const std::uint64_t first = piece * block;
        const std::size_t size = std::min<std::uint64_t>(block, count - first);
        std::vector<T> x(size), y(size);
        std::vector<Reference<T>> exact(size);
        for (std::size_t i = 0; i < size; ++i) {
            x[i] = arguments[first + i];
            exact[i] = reference(static_cast<Reference<T>>(x[i]));
        }
        for (std::size_t l = 0; l < at.size(); ++l) {
            const T* inputs[] = {x.data()};
            const std::size_t shape[] = {size};
            at[l]->forward(&formula, kernels::Broadcast(shape, {shape}), y.data(), inputs);
            Worst found;
            for (std::size_t i = 0; i < size; ++i) compare(found, y[i], exact[i], x[i], T(0));
            const std::lock_guard lock(mutex);
            worst[l].join(found);
        }
    });
    return worst;
}

// xʸ for x of all magnitudes, and y such that the result has one of all magnitudes, too.
template <class T> std::vector<Worst> sweep_pow(const Settings& settings) {
    using R = Reference<T>;
    const auto at = kernels_at_levels<formulas::Pow, T, 2>();
    std::vector<Worst> worst(at.size());
    std::mutex mutex;
    kernels::parallel((settings.doubles + block - 1) / block, [&](std::size_t piece) {
        Generator generator(Generator::State{.seed = 1, .stream = piece});
        std::vector<T> x(block), y(block), z(block);
        std::vector<R> exact(block);
        for (std::size_t i = 0; i < block; ++i) {
            const double largest = std::numeric_limits<T>::max_exponent;
            const double exponent = i % 2 ? 4 * (generator.uniform() - 0.5) : 2 * largest * (generator.uniform() - 0.5);
            x[i] = static_cast<T>(std::exp2(exponent));
            y[i] = static_cast<T>(2.1 * largest * (generator.uniform() - 0.5) / std::log2(static_cast<double>(x[i])));
            if (i % 8 == 0) y[i] = std::trunc(y[i]), x[i] = -x[i];
            exact[i] = std::pow(static_cast<R>(x[i]), static_cast<R>(y[i]));
        }
        for (std::size_t l = 0; l < at.size(); ++l) {
            const T* inputs[] = {x.data(), y.data()};
            const std::size_t shape[] = {block};
            const formulas::Pow formula;
            at[l]->forward(&formula, kernels::Broadcast(shape, {shape, shape}), z.data(), inputs);
            Worst found;
            for (std::size_t i = 0; i < block; ++i) compare(found, z[i], exact[i], x[i], y[i]);
            const std::lock_guard lock(mutex);
            worst[l].join(found);
        }
    });
    return worst;
}

class Table {
public:
    explicit Table(const Settings& settings) : settings_(settings) {
        std::string head = "| function |", rule = "|---|";
        for (const char* precision : {"float", "double"})
            for (Level at : levels()) head += fmt::format(" {} {} |", precision, name(at)), rule += "---|";
        fmt::print("{}\n{}\n", head, rule);
    }

    template <class Formula, class F> void row(const char* function, const Formula& formula, F reference) {
        print(function, sweep<float>(settings_, formula, reference), sweep<double>(settings_, formula, reference));
    }
    void pow_row() { print("xʸ", sweep_pow<float>(settings_), sweep_pow<double>(settings_)); }

    void end() const {
        for (const std::string& note : notes_) fmt::print("{}\n", note);
    }
    bool wrong() const { return wrong_; }

private:
    void print(const char* function, const std::vector<Worst>& of_float, const std::vector<Worst>& of_double) {
        std::string line = fmt::format("| {} |", function);
        const auto at = levels();
        for (const auto* list : {&of_float, &of_double})
            for (std::size_t l = 0; l < list->size(); ++l) {
                const Worst& worst = (*list)[l];
                line += fmt::format(" {:.2f} |", worst.ulps);
                const std::string who = fmt::format("{} of {} at level {}", function,
                                                    list == &of_float ? "float" : "double", name(at[l]));
                if (settings_.places)
                    notes_.push_back(fmt::format("{}: {:.2f} ulp at {} {}; {} denormal results were 0", who, worst.ulps,
                                                 worst.where, worst.second, worst.flushed));
                if (worst.wrong)
                    notes_.push_back(fmt::format("{}: {} results are wrong", who, worst.wrong)), wrong_ = true;
            }
        fmt::print("{}\n", line);
        std::fflush(stdout);
    }

    Settings settings_;
    std::vector<std::string> notes_;
    bool wrong_ = false;
};

}  // namespace

int main(int argc, char** argv) {
    Settings settings;
    CLI::App app("Measures the worst error of each SIMD function in units in the last place.");
    app.option_defaults()->always_capture_default();
    app.add_option("--step", settings.step, "take every so many floats; 1 takes all 2^32")->check(CLI::PositiveNumber);
    app.add_option("--doubles", settings.doubles, "how many random doubles to take")->check(CLI::PositiveNumber);
    app.add_flag("--places", settings.places, "say where the worst errors are, and how many denormal results were 0");
    CLI11_PARSE(app, argc, argv);

    Table table(settings);
    table.row("exp", formulas::Exp(), [](auto x) { return std::exp(x); });
    table.row("expm1", formulas::Expm1(), [](auto x) { return std::expm1(x); });
    table.row("log", formulas::Log(), [](auto x) { return std::log(x); });
    table.row("log1p", formulas::Log1p(), [](auto x) { return std::log1p(x); });
    table.row("sqrt", formulas::Sqrt(), [](auto x) { return std::sqrt(x); });
    table.row("rsqrt", formulas::Rsqrt(), [](auto x) { return 1 / std::sqrt(x); });
    table.row("reciprocal", formulas::Reciprocal(), [](auto x) { return 1 / x; });
    table.row("sin", formulas::Sin(), [](auto x) { return std::sin(x); });
    table.row("cos", formulas::Cos(), [](auto x) { return std::cos(x); });
    table.row("tan", formulas::Tan(), [](auto x) { return std::tan(x); });
    table.row("tanh", formulas::Tanh(), [](auto x) { return std::tanh(x); });
    table.row("sigmoid", formulas::Sigmoid(), [](auto x) { return 1 / (1 + std::exp(-x)); });
    table.row("erf", formulas::Erf(), [](auto x) { return std::erf(x); });
    table.pow_row();
    table.row("x³", formulas::PowNumber{3}, [](auto x) { return x * x * x; });
    table.row("softplus", formulas::Softplus(), [](auto x) { return x > 20 ? x : std::log1p(std::exp(x)); });
    table.row("elu", formulas::Elu(), [](auto x) { return x > 0 ? x : std::expm1(x); });
    table.row("log_sigmoid", formulas::LogSigmoid(),
              [](auto x) { return x > 0 ? -std::log1p(std::exp(-x)) : x - std::log1p(std::exp(x)); });
    table.end();
    return table.wrong() ? 1 : 0;
}
