// What the programs that are compared share: the numbers they compute with, their command line, how a piece of work is
// timed, and the line of JSON that says so. Standard C++ and Linux only, so that every framework's program can include
// it; run_jax.py says the same in Python.
//
//     PROGRAM --threads N --seconds S CASE…
//
// A case is a name of several parts, as in "elementwise/silu/128x256/forward"; cases.py lists them all.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace peers {

// Element i of a stream of numbers.
inline std::uint64_t hash(std::uint64_t stream, std::uint64_t i) {
    std::uint64_t z = (stream << 40) + i + 0x9e3779b97f4a7c15;  // splitmix64
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

// In [-1, 1), exact.
inline double value(std::uint64_t stream, std::uint64_t i) {
    return static_cast<double>(hash(stream, i) >> 11) * 0x1p-52 - 1.0;
}

inline std::vector<float> values(std::uint64_t stream, std::size_t size, double factor = 1.0) {
    std::vector<float> result(size);
    for (std::size_t i = 0; i < size; ++i) result[i] = static_cast<float>(value(stream, i) * factor);
    return result;
}

inline std::vector<std::int64_t> labels(std::uint64_t stream, std::size_t size, std::size_t classes) {
    std::vector<std::int64_t> result(size);
    for (std::size_t i = 0; i < size; ++i) result[i] = static_cast<std::int64_t>(hash(stream, i) % classes);
    return result;
}

struct Case {
    std::string name;
    std::vector<std::string> parts;  // between the slashes

    explicit Case(std::string text) : name(std::move(text)) {
        std::istringstream stream(name);
        for (std::string part; std::getline(stream, part, '/');) parts.push_back(part);
    }
    const std::string& part(std::size_t i) const {
        if (i >= parts.size()) throw std::invalid_argument("the case " + name + " has no part " + std::to_string(i));
        return parts[i];
    }
    // "128x256" of the part i.
    std::vector<std::size_t> sizes(std::size_t i) const {
        std::vector<std::size_t> result;
        std::istringstream stream(part(i));
        for (std::string size; std::getline(stream, size, 'x');) result.push_back(std::stoul(size));
        return result;
    }
};

struct Arguments {
    int threads = 1;
    double seconds = 0.2;
    std::vector<Case> cases;
};

inline Arguments arguments(int argc, char** argv) {
    Arguments result;
    try {
        for (int i = 1; i < argc; ++i) {
            const std::string word = argv[i];
            if (word == "--threads" && i + 1 < argc) {
                result.threads = std::stoi(argv[++i]);
            } else if (word == "--seconds" && i + 1 < argc) {
                result.seconds = std::stod(argv[++i]);
            } else if (word.empty() || word[0] == '-') {
                throw std::invalid_argument(word);
            } else {
                result.cases.emplace_back(word);
            }
        }
        if (result.threads < 1 || result.cases.empty()) throw std::invalid_argument("no case");
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\nusage: %s --threads N --seconds S CASE…\n", argv[0], error.what(), argv[0]);
        std::exit(2);
    }
    return result;
}

// Some elements, the mean and the root of the mean square: what is compared between frameworks.
inline std::vector<double> fingerprint(const float* data, std::size_t size) {
    std::vector<double> result;
    for (std::size_t k = 0; k < std::min<std::size_t>(size, 8); ++k)
        result.push_back(static_cast<double>(data[k * (size - 1) / 7]));
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < size; ++i) {
        sum += static_cast<double>(data[i]);
        squares += static_cast<double>(data[i]) * static_cast<double>(data[i]);
    }
    result.push_back(sum / static_cast<double>(size));
    result.push_back(std::sqrt(squares / static_cast<double>(size)));
    return result;
}

// The same in units of the array's own size, where arrays of many sizes are compared together: the root of the mean
// square becomes its logarithm.
inline std::vector<double> relative(std::vector<double> fingerprint) {
    const double size = fingerprint.back();
    for (double& number : fingerprint) number /= size;
    fingerprint.back() = std::log(size);
    return fingerprint;
}

inline std::vector<double> joined(std::vector<double> a, const std::vector<double>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

class Stopwatch {
public:
    double microseconds() const {
        return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// What is printed of a case: its result, some numbers by name, the median time first.
struct Measured {
    std::vector<std::pair<std::string, double>> numbers;
    std::vector<double> values;
};

inline double quantile(const std::vector<double>& sorted, double q) {
    const double place = q * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const auto above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// Microseconds of one step(). Steps run in rounds of 10 ms, or of one step if that takes longer; what a round takes per
// step is one sample. At least three samples. `finish()` ends a round, for frameworks that compute behind one's back.
template <class Step, class Finish> Measured measure(double seconds, Step&& step, Finish&& finish) {
    step();  // the first may be slow: pages, pools, compilation
    finish();
    std::int64_t per_round = 1;
    for (;;) {
        const Stopwatch watch;
        for (std::int64_t i = 0; i < per_round; ++i) step();
        finish();
        const double elapsed = watch.microseconds();
        if (elapsed > 5'000) {
            per_round = std::max<std::int64_t>(1, std::llround(10'000 * static_cast<double>(per_round) / elapsed));
            break;
        }
        per_round *= 2;
    }
    std::vector<double> samples;
    const Stopwatch total;
    do {
        const Stopwatch watch;
        for (std::int64_t i = 0; i < per_round; ++i) step();
        finish();
        samples.push_back(watch.microseconds() / static_cast<double>(per_round));
    } while (total.microseconds() < seconds * 1e6 || samples.size() < 3);
    std::sort(samples.begin(), samples.end());
    return {{{"us", quantile(samples, 0.5)}, {"us_min", samples.front()}}, {}};
}

template <class Step> Measured measure(double seconds, Step&& step) {
    return measure(seconds, step, [] {});
}

// The same for each step by itself, with the 99.9th percentile: how long one has to wait for an answer.
template <class Step> Measured measure_each(double seconds, Step&& step) {
    std::vector<double> samples;
    samples.reserve(1 << 22);
    for (const Stopwatch warmup; warmup.microseconds() < 50'000;) step();
    for (const Stopwatch total; total.microseconds() < seconds * 1e6 && samples.size() < samples.capacity();) {
        const Stopwatch watch;
        step();
        samples.push_back(watch.microseconds());
    }
    std::sort(samples.begin(), samples.end());
    return {{{"us", quantile(samples, 0.5)}, {"us_min", samples.front()}, {"us_p999", quantile(samples, 0.999)}}, {}};
}

// The memory of this process in kB: "VmRSS" now, "VmHWM" at most.
inline double memory_kb(const std::string& field) {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);)
        if (line.compare(0, field.size() + 1, field + ":") == 0) return std::stod(line.substr(field.size() + 1));
    return 0;
}

// The peak of memory since this object was made, above what there was before, and of the whole process.
class MemoryPeak {
public:
    explicit MemoryPeak(double baseline_kb) : baseline_(baseline_kb), before_(memory_kb("VmHWM")) {
        std::ofstream("/proc/self/clear_refs") << "5";
    }
    void add_to(Measured& measured) const {
        const double peak = memory_kb("VmHWM");
        measured.numbers.emplace_back("peak_above_baseline_kb", peak - baseline_);
        measured.numbers.emplace_back("peak_kb", std::max(peak, before_));
    }

private:
    double baseline_, before_;
};

inline void print(const std::string& framework, const Case& which, const Measured& measured) {
    std::printf("{\"framework\": \"%s\", \"case\": \"%s\"", framework.c_str(), which.name.c_str());
    for (const auto& [name, number] : measured.numbers) std::printf(", \"%s\": %.9g", name.c_str(), number);
    std::printf(", \"values\": [");
    for (std::size_t i = 0; i < measured.values.size(); ++i)
        std::printf("%s%.9g", i == 0 ? "" : ", ", measured.values[i]);
    std::printf("]}\n");
    std::fflush(stdout);
}

// Runs every case, in order: measure(case) gives what is printed.
template <class Measure> int run(const std::string& framework, const Arguments& how, Measure&& measure_case) {
    try {
        for (const Case& each : how.cases) print(framework, each, measure_case(each));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

}  // namespace peers
