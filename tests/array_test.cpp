#include <limits>
#include <memory>
#include <vector>

#if __has_include(<xtensor/core/xmath.hpp>)
#include <xtensor/core/xmath.hpp>
#include <xtensor/core/xnoalias.hpp>
#include <xtensor/generators/xbuilder.hpp>
#include <xtensor/views/xview.hpp>
#else
#include <xtensor/xbuilder.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xnoalias.hpp>
#include <xtensor/xview.hpp>
#endif

#include <xgrad/autodiff/array.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr std::size_t most = std::numeric_limits<std::size_t>::max();

}  // namespace

TEST_CASE("the elements of an array are aligned to 64 bytes", "[array]") {
    for (std::size_t size : {1, 3, 17, 1000})
        CHECK(reinterpret_cast<std::uintptr_t>(Array<float>(Shape{size}).data()) % 64 == 0);
}

TEST_CASE("the elements of a large array begin with a page", "[array]") {
    for (const std::size_t size : {16u << 10, 100'000u, 512u << 10, 1u << 20, 3'000'000u}) {
        const Array<float> x(Shape{size});
        CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 4096 == 0);
    }
}

TEST_CASE("a copy of an array is deep", "[array]") {
    Array<> a{{1, 2}, {3, 4}};
    Array<> b = a;
    b(0, 0) = 9;
    CHECK(a(0, 0) == 1);
    Array<> c;
    c = a;
    c(0, 0) = 9;
    CHECK(a(0, 0) == 1);
    const Array<>& self = a;
    a = self;
    CHECK((a == Array<>{{1, 2}, {3, 4}}));
}

TEST_CASE("a moved array hands its memory over", "[array]") {
    Array<> a{1, 2, 3};
    const float* data = a.data();
    const Array<> b = std::move(a);
    CHECK(b.data() == data);
    CHECK((b == Array<>{1, 2, 3}));
}

TEST_CASE("share looks at the same memory under another shape", "[array]") {
    Array<> a{{1, 2, 3}, {4, 5, 6}};
    Array<> whole = share(a, Shape{6});
    Array<> row = share(a, Shape{3}, 3);
    CHECK(whole.data() == a.data());
    CHECK((row == Array<>{4, 5, 6}));
    row(0) = 40;
    CHECK(a(1, 0) == 40);
    CHECK_FALSE(a.storage().unique());
    Array<> copy = row;
    copy(1) = 50;
    CHECK(a(1, 1) == 5);
    CHECK(copy.storage().unique());
}

TEST_CASE("share keeps the memory alive, and is alone with it in the end", "[array]") {
    Array<> part;
    {
        const Array<> whole{1, 2, 3, 4};
        part = share(whole, Shape{2}, 2);
    }
    CHECK((part == Array<>{3, 4}));
    CHECK(part.storage().unique());
}

TEST_CASE("share refuses a shape that goes beyond the array", "[array]") {
    const Array<> a{1, 2, 3, 4};
    CHECK_THROWS_AS(share(a, Shape{5}), Error);
    CHECK_THROWS_AS(share(a, Shape{2}, 3), Error);
    CHECK_THROWS_AS(share(a, Shape{1}, most), Error);
    CHECK_THROWS_WITH(share(a, Shape{3, 2}, 0), ContainsSubstring("(3, 2)") && ContainsSubstring("(4,)"));
    CHECK_NOTHROW(share(a, Shape{0}, 4));
}

TEST_CASE("borrow reads and writes a caller's memory", "[array]") {
    std::vector<float> data{1, 2, 3, 4, 5, 6};
    Array<> a = borrow(std::span(data), Shape{2, 3});
    CHECK(a.data() == data.data());
    a(1, 2) = 60;
    CHECK(data[5] == 60);
    CHECK_FALSE(a.storage().unique());
    CHECK_THROWS_WITH(borrow(std::span(data), Shape{2, 2}), ContainsSubstring("(2, 2)"));
}

TEST_CASE("the keeper of borrowed memory is held until nothing looks at it", "[array]") {
    auto keeper = std::make_shared<std::vector<float>>(6, 1.0f);
    std::weak_ptr<void> alive = keeper;
    Array<> part;
    {
        const Array<> a = borrow(std::span(*keeper), Shape{6}, keeper);
        keeper.reset();
        part = share(a, Shape{2}, 4);
    }
    CHECK_FALSE(alive.expired());
    part = Array<>();
    CHECK(alive.expired());
}

TEST_CASE("xtensor expressions can be assigned to arrays and read from them", "[array]") {
    const Array<> a{{1, 2, 3}, {4, 5, 6}};
    Array<> b = a + 2 * a;
    CHECK((b == Array<>{{3, 6, 9}, {12, 15, 18}}));
    b = xt::view(a, 0) + b;
    CHECK((b == Array<>{{4, 8, 12}, {13, 17, 21}}));
    b += a;
    CHECK(b(1, 2) == 27);
    xt::view(b, xt::all(), 1) = 0.0f;
    CHECK((b == Array<>{{5, 0, 15}, {17, 0, 27}}));
    xt::noalias(b) = a;
    CHECK((b == a));
    CHECK((Array<>(xt::sum(a, {0})) == Array<>{5, 7, 9}));
    CHECK((Array<>(xt::sum(a, {1})) == Array<>{6, 15}));
    CHECK(xt::sum(a)() == 21);
    const Array<std::int64_t> counted = xt::arange<std::int64_t>(5);
    CHECK(counted(4) == 4);
    const Array<bool> mask = a > 2.5f;
    CHECK((mask == Array<bool>{{false, false, true}, {true, true, true}}));
    const xt::xarray<double> foreign = xt::cast<double>(a);
    CHECK((Array<>(foreign) == a));
}

TEST_CASE("arrays of no elements and of no dimensions are arrays as well", "[array]") {
    const Array<> nothing = empty<float>(Shape{0, 3});
    CHECK(nothing.size() == 0);
    CHECK(nothing.shape() == Shape{0, 3});
    const Array<> copy = nothing;
    CHECK(copy.shape() == Shape{0, 3});
    CHECK(share(nothing, Shape{3, 0}).size() == 0);
    CHECK(Array<>(nothing + 1.0f).shape() == Shape{0, 3});
    CHECK(borrow(std::span<float>(), Shape{0}).size() == 0);

    const Array<> scalar = full(Shape{}, 3.0f);
    CHECK(scalar.dimension() == 0);
    CHECK(scalar.size() == 1);
    CHECK(scalar() == 3);
    CHECK(Array<>(scalar + 1.0f)() == 4);
    CHECK(share(scalar, Shape{1, 1})(0, 0) == 3);
}

TEST_CASE("an array changes its shape by resizing", "[array]") {
    Array<> a{1, 2, 3, 4};
    a.reshape(std::vector<std::size_t>{2, 2});
    CHECK(a(1, 1) == 4);
    a.resize(Shape{3, 5});
    CHECK(a.size() == 15);
    CHECK(a.storage().size() == 15);
}

TEST_CASE("a shape with more elements than can be counted is refused", "[array]") {
    const Shape huge{std::size_t{1} << 40, std::size_t{1} << 40};
    CHECK_THROWS_AS(empty<float>(huge), Error);
    CHECK_THROWS_AS(full(huge, 1.0f), Error);
    CHECK_THROWS_AS(borrow(std::span<float>(), huge), Error);
    CHECK_THROWS_AS(share(Array<>(Shape{0}), huge), Error);
    CHECK_THROWS_WITH(element_count(huge), ContainsSubstring("(1099511627776, 1099511627776)"));
    CHECK_THROWS_AS(empty<float>(Shape{most / 4}), std::bad_alloc);
    CHECK(element_count(Shape{std::size_t{1} << 40, 0, std::size_t{1} << 40}) == 0);
}

TEST_CASE("the time of the last change moves on with every touch, whichever thread touches", "[array]") {
    Array<> a{1, 2, 3};
    Array<> b = share(a, Shape{3});
    const auto before = a.storage().changed_at();
    b.storage().touch();
    CHECK(a.storage().changed_at() != before);
    const auto after = a.storage().changed_at();
    a.storage().touch();
    CHECK(b.storage().changed_at() != after);
}

TEST_CASE("xtensor's own reductions take an array, though the library has functions of the same names", "[array]") {
    const Array<double> x{1, 2, 3, 6};
    CHECK(xt::sum(x)() == 12);
    CHECK(xt::mean(x)() == 3);
    CHECK(xt::variance(x)() == 3.5);
    CHECK(xt::stddev(x)() == Approx(std::sqrt(3.5)));
    CHECK(xt::average(x)() == 3);
    CHECK(xt::prod(x)() == 36);
    CHECK(xt::amax(x)() == 6);
}
