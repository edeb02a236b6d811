// Saving what is trained, and a whole run, so that it goes on as if it had never stopped.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include <xgrad/autodiff/generator.hpp>
#include <xgrad/nn/module.hpp>
#include <xgrad/optim/optimizer.hpp>
#include <xgrad/training/safetensors.hpp>

namespace xgrad::training {
namespace detail {

struct Place;

template <class A, class Variant> inline constexpr bool is_among = false;
template <class A, class... Arrays>
inline constexpr bool is_among<A, std::variant<Arrays...>> = (std::same_as<A, Arrays> || ...);

}  // namespace detail

/// Writes the parameters and buffers of a model to a safetensors file, under their names, which are PyTorch's
/// ("0.weight", "1.running_mean"). Throws Error when that fails; an old file is as it was then.
template <class T> void save(const nn::Module<T>& model, const std::filesystem::path& path);

/// Reads them back into a model that was made in the same way. Throws Error, before anything is changed, when the file
/// is not right, or when its names, shapes or kinds of numbers are not those of the model; floats may become doubles.
template <class T> void load(nn::Module<T>& model, const std::filesystem::path& path);

/// What a run consists of, listed once, to be saved and to be loaded.
///
///     training::Checkpoint run;
///     run("model", model)("optimizer", optimizer)("order", generator)("random", current_generator())("epoch", epoch);
///     if (std::filesystem::exists(path)) run.load(path);
///
/// What is listed is referred to, and must outlive the Checkpoint. Settings are not part of it (sizes, learning rates,
/// those of set_learning_rate too): the program that makes the model states them. Written is a safetensors file with
/// the names "model.0.weight", "optimizer.step" and so on; what is listed under the name "" has its own names as they
/// are.
class Checkpoint {
public:
    /// Parameters and buffers.
    template <class T> Checkpoint& operator()(std::string name, nn::Module<T>& module);
    /// Counts of steps and what the optimizer keeps of each parameter.
    template <class T> Checkpoint& operator()(std::string name, optim::Optimizer<T>& optimizer);
    /// The state of a generator: three integers.
    Checkpoint& operator()(std::string name, Generator& generator);
    /// A number of the program's own: float, double, int, std::int64_t, std::uint64_t, std::uint8_t or bool.
    template <class X>
        requires(detail::is_among<Array<X>, AnyArray>)
    Checkpoint& operator()(std::string name, X& number);

    /// Writes it to a file. Throws Error as write_safetensors does, and where two have one name.
    void save(const std::filesystem::path& path) const;

    /// Reads it back. Throws Error, before anything is changed, when the file is not right; when it lacks something
    /// that is listed, or has it with another shape or kind of numbers; and when it has more under a listed name than
    /// is listed. Floats may become doubles. Other names in the file are passed over: a Checkpoint that lists the model
    /// alone loads it from the file of a run.
    void load(const std::filesystem::path& path) const;

private:
    struct Item {
        std::string name;
        std::function<std::vector<detail::Place>()> places;
    };

    std::vector<detail::Place> places() const;

    std::vector<Item> items_;
};

}  // namespace xgrad::training
