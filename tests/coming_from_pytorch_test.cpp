// What docs/coming_from_pytorch.md shows and says about the differences.
#include <xgrad/xgrad.hpp>

#include "catch.hpp"

using namespace xgrad;

TEST_CASE("a Variable is a handle and a Parameter a value", "[pytorch]") {
    // [handles]
    Variable a = {1, 2};
    Variable b = a;          // the same value under another name
    a = 2 * a;               // a is now another value; b is still {1, 2}
    b.assign({5, 6});        // writes into the value, for all its names

    Parameter<> p(b), q = p; // two parameters with equal values
    q = Variable({7, 8});    // writes into q; p is as it was
    q -= 0.1f * p;           // and so does this, without recording
    // [handles]
    CHECK(a.value() == Array<>{2, 4});
    CHECK(b.value() == Array<>{5, 6});
    CHECK(p.value() == Array<>{5, 6});
    CHECK(q.value() == Array<>{6.5, 7.4f});
    CHECK(q.requires_grad());
}

TEST_CASE("a weight is used twice by an operation", "[pytorch]") {
    // [tied]
    nn::Embedding words(1000, 32);
    const Variable hidden = words(Array<std::int64_t>{3, 5});
    const Variable logits = matmul(hidden, words.weight(), {.transpose_b = true});
    // [tied]
    CHECK(logits.shape() == Shape{2, 1000});
    sum(square(logits)).backward();
    const Array<> gradient = words.weight().grad().value();  // of both uses
    CHECK(gradient(7, 0) != 0);
    CHECK(gradient(3, 0) != gradient(7, 0));
    CHECK(words.parameters().size() == 1);
}

TEST_CASE("the options of the table are as it says", "[pytorch]") {
    Parameter<> a(Variable<>{1, 2}), b(Variable<>{3});
    const std::vector<Variable<>> first{a}, second{b};
    optim::Adam both({a, b}, {.learning_rate = 1e-3, .betas = {0.9, 0.99}, .epsilon = 1e-8});
    CHECK(both.learning_rate() == 1e-3);
    optim::Adam groups({{first, {.learning_rate = 1e-4}}, {second}});
    CHECK(groups.learning_rate(0) == 1e-4);
    CHECK(groups.learning_rate(1) == 1e-3);
    optim::SGD cosine({a}, {.learning_rate = optim::cosine(1e-3, 1000, {.warmup_steps = 50})});
    CHECK(cosine.learning_rate() == Approx(1e-3 / 50));
    CHECK((full(a.shape(), 1.f) == Array<>{1, 1}));
    CHECK((take_along_axis(Variable{{1, 2}, {3, 4}}, Array<std::int64_t>{{0, 0}, {1, 0}}, 1).value() ==
           Array<>{{1, 1}, {4, 3}}));
    CHECK_FALSE(a.grad().defined());
    a.requires_grad(true), b.requires_grad(true);
    CHECK_FALSE(grad(sum(square(a)) + 0 * sum(a), b).defined());
}

TEST_CASE("gradients add up over several losses when minimize is taken apart", "[pytorch]") {
    const Variable x = {{1, 2}, {3, 4}};
    const Variable y = {{1}, {2}};
    xgrad::seed(1);
    nn::Linear model(2, 1);
    nn::Linear other = model;
    optim::SGD optimizer(model.parameters(), {.learning_rate = 0.1});
    const int parts = 2;
    // [accumulation]
    optimizer.zero_grad();
    for (const int part : {0, 1})
        (nn::mse_loss(model(view(x, xt::range(part, part + 1))), view(y, xt::range(part, part + 1))) / parts).backward();
    optimizer.step();
    // [accumulation]
    optim::SGD whole(other.parameters(), {.learning_rate = 0.1});
    whole.minimize(nn::mse_loss(other(x), y));
    CHECK(xt::allclose(model.weight().value(), other.weight().value()));
    CHECK(xt::allclose(model.bias().value(), other.bias().value()));
}

TEST_CASE("indexing and slicing, one for one", "[pytorch]") {
    Array<> numbers = xt::arange<float>(24).reshape({2, 3, 4});
    const Variable x(numbers);
    const Array<std::int64_t> indices = {2, 0};
    // [slices]
    using namespace xt::placeholders;
    const Variable a = view(x, 0);                                    // x[0]
    const Variable b = view(x, xt::all(), xt::range(1, _), -1);       // x[:, 1:, -1]
    const Variable c = view(x, xt::ellipsis(), xt::newaxis());        // x[..., None]
    const Variable d = view(x, xt::all(), xt::range(_, _, -1));       // x.flip(1)
    const Variable e = take(x, indices, 1);                           // x.index_select(1, indices)
    const Variable f = where(x > 5, x, 0);                            // torch.where(x > 5, x, 0)
    // [slices]
    CHECK(a.shape() == Shape{3, 4});
    CHECK(b.value() == Array<>{{7, 11}, {19, 23}});
    CHECK(c.shape() == Shape{2, 3, 4, 1});
    CHECK(d.value() == flip(x, 1).value());
    CHECK(e.value()(0, 0, 0) == 8);
    CHECK(sum(f).item() == 276 - 15);
}

TEST_CASE("random arrays, labels of another shape and rows by number", "[pytorch]") {
    const Variable x = {{1, 2}, {3, 4}, {5, 6}};
    const Array<std::int64_t> labels = {{0, 1}, {2, 3}};
    Generator generator(1);
    // [arrays]
    Array<> noise(Shape{3, 8});
    generator.fill_normal<float>(noise);                                    // torch.randn(3, 8)
    const Array<std::int64_t> flat = share(labels, {4});                    // labels.view(4)
    std::vector<std::int64_t> rows = generator.permutation(3);              // torch.randperm(3)
    const Variable mixed = take(x, borrow(std::span(rows), {rows.size()})); // x[rows]
    // [arrays]
    Array<> same(Shape{3, 8});
    Generator(1).fill_normal(std::span(same.data(), same.size()));
    CHECK((noise == same));
    CHECK(flat == Array<std::int64_t>{0, 1, 2, 3});
    for (std::size_t i = 0; i < 3; ++i) CHECK((mixed.value()(i, 1) == x.value()(rows[i], 1)));
}

TEST_CASE("names and defaults differ where the page says so", "[pytorch]") {
    const Variable x = {1, 2, 3, 4};
    CHECK(variance(x).item() == Approx(1.25));                    // torch.var(x, correction=0)
    CHECK(variance(x, {}, false, 1).item() == Approx(5.0 / 3));   // torch.var(x)
    CHECK(mean(x, 0).dimension() == 0);
    CHECK(nn::Linear(3, 2).named_parameters()[0].first == "weight");
    CHECK(nn::Linear(3, 2).weight().shape() == Shape{2, 3});
    nn::Sequential model{nn::Linear(3, 2), nn::BatchNorm(2)};
    CHECK(model.named_parameters()[2].first == "1.weight");
    CHECK(model.named_buffers()[2].first == "1.num_batches_tracked");
    CHECK_THROWS_AS(nn::mse_loss(x, reshape(x, {4, 1})), Error);  // no silent broadcasting
    CHECK(nn::cross_entropy(Variable({{1, 2}}), Array<std::int64_t>{-100}, {.reduction = nn::Reduction::sum}).item() == 0);
    CHECK(model.freeze("0.*") == 2);
    CHECK(model.parameters().size() == 4);
    CHECK_FALSE(model.parameters()[0].requires_grad());
    Variable y = {1.f};
    y.requires_grad(true);
    Variable z = y;
    z += 1;                                                       // a new value: y is as it was
    CHECK(y.item() == 1);
    CHECK(z.item() == 2);

    const Variable a = {1, 2};
    Variable shared = reshape(a, {2, 1}), copied = view(a, xt::range(0, 1));
    shared.update([](Array<>& values) { values += 10; });
    copied.update([](Array<>& values) { values += 20; });
    CHECK(a.value() == Array<>{11, 12});
}
