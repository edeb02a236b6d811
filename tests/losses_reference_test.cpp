// Losses beside PyTorch's, from tests/fixtures/operations.json; tests/reference/make_operations.py says how it is made.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include <xgrad/nn/losses.hpp>

using namespace xgrad;
using nlohmann::json;
using nn::Reduction;

namespace {

template <class T>
Array<T> read(const json& array) {
    const auto sizes = array.at("shape").get<std::vector<std::size_t>>();
    const auto data = array.at("data").get<std::vector<double>>();
    Array<T> values = empty<T>(Shape(sizes.begin(), sizes.end()));
    std::transform(data.begin(), data.end(), values.begin(), [](double x) { return static_cast<T>(x); });
    return values;
}

Reduction reduction_of(const json& settings) {
    static const std::map<std::string, Reduction> names{{"mean", Reduction::mean},
                                                        {"sum", Reduction::sum},
                                                        {"none", Reduction::none},
                                                        {"batchmean", Reduction::batchmean}};
    return names.at(settings.at("reduction"));
}

// The loss of an entry; an empty Variable when it is another operation. `x` and `target` are its first two inputs.
template <class T>
Variable<T> loss_of(const json& entry, const Variable<T>& x, const Variable<T>& target) {
    const std::string name = entry.at("operation");
    const json &inputs = entry.at("inputs"), &settings = entry.at("attributes");
    const auto reduction = [&] { return reduction_of(settings); };
    const auto weight = [&] { return inputs.size() > 2 ? Variable<T>(read<T>(inputs[2])) : Variable<T>(); };
    if (name == "mse_loss") return nn::mse_loss(x, target, {reduction()});
    if (name == "l1_loss") return nn::l1_loss(x, target, {reduction()});
    if (name == "huber_loss")
        return nn::huber_loss(x, target, {.delta = settings.at("delta"), .reduction = reduction()});
    if (name == "kl_div")
        return nn::kl_div(x, target, {.log_target = settings.at("log_target"), .reduction = reduction()});
    if (name == "binary_cross_entropy_with_logits")
        return nn::binary_cross_entropy_with_logits(x, target, {.pos_weight = weight(), .reduction = reduction()});
    if (name == "nll_loss")
        return nn::nll_loss(
            x, read<std::int64_t>(inputs[1]),
            {.weight = weight(), .ignore_index = settings.at("ignore_index"), .reduction = reduction()});
    if (name == "cross_entropy")
        return nn::cross_entropy(x, read<std::int64_t>(inputs[1]),
                                 {.weight = weight(),
                                  .label_smoothing = settings.at("label_smoothing"),
                                  .ignore_index = settings.at("ignore_index"),
                                  .reduction = reduction()});
    return {};
}

// Every element within some roundings of the largest one, or of 1.
template <class T>
void compare(const Array<T>& actual, const json& expected) {
    const Array<double> e = read<double>(expected);
    REQUIRE(actual.shape() == e.shape());
    double scale = 1;
    for (const double x : e) scale = std::max(scale, std::abs(x));
    for (std::size_t i = 0; i < e.size(); ++i)
        CHECK(std::abs(static_cast<double>(actual.data()[i]) - e.data()[i]) <=
              16 * scale * static_cast<double>(std::numeric_limits<T>::epsilon()));
}

}  // namespace

TEMPLATE_TEST_CASE("Losses and their gradients are PyTorch's", "[losses][reference]", float, double) {
    const json entries = json::parse(std::ifstream(XGRAD_FIXTURES "/operations.json"));
    std::size_t count = 0;
    for (const json& entry : entries) {
        if (entry.at("inputs").size() < 2) continue;
        Variable<TestType> x = read<TestType>(entry.at("inputs")[0]);
        x.requires_grad(true);
        const json &second = entry.at("inputs")[1], &gradients = entry.at("gradients");
        Variable<TestType> target = read<TestType>(second);
        target.requires_grad(!gradients[1].is_null());
        const Variable<TestType> loss = loss_of(entry, x, target);
        if (!loss.defined()) continue;
        CAPTURE(entry.at("operation").get<std::string>(), entry.at("attributes").dump(), entry.at("inputs").dump());
        compare(loss.value(), entry.at("output"));
        loss.backward(Variable<TestType>(read<TestType>(entry.at("cotangent"))));
        compare(x.grad().value(), gradients[0]);
        if (!gradients[1].is_null()) compare(target.grad().value(), gradients[1]);
        ++count;
    }
    CHECK(count == 107);
}
