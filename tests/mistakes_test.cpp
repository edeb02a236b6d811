// The mistakes that users make, and what each is told.
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <thread>

#include <xgrad/xgrad.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

struct Mistake {
    const char* what;
    std::function<void()> made;
    std::string told;
};

Variable<> zeros(const Shape& shape) { return full(shape, 0.f); }

Variable<> trained(const Shape& shape) { return zeros(shape).requires_grad(true); }

// A file of a few bytes that goes away again.
class File {
public:
    explicit File(const std::string& bytes) : path_(std::filesystem::temp_directory_path() / "xgrad_mistake.idx") {
        std::ofstream(path_, std::ios::binary) << bytes;
    }
    ~File() { std::filesystem::remove(path_); }
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

class Forgetful : public nn::Layer<> {
public:
    void fields(nn::Fields<>& f) override { f("listed", listed_); }

protected:
    Variable<> forward(const Variable<>& x) override { return forgotten_(listed_(x)); }

private:
    nn::Linear<> listed_{3, 3}, forgotten_{3, 3};
};

void run_on_another_thread(const std::function<void()>& function) {
    std::exception_ptr thrown;
    std::thread([&] {
        try {
            function();
        } catch (...) {
            thrown = std::current_exception();
        }
    }).join();
    if (thrown) std::rethrow_exception(thrown);
}

const std::vector<Mistake> mistakes{
    {"matrices whose inner sizes differ", [] { matmul(zeros({32, 784}), zeros({512, 10})); },
     "matmul: inner sizes differ: (32, 784) · (512, 10)"},
    {"shapes that do not broadcast", [] { zeros({4, 3}) + zeros({4}); },
     "add: the shapes (4, 3) and (4,) do not broadcast"},
    {"an input that does not fit a layer",
     [] { nn::Sequential{nn::Linear(784, 256), nn::ReLU(), nn::Linear(100, 10)}(zeros({2, 784})); },
     "the last size must be 100 (in 2: Linear(100, 10))"},
    {"an axis out of range", [] { sum(zeros({2, 3}), 2); }, "sum: axis 2 is out of range for an array with 2 dimensions"},
    {"a shape that does not hold the elements", [] { reshape(zeros({2, 3}), {4, -1}); },
     "reshape: no size in place of -1 makes (4, -1) hold the 6 elements of (2, 3)"},
    {"an index out of range", [] { take(zeros({5}), Array<std::int64_t>{0, 5}); },
     "take: index 5 is out of range for axis 0 of (5,)"},
    {"parts that do not fit together", [] { concatenate<float>({zeros({2, 3}), zeros({2, 4})}, 0); },
     "concatenate: the shapes (2, 3) and (2, 4) differ in more than axis 0"},
    {"backward from many numbers", [] { (trained({2, 2}) * 2).backward(); },
     "backward: the output has shape (2, 2), not a single element"},
    {"backward from what depends on nothing", [] { sum(zeros({2})).backward(); },
     "backward: the output depends on no variable that requires a gradient"},
    {"a second backward",
     [] {
         const Variable<> loss = sum(square(trained({2})));
         loss.backward();
         loss.backward();
     },
     "was already freed by an earlier backward (an optimizer's minimize runs one); pass {.retain_graph = true}"},
    {"a value changed before backward",
     [] {
         Variable<> x = trained({2});
         const Variable<> loss = sum(square(x));
         x.update([](Array<>& values) { values += 1; });
         loss.backward();
     },
     "a value of shape (2,) that 'square' had saved was changed in place afterwards"},
    {"backward on another thread than forward",
     [] {
         const Variable<> loss = sum(trained({2}));
         run_on_another_thread([&] { loss.backward(); });
     },
     "was recorded on another thread"},
    {"the value of an empty Variable", [] { Variable<>().value(); }, "this Variable is empty"},
    {"a number from many", [] { zeros({3}).item(); }, "item: a value of shape (3,) is not a single number"},
    {"changing a result in place", [] { (trained({2}) * 2).update([](Array<>& values) { values += 1; }); },
     "update: this value was made by the operation 'multiply'"},
    {"values that do not fit a parameter", [] { nn::Linear(2, 3).weight() = zeros({2, 3}); },
     "assign: values of shape (2, 3) do not fit a variable of shape (3, 2)"},
    {"a wrong derivative",
     [] {
         gradcheck([](const Variable<double>& x) {
             return record("wrong", Array<double>(x.value() * 3), wrt(x, [](const Variable<double>& g) { return g * 2; }));
         }, {Variable<double>(1.0)});
     },
     "gradcheck"},
    {"an operation's value that was recorded itself",
     [] {
         const Variable<> x = trained({2});
         record("mine", exp(x), wrt(x, [](const Variable<>& g) { return g; }));
     },
     "record: a value of 'mine' was itself recorded, by 'exp'; compute it of x.detach()"},
    {"a label out of range", [] { nn::cross_entropy(zeros({2, 10}), Array<std::int64_t>{3, 10}); }, "label 10"},
    {"labels of another batch", [] { nn::cross_entropy(zeros({2, 10}), Array<std::int64_t>{3}); }, "cross_entropy: "},
    {"an empty batch", [] { nn::cross_entropy(zeros({0, 10}), Array<std::int64_t>(Shape{0})); }, "cross_entropy: "},
    {"targets that would broadcast", [] { nn::mse_loss(zeros({4}), zeros({4, 1})); }, "mse_loss: "},
    {"a batch of one in BatchNorm's training", [] { nn::BatchNorm(3)(zeros({1, 3})); }, "(1, 3)"},
    {"a parameter that is not listed",
     [] {
         Forgetful model;
         optim::SGD optimizer(model.parameters(), {.learning_rate = 0.1});
         optimizer.minimize(sum(model(zeros({2, 3}))));
     },
     "fields"},
    {"a negative learning rate", [] { optim::SGD(nn::Linear(2, 2).parameters(), {.learning_rate = -1}); }, "the learning rate of step 0 is -1"},
    {"nothing to optimize", [] { optim::SGD(nn::ReLU().parameters(), {.learning_rate = 1}); }, "parameter"},
    {"a pattern that matches nothing", [] { nn::Linear(2, 2).freeze("wieght"); },
     "freeze: no parameter's name matches 'wieght'"},
    {"memory that is too small for a prediction",
     [] {
         std::array<float, 3> memory{};
         nn::Linear(2, 2).predict(zeros({2, 2}), memory);
     },
     "predict: the output has shape (2, 2); the caller's memory holds 3 numbers"},
    {"a missing file", [] { training::read_idx("nowhere/train-images-idx3-ubyte"); }, "nowhere/train-images-idx3-ubyte"},
    {"a truncated file",
     [] {
         const File file(std::string("\0\0\x08\x01\0\0\0\x05" "ab", 10));
         training::read_idx(file.path());
     },
     "xgrad_mistake.idx"},
    {"inputs and targets of different counts",
     [] { training::Dataset<>(Array<>(Shape{3, 2}), Array<std::int64_t>(Shape{2})); }, "3"},
    {"no threads", [] { set_threads(0); }, "threads"},
    {"an empty function as a learning rate", [] { optim::Schedule(std::function<double(std::int64_t)>()); },
     "Schedule: the function is empty"},
    {"random numbers without an end",
     [] { Generator(1).fill_uniform(std::span<float>(), -3e38f, 3e38f); }, "expected low ≤ high, and a finite high − low"},
    {"bounds the wrong way round", [] { Generator(1).fill_uniform(std::span<float>(), 1, 0); }, "fill_uniform: the bounds are 1"},
    {"a bound that is no number", [] { clip(zeros({2}), NAN, 1); }, "clip: the bounds are nan and 1"},
    {"a sample that there is not",
     [] {
         const training::Dataset<> set(Array<>(Shape{2, 2}), Array<std::int64_t>{0, 1});
         set.subset(std::array<std::int64_t, 2>{1, 2});
     },
     "subset: there is no sample 2 in a set of 2"},
    {"a batch order with samples that there are not",
     [] {
         const training::Dataset<> set(Array<>(Shape{2, 2}), Array<std::int64_t>{0, 1});
         training::Batches<float, std::int64_t>(set, 1, {0, 1000000}, {});
     },
     "batches: there is no sample 1000000 in a set of 2"},
};

}  // namespace

TEST_CASE("every mistake gets a message that says what was expected", "[mistakes]") {
    for (const Mistake& mistake : mistakes) {
        INFO(mistake.what);
        std::string told = "nothing at all";
        try {
            mistake.made();
        } catch (const Error& error) {
            told = error.what();
        }
        std::printf("%-45s %s\n", mistake.what, told.c_str());
        INFO(told);
        CHECK(told.find(mistake.told) != std::string::npos);
    }
}
