#include <algorithm>
#include <cmath>
#include <exception>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <xgrad/training/progress.hpp>

namespace xgrad::training::detail {
namespace {

std::string clock_time(double seconds) {
    const auto whole = static_cast<long>(std::min(std::ceil(seconds), 1e9));
    if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string rate(double per_second) {
    return per_second < 100 ? fmt::format("{:.3g}", per_second) : fmt::format("{:.0f}", per_second);
}

}  // namespace

ProgressLine::ProgressLine(std::size_t steps, Work work, ProgressOptions options)
    : options_(std::move(options)),
      steps_(steps),
      work_(work),
      terminal_(options_.terminal.value_or(isatty(fileno(options_.stream)) == 1)) {}

ProgressLine::~ProgressLine() {
    if (!running_) return;
    try {
        // After an exception only the cursor is put where a message can begin.
        if (std::uncaught_exceptions() == exceptions_)
            finish();
        else if (terminal_)
            std::fputc('\n', options_.stream);
    } catch (...) {
    }
}

void ProgressLine::start() {
    done_ = 0;
    loss_.reset();
    running_ = true;
    exceptions_ = std::uncaught_exceptions();
    look_every_ = until_look_ = 1;
    started_ = looked_ = Clock::now();
    if (terminal_) draw(false);
}

void ProgressLine::finish() {
    running_ = false;
    draw(true);
}

void ProgressLine::look() {
    const Clock::time_point now = Clock::now();
    const auto since = now - looked_;
    if (since < options_.interval / 20)
        look_every_ *= 2;
    else if (since > options_.interval / 4)
        look_every_ = std::max<std::size_t>(look_every_ / 4, 1);
    until_look_ = look_every_;
    looked_ = now;
    if (terminal_ && now - drawn_ >= options_.interval) draw(false);
}

void ProgressLine::draw(bool last) {
    std::string line = last ? summary() : bar(columns());
    const std::size_t length = line.size();
    if (terminal_) {
        // Blanks cover what stays of a longer line from before; no escape sequences are needed.
        if (length < shown_) line.append(shown_ - length, ' ');
        line.insert(line.begin(), '\r');
        shown_ = last ? 0 : length;
    }
    if (last) line += '\n';
    std::fwrite(line.data(), 1, line.size(), options_.stream);
    std::fflush(options_.stream);
    drawn_ = Clock::now();
}

double ProgressLine::seconds() const { return std::chrono::duration<double>(Clock::now() - started_).count(); }

double ProgressLine::worked() const {
    return steps_ == 0 ? 0
                       : static_cast<double>(work_.count) * static_cast<double>(done_) / static_cast<double>(steps_);
}

std::size_t ProgressLine::columns() const {
    winsize size{};
    const bool known = ioctl(fileno(options_.stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

// `epoch 1  [#########......]  61%  41208 samples/s  0:03 left  loss 0.1234`
std::string ProgressLine::bar(std::size_t columns) const {
    const double fraction = steps_ == 0 ? 1 : static_cast<double>(done_) / static_cast<double>(steps_);
    std::string left = options_.label;
    if (!left.empty()) left += "  ";
    std::string right = fmt::format("{:3.0f}%", 100 * fraction);
    if (done_ > 0) {
        const double elapsed = seconds();
        right += fmt::format("  {} {}/s  {} left", rate(worked() / elapsed), work_.unit,
                             clock_time(elapsed * (1 - fraction) / fraction));
    }
    if (!loss_.empty()) right += fmt::format("  loss {:.4f}", loss_.value());

    const std::size_t taken = left.size() + right.size() + 4 + 1;
    if (taken + 10 <= columns) {
        const std::size_t width = std::min<std::size_t>(columns - taken, 30);
        const auto full = static_cast<std::size_t>(fraction * static_cast<double>(width));
        left += fmt::format("[{}{}]  ", std::string(full, '#'), std::string(width - full, '.'));
    }
    return (left + right).substr(0, columns - 1);
}

// `epoch 1  loss 0.1234  60000 samples in 1.41 s (42553/s)`
std::string ProgressLine::summary() const {
    const double elapsed = seconds();
    std::string line = options_.label;
    if (!line.empty()) line += "  ";
    if (!loss_.empty()) line += fmt::format("loss {:.4f}  ", loss_.value());
    line += fmt::format("{:.0f} {} in {:.3g} s ({}/s)", worked(), work_.unit, elapsed,
                        rate(elapsed > 0 ? worked() / elapsed : 0));
    if (done_ < steps_) line += fmt::format(", stopped after {} of {} steps", done_, steps_);
    return line;
}

}  // namespace xgrad::training::detail
