#include <algorithm>
#include <catch.hpp>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <xgrad/training/dataset.hpp>
#include <xgrad/training/progress.hpp>

using namespace xgrad;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using training::Progress;

namespace {

// Takes what is written.
class Sink {
public:
    ~Sink() { std::fclose(file_); }
    operator std::FILE*() const { return file_; }
    std::string text() const {
        std::string all;
        std::rewind(file_);
        for (int c; (c = std::fgetc(file_)) != EOF;) all += static_cast<char>(c);
        return all;
    }

private:
    std::FILE* file_ = std::tmpfile();
};

long count(const std::string& text, char c) { return std::count(text.begin(), text.end(), c); }

}  // namespace

TEST_CASE("Elsewhere than on a terminal a loop prints one line when it is done", "[progress]") {
    Sink sink;
    std::vector<int> seen;
    Progress bar(std::vector{3, 1, 4}, {.label = "epoch 1", .stream = sink});
    for (int number : bar) {
        bar.loss(number);
        seen.push_back(number);
        CHECK(sink.text().empty());
    }
    CHECK(seen == std::vector{3, 1, 4});
    CHECK(bar.loss() == Approx(8.0 / 3));
    CHECK_THAT(sink.text(), StartsWith("epoch 1  loss 2.6667  3 steps in "));
    CHECK(count(sink.text(), '\n') == 1);
    CHECK(count(sink.text(), '\r') == 0);
}

TEST_CASE("Batches of a set are counted in samples", "[progress]") {
    Sink sink;
    const training::Dataset set(Array<float>({10, 2}, 0.f), Array<std::int64_t>({10}, 0));
    Progress bar(set.batches(4), {.stream = sink});
    for (auto [inputs, labels] : bar) bar.loss(0.5);
    CHECK_THAT(sink.text(), StartsWith("loss 0.5000  10 samples in "));
}

TEST_CASE("A range with a name is not copied, and elements can be changed", "[progress]") {
    Sink sink;
    std::vector<int> numbers{1, 2, 3};
    Progress bar(numbers, {.stream = sink});
    for (int& number : bar) number *= 2;
    CHECK(numbers == std::vector{2, 4, 6});
    for (int& number : bar) number *= 2;
    CHECK(numbers == std::vector{4, 8, 12});
    CHECK(count(sink.text(), '\n') == 2);
}

TEST_CASE("On a terminal the line is redrawn, not too often, and ends with the summary", "[progress]") {
    Sink sink;
    const auto started = std::chrono::steady_clock::now();
    Progress bar(std::vector<int>(150), {.label = "epoch 2", .stream = sink, .terminal = true});
    for (int number : bar) {
        bar.loss(number);
        std::this_thread::sleep_for(2ms);
    }
    const auto tenths = (std::chrono::steady_clock::now() - started) / 100ms;
    const std::string text = sink.text();
    CHECK(count(text, '\r') >= 3);
    CHECK(count(text, '\r') <= tenths + 2);
    CHECK(count(text, '\n') == 1);
    CHECK_THAT(text, StartsWith("\repoch 2  [.............................."));
    CHECK_THAT(text, Contains("] ") && Contains("% ") && Contains(" steps/s  0:0") && Contains(" left  loss 0.0000"));
    const std::string last = text.substr(text.rfind('\r') + 1);
    CHECK_THAT(last, StartsWith("epoch 2  loss 0.0000  150 steps in 0."));
    CHECK(text.find('\x1b') == std::string::npos);
}

TEST_CASE("Shorter lines cover longer ones, and none is wider than the terminal", "[progress]") {
    Sink sink;
    Progress bar(std::vector<int>(3),
                 {.label = std::string(100, 'x'), .stream = sink, .terminal = true, .interval = 0ms});
    for (int number : bar) bar.loss(1e9 * number);
    std::string text = sink.text();
    std::size_t shown = 0;
    while (text.find('\r', 1) != std::string::npos) {
        const std::string line = text.substr(1, text.find('\r', 1) - 1);
        CHECK(line.size() <= 79);
        CHECK(line.size() >= shown);
        shown = line.size();
        text.erase(0, line.size() + 1);
    }
}

TEST_CASE("An exception leaves the cursor at the beginning of a line and says nothing more", "[progress]") {
    for (bool terminal : {false, true}) {
        Sink sink;
        try {
            Progress bar(std::vector<int>(5), {.stream = sink, .terminal = terminal});
            for ([[maybe_unused]] int number : bar) throw std::runtime_error("stop");
        } catch (const std::runtime_error&) {
        }
        CHECK(count(sink.text(), '\n') == (terminal ? 1 : 0));
        CHECK(sink.text().ends_with(terminal ? "\n" : ""));
        CHECK_THAT(sink.text(), !Contains("stopped"));
    }
}

TEST_CASE("A loop that is left early says how far it came", "[progress]") {
    Sink sink;
    {
        Progress bar(std::vector<int>(5), {.stream = sink});
        int steps = 0;
        for ([[maybe_unused]] int number : bar)
            if (++steps == 3) break;
    }
    CHECK_THAT(sink.text(), Contains(", stopped after 2 of 5 steps\n"));
}

TEST_CASE("Empty loops, and bars that are never used, do no harm", "[progress]") {
    Sink sink;
    { Progress unused(std::vector<int>(5), {.stream = sink, .terminal = true}); }
    CHECK(sink.text().empty());
    Progress bar(std::vector<int>{}, {.stream = sink});
    for ([[maybe_unused]] int number : bar) FAIL();
    CHECK_THAT(sink.text(), StartsWith("0 steps in "));
    CHECK_THROWS(bar.loss());
}

TEST_CASE("A step of a bar costs next to nothing", "[progress]") {
    Sink sink;
    constexpr int steps = 2'000'000;
    Progress bar(std::vector<int>(steps), {.stream = sink, .terminal = true});
    const auto started = std::chrono::steady_clock::now();
    for (int number : bar) bar.loss(number);
    const auto each = (std::chrono::steady_clock::now() - started) / steps;
    CHECK(each < 1us);
}
