// Line charts, bands and histograms, drawn by gnuplot: what a run measured as a picture beside its numbers.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace xgrad::training {

/// How a series of points is drawn.
enum class Mark { line, dashes, points, bars };

/// How a curve looks.
struct CurveOptions {
    Mark mark = Mark::line;
    /// Which colour of the palette, counted from 0; the next one if none is given. Equal colours say that curves belong
    /// together, as a measurement and its theory do.
    std::optional<std::size_t> colour = std::nullopt;
};

/// The title, labels and axes of a panel.
struct PanelOptions {
    std::string title = "";
    std::string x_label = "", y_label = "";
    bool log_x = false, log_y = false;
    /// From where to where the axes go; as far as the data if none is given.
    std::optional<std::array<double, 2>> x_range = std::nullopt, y_range = std::nullopt;
};

/// One chart of a Figure. A value that is no finite number, or not positive on a logarithmic axis, leaves a gap; where
/// nothing is left the frame is empty. Curves without a label are not listed in the legend. Labels are plain text
/// (UTF-8). All of these throw Error for coordinates that differ in number, for none at all, and for a label with
/// control characters.
class Panel {
public:
    Panel& curve(const std::string& label, std::vector<double> x, std::vector<double> y, CurveOptions options = {});
    /// The area between two curves, pale; behind all curves.
    Panel& band(const std::string& label, std::vector<double> x, std::vector<double> low, std::vector<double> high,
                std::optional<std::size_t> colour = std::nullopt);
    /// The density of some numbers: bars of equal widths from the least to the greatest; one bar of width 1 around
    /// numbers that are all equal. Throws Error for 0 bins, when a value is no finite number, and when a bar's width or
    /// its inverse would be none.
    Panel& histogram(const std::string& label, const std::vector<double>& values, std::size_t bins = 40);

private:
    friend class Figure;

    struct Series {
        std::string label;
        std::vector<std::vector<double>> columns;  // x and y; x, low and high; centre, density and width
        std::optional<Mark> mark;                  // none for a band
        std::size_t colour;
    };

    explicit Panel(PanelOptions options);
    Panel& add(const char* what, Series series, std::optional<std::size_t> colour);
    std::array<double, 2> x_extent() const;
    bool is_empty() const;
    std::string range(const std::optional<std::array<double, 2>>& given, bool logarithmic, bool of_bars) const;

    PanelOptions options_;
    std::vector<Series> series_;
    std::size_t next_colour_ = 0;
};

/// How a figure is laid out.
struct FigureOptions {
    std::string title = "";
    std::size_t columns = 0;                            ///< panels in a row; all of them, but at most three, if 0
    std::size_t panel_width = 420, panel_height = 360;  ///< in pixels
};

/// Panels beside and below each other.
///
///     training::Figure figure;
///     figure.panel({.x_label = "step", .y_label = "loss", .log_y = true}).curve("Adam", steps, losses);
///     figure.save("losses.svg");
class Figure {
public:
    /// Throws Error for a title with control characters, and a panel of less than 100 pixels.
    explicit Figure(FigureOptions options = {});

    /// Adds a panel, in the order of reading; the reference stays good. Throws Error for text with control characters,
    /// and for a range that is empty, or not positive on a logarithmic axis.
    Panel& panel(PanelOptions options = {});

    /// Draws into a file, `.svg` or `.png` by its ending; an old file is replaced as a whole. The program gnuplot does
    /// the drawing and must be installed. Throws Error, and leaves an old file as it is, for another ending, for a
    /// panel without a curve, when there is no gnuplot, when it fails, and when the file cannot be written.
    void save(const std::filesystem::path& path) const;

private:
    std::string script(const std::string& terminal) const;

    FigureOptions options_;
    std::deque<Panel> panels_;
};

}  // namespace xgrad::training
