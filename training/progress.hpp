// A loop that shows how far it is.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>

#include <xgrad/training/metrics.hpp>

namespace xgrad::training {

/// What a progress bar looks like, and where it goes.
struct ProgressOptions {
    std::string label = "";      ///< stands before everything else, as in `epoch 3`
    std::FILE* stream = stdout;  ///< where to write
    /// Whether to redraw the line; by default when the stream is a terminal.
    std::optional<bool> terminal = std::nullopt;
    std::chrono::milliseconds interval{100};  ///< the least time from one redrawing to the next
};

namespace detail {

/// What a range consists of: samples when it can count them, or else its steps.
struct Work {
    std::size_t count;
    const char* unit;
};
template <class Range> Work work(const Range& range) {
    if constexpr (requires { range.samples(); })
        return {range.samples(), "samples"};
    else
        return {static_cast<std::size_t>(std::ranges::size(range)), "steps"};
}

/// The line of a Progress.
class ProgressLine {
public:
    ProgressLine(std::size_t steps, Work work, ProgressOptions options);
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;
    /// Ends the line, when the loop was left early.
    ~ProgressLine();

    void start();
    void advance() {
        ++done_;
        if (--until_look_ == 0) look();
    }
    void finish();
    void loss(double value) { loss_.add(value); }
    double loss() const { return loss_.value(); }

private:
    using Clock = std::chrono::steady_clock;

    void look();
    void draw(bool last);
    std::string bar(std::size_t columns) const;
    std::string summary() const;
    std::size_t columns() const;
    double seconds() const;
    double worked() const;

    ProgressOptions options_;
    std::size_t steps_;
    Work work_;
    bool terminal_;
    bool running_ = false;
    int exceptions_ = 0;
    std::size_t done_ = 0;
    // The clock is looked at once in so many steps, as many as take a few milliseconds.
    std::size_t look_every_ = 1, until_look_ = 1;
    std::size_t shown_ = 0;  // characters on the line
    Clock::time_point started_, looked_, drawn_;
    Mean loss_;
};

}  // namespace detail

/// Goes over a range and shows how far it is: on a terminal a line that is redrawn some times a second, with the rate,
/// the time left and the mean loss; elsewhere one line when the range is done.
///
///     training::Progress bar(train.batches(128, generator));
///     for (auto [images, labels] : bar) bar.loss(optimizer.minimize(…));
template <class Range> class Progress {
public:
    /// Keeps a range that is a temporary; otherwise the range must outlive this.
    explicit Progress(Range&& range, ProgressOptions options = {})
        : range_(std::forward<Range>(range)),
          line_(std::ranges::size(range_), detail::work(range_), std::move(options)) {}

    class Iterator {
    public:
        using Inner = std::ranges::iterator_t<std::remove_reference_t<Range>>;

        Iterator(Inner inner, detail::ProgressLine* line) : inner_(std::move(inner)), line_(line) {}
        decltype(auto) operator*() const { return *inner_; }
        Iterator& operator++() {
            ++inner_;
            line_->advance();
            return *this;
        }
        bool operator!=(const std::ranges::sentinel_t<std::remove_reference_t<Range>>& end) const {
            if (inner_ != end) return true;
            line_->finish();
            return false;
        }

    private:
        Inner inner_;
        detail::ProgressLine* line_;
    };

    Iterator begin() {
        line_.start();
        return {std::ranges::begin(range_), &line_};
    }
    auto end() { return std::ranges::end(range_); }

    /// Tells the loss of one step; the line shows the mean.
    void loss(double value) { line_.loss(value); }
    /// The mean of the losses. Throws Error when none was told.
    double loss() const { return line_.loss(); }

private:
    Range range_;
    detail::ProgressLine line_;
};

template <class Range> Progress(Range&&, ProgressOptions = {}) -> Progress<Range>;

}  // namespace xgrad::training
