#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include <xtensor/xview.hpp>  // its `view` must not get in the way

#include "catch.hpp"
#include "random.hpp"
#include "threads.hpp"
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/memory.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/embedding.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/places.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/tape.hpp>

using namespace xgrad;
using namespace xt::placeholders;
using xgrad::testing::check_refused;
using xgrad::testing::close;
using xgrad::testing::random;
using xgrad::testing::Threads;
using xgrad::testing::same;
using xt::all;
using xt::ellipsis;
using xt::newaxis;
using xt::range;

namespace {

using V = Variable<double>;
using Indices = Array<std::int64_t>;

template <class F> void check(F operation, const V& x) {
    gradcheck([&](auto& v) { return square(operation(v)); }, {x});
}

// The same slices of an xtensor array, and right derivatives.
template <class... Slices> void check_view(const V& x, Slices... slices) {
    CHECK(same(view(x, slices...), Array<double>(xt::view(x.value(), slices...))));
    check([&](auto& v) { return view(v, slices...); }, x);
}

template <class I>
concept Indexes = requires(const Variable<>& x, const Array<I>& indices) { take(x, indices); } &&
                  requires(const Variable<>& x, const Array<I>& indices) { take_along_axis(x, indices, 0); } &&
                  requires(const Variable<>& x, const Array<I>& indices) { embedding(x, indices); };
template <class I>
concept IndexesInSomeWay = requires(const Variable<>& x, const Array<I>& indices) { take(x, indices); } ||
                           requires(const Variable<>& x, const Array<I>& indices) { take_along_axis(x, indices, 0); } ||
                           requires(const Variable<>& x, const Array<I>& indices) { embedding(x, indices); };
static_assert(Indexes<std::int64_t> && Indexes<int>);
static_assert(!std::constructible_from<Slice, bool>);
static_assert(!IndexesInSomeWay<float> && !IndexesInSomeWay<double> && !IndexesInSomeWay<bool>);

// How many elements operations produce while it lives.
class Work : public Observer {
public:
    void on_record(const Recorded& recorded) override { elements += element_count(recorded.outputs[0]->shape()); }
    std::size_t elements = 0;
};

}  // namespace

TEST_CASE("a view takes the same elements as xtensor's and has right derivatives", "[operations][index]") {
    const V x = random({4, 5, 3});
    check_view(x, 1);
    check_view(x, 1, 2, 0);
    check_view(x, all(), 2);
    check_view(x, range(1, 3));
    check_view(x, range(1, 3), range(0, 5), range(2, 3));
    check_view(x, range(0, 4, 2), all(), 1);
    check_view(x, range(_, 3), range(2, _), range(_, _));
    check_view(x, all(), range(_, _, 2));
    check_view(x, range(3, 0, -1));
    check_view(x, all(), range(4, 1, -2), range(_, _, -1));
    check_view(x, range(_, _, -1), 3, range(_, 0, -1));
    check_view(x, range(-3, -1), range(_, -2));
    constexpr auto far = std::numeric_limits<std::ptrdiff_t>::max();
    for (const std::ptrdiff_t step : {far, far - 3, -far, -far - 1}) {
        const V v = view(V{1, 2, 3}, range(_, _, step));
        CHECK(same(v, {step > 0 ? 1.0 : 3.0}));
    }
    check_view(x, newaxis(), all(), 2);
    check_view(x, 2, newaxis(), range(1, 3), newaxis());
    check_view(random({6}), range(5, 1, -3));
}

TEST_CASE("an ellipsis stands for as many whole axes as are not named", "[operations][index]") {
    const V x = random({4, 5, 3});
    CHECK(same(view(x, ellipsis(), 1), view(x, all(), all(), 1).value()));
    CHECK(same(view(x, 1, ellipsis()), view(x, 1).value()));
    CHECK(same(view(x, 1, ellipsis(), range(0, 2)), view(x, 1, all(), range(0, 2)).value()));
    CHECK(same(view(x, ellipsis(), newaxis()), expand_dims(x, 3).value()));
    CHECK(same(view(x, 1, ellipsis(), 2, 0), view(x, 1, 2, 0).value()));
    check([](auto& v) { return view(v, 1, ellipsis(), range(0, 2)); }, x);
}

TEST_CASE("negative indices and ranges beyond the end follow NumPy", "[operations][index]") {
    const V x{0, 1, 2, 3, 4};
    CHECK(same(view(x, -1), full(Shape{}, 4.0)));
    CHECK(same(view(x, -5), full(Shape{}, 0.0)));
    CHECK(same(view(x, range(3, 99)), {3, 4}));
    CHECK(same(view(x, range(-99, 2)), {0, 1}));
    CHECK(same(view(x, range(99, _, -2)), {4, 2, 0}));
    CHECK(same(view(x, range(-2, _)), {3, 4}));
    CHECK(same(view(x, range(1, -1)), {1, 2, 3}));
    CHECK(view(x, range(3, 1)).shape() == Shape{0});
    CHECK(view(x, range(1, 3, -1)).shape() == Shape{0});
    CHECK(view(x, range(7, 9)).shape() == Shape{0});
    CHECK(view(random({0, 3}), all(), 1).shape() == Shape{0});
    CHECK(view(V(7), ellipsis()).item() == 7);
    CHECK(view(V(7), newaxis()).shape() == Shape{1});
    CHECK(same(view(x, std::vector<Slice>{range(1, 3)}), {1, 2}));
    check([](auto& v) { return view(v, range(3, 1)); }, x);
    check([](auto& v) { return view(v, range(-2, _), newaxis(), -1); }, random({3, 4}));
    check([](auto& v) { return view(v, newaxis(), ellipsis(), newaxis()); }, V(7));
}

TEST_CASE("a view is a copy of values, and works on results and temporaries", "[operations][index]") {
    V x{1, 2, 3};
    const V first = view(x, 0);
    x.update([](Array<double>& values) { values(0) = 9; });
    CHECK(first.item() == 1);
    CHECK(same(view(x * 2, range(1, 3)), {4, 6}));
    CHECK(same(view(Variable<float>{1, 2, 3}, range(0, 2)), {1, 2}));
}

TEST_CASE("views that overlap add up their cotangents", "[operations][index]") {
    gradcheck([](auto& x) { return view(x, range(0, 3)) * view(x, range(1, 4)) + view(x, 3); }, {random({4})});
    V x{1, 2, 3, 4};
    x.requires_grad(true);
    (sum(view(x, range(0, 3))) + sum(view(x, range(1, 4))) + sum(x)).backward();
    CHECK(same(x.grad(), {2, 3, 3, 2}));
}

TEST_CASE("a slice that cannot be taken is refused with the index, the axis and the shape",
          "[operations][index][errors]") {
    const V x = random({2, 3});
    check_refused([&] { return view(x, 2); }, {"view", "index 2", "axis 0", "(2, 3)"});
    check_refused([&] { return view(x, all(), -4); }, {"view", "index -4", "axis 1", "(2, 3)"});
    check_refused([&] { return view(x, ellipsis(), 3); }, {"view", "index 3", "axis 1", "(2, 3)"});
    check_refused([&] { return view(x, 0, 0, 0); }, {"view", "3 slices", "(2, 3)"});
    check_refused([&] { return view(x, range(0, 2, 0)); }, {"view", "step", "0"});
    check_refused([&] { return view(x, ellipsis(), ellipsis()); }, {"view", "ellipsis"});
    check_refused([] { return view(V(1), 0); }, {"view", "1 slices", "()"});
    check_refused([] { return view(random({0}), 0); }, {"view", "index 0", "(0,)"});
}

TEST_CASE("take gathers with repeats along any axis, by indices of any shape", "[operations][index]") {
    const V x{{1, 2, 3}, {4, 5, 6}};
    CHECK(same(take(x, Indices{1, 0, 1}), {{4, 5, 6}, {1, 2, 3}, {4, 5, 6}}));
    CHECK(same(take(x, Indices{2, 2}, 1), {{3, 3}, {6, 6}}));
    CHECK(same(take(x, Indices{-1}, -1), view(x, all(), range(2, 3)).value()));
    CHECK(same(take(x, Indices{{0, 1}, {1, 0}}, 1), {{{1, 2}, {2, 1}}, {{4, 5}, {5, 4}}}));
    CHECK(same(take(x, full(Shape{}, std::int64_t{1})), {4, 5, 6}));
    CHECK(take(x, empty<std::int64_t>({0, 2})).shape() == Shape{0, 2, 3});

    check([](auto& v) { return take(v, Indices{4, 0, 0, 2, 4, 4}); }, random({5}));
    check([](auto& v) { return take(v, Indices{{0, 2}, {2, 2}}, 1); }, random({2, 3, 2}));
    check([](auto& v) { return take(v, Indices{1, -1, 1}, -1); }, random({2, 2}));
    check([](auto& v) { return take(v, empty<std::int64_t>({0}), 1); }, random({2, 2}));
    check([](auto& v) { return take(v, full(Shape{}, std::int64_t{1}), 1); }, random({2, 2}));
    check([](auto& v) { return take(v, Indices{1, 2}, 1); }, random({0, 5, 3}));
    check([](auto& v) { return take(v, Indices{1, 2}, 0); }, random({5, 0}));
    gradcheck([](auto& v) { return prod(take(v, Indices{0, 0, 1})); }, {random({3})}, {.order = 3});
}

TEST_CASE("take_along_axis has indices of its own for every row", "[operations][index]") {
    const V x{{1, 2, 3}, {4, 5, 6}};
    CHECK(same(take_along_axis(x, share(Indices{2, 0}, {2, 1}), 1), V{{3}, {4}}.value()));
    CHECK(same(take_along_axis(x, Indices{{-1, 0, 0, 1}, {1, 1, 2, -3}}, -1), {{3, 1, 1, 2}, {5, 5, 6, 4}}));
    CHECK(same(take_along_axis(x, Indices{{1, 0, 1}}, 0), {{4, 2, 6}}));
    CHECK(same(take_along_axis(V{7, 8, 9}, Indices{2, 2}, 0), {9, 9}));
    CHECK(take_along_axis(x, empty<std::int64_t>({2, 0}), 1).shape() == Shape{2, 0});
    CHECK(take_along_axis(random({0, 3}), empty<std::int64_t>({0, 2}), 1).shape() == Shape{0, 2});

    Generator generator(5);
    const V cube = random({3, 4, 5});
    for (const std::size_t axis : {0, 1, 2}) {
        Shape shape = cube.shape();
        shape[axis] = 6;
        Indices indices = empty<std::int64_t>(shape);
        for (std::int64_t& index : indices)
            index = static_cast<std::int64_t>(generator.uniform_integer(cube.shape()[axis]));
        const V taken = take_along_axis(cube, indices, static_cast<std::ptrdiff_t>(axis));
        for (std::size_t i = 0; i < shape[0]; ++i)
            for (std::size_t j = 0; j < shape[1]; ++j)
                for (std::size_t k = 0; k < shape[2]; ++k) {
                    std::size_t at[] = {i, j, k};
                    at[axis] = static_cast<std::size_t>(indices(i, j, k));
                    CHECK(taken.value()(i, j, k) == cube.value()(at[0], at[1], at[2]));
                }
        check([&](auto& v) { return take_along_axis(v, indices, static_cast<std::ptrdiff_t>(axis)); }, cube);
    }
}

TEST_CASE("take_along_axis refuses indices of another shape or out of range", "[operations][index][errors]") {
    const V x = random({2, 3});
    const auto take_from = [&](const Indices& indices, std::ptrdiff_t axis) {
        return [&x, indices, axis] { return take_along_axis(x, indices, axis); };
    };
    check_refused(take_from(share(Indices{0, 3}, {2, 1}), 1), {"take_along_axis", "index 3", "axis 1", "(2, 3)"});
    check_refused(take_from(Indices{0, 1}, 1), {"take_along_axis", "(2,)", "(2, 3)"});
    check_refused(take_from(Indices{{0, 1}}, 1), {"take_along_axis", "(1, 2)", "(2, 3)", "axis 1"});
    check_refused(take_from(share(Indices{0, 1}, {2, 1}), 2), {"take_along_axis", "axis 2", "2 dimensions"});
}

TEST_CASE("take refuses indices that are out of range", "[operations][index][errors]") {
    const V x = random({2, 3});
    check_refused([&] { return take(x, Indices{0, 2}); }, {"take", "index 2", "axis 0", "(2, 3)"});
    check_refused([&] { return take(x, Indices{-4}, 1); }, {"take", "index -4", "axis 1", "(2, 3)"});
    check_refused([&] { return take(x, Indices{0}, 2); }, {"take", "axis 2", "2 dimensions"});
    check_refused([&] { return take(V(1), Indices{0}); }, {"take", "axis 0", "0 dimensions"});
    check_refused([&] { return take(random({0, 3}), Indices{0}); }, {"take", "index 0", "(0, 3)"});
}

TEST_CASE("gather and scatter are each other's derivative", "[operations][index]") {
    const auto place = make_place(Region{.shape = {2, 2}, .strides = {6, -2}, .offset = 3});
    const V x = random({3, 4}, 1), part = random({2, 2}, 2);
    CHECK(sum(gather(x, place) * part).item() == Approx(sum(x * scatter(part, place, x.shape())).item()));
    check([&](auto& v) { return scatter(v, place, Shape{3, 4}); }, part);
    check_refused([&] { return scatter(x, place, Shape{3, 4}); }, {"scatter", "(3, 4)"});
}

TEST_CASE("gather and scatter refuse a place beyond the array", "[operations][index]") {
    const V x = random({3, 4}), part = random({2, 2});
    const std::vector<Place> beyond{Region{{2, 2}, {6, -2}, 1},    // begins before the array
                                    Region{{2, 2}, {10, 1}, 1},    // ends behind it
                                    Region{{2, 2}, {1}, 0},        // lacks a stride
                                    Region{{9}, {std::ptrdiff_t{1} << 61}, 0},
                                    Positions{1, {0, 4}}, Positions{0, {-1, 1}}, Positions{2, {0, 1}}};
    for (const Place& where : beyond) {
        const auto place = std::make_shared<const Place>(where);
        check_refused([&] { return gather(x, place); }, {"gather", "(3, 4)"});
        check_refused([&] { return scatter(part, place, Shape{3, 4}); }, {"scatter", "(3, 4)"});
    }
    const auto nothing = make_place(Region{{0, 2}, {4, 1}, 12});
    CHECK(gather(x, nothing).shape() == Shape{0, 2});
}

TEST_CASE("the backward of many slices of a sequence costs what the sequence costs", "[operations][index]") {
    const std::size_t steps = 2000, features = 16;
    V x = random({steps, features});
    x.requires_grad(true);
    const auto sequence = x.size();
    const auto backward = [&](auto slice) {
        V loss = 0;
        for (std::size_t t = 0; t < steps; ++t) loss += sum(square(slice(t)));
        x.zero_grad();
        const std::size_t held = memory::statistics().bytes_from_system;
        const Work work;
        loss.backward();
        CHECK(work.elements < 10 * sequence);
        CHECK(memory::statistics().bytes_from_system - held < 16 * sequence * sizeof(double));
        CHECK(close(x.grad().value(), 2 * x.value()));
    };
    backward([&](std::size_t t) { return view(x, t); });
    backward([&](std::size_t t) { return take(x, Indices{static_cast<std::int64_t>(t)}); });
    const std::vector<V> parts = split(x, steps);
    backward([&](std::size_t t) { return parts[t]; });
}

TEST_CASE("of many short rows each number is moved to its place, and its cotangent back", "[operations][index]") {
    constexpr std::size_t rows = 700;
    for (const std::size_t width : {1, 2, 3, 4, 5, 8, 15, 16, 17}) {
        V x = xt::reshape_view(xt::arange<double>(static_cast<double>(rows * width)), {rows, width});
        x.requires_grad(true);
        // Whole numbers, which add up exactly in any order.
        const auto check_columns = [&](const V& part, const std::vector<std::size_t>& columns) {
            CAPTURE(width, columns);
            Array<double> expected(Shape{rows, columns.size()}), weights(expected.shape()), gradient(x.shape());
            gradient.fill(0);
            for (std::size_t r = 0; r < rows; ++r)
                for (std::size_t c = 0; c < columns.size(); ++c) {
                    expected(r, c) = x.value()(r, columns[c]);
                    weights(r, c) = static_cast<double>(1 + (7 * r + c) % 13);
                    gradient(r, columns[c]) += weights(r, c);
                }
            CHECK(reshape(part, expected.shape()).value() == expected);
            x.zero_grad();
            part.backward(V(Array<double>(xt::reshape_view(weights, part.shape()))));
            CHECK(x.grad().value() == gradient);
        };
        for (const std::ptrdiff_t step : {1, 2, 3, -1, -2}) {
            std::vector<std::size_t> columns;
            const auto size = static_cast<std::ptrdiff_t>(width);
            for (std::ptrdiff_t c = step > 0 ? 0 : size - 1; c >= 0 && c < size; c += step)
                columns.push_back(static_cast<std::size_t>(c));
            check_columns(view(x, all(), range(_, _, step)), columns);
        }
        check_columns(view(x, all(), -1), {width - 1});
        if (width > 2) check_columns(view(x, all(), range(1, -1)), [&] {
            std::vector<std::size_t> inner(width - 2);
            std::iota(inner.begin(), inner.end(), std::size_t{1});
            return inner;
        }());
        check_columns(take(x, Indices{0}, 1), {0});
        const std::size_t last = width - 1;
        check_columns(take(x, Indices{static_cast<std::int64_t>(last), 0, static_cast<std::int64_t>(last / 2), 0}, 1),
                      {last, 0, last / 2, 0});
    }
}

TEST_CASE("cotangents of short rows are added on any number of threads", "[operations][index][threads]") {
    constexpr std::size_t rows = 20000, width = 4;
    Array<float> numbers = empty<float>({rows, width});
    std::iota(numbers.begin(), numbers.end(), 0.0f);
    const auto check_columns = [&](const auto& part_of, const std::vector<std::size_t>& columns) {
        Variable<> x(numbers);
        x.requires_grad(true);
        const Variable<> part = part_of(x);
        Array<float> expected = empty<float>(part.shape()), gradient = full(x.shape(), 0.0f);
        for (std::size_t r = 0; r < rows; ++r)
            for (std::size_t c = 0; c < columns.size(); ++c) {
                expected(r, c) = numbers(r, columns[c]);
                gradient(r, columns[c]) += 2;
            }
        CHECK(part.value() == expected);
        part.backward(Variable<>(full(part.shape(), 2.0f)));
        CHECK(x.grad().value() == gradient);
    };
    for (const std::size_t count : {1, 3}) {
        const Threads scope(count);
        CAPTURE(count);
        check_columns([](auto& x) { return view(x, all(), range(1, 3)); }, {1, 2});
        check_columns([](auto& x) { return view(x, all(), range(_, _, -1)); }, {3, 2, 1, 0});
        check_columns([](auto& x) { return take(x, Indices{3, 0}, 1); }, {3, 0});
        check_columns([](auto& x) { return take(x, Indices{3, 0, 3}, 1); }, {3, 0, 3});
        // Two bands, of which either has every second number of the same rows.
        const Variable<> part(full(Shape{2, 4096, 4}, 1.0f));
        CHECK(scatter(part, make_place(Region{{2, 4096, 4}, {1, 8, 2}, 0}), {4096, 8}).value() ==
              full(Shape{4096, 8}, 1.0f));
    }
}

TEST_CASE("a few long columns are stacked to rows, and rows taken apart", "[operations][index]") {
    for (const std::size_t count : {2, 3, 4, 5})
        for (const std::size_t length : {1, 15, 16, 300}) {
            CAPTURE(count, length);
            std::vector<V> columns;
            for (std::size_t i = 0; i < count; ++i) columns.push_back(random({length}));
            const V rows = stack(columns, -1), back = transpose(rows);
            for (std::size_t i = 0; i < count; ++i)
                for (std::size_t r = 0; r < length; ++r) {
                    CHECK(rows.value()(r, i) == columns[i].value()(r));
                    CHECK(back.value()(i, r) == columns[i].value()(r));
                }
        }
}

TEST_CASE("elements that a region names more than once are added as often, on any number of threads",
          "[operations][index]") {
    const Variable<> part(full(Shape{4096, 16}, 1.0f));
    for (const std::size_t count : {1, 3}) {
        const Threads scope(count);
        const Array<float> same = scatter(part, make_place(Region{{4096, 16}, {0, 1}, 0}), {16}).value();
        CHECK(same == full(Shape{16}, 4096.0f));
        const Array<float> windows = scatter(part, make_place(Region{{4096, 16}, {1, 1}, 0}), {4111}).value();
        for (std::size_t i = 0; i < 4111; ++i)
            REQUIRE(windows(i) == static_cast<float>(std::min<std::size_t>({i + 1, 16, 4111 - i})));
    }
}

TEST_CASE("large parts of arrays are copied and added on any number of threads", "[operations][index]") {
    Array<float> numbers = empty<float>({260, 7, 90});
    std::iota(numbers.begin(), numbers.end(), 0.0f);
    for (const std::size_t count : {1, 3}) {
        const Threads scope(count);
        Variable<> x(numbers);
        x.requires_grad(true);
        const auto check_part = [&](const Variable<>& part, const auto& view_of) {
            const Array<float> expected = view_of(numbers);
            CHECK(part.value() == expected);
            x.zero_grad();
            sum(part * part).backward();
            Array<float> gradient = full(numbers.shape(), 0.0f);
            view_of(gradient) = 2 * expected;
            CHECK(x.grad().value() == gradient);
        };
        using xt::all, xt::range, xt::placeholders::_;
        check_part(view(x, range(5, 255), range(0, 7, 2), range(80, 2, -3)),
                   [](auto& a) { return xt::view(a, range(5, 255), range(0, 7, 2), range(80, 2, -3)); });
        check_part(view(x, all(), range(1, 6), range(1, _, 2)),
                   [](auto& a) { return xt::view(a, all(), range(1, 6), range(1, _, 2)); });
        check_part(view(x, all(), all(), range(_, _, -1)),
                   [](auto& a) { return xt::view(a, all(), all(), range(_, _, -1)); });
        check_part(view(x, all(), all(), range(3, 20)),
                   [](auto& a) { return xt::view(a, all(), all(), range(3, 20)); });
        check_part(view(x, all(), all(), range(0, 90, 9)),
                   [](auto& a) { return xt::view(a, all(), all(), range(0, 90, 9)); });

        const auto check_taken = [&](const Variable<>& taken, const Array<float>& expected, const auto& add_to) {
            CHECK(taken.value() == expected);
            x.zero_grad();
            taken.backward(Variable<>(expected));
            Array<float> sums = full(numbers.shape(), 0.0f);
            add_to(sums);
            CHECK(x.grad().value() == sums);
        };
        Array<std::int64_t> rows = empty<std::int64_t>({40}), places = empty<std::int64_t>({12});
        for (std::size_t i = 0; i < rows.size(); ++i) rows(i) = static_cast<std::int64_t>(i * i % 260);
        for (std::size_t i = 0; i < places.size(); ++i) places(i) = static_cast<std::int64_t>(i * i % 7);
        check_taken(take(x, rows, 0), xt::view(numbers, xt::keep(rows)), [&](Array<float>& sums) {
            for (const std::int64_t row : rows) xt::view(sums, row) += xt::view(numbers, row);
        });
        check_taken(take(x, places, 1), xt::view(numbers, all(), xt::keep(places)), [&](Array<float>& sums) {
            for (const std::int64_t place : places) xt::view(sums, all(), place) += xt::view(numbers, all(), place);
        });
        for (const Array<std::int64_t>& last : {places, rows}) {
            const Array<std::int64_t> within = last % std::int64_t{90};
            check_taken(take(x, within, 2), xt::view(numbers, all(), all(), xt::keep(within)), [&](Array<float>& sums) {
                for (const std::int64_t place : within)
                    xt::view(sums, all(), all(), place) += xt::view(numbers, all(), all(), place);
            });
        }
    }
}

TEST_CASE("an empty part adds nothing, wherever it is said to be", "[operations][index]") {
    const auto place = make_place(Region{{0, 9}, {-1, 0}, 0});  // names its one place again and again
    CHECK((scatter(Variable<>(full(Shape{0, 9}, 1.f)), place, Shape{8}).value() == full(Shape{8}, 0.f)));
}

TEST_CASE("rows of an array are taken without a copy of the array", "[operations][index]") {
    const Array<> data = {{1, 2}, {3, 4}, {5, 6}};
    CHECK((take(data, Array<std::int64_t>{2, -3}).value() == Array<>{{5, 6}, {1, 2}}));
    const Array<> large(Shape{1000, 10'000});
    memory::trim();
    const auto before = memory::statistics().bytes_from_system;
    CHECK(take(large, Array<std::int64_t>{7}).shape() == Shape{1, 10'000});
    CHECK(memory::statistics().bytes_from_system < before + 20'000'000);  // a copy would take 40
}
