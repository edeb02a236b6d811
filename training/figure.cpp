#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <spawn.h>
#include <string_view>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/training/figure.hpp>
#include <xgrad/training/files.hpp>

extern "C" char** environ;

namespace xgrad::training {
namespace {

namespace fs = std::filesystem;

// Colours that also colour-blind readers can tell apart (Okabe and Ito 2008).
constexpr std::array palette{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"};

void check_text(const std::string& text) {
    const auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
    if (std::any_of(text.begin(), text.end(), control))
        throw Error(
            fmt::format("Figure: the text '{}' contains control characters; it must be one line of plain text", text));
}

// A string for gnuplot. Between single quotes everything stands for itself, but for the quote, which has its own
// string.
std::string quoted(const std::string& text) {
    std::string result = "'";
    for (char c : text) result += c == '\'' ? R"('."'".')" : std::string(1, c);
    return result + "'";
}

void append_data(std::string& script, const std::string& name, const std::vector<std::vector<double>>& columns) {
    auto out = std::back_inserter(script);
    fmt::format_to(out, "${} << END\n", name);
    for (std::size_t i = 0; i < columns[0].size(); ++i) {
        for (const std::vector<double>& column : columns)
            if (std::isfinite(column[i]))
                fmt::format_to(out, "{} ", column[i]);
            else
                script += "NaN ";
        script += '\n';
    }
    script += "END\n";
}

std::string style(std::optional<Mark> mark, std::size_t columns, std::string_view colour) {
    if (!mark)
        return fmt::format("using 1:2:3 with filledcurves fc rgb '{}' fs transparent solid 0.2 noborder", colour);
    switch (*mark) {
        case Mark::line:
            return fmt::format("with lines lw 2 lc rgb '{}'", colour);
        case Mark::dashes:
            return fmt::format("with lines lw 2 dt (8,5) lc rgb '{}'", colour);
        case Mark::points:
            return fmt::format("with points pt 7 ps 0.5 lc rgb '{}'", colour);
        case Mark::bars:
            return fmt::format("using {} with boxes lc rgb '{}' fs transparent solid 0.5 noborder",
                               columns == 3 ? "1:2:3" : "1:2", colour);
    }
    throw Error("Figure: there is no such mark");
}

std::string axis(char name, const std::string& label, bool logarithmic, const std::string& range) {
    std::string text = fmt::format("set {}label {} noenhanced\n", name, quoted(label));
    text += logarithmic ? fmt::format("set logscale {0} 10\nset format {0} '10^{{%T}}'\n", name)
                        : fmt::format("unset logscale {0}\nset format {0} '%h'\n", name);
    return text + fmt::format("set {}range [{}]\n", name, range);
}

// Ticks on a linear x axis: so few that the numbers at them do not touch.
std::string ticks(double low, double high) {
    if (!(low < high && std::isfinite(high - low))) return "set xtics autofreq\n";
    const double least = (high - low) / 6, power = std::pow(10, std::floor(std::log10(least)));
    for (double step : {1, 2, 5})
        if (step * power >= least) return fmt::format("set xtics {}\n", step * power);
    return fmt::format("set xtics {}\n", 10 * power);
}

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// A file without a name, gone when it is closed.
File scratch(const std::string& content = "") {
    File file(std::tmpfile(), &std::fclose);
    if (!file || std::fwrite(content.data(), 1, content.size(), file.get()) != content.size() ||
        std::fflush(file.get()) != 0)
        throw Error(fmt::format("Figure: no temporary file: {}", std::strerror(errno)));
    std::rewind(file.get());
    return file;
}

std::string content(std::FILE* file) {
    std::rewind(file);
    std::string text;
    std::array<char, 4096> piece;
    while (const std::size_t count = std::fread(piece.data(), 1, piece.size(), file)) text.append(piece.data(), count);
    return text;
}

// Runs gnuplot with a script as its input and a file for its picture. Both are open files: no name and no text of a
// figure is ever part of a command.
void run_gnuplot(const std::string& script, int picture) {
    const File input = scratch(script), complaints = scratch();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(input.get()), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, picture, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(complaints.get()), STDERR_FILENO);
    std::string program = "gnuplot", option = "--default-settings";
    std::array<char*, 3> arguments{program.data(), option.data(), nullptr};
    pid_t process = 0;
    const int code = posix_spawnp(&process, program.c_str(), &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (code == ENOENT) throw Error("Figure: drawing needs the program gnuplot, which is not installed");
    if (code != 0) throw Error(fmt::format("Figure: gnuplot cannot be run: {}", std::strerror(code)));

    int status = 0;
    while (waitpid(process, &status, 0) < 0)
        if (errno != EINTR) throw Error(fmt::format("Figure: gnuplot was lost: {}", std::strerror(errno)));
    struct stat drawn {};
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || fstat(picture, &drawn) != 0 || drawn.st_size == 0)
        throw Error(fmt::format("Figure: gnuplot failed: {}", content(complaints.get())));
}

}  // namespace

Panel::Panel(PanelOptions options) : options_(std::move(options)) {
    for (const std::string* text : {&options_.title, &options_.x_label, &options_.y_label}) check_text(*text);
    const auto check = [](char name, const std::optional<std::array<double, 2>>& range, bool logarithmic) {
        if (!range) return;
        const auto [low, high] = *range;
        if (!(std::isfinite(low) && std::isfinite(high) && low < high && (!logarithmic || low > 0)))
            throw Error(fmt::format("Figure: {}_range is from {} to {}; it must rise{}", name, low, high,
                                    logarithmic ? " and be positive on a logarithmic axis" : ""));
    };
    check('x', options_.x_range, options_.log_x);
    check('y', options_.y_range, options_.log_y);
}

Panel& Panel::add(const char* what, Series series, std::optional<std::size_t> colour) {
    check_text(series.label);
    const std::vector<double>& x = series.columns[0];
    if (x.empty()) throw Error(fmt::format("Figure: {} '{}' has no points", what, series.label));
    for (const std::vector<double>& y : series.columns)
        if (y.size() != x.size())
            throw Error(fmt::format("Figure: {} '{}' has {} x and {} y", what, series.label, x.size(), y.size()));
    series.colour = colour.value_or(next_colour_) % palette.size();
    if (!colour) ++next_colour_;
    series_.push_back(std::move(series));
    return *this;
}

Panel& Panel::curve(const std::string& label, std::vector<double> x, std::vector<double> y, CurveOptions options) {
    return add("curve", {label, {std::move(x), std::move(y)}, options.mark, 0}, options.colour);
}

Panel& Panel::band(const std::string& label, std::vector<double> x, std::vector<double> low, std::vector<double> high,
                   std::optional<std::size_t> colour) {
    return add("band", {label, {std::move(x), std::move(low), std::move(high)}, std::nullopt, 0}, colour);
}

Panel& Panel::histogram(const std::string& label, const std::vector<double>& values, std::size_t bins) {
    if (bins == 0) throw Error(fmt::format("Figure: histogram '{}' has no bins", label));
    if (values.empty()) throw Error(fmt::format("Figure: histogram '{}' has no values", label));
    if (!std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); }))
        throw Error(fmt::format("Figure: histogram '{}' of a value that is no finite number", label));
    const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
    const double low = *least, high = *greatest, count = static_cast<double>(values.size());
    if (low == high) return add("histogram", {label, {{low}, {1}, {0.9}}, Mark::bars, 0}, std::nullopt);
    // In halves: the difference of two numbers may be beyond all numbers.
    const double half_width = (high / 2 - low / 2) / static_cast<double>(bins), width = 2 * half_width;
    if (!(width > 0 && std::isfinite(width) && std::isfinite(1 / width)))
        throw Error(
            fmt::format("Figure: histogram '{}' from {} to {} in {} bins; numbers are too coarse for their widths",
                        label, low, high, bins));
    std::vector<double> centres(bins), densities(bins, 0);
    for (std::size_t i = 0; i < bins; ++i)
        centres[i] = std::lerp(low, high, (static_cast<double>(i) + 0.5) / static_cast<double>(bins));
    for (double value : values) {
        const auto bin = static_cast<std::size_t>((value / 2 - low / 2) / half_width);
        ++densities[std::min(bin, bins - 1)];
    }
    for (double& density : densities) density = density / count / width;
    std::vector<double> widths(bins, 0.9 * width);
    return add("histogram", {label, {std::move(centres), std::move(densities), std::move(widths)}, Mark::bars, 0},
               std::nullopt);
}

std::array<double, 2> Panel::x_extent() const {
    std::array extent{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
    for (const Series& series : series_)
        for (double x : series.columns[0])
            if (std::isfinite(x)) extent = {std::min(extent[0], x), std::max(extent[1], x)};
    return extent;
}

bool Panel::is_empty() const {
    const auto shown = [](double value, bool logarithmic) {
        return std::isfinite(value) && (!logarithmic || value > 0);
    };
    for (const Series& series : series_)
        for (std::size_t i = 0; i < series.columns[0].size(); ++i)
            if (shown(series.columns[0][i], options_.log_x) &&
                std::all_of(series.columns.begin() + 1, series.columns.end(),
                            [&](const auto& y) { return shown(y[i], options_.log_y); }))
                return false;
    return true;
}

std::string Panel::range(const std::optional<std::array<double, 2>>& given, bool logarithmic, bool of_bars) const {
    if (given) return fmt::format("{}:{}", (*given)[0], (*given)[1]);
    if (is_empty()) return logarithmic ? "1:10" : "0:1";  // gnuplot draws no frame without a range
    return of_bars && !logarithmic ? "*<0:*" : "*:*";
}

Figure::Figure(FigureOptions options) : options_(std::move(options)) {
    check_text(options_.title);
    if (options_.panel_width < 100 || options_.panel_height < 100)
        throw Error(fmt::format("Figure: panels of {} × {} pixels; they must have at least 100 × 100",
                                options_.panel_width, options_.panel_height));
}

Panel& Figure::panel(PanelOptions options) {
    panels_.push_back(Panel(std::move(options)));
    return panels_.back();
}

void Figure::save(const fs::path& path) const {
    const std::string ending = path.extension().string();
    if (ending != ".svg" && ending != ".png")
        throw Error(fmt::format("Figure: {} must end in .svg or .png", path.string()));
    if (panels_.empty()) throw Error("Figure: there are no panels");
    for (const Panel& panel : panels_)
        if (panel.series_.empty()) throw Error(fmt::format("Figure: panel '{}' has no curves", panel.options_.title));

    detail::Replacement file(path);
    run_gnuplot(script(ending == ".svg" ? "svg" : "pngcairo"), file.descriptor());
    file.commit();
}

std::string Figure::script(const std::string& terminal) const {
    const std::size_t columns = options_.columns ? options_.columns : std::min<std::size_t>(panels_.size(), 3);
    const std::size_t rows = (panels_.size() + columns - 1) / columns;
    const std::size_t height = rows * options_.panel_height + (options_.title.empty() ? 0 : 30);
    std::string script = fmt::format(
        "set encoding utf8\n"
        "set terminal {} size {},{} font 'Helvetica,{}' background '#ffffff'\n"
        "set border 3 lc rgb '#606060'\n"
        "set tics out nomirror tc rgb '#303030'\n"
        "set grid lc rgb '#d8d8d8' lt 1 lw 0.5\n"
        "set key bmargin center horizontal Left reverse samplen 2 noenhanced title ' '\n"
        "set boxwidth 0.9 relative\n"
        "set multiplot layout {},{}{}\n",
        terminal, columns * options_.panel_width, height, terminal == "svg" ? 12 : 10, rows, columns,
        options_.title.empty() ? "" : fmt::format(" title {} noenhanced font ',15'", quoted(options_.title)));
    for (const Panel& panel : panels_) {
        const PanelOptions& options = panel.options_;
        script += fmt::format("set title {} noenhanced\n", quoted(options.title));
        const bool bars = std::any_of(panel.series_.begin(), panel.series_.end(),
                                      [](const Panel::Series& series) { return series.mark == Mark::bars; });
        script += axis('x', options.x_label, options.log_x, panel.range(options.x_range, options.log_x, false));
        script += axis('y', options.y_label, options.log_y, panel.range(options.y_range, options.log_y, bars));
        if (options.log_x) {
            script += "set xtics autofreq\n";
        } else {
            const auto [low, high] = options.x_range.value_or(panel.x_extent());
            script += ticks(low, high);
        }
        std::string plot;
        // Bands first, so that no curve is hidden.
        for (bool bands : {true, false})
            for (std::size_t i = 0; i < panel.series_.size(); ++i) {
                const Panel::Series& series = panel.series_[i];
                if (series.mark.has_value() == bands) continue;
                append_data(script, fmt::format("series{}", i), series.columns);
                plot += fmt::format("{}$series{} {} {}", plot.empty() ? "plot " : ", ", i,
                                    style(series.mark, series.columns.size(), palette[series.colour]),
                                    series.label.empty() ? "notitle" : "title " + quoted(series.label));
            }
        script += plot + "\n";
    }
    return script + "unset multiplot\n";
}

}  // namespace xgrad::training
