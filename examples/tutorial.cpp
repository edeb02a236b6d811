// The code of docs/tutorial.md: from the first Variable to a trained network. What the page says about results is
// asserted here, between the pieces that it shows.
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <unistd.h>

#include "common/program.hpp"

// [include]
#include <fmt/format.h>
#include <xgrad/xgrad.hpp>

using namespace xgrad;
// [include]

namespace {

void claim(bool holds, const std::string& what) {
    if (!holds) throw std::logic_error("the tutorial says that " + what);
}

bool near(double a, double b) { return std::abs(a - b) < 1e-4; }

void values() {
    // [values]
    const Variable x = {{1, 2, 3}, {4, 5, 6}};  // float, shape (2, 3)
    const Variable row = {10, 20, 30};          // shape (3,)
    const Variable y = 2 * x + row;             // broadcast as in NumPy: shape (2, 3)
    const Variable total = sum(y);              // shape (), one number
    const Variable columns = mean(y, 0);        // over axis 0: shape (3,)
    const Variable z = matmul(x, transpose(x)); // (2, 3)·(3, 2) → (2, 2)

    fmt::print("{} {} {}\n", total.item(), describe(columns.shape()), z.value()(1, 1));  // 162 (3,) 77
    // [values]
    claim(total.item() == 162 && columns.shape() == Shape{3} && z.value()(1, 1) == 77, "162 (3,) 77 is printed");

    // [xtensor]
    const Array<> a = xt::exp(-x.value());       // an Array is an xtensor container
    const Variable<> b = x * xt::cos(x.value()); // and an expression may stand beside a Variable
    const Variable<double> precise = {0.1, 0.2}; // the type says the precision
    const Array<std::int64_t> labels = {3, 1};   // labels and indices are integers
    // [xtensor]
    claim(a.shape() == x.shape() && near(b.value()(0, 0), std::cos(1)) && precise.size() == labels.size(),
          "xtensor fits");
}

void gradients() {
    // [gradient]
    Variable x = {1, 2, 3};
    x.requires_grad(true);  // collect ∂loss/∂x here
    const Variable loss = sum(square(x));
    loss.backward();
    // x.grad() is 2x: {2, 4, 6}
    // [gradient]
    claim(x.grad().value() == Array<>{2, 4, 6}, "the gradient is 2x");

    // [accumulate]
    sum(3 * x).backward();  // adds 3 to each: {5, 7, 9}
    x.zero_grad();          // x.grad() is empty again
    // [accumulate]
    claim(!x.grad().defined(), "zero_grad empties the gradient");
    sum(square(x)).backward();
    sum(3 * x).backward();
    claim(x.grad().value() == Array<>{5, 7, 9}, "gradients add up");
    x.zero_grad();

    // [grad]
    const Variable y = sum(x * x * x);
    const Variable first = grad(y, x, {.create_graph = true});  // 3x², recorded: it can be differentiated again
    const Variable second = grad(sum(first), x);                // 6x
    // [grad]
    claim(first.value() == Array<>{3, 12, 27} && second.value() == Array<>{6, 12, 18},
          "the derivatives are 3x² and 6x");
    claim(!x.grad().defined(), "grad leaves x.grad() alone");

    // [detach]
    const Variable constant = x.detach();  // the same memory, without history
    const NoGrad no_grad;                  // until the end of this scope nothing is recorded
    const Variable z = square(x);          // z.requires_grad() is false
    // [detach]
    claim(!z.requires_grad() && !constant.requires_grad(), "neither requires a gradient");
}

void mistakes() {
    std::string message;
    // [mistake]
    try {
        matmul(Variable<>(full(Shape{32, 784}, 0.f)), full(Shape{512, 10}, 0.f));
    } catch (const Error& error) {
        message = error.what();  // "matmul: inner sizes differ: (32, 784) · (512, 10)"
    }
    // [mistake]
    claim(message == "matmul: inner sizes differ: (32, 784) · (512, 10)", "the message is what it is");
}

void descent() {
    xgrad::seed(1);
    // [descent]
    // Points on y = 3x + 1, and a line through them by gradient descent.
    const Variable x = {{-1}, {0}, {1}, {2}};
    const Variable y = {{-2}, {1}, {4}, {7}};
    Parameter<> slope(Shape{1, 1}), offset(Shape{1});
    nn::init::zeros(slope);
    nn::init::zeros(offset);

    for (int step = 0; step < 200; ++step) {
        const Variable loss = nn::mse_loss(matmul(x, slope) + offset, y);
        slope.zero_grad();
        offset.zero_grad();
        loss.backward();
        for (Parameter<>* p : {&slope, &offset})
            p->update([&](Array<>& values) { values -= 0.1f * p->grad().value(); });
    }
    fmt::print("y = {:.3f} x + {:.3f}\n", slope.item(), offset.item());  // y = 3.000 x + 1.000
    // [descent]
    claim(near(slope.item(), 3) && near(offset.item(), 1), "the line is y = 3.000 x + 1.000");

    // [optimizer]
    nn::Linear line(1, 1);
    optim::SGD optimizer(line.parameters(), {.learning_rate = 0.1});
    for (int step = 0; step < 200; ++step) optimizer.minimize(nn::mse_loss(line(x), y));
    // [optimizer]
    claim(near(line.weight().item(), 3) && near(line.bias().item(), 1), "SGD finds the same line");
}

// [module]
class Classifier : public nn::Layer<> {
public:
    Classifier(std::size_t in, std::size_t hidden, std::size_t classes)
        : hidden_(in, hidden, {.bias = false}), norm_(hidden), dropout_(0.2), output_(hidden, classes) {}

    void fields(nn::Fields<>& f) override {
        f("hidden", hidden_)("norm", norm_)("dropout", dropout_)("output", output_);
    }

protected:
    Variable<> forward(const Variable<>& x) override { return output_(dropout_(relu(norm_(hidden_(x))))); }

private:
    nn::Linear<> hidden_;
    nn::BatchNorm<> norm_;
    nn::Dropout<> dropout_;
    nn::Linear<> output_;
};
// [module]

void modules() {
    // [walks]
    Classifier model(784, 64, 10);
    for (const auto& [name, parameter] : model.named_parameters())
        fmt::print("{} {}\n", name, describe(parameter.shape()));
    fmt::print("{}", model.summary({1, 784}));
    // [walks]
    const auto named = model.named_parameters();
    claim(named.size() == 5 && named[0].first == "hidden.weight" && named[4].first == "output.bias",
          "the names are those of the fields");
    claim(model.parameter_count() == 784 * 64 + 2 * 64 + 64 * 10 + 10, "there are 50 954 parameters");

    // [sequential]
    nn::Sequential same{nn::Linear(784, 64, {.bias = false}), nn::BatchNorm(64), nn::ReLU(), nn::Dropout(0.2),
                        nn::Linear(64, 10)};
    // [sequential]
    claim(same.parameter_count() == model.parameter_count(), "both have the same parameters");
}

void training_loop(int epochs, std::size_t samples) {
    // [data]
    const auto digits = training::synthetic_digits(samples, 1);  // images (n, 784) and labels (n)
    const auto train = digits.drop(samples / 5), validation = digits.take(samples / 5);
    const auto test = training::synthetic_digits(2000, 2);
    // [data]

    // [loop]
    xgrad::seed(1);          // initial weights, Dropout
    Generator generator(1);  // the order of the samples
    Classifier model(784, 64, 10);
    Classifier best = model;  // a copy is a deep copy
    double best_accuracy = 0;
    optim::AdamW optimizer(model.parameters(), {.learning_rate = 3e-3});

    for (int epoch = 0; epoch < epochs; ++epoch) {
        training::Progress bar(train.batches(64, generator));
        for (auto [images, labels] : bar) bar.loss(optimizer.minimize(nn::cross_entropy(model(images), labels)));

        if (const double accuracy = training::accuracy(model, validation); accuracy > best_accuracy) {
            best_accuracy = accuracy;
            best = model;
        }
    }
    model = best;  // writes the best values back
    // [loop]
    claim(near(training::accuracy(model, validation), best_accuracy), "the best values are back");

    // [predict]
    const auto [images, labels] = test.batches(500)[0];
    const Variable scores = model.predict(images);        // evaluation mode, nothing recorded
    const Variable probabilities = softmax(scores);       // (500, 10), each row sums to 1
    const Array<std::int64_t> found = argmax(scores, 1);  // the most likely class of each
    // [predict]
    claim(near(sum(probabilities).item() / 500, 1) && found.shape() == Shape{500}, "rows of probabilities sum to 1");
    claim(model.training() && Tape::current().size() == 0, "predict changes no mode, and no graph is left");
    claim(model.predict(images).value() == scores.value(), "predict draws nothing at random");
    claim(model(images).value() != scores.value(), "in training mode Dropout and BatchNorm see the batch");

    // [accuracy]
    fmt::print("test accuracy {:.4f}\n", training::accuracy(model, test));
    // [accuracy]

    const auto path =
        std::filesystem::temp_directory_path() / fmt::format("xgrad-tutorial-{}.safetensors", ::getpid());
    // [save]
    training::save(model, path);  // parameters and buffers, under their names
    Classifier loaded(784, 64, 10);
    training::load(loaded, path);
    // [save]
    std::filesystem::remove(path);
    claim(loaded.predict(images).value() == model.predict(images).value(), "a loaded model predicts the same");
}

void seeds() {
    // [seeds]
    xgrad::seed(7);
    const nn::Linear first(3, 2);
    xgrad::seed(7);
    const nn::Linear second(3, 2);
    // first and second have the same weights, on every machine and with every compiler
    // [seeds]
    claim(first.weight().value() == second.weight().value(), "equal seeds give equal weights");
}

}  // namespace

int main(int argc, char** argv) {
    int epochs = 5;
    std::size_t samples = 6000;
    Program program("Runs the code of docs/tutorial.md and checks what the page says about it.");
    program.option("--epochs", epochs, "passes over the training data");
    program.option("--samples", samples, "digits to learn from and to validate with");
    return program.run(argc, argv, [&] {
        values();
        gradients();
        mistakes();
        descent();
        modules();
        training_loop(epochs, samples);
        seeds();
    });
}
