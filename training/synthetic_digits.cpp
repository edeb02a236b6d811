#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/training/synthetic_digits.hpp>

namespace xgrad::training {
namespace {

struct Point {
    float x, y;

    friend Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
    friend Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
    friend Point operator*(float s, Point p) { return {s * p.x, s * p.y}; }
};

// A movement of the pen through some points, straight from each to the next or on a smooth curve. Points are in a box
// of 1 × 1, x to the right and y down.
struct Stroke {
    bool smooth;
    std::vector<Point> points;
};
using Style = std::vector<Stroke>;

// The ways to write each digit: strokes, each a `c` (smooth curve) or an `l` (straight lines) and the points that it
// goes through, x and y in hundredths.
const std::array<std::vector<std::string_view>, 10> ways_to_write{{
    // 0: an oval; one whose ends cross
    {"c 50 5  27 17  18 50  27 83  50 95  73 83  82 50  73 17  50 5",
     "c 62 10  42 6  26 27  20 60  32 90  54 93  74 70  78 36  62 8  42 12"},
    // 1: a line; with an upstroke; with a foot
    {"l 50 5  50 95", "l 32 25  53 5  52 95", "l 34 22  52 6  52 94   l 30 94  73 94"},
    // 2: with a straight foot; with a loop
    {"c 22 28  34 10  58 6  75 22  69 46  45 72  20 93   l 20 93  80 92",
     "c 24 24  40 7  64 9  72 30  60 56  38 82  22 90  20 78  36 77  58 92  82 84"},
    // 3: round; with a flat top
    {"c 24 16  46 5  70 15  68 36  42 47   c 42 47  70 54  77 74  60 93  36 94  20 82",
     "l 24 7  74 7  46 42   c 46 42  70 50  77 70  60 92  24 88"},
    // 4: open; closed; in a curve
    {"l 30 8  20 55  82 55   l 68 12  62 95", "l 63 95  63 5  17 63  84 63",
     "c 28 8  20 36  28 54  50 54  72 42   l 74 8  70 50  60 95"},
    // 5: with a corner; in one curve
    {"l 75 7  32 7  27 45   c 27 45  50 38  74 50  76 75  56 93  22 87",
     "c 34 10  30 30  36 46  60 50  72 68  60 90  36 94  22 84   l 34 10  74 6"},
    // 6: with a curved stem; with a straight one
    {"c 68 8  42 24  26 54  28 82  50 95  72 84  73 64  54 52  34 60  27 74",
     "c 50 5  36 32  26 66  36 92  60 92  74 74  62 58  42 64  30 80"},
    // 7: plain; with a bar; with a serif and a bent stem
    {"l 20 8  80 8  42 95", "l 20 9  80 8  44 95   l 36 52  74 48",
     "l 20 24  23 10  78 10   c 78 10  60 40  50 66  48 95"},
    // 8: one line that crosses itself; two rings
    {"c 70 16  50 5  30 17  37 38  62 56  75 77  50 95  25 77  39 55  64 36  70 16",
     "c 50 5  30 14  30 36  50 46  70 36  70 14  50 5   c 50 46  24 60  26 86  50 95  75 86  76 60  50 46"},
    // 9: with a straight stem; with a hook
    {"c 74 22  56 7  32 14  25 36  42 50  64 42  74 22   l 74 22  70 55  64 95",
     "c 72 26  54 6  32 14  26 36  44 50  66 40  73 20   c 73 20  74 56  64 86  42 95  26 84"},
}};

Style parse(std::string_view text) {
    Style style;
    std::istringstream in{std::string(text)};
    for (std::string word; in >> word;) {
        if (word == "c" || word == "l") {
            style.push_back({.smooth = word == "c", .points = {}});
        } else {
            int y = 0;
            in >> y;
            style.back().points.push_back(0.01f * Point{static_cast<float>(std::stoi(word)), static_cast<float>(y)});
        }
    }
    return style;
}

const std::array<std::vector<Style>, 10>& styles() {
    static const auto all = [] {
        std::array<std::vector<Style>, 10> parsed;
        for (std::size_t digit = 0; digit < parsed.size(); ++digit)
            for (std::string_view text : ways_to_write[digit]) parsed[digit].push_back(parse(text));
        return parsed;
    }();
    return all;
}

constexpr int side = 28;
constexpr std::size_t pixels = side * side;

struct Segment {
    Point from, to;
};

// A point of the Catmull–Rom curve from b to c, with a before and d after them.
Point on_curve(Point a, Point b, Point c, Point d, float t) {
    return b + 0.5f * t * ((c - a) + t * ((2.f * a - 5.f * b + 4.f * c - d) + t * (3.f * (b - c) + d - a)));
}

// One image after the other, with the memory that drawing needs.
class Writer {
public:
    // Draws sample `index` and returns its label.
    template <class T> std::int64_t draw(std::uint64_t seed, std::size_t index, T* image) {
        Generator generator(Generator::State{.seed = seed, .stream = index});
        const std::int64_t label = static_cast<std::int64_t>(generator.uniform_integer(10));
        const auto& ways = styles()[static_cast<std::size_t>(label)];
        const Style& style = ways[generator.uniform_integer(ways.size())];
        random_.resize(32);
        generator.fill_normal(std::span(random_));
        place(style, generator);
        measure();
        generator.fill_normal(std::span<float>(noise_));
        shade(image);
        return label;
    }

private:
    // Bends the strokes and puts them where they are on the image, as segments.
    void place(const Style& style, Generator& generator) {
        // A rotation, by the tangent of half its angle, so that no library's sine comes in.
        const float half = 0.09f * random_[0];
        const float cos = (1 - half * half) / (1 + half * half), sin = 2 * half / (1 + half * half);
        const float slant = 0.25f * random_[1] - 0.1f;
        const float width = 17 * (1 + 0.14f * random_[2]), height = 19.5f * (1 + 0.09f * random_[3]);
        const Point centre{side / 2.f + 1.2f * random_[4], side / 2.f + 1.2f * random_[5]};
        segments_.clear();
        for (const Stroke& stroke : style) {
            points_.clear();
            bends_.resize(2 * stroke.points.size());
            generator.fill_normal(std::span(bends_), 0.f, 0.033f);
            for (std::size_t i = 0; i < stroke.points.size(); ++i) {
                const float x = stroke.points[i].x + bends_[2 * i] - 0.5f;
                const float y = stroke.points[i].y + bends_[2 * i + 1] - 0.5f;
                const Point p{width * (x - slant * y), height * y};
                points_.push_back(centre + Point{cos * p.x - sin * p.y, sin * p.x + cos * p.y});
            }
            trace(stroke.smooth);
        }
    }

    void trace(bool smooth) {
        constexpr int steps = 4;
        const std::size_t last = points_.size() - 1;
        for (std::size_t i = 0; i < last; ++i) {
            const Point b = points_[i], c = points_[i + 1];
            if (!smooth) {
                segments_.push_back({b, c});
                continue;
            }
            const Point a = points_[i == 0 ? 0 : i - 1], d = points_[std::min(i + 2, last)];
            Point from = b;
            for (int step = 1; step <= steps; ++step) {
                const Point to = on_curve(a, b, c, d, static_cast<float>(step) / steps);
                segments_.push_back({from, to});
                from = to;
            }
        }
    }

    // The square of each pixel's distance from the nearest segment, as far as the ink can reach.
    void measure() {
        constexpr float reach = 3.5f;
        distance_.fill(reach * reach);
        for (const auto& [from, to] : segments_) {
            const auto clamp = [](float x) { return std::clamp(static_cast<int>(x), 0, side - 1); };
            const int left = clamp(std::min(from.x, to.x) - reach), right = clamp(std::max(from.x, to.x) + reach);
            const int top = clamp(std::min(from.y, to.y) - reach), bottom = clamp(std::max(from.y, to.y) + reach);
            const Point along = to - from;
            const float scale = 1 / std::max(along.x * along.x + along.y * along.y, 1e-6f);
            for (int y = top; y <= bottom; ++y) {
                float* row = distance_.data() + y * side;
                const float py = static_cast<float>(y) + 0.5f - from.y;
                for (int x = left; x <= right; ++x) {
                    const float px = static_cast<float>(x) + 0.5f - from.x;
                    float t = (px * along.x + py * along.y) * scale;
                    t = t < 0 ? 0 : t;
                    t = t > 1 ? 1 : t;
                    const float dx = px - t * along.x, dy = py - t * along.y;
                    const float square = dx * dx + dy * dy;
                    row[x] = square < row[x] ? square : row[x];
                }
            }
        }
    }

    // Ink to the pen's half width, then less and less over the width of its soft edge, and noise on everything.
    template <class T> void shade(T* image) const {
        const float pen = std::clamp(1.25f + 0.35f * random_[6], 0.6f, 2.2f);
        const float edge = std::clamp(1.1f + 0.3f * random_[7], 0.5f, 2.f);
        const float ink = std::clamp(0.95f + 0.1f * random_[8], 0.6f, 1.f);
        const float grain = std::clamp(0.08f + 0.03f * random_[9], 0.f, 0.18f);
        const float outer = pen + edge / 2, slope = ink / edge;
        for (std::size_t i = 0; i < pixels; ++i) {
            float value = (outer - std::sqrt(distance_[i])) * slope;
            value = value < 0 ? 0 : value;
            value = value > ink ? ink : value;
            value += grain * noise_[i];
            value = value < 0 ? 0 : value;
            value = value > 1 ? 1 : value;
            image[i] = value;
        }
    }

    std::vector<float> random_;
    std::vector<float> bends_;
    std::vector<Point> points_;
    std::vector<Segment> segments_;
    std::array<float, pixels> distance_{};
    std::array<float, pixels> noise_{};
};

}  // namespace

template <class T> Dataset<T> synthetic_digits(std::size_t count, std::uint64_t seed) {
    if (count == 0) throw Error("synthetic_digits: there must be at least one");
    Array<T> images = empty<T>({count, pixels});
    Array<std::int64_t> labels = empty<std::int64_t>({count});
    Writer writer;
    for (std::size_t i = 0; i < count; ++i) labels.data()[i] = writer.draw(seed, i, images.data() + i * pixels);
    return Dataset<T>(std::move(images), std::move(labels));
}

template Dataset<float> synthetic_digits(std::size_t, std::uint64_t);
template Dataset<double> synthetic_digits(std::size_t, std::uint64_t);

}  // namespace xgrad::training
