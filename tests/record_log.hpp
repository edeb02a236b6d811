// An observer that writes down what is recorded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include <xgrad/autodiff/tape.hpp>

namespace xgrad::testing {

/// The names of all operations with their inputs and outputs, and the settings of the last one as text.
class RecordLog : public Observer {
public:
    void on_record(const Recorded& recorded) override {
        names.emplace_back(recorded.operation);
        inputs.emplace_back(recorded.inputs.begin(), recorded.inputs.end());
        outputs.emplace_back(recorded.outputs.begin(), recorded.outputs.end());
        attributes.clear();
        for (const Attribute& attribute : recorded.attributes) {
            std::string text(attribute.name);
            if (const auto* number = std::get_if<std::int64_t>(&attribute.value)) text += fmt::format("={}", *number);
            if (const auto* yes = std::get_if<bool>(&attribute.value)) text += fmt::format("={}", *yes);
            if (const auto* real = std::get_if<double>(&attribute.value)) text += fmt::format("={}", *real);
            if (const auto* word = std::get_if<std::string_view>(&attribute.value)) text += fmt::format("={}", *word);
            if (const auto* list = std::get_if<std::vector<std::int64_t>>(&attribute.value))
                for (std::int64_t n : *list) text += fmt::format(",{}", n);
            if (const auto* labels = std::get_if<const Array<std::int64_t>*>(&attribute.value))
                text += fmt::format("@{}", (*labels)->size());
            attributes.push_back(text);
        }
    }
    std::vector<std::string> names, attributes;
    std::vector<std::vector<const detail::Node*>> inputs, outputs;
};

}  // namespace xgrad::testing
