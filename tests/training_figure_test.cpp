#include <catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <folder.hpp>
#include <fstream>
#include <limits>
#include <message.hpp>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <xgrad/training/figure.hpp>

namespace fs = std::filesystem;
using xgrad::testing::content;
using xgrad::testing::Folder;
using xgrad::testing::message;
using xgrad::training::Figure;
using xgrad::training::Mark;
using xgrad::training::Panel;

namespace {

// An environment variable that has its old value again after the test.
class Variable {
public:
    Variable(const char* name, const std::string& value) : name_(name), old_(std::getenv(name)) {
        setenv(name, value.c_str(), 1);
    }
    ~Variable() { setenv(name_, old_.c_str(), 1); }

private:
    const char* name_;
    std::string old_;
};

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

Figure simple(const std::string& title = "Loss") {
    Figure figure;
    figure.panel({.title = title, .x_label = "step", .y_label = "nats"}).curve("Adam", {0, 1, 2}, {3, 2, 1});
    return figure;
}

// What gnuplot is told: with one in its place that hands on what it gets.
std::string script(const Figure& figure) {
    Folder folder;
    fs::create_directory(folder / "bin");
    std::ofstream(folder / "bin/gnuplot") << "#!/bin/sh\nexec /bin/cat\n";
    fs::permissions(folder / "bin/gnuplot", fs::perms::owner_all);
    const Variable path("PATH", folder / "bin");
    figure.save(folder / "script.svg");
    return content(folder / "script.svg");
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("A figure is an SVG with its titles, labels and curves in it, and nothing else is left behind", "[figure]") {
    Folder folder;
    Figure figure({.title = "Two panels"});
    figure.panel({.title = "Loss", .x_label = "step", .y_label = "nats", .log_y = true})
        .curve("Adam", {0, 1, 2}, {3, 0.2, 0.01})
        .curve("SGD", {0, 1, 2}, {3, 2, 1}, {.mark = Mark::dashes})
        .band("spread", {0, 1, 2}, {2, 1, 0.5}, {4, 3, 2}, 1);
    figure.panel({.title = "Weights"}).histogram("first layer", {-1, 0, 0.1, 0.2, 1}, 4).curve("", {0, 1}, {0, 1});
    figure.save(folder / "figure.svg");

    const std::string svg = content(folder / "figure.svg");
    CHECK(svg.starts_with("<?xml"));
    CHECK(contains(svg, "<svg"));
    CHECK(contains(svg, "</svg>"));
    for (const char* text : {"Two panels", "Loss", "step", "nats", "Adam", "SGD", "spread", "Weights", "first layer"})
        CHECK(contains(svg, text));
    CHECK(folder.files() == 1);
}

TEST_CASE("A figure is a PNG by its name's ending", "[figure]") {
    Folder folder;
    simple().save(folder / "figure.png");
    CHECK(content(folder / "figure.png").starts_with("\x89PNG"));
}

TEST_CASE("Text in a figure is text and no command", "[figure]") {
    Folder folder;
    // The file that the commands in these titles would make.
    const std::string made = folder / "made";
    const std::string system = "'; system 'touch " + made + "' #'", backquotes = "`touch " + made + "`";
    // A text, and how an SVG spells it.
    const std::vector<std::pair<std::string, std::string>> texts{
        {"it's \"quoted\" & <tagged>", "it's \"quoted\" &amp; &lt;tagged>"},
        {"a_b^{c} \\n %d @x \\", "a_b^{c} \\n %d @x \\"},
        {"Grüße, ψ′(z)²", "Grüße, ψ′(z)²"},
        {"0.1 of '1'", "0.1 of '1'"},
        {"'", "'"},
        {"\"", "\""},
        {system, system},
        {backquotes, backquotes}};
    for (const auto& [text, shown] : texts) {
        INFO(text);
        Figure figure({.title = text});
        figure.panel({.title = text, .x_label = text, .y_label = text}).curve(text, {0, 1}, {0, 1});
        figure.save(folder / "it's; a `name`.svg");
        CHECK_FALSE(fs::exists(made));
        CHECK(count(content(folder / "it's; a `name`.svg"), shown) >= 5);
    }
    CHECK(message([] { simple("two\nlines"); }) ==
          "Figure: the text 'two\nlines' contains control characters; it must be one line of plain text");
    CHECK(contains(message([] { Figure({.title = "\x1b"}); }), "control characters"));
    CHECK(contains(message([] { Figure().panel().curve("\n", {0}, {0}); }), "control characters"));
}

TEST_CASE("Numbers that are not finite leave gaps in a curve", "[figure]") {
    Folder folder;
    const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
    Figure figure;
    figure.panel({.log_y = true}).curve("loss", {0, 1, 2, 3, 4, 5, 6}, {1, 2, nan, infinity, 0, 3, 4});
    figure.save(folder / "gaps.svg");
    CHECK(contains(content(folder / "gaps.svg"), "</svg>"));
    CHECK(folder.files() == 1);
}

TEST_CASE("Where no value can be drawn the frame is empty", "[figure]") {
    Folder folder;
    const double nan = std::nan("");
    Figure figure;
    figure.panel({.title = "no numbers"}).curve("loss", {0, 1}, {nan, nan}).band("spread", {0, 1}, {0, nan}, {nan, 1});
    figure.panel({.log_y = true}).curve("zeros", {0, 1}, {0, 0});
    figure.panel({.log_x = true, .y_range = {{3, 4}}}).curve("no x", {0, -1}, {1, 1});
    figure.panel().curve("one", {2}, {3}).curve("none", {nan}, {1});
    figure.save(folder / "empty.svg");
    for (const char* text : {"no numbers", "loss", "spread", "zeros", "no x", "one", "none"})
        CHECK(contains(content(folder / "empty.svg"), text));
}

TEST_CASE("A histogram is a density", "[figure]") {
    Figure figure;
    Panel& panel = figure.panel();
    CHECK(message([&] { panel.histogram("h", {}, 3); }) == "Figure: histogram 'h' has no values");
    CHECK(message([&] { panel.histogram("h", {1}, 0); }) == "Figure: histogram 'h' has no bins");
    CHECK(message([&] {
              panel.histogram("h", {1, std::nan("")}, 2);
          }) == "Figure: histogram 'h' of a value that is no finite number");
    CHECK(message([&] {
              panel.histogram("h", {0, 5e-324}, 2);
          }) == "Figure: histogram 'h' from 0 to 5e-324 in 2 bins; numbers are too coarse for their widths");
    CHECK(contains(message([&] { panel.histogram("h", {-1.5e308, 1.5e308}, 1); }), "numbers are too coarse"));
    Folder folder;
    panel.histogram("some", {0, 1, 1, 3, 8}, 4);
    figure.panel().histogram("equal numbers", {5, 5, 5}, 4);
    figure.save(folder / "histogram.svg");
    CHECK(contains(content(folder / "histogram.svg"), "equal numbers"));

    figure.panel().histogram("wide", {-1.5e308, 1.5e308}, 4);
    const std::string drawn = script(figure);
    CHECK(contains(drawn, "$series0 << END\n1 0.3 1.8 \n3 0.1 1.8 \n5 0 1.8 \n7 0.1 1.8 \nEND\n"));
    CHECK(contains(drawn, "\n-1.125e+308 6.6"));
    CHECK(contains(drawn, "$series0 << END\n5 1 0.9 \nEND\n"));
    CHECK(count(drawn, "set yrange [*<0:*]\n") == 3);  // bars stand on 0
}

TEST_CASE("What is drawn are the numbers themselves", "[figure]") {
    Figure figure;
    figure.panel({.x_range = {{1e9, 1e9 + 0.3}}}).curve("loss", {1e9, 1e9 + 0.1}, {1.00000001, 1.0 / 3});
    const std::string drawn = script(figure);
    CHECK(contains(drawn, "$series0 << END\n1000000000 1.00000001 \n1000000000.1 0.3333333333333333 \nEND\n"));
    CHECK(contains(drawn, "set xrange [1000000000:1000000000.3]\n"));
}

TEST_CASE("A figure's file has the mode of any new file", "[figure]") {
    Folder folder;
    simple().save(folder / "figure.svg");
    std::ofstream(folder / "other") << "text";
    CHECK(fs::status(folder / "figure.svg").permissions() == fs::status(folder / "other").permissions());
}

TEST_CASE("A figure refuses what it cannot draw, and leaves the old file as it is", "[figure]") {
    Folder folder;
    simple().save(folder / "figure.svg");
    const std::string before = content(folder / "figure.svg");

    Figure figure = simple();
    CHECK(message([&] { figure.panel().curve("c", {0, 1}, {0}); }) == "Figure: curve 'c' has 2 x and 1 y");
    CHECK(message([&] { figure.panel().curve("c", {}, {}); }) == "Figure: curve 'c' has no points");
    CHECK(message([&] { figure.panel().band("b", {0, 1}, {0, 0}, {1}); }) == "Figure: band 'b' has 2 x and 1 y");
    CHECK(message([&] { figure.panel({.x_range = {{1, 1}}}); }) == "Figure: x_range is from 1 to 1; it must rise");
    CHECK(message([&] {
              figure.panel({.log_y = true, .y_range = {{0, 1}}});
          }) == "Figure: y_range is from 0 to 1; it must rise and be positive on a logarithmic axis");
    CHECK(message([&] { Figure({.panel_width = 10}); }) ==
          "Figure: panels of 10 × 360 pixels; they must have at least 100 × 100");
    CHECK(message([&] { figure.save(folder / "figure.svg"); }) == "Figure: panel '' has no curves");
    CHECK(message([&] { Figure().save(folder / "figure.svg"); }) == "Figure: there are no panels");
    const fs::path pdf = folder / "figure.pdf";
    CHECK(message([&] { simple().save(pdf); }) == "Figure: " + pdf.string() + " must end in .svg or .png");
    const fs::path nowhere = folder / "nowhere/figure.svg";
    CHECK(message([&] { simple().save(nowhere); }) ==
          nowhere.string() + ": cannot be written: No such file or directory");

    CHECK(content(folder / "figure.svg") == before);
    CHECK(folder.files() == 1);
}

TEST_CASE("A figure says when there is no gnuplot, and what one that fails said", "[figure]") {
    Folder folder;
    fs::create_directory(folder / "bin");
    const Variable path("PATH", folder / "bin");
    CHECK(message([&] { simple().save(folder / "figure.svg"); }) ==
          "Figure: drawing needs the program gnuplot, which is not installed");
    std::ofstream(folder / "bin/gnuplot") << "#!/bin/sh\necho 'no ink' >&2\nexit 1\n";
    fs::permissions(folder / "bin/gnuplot", fs::perms::owner_all);
    CHECK(message([&] { simple().save(folder / "figure.svg"); }) == "Figure: gnuplot failed: no ink\n");
    CHECK(folder.files() == 1);  // the stand-in's folder
}
