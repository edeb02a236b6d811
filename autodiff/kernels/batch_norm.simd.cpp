#include <type_traits>

#include <xgrad/autodiff/kernels/batch_norm.hpp>
#include <xgrad/autodiff/kernels/normalization.hpp>
#include <xgrad/autodiff/kernels/sizes.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

// The sum of some numbers' deviations from a guess at their mean, and of the squares of these.
template <class T> struct Deviations {
    Lane<T> sum{T(0)}, squares{T(0)};

    void add(const Lane<T>& deviation) {
        sum += deviation;
        squares += deviation * deviation;
    }
    friend Deviations operator+(const Deviations& a, const Deviations& b) {
        return {a.sum + b.sum, a.squares + b.squares};
    }
};

template <class V> struct Moments { V mean, variance; };

// Mean and biased variance of `count` numbers, from their deviations.
template <class V> Moments<V> moments(const V& guess, const V& sum, const V& squares, const V& count) {
    const V offset = sum / count;
    return {guess + offset, squares / count - offset * offset};
}

// Whether the guess was so far off that the variance lost more than a few bits to cancellation.
template <class V> auto poor(const V& guess, const Moments<V>& found) {
    const V offset = found.mean - guess;
    return offset * offset > found.variance * V(16);
}

// What the backward loops read. (As a value of its own, so that the compiler knows that no store changes it.)
template <bool relu, class T> struct Sources {
    const T *x, *g, *y;

    explicit Sources(const BatchNormBackward<T>& norm) : x(norm.x), g(norm.g), y(norm.relu_y) {}

    // What a tile of the row that begins at i needs some rows later.
    template <class TileType>
    [[gnu::always_inline]] void fetch(TileType tile, std::size_t i, std::size_t stride) const {
        tile.fetch(x + i, stride), tile.fetch(g + i, stride);
        if constexpr (relu) tile.fetch(y + i, stride);
    }
    // The cotangent of what was before relu.
    template <class Places> Lane<T> cotangent(std::size_t i, Places places) const {
        const Lane<T> lane = places.load(g + i);
        if constexpr (relu)
            return where(places.load(y + i) <= 0, Lane<T>(0), lane);
        else
            return lane;
    }
};

// ---- inner == 1: channels are neighbours in memory ------------------------------------------------------------------

// How many lanes go down the columns side by side, known to the compiler, and whether they fetch what is needed some
// rows later: a processor does not read a few lines of each row ahead by itself. (Where it is not inlined, GCC drops a
// call of what does nothing but fetch.)
template <std::size_t size, bool fetches> struct Tile {
    static constexpr std::size_t lanes = size, rows_ahead = 16;

    template <class T> [[gnu::always_inline]] static void fetch(const T* row, std::size_t stride) {
        if constexpr (fetches)
            for (std::size_t k = 0; k < size; ++k)
                __builtin_prefetch(row + rows_ahead * stride + k * Lane<T>::width, 0, 2);
    }
};

// The deviations of a tile's columns from a guess at their means, a lane for each of its lanes.
template <class TileType, class T, class Places>
auto column_deviations(TileType tile, const T* x, std::size_t batch, std::size_t stride, const Lane<T>* guess,
                       Places places) {
    constexpr std::size_t width = Lane<T>::width, size = TileType::lanes;
    return pairwise(batch, 64, Add(), [=](std::size_t first, std::size_t n) {
        SideBySide<Deviations<T>, size> block;
        const T* row = x + first * stride;
        for (std::size_t r = 0; r < n; ++r, row += stride) {
            tile.fetch(row, stride);
            for (std::size_t k = 0; k < size; ++k) block.lanes[k].add(places.load(row + k * width) - guess[k]);
        }
        return block;
    });
}

// One pass about a guess, the first row; for a lane where that is far from a mean, a second one about the means that it
// gave. (A lane for itself: no result depends on the tile it is in.)
template <class TileType, class T, class Places>
auto column_moments(TileType tile, const T* x, std::size_t batch, std::size_t stride, Places places) {
    constexpr std::size_t width = Lane<T>::width, size = TileType::lanes;
    const Lane<T> count(batch);
    SideBySide<Moments<Lane<T>>, size> found;
    Lane<T> guess[size];
    for (std::size_t k = 0; k < size; ++k) guess[k] = batch ? places.load(x + k * width) : Lane<T>(0);
    const auto sums = column_deviations(tile, x, batch, stride, guess, places);
    for (std::size_t k = 0; k < size; ++k) {
        found.lanes[k] = moments(guess[k], sums.lanes[k].sum, sums.lanes[k].squares, count);
        if (across<Sum>(where(poor(guess[k], found.lanes[k]), Lane<T>(1), Lane<T>(0))) == 0) continue;
        guess[k] = found.lanes[k].mean;
        const auto again =
            column_deviations(Tile<1, false>{}, x + k * width, batch, stride, guess + k, places).lanes[0];
        found.lanes[k] = moments(guess[k], again.sum, again.squares, count);
    }
    return found;
}

// y = (x - mean)·scale + bias down the columns of a tile that starts at channel c.
template <class TileType, class T, class Places>
void normalize_columns(TileType tile, const BatchNorm<T>& norm, std::size_t c, const Lane<T>* mean, const Lane<T>* rstd,
                       Places places) {
    constexpr std::size_t width = Lane<T>::width, size = TileType::lanes;
    Lane<T> centre[size], scale[size], bias[size];
    for (std::size_t k = 0; k < size; ++k) {
        centre[k] = mean[k];
        scale[k] = rstd[k] * load_or(norm.weight, c + k * width, places, T(1));
        bias[k] = load_or(norm.bias, c + k * width, places, T(0));
    }
    const std::size_t batch = norm.shape.batch, channels = norm.shape.channels;
    const bool relu = norm.relu;
    const T* x = norm.x + c;
    T* y = norm.y + c;
    for (std::size_t r = 0; r < batch; ++r, x += channels, y += channels) {
        tile.fetch(x, channels), tile.fetch(y, channels);
        for (std::size_t k = 0; k < size; ++k) {
            Lane<T> z = (places.load(x + k * width) - centre[k]) * scale[k] + bias[k];
            if (relu) z = maximum(z, T(0));
            places.store(z, y + k * width);
        }
    }
}

template <class TileType, class T, class Places>
XGRAD_FLATTEN void batch_norm_columns(TileType tile, const BatchNorm<T>& norm, const BatchStatistics<T>& statistics,
                                      std::size_t c, Places places) {
    constexpr std::size_t width = Lane<T>::width, size = TileType::lanes;
    const auto found = column_moments(tile, norm.x + c, norm.shape.batch, norm.shape.channels, places);
    Lane<T> mean[size], rstd[size];
    for (std::size_t k = 0; k < size; ++k) {
        const Lane<T> variance = found.lanes[k].variance;
        mean[k] = found.lanes[k].mean;
        rstd[k] = rsqrt(variance + norm.epsilon);
        places.store(mean[k], statistics.mean + c + k * width);
        places.store(rstd[k], statistics.rstd + c + k * width);
        if (statistics.variance) places.store(variance, statistics.variance + c + k * width);
    }
    normalize_columns(tile, norm, c, mean, rstd, places);
}

template <class TileType, class T, class Places>
XGRAD_FLATTEN void inference_columns(TileType tile, const BatchNorm<T>& norm, const T* means, const T* variances,
                                     std::size_t c, Places places) {
    constexpr std::size_t width = Lane<T>::width, size = TileType::lanes;
    Lane<T> mean[size], rstd[size];
    for (std::size_t k = 0; k < size; ++k) {
        mean[k] = places.load(means + c + k * width);
        rstd[k] = rsqrt(places.load(variances + c + k * width) + norm.epsilon);
    }
    normalize_columns(tile, norm, c, mean, rstd, places);
}

template <bool relu, class TileType, class T, class Places>
XGRAD_FLATTEN void backward_columns(TileType tile, const BatchNormBackward<T>& norm, std::size_t c, Places places) {
    constexpr std::size_t width = Lane<T>::width, size = TileType::lanes;
    const bool constant_statistics = norm.constant_statistics;
    const std::size_t batch = norm.shape.batch, channels = norm.shape.channels;
    const Sources<relu, T> from(norm);
    T* dx = norm.dx;
    Lane<T> mean[size], rstd[size];
    for (std::size_t k = 0; k < size; ++k) {
        mean[k] = places.load(norm.mean + c + k * width);
        rstd[k] = places.load(norm.rstd + c + k * width);
    }
    const auto sums = pairwise(batch, 64, Add(), [&](std::size_t first, std::size_t n) {
        SideBySide<CotangentSums<T>, size> block;
        for (std::size_t r = first; r < first + n; ++r) {
            from.fetch(tile, r * channels + c, channels);
            for (std::size_t k = 0; k < size; ++k) {
                const std::size_t i = r * channels + c + k * width;
                block.lanes[k].add(from.cotangent(i, places), places.load(from.x + i) - mean[k]);
            }
        }
        return block;
    });
    Lane<T> factor[size], constant[size], slope[size];
    const T count = static_cast<T>(batch);
    for (std::size_t k = 0; k < size; ++k) {
        const Lane<T> dbias = sums.lanes[k].g, dweight = sums.lanes[k].g_deviation * rstd[k];
        if (norm.dweight) places.store(dweight, norm.dweight + c + k * width);
        if (norm.dbias) places.store(dbias, norm.dbias + c + k * width);
        factor[k] = rstd[k] * load_or(norm.weight, c + k * width, places, T(1));
        constant[k] = constant_statistics ? Lane<T>(0) : dbias / count;
        slope[k] = constant_statistics ? Lane<T>(0) : dweight * rstd[k] / count;
    }
    if (!dx) return;
    for (std::size_t r = 0; r < batch; ++r) {
        from.fetch(tile, r * channels + c, channels), tile.fetch(dx + r * channels + c, channels);
        for (std::size_t k = 0; k < size; ++k) {
            const std::size_t i = r * channels + c + k * width;
            Lane<T> d = from.cotangent(i, places);
            if (!constant_statistics) d = d - constant[k] - (places.load(from.x + i) - mean[k]) * slope[k];
            places.store(d * factor[k], dx + i);
        }
    }
}

// Runs body(tile, channel, places) for tiles that make up the channels [first, last): wide ones, so that memory is read
// in long runs, but narrower where a wide one would not stay in cache from one pass to the next. With very many rows no
// tile does; they are wide again then, and fetch.
template <class T, class Body>
void each_tile(const Channels& shape, std::size_t first, std::size_t last, const Body& body) {
    constexpr std::size_t width = Lane<T>::width, run = 8 * width * sizeof(T), cache = std::size_t{1} << 18;
    const auto each = [&](bool wide, auto fetches) {
        std::size_t c = first;
        if (wide)
            for (; c + 8 * width <= last; c += 8 * width) body(Tile<8, fetches>{}, c, Whole{});
        for (; c + 4 * width <= last; c += 4 * width) body(Tile<4, fetches>{}, c, Whole{});
        each_lane<T>(last - c, [&](std::size_t i, auto places) { body(Tile<1, fetches>{}, c + i, places); });
    };
    const std::size_t row = shape.channels * sizeof(T);
    if (row * shape.batch > 4 * cache && (row < run ? row : run) * shape.batch > 2 * cache)
        each(true, std::true_type());
    else
        each(run <= 256 || run * shape.batch <= cache, std::false_type());
}

// ---- inner > 1: the numbers of a channel are runs of memory ---------------------------------------------------------

// The runs of one channel, long ones cut into parts.
struct Runs {
    static constexpr std::size_t length = 2048;  // of a part, unless it is the last

    Channels shape;
    std::size_t parts;  // of each run of `inner` numbers
    std::size_t block;  // parts that are added up one after the other

    explicit Runs(const Channels& channels) : shape(channels) {
        parts = ceil_divide(shape.inner, length);
        block = parts == 1 ? length / shape.inner : 1;
    }

    std::size_t count() const { return shape.batch * parts; }

    // Runs body(offset, numbers) for the parts [first, first + n) of channel c.
    template <class Body> void each(std::size_t c, std::size_t first, std::size_t n, const Body& body) const {
        for (std::size_t part = first; part < first + n; ++part) {
            const std::size_t b = part / parts, begin = part % parts * length, left = shape.inner - begin;
            body((b * shape.channels + c) * shape.inner + begin, left < length ? left : length);
        }
    }
};

template <class T> XGRAD_FLATTEN Moments<T> run_moments(const T* x, const Runs& runs, std::size_t c) {
    T guess = runs.count() ? x[c * runs.shape.inner] : T(0);
    for (bool again = false;; again = true) {
        const Lane<T> centre(guess);
        const auto deviations = pairwise(runs.count(), runs.block, Add(), [&](std::size_t first, std::size_t n) {
            Ways<Deviations<T>> ways;
            runs.each(c, first, n, [&](std::size_t offset, std::size_t numbers) {
                each_lane<T>(numbers, ways, [&](Deviations<T>& way, std::size_t i, auto part) {
                    way.add(part.fill(part.load(x + offset + i) - centre, T(0)));
                });
            });
            return (ways.a + ways.b) + (ways.c + ways.d);
        });
        const auto found = moments(guess, across<Sum>(deviations.sum), across<Sum>(deviations.squares),
                                   static_cast<T>(runs.shape.samples()));
        if (again || !poor(guess, found)) return found;
        guess = found.mean;
    }
}

template <class T>
XGRAD_FLATTEN void normalize_runs(const BatchNorm<T>& norm, const Runs& runs, std::size_t c, T mean, T rstd) {
    const Lane<T> centre(mean), scale(norm.weight ? rstd * norm.weight[c] : rstd),
        bias(norm.bias ? norm.bias[c] : T(0));
    const bool relu = norm.relu;
    runs.each(c, 0, runs.count(), [&](std::size_t offset, std::size_t numbers) {
        const T* x = norm.x + offset;
        T* y = norm.y + offset;
        each_lane<T>(numbers, [&](std::size_t i, auto part) {
            Lane<T> z = (part.load(x + i) - centre) * scale + bias;
            if (relu) z = maximum(z, T(0));
            part.store(z, y + i);
        });
    });
}

template <bool relu, class T>
XGRAD_FLATTEN void backward_runs(const BatchNormBackward<T>& norm, const Runs& runs, std::size_t c) {
    const bool constant_statistics = norm.constant_statistics;
    const Sources<relu, T> from(norm);
    T* dx = norm.dx;
    const Lane<T> mean(norm.mean[c]);
    const T rstd = norm.rstd[c];
    const auto sums = pairwise(runs.count(), runs.block, Add(), [&](std::size_t first, std::size_t n) {
        Ways<CotangentSums<T>> ways;
        runs.each(c, first, n, [&](std::size_t offset, std::size_t numbers) {
            each_lane<T>(numbers, ways, [&](CotangentSums<T>& way, std::size_t i, auto part) {
                way.add(part.fill(from.cotangent(offset + i, part), T(0)), part.load(from.x + offset + i) - mean);
            });
        });
        return (ways.a + ways.b) + (ways.c + ways.d);
    });
    const T dbias = across<Sum>(sums.g), dweight = across<Sum>(sums.g_deviation) * rstd;
    if (norm.dweight) norm.dweight[c] = dweight;
    if (norm.dbias) norm.dbias[c] = dbias;
    if (!dx) return;
    const T count = static_cast<T>(norm.shape.samples());
    const Lane<T> factor(norm.weight ? rstd * norm.weight[c] : rstd), constant(dbias / count),
        slope(dweight * rstd / count);
    runs.each(c, 0, runs.count(), [&](std::size_t offset, std::size_t numbers) {
        each_lane<T>(numbers, [&](std::size_t i, auto part) {
            Lane<T> d = from.cotangent(offset + i, part);
            if (!constant_statistics) d = d - constant - (part.load(from.x + offset + i) - mean) * slope;
            part.store(d * factor, dx + offset + i);
        });
    });
}

// ---- what the table holds -------------------------------------------------------------------------------------------

template <class T>
void batch_norm(const BatchNorm<T>& norm, const BatchStatistics<T>& statistics, std::size_t first, std::size_t last) {
    if (norm.shape.inner == 1) {
        each_tile<T>(norm.shape, first, last, [&](auto tile, std::size_t c, auto places) {
            batch_norm_columns(tile, norm, statistics, c, places);
        });
        return;
    }
    const Runs runs(norm.shape);
    for (std::size_t c = first; c < last; ++c) {
        const auto [mean, variance] = run_moments(norm.x, runs, c);
        const T rstd = 1 / root(variance + norm.epsilon);
        statistics.mean[c] = mean;
        statistics.rstd[c] = rstd;
        if (statistics.variance) statistics.variance[c] = variance;
        normalize_runs(norm, runs, c, mean, rstd);
    }
}

template <class T>
void batch_norm_inference(const BatchNorm<T>& norm, const T* mean, const T* variance, std::size_t first,
                          std::size_t last) {
    if (norm.shape.inner == 1) {
        each_tile<T>(norm.shape, first, last, [&](auto tile, std::size_t c, auto places) {
            inference_columns(tile, norm, mean, variance, c, places);
        });
        return;
    }
    const Runs runs(norm.shape);
    for (std::size_t c = first; c < last; ++c)
        normalize_runs(norm, runs, c, mean[c], 1 / root(variance[c] + norm.epsilon));
}

template <bool relu, class T> void backward(const BatchNormBackward<T>& norm, std::size_t first, std::size_t last) {
    if (norm.shape.inner == 1) {
        each_tile<T>(norm.shape, first, last,
                     [&](auto tile, std::size_t c, auto places) { backward_columns<relu>(tile, norm, c, places); });
        return;
    }
    const Runs runs(norm.shape);
    for (std::size_t c = first; c < last; ++c) backward_runs<relu>(norm, runs, c);
}

template <class T> void batch_norm_backward(const BatchNormBackward<T>& norm, std::size_t first, std::size_t last) {
    if (norm.relu_y)
        backward<true>(norm, first, last);
    else
        backward<false>(norm, first, last);
}

}  // namespace

template <class T> const BatchNormKernels<T>& batch_norm_kernels() {
    static constexpr BatchNormKernels<T> table{
        .batch_norm = batch_norm<T>, .inference = batch_norm_inference<T>, .backward = batch_norm_backward<T>};
    return table;
}

template const BatchNormKernels<float>& batch_norm_kernels<float>();
template const BatchNormKernels<double>& batch_norm_kernels<double>();

}  // namespace xgrad::kernels::XGRAD_LEVEL
