#include <algorithm>
#include <set>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include <xgrad/training/checkpoint.hpp>
#include <xgrad/training/files.hpp>

namespace xgrad::training {

namespace fs = std::filesystem;

// Where an array is, and how it is replaced by one of the same kind and, for most, shape.
struct detail::Place {
    std::string name;
    AnyArray array;  // looks at its memory
    std::function<void(AnyArray&&)> assign = nullptr;
    bool any_shape = false;
};

namespace {

using detail::Place;
using detail::refuse;
using detail::shown;

template <class T> AnyArray same_memory(const Array<T>& array) { return share(array, array.shape()); }

template <class T> Place place_of(std::string name, Array<T>* array) {
    return {std::move(name), same_memory(*array),
            [array](AnyArray&& from) { *array = std::get<Array<T>>(std::move(from)); }};
}
template <class T> Place place_of(std::string name, const Array<T>* array) {
    return {std::move(name), same_memory(*array)};
}
template <class T> Place place_of(std::string name, T* number) {
    return {std::move(name), full(Shape{}, *number),
            [number](AnyArray&& from) { *number = std::get<Array<T>>(from).data()[0]; }};
}
template <class T> Place place_of(std::string name, Variable<T> parameter) {
    AnyArray array = same_memory(parameter.value());
    return {std::move(name), std::move(array), [parameter = std::move(parameter)](AnyArray&& from) mutable {
                parameter.assign(std::get<Array<T>>(std::move(from)));
            }};
}
Place place_of(std::string name, Generator* generator) {
    const auto [seed, stream, position] = generator->state();
    return {std::move(name), Array<std::uint64_t>{seed, stream, position}, [generator](AnyArray&& from) {
                const std::uint64_t* state = std::get<Array<std::uint64_t>>(from).data();
                generator->set_state({.seed = state[0], .stream = state[1], .position = state[2]});
            }};
}

// Of a model, which may be const.
template <class M> std::vector<Place> places_of_module(M& module) {
    std::vector<Place> places;
    for (auto& [name, parameter] : module.named_parameters()) places.push_back(place_of(name, parameter));
    for (auto& [name, buffer] : module.named_buffers())
        places.push_back(std::visit([&, &name = name](auto* array) { return place_of(name, array); }, buffer));
    return places;
}

template <class T> std::vector<Place> places_of_optimizer(optim::Optimizer<T>& optimizer) {
    std::vector<Place> places;
    for (auto& entry : optimizer.state()) {
        places.push_back(std::visit([&](auto* value) { return place_of(entry.name, value); }, entry.value));
        places.back().any_shape = !optimizer.checks_state();
    }
    return places;
}

NamedArrays arrays_of(std::vector<Place>&& places) {
    NamedArrays arrays;
    for (Place& place : places) arrays.emplace(place.name, std::move(place.array));
    return arrays;
}

std::string described(const AnyArray& array) {
    return std::visit(
        []<class T>(const Array<T>& a) {
            const char* const kind = std::is_same_v<T, bool>       ? "bool"
                                     : std::is_floating_point_v<T> ? "float"
                                     : std::is_signed_v<T>         ? "integer"
                                                                   : "unsigned integer";
            return fmt::format("{} of {} bits and shape {}", kind, 8 * sizeof(T), describe(a.shape()));
        },
        array);
}

// What the file has for a place.
AnyArray fitting(const fs::path& path, const Place& place, AnyArray&& found) {
    const auto* const floats = std::get_if<Array<float>>(&found);
    if (floats && std::holds_alternative<Array<double>>(place.array)) {
        Array<double> doubles = empty<double>(floats->shape());
        std::copy_n(floats->data(), floats->size(), doubles.data());
        found = std::move(doubles);
    }
    const auto shape = [](const auto& array) { return array.shape(); };
    if (found.index() != place.array.index() ||
        (!place.any_shape && std::visit(shape, found) != std::visit(shape, place.array)))
        refuse(path, fmt::format("'{}' is {}; expected {}", place.name, described(found), described(place.array)));
    return std::move(found);
}

// What is under a name, as in "model.0.weight".
bool is_within(std::string_view full, std::string_view name) {
    return name.empty() || full == name || (full.starts_with(name) && full[name.size()] == '.');
}

std::string some_of(const std::set<std::string>& names) {
    constexpr std::size_t most = 5;
    std::string text;
    std::size_t count = 0;
    for (const std::string& name : names) {
        if (count++ == most) return text + ", …";
        text += fmt::format("{}{}", count == 1 ? "" : ", ", shown(name));
    }
    return names.empty() ? "nothing" : text;
}

}  // namespace

template <class T> Checkpoint& Checkpoint::operator()(std::string name, nn::Module<T>& module) {
    items_.push_back({std::move(name), [&module] { return places_of_module(module); }});
    return *this;
}

template <class T> Checkpoint& Checkpoint::operator()(std::string name, optim::Optimizer<T>& optimizer) {
    items_.push_back({std::move(name), [&optimizer] { return places_of_optimizer(optimizer); }});
    return *this;
}

Checkpoint& Checkpoint::operator()(std::string name, Generator& generator) {
    items_.push_back({std::move(name), [&generator] { return std::vector{place_of("", &generator)}; }});
    return *this;
}

template <class X>
    requires(detail::is_among<Array<X>, AnyArray>)
Checkpoint& Checkpoint::operator()(std::string name, X& number) {
    items_.push_back({std::move(name), [&number] { return std::vector{place_of("", &number)}; }});
    return *this;
}

std::vector<Place> Checkpoint::places() const {
    std::vector<Place> all;
    std::set<std::string> names;
    for (const Item& item : items_)
        for (Place& place : item.places()) {
            if (place.name.empty() || item.name.empty())
                place.name += item.name;
            else
                place.name = fmt::format("{}.{}", item.name, place.name);
            if (!names.insert(place.name).second)
                throw Error(fmt::format("Checkpoint: '{}' is listed twice; names must differ", place.name));
            all.push_back(std::move(place));
        }
    return all;
}

void Checkpoint::save(const fs::path& path) const { write_safetensors(path, arrays_of(places())); }

void Checkpoint::load(const fs::path& path) const {
    const std::vector<Place> places = this->places();
    std::set<std::string> listed, there;
    for (const Place& place : places) listed.insert(place.name);
    NamedArrays arrays = read_safetensors(path, [&](const std::string& name) {
        there.insert(name);
        return std::ranges::any_of(items_, [&](const Item& item) { return is_within(name, item.name); });
    });
    for (const auto& [name, array] : arrays)
        if (!listed.contains(name))
            refuse(path, fmt::format("holds {}, which is not in what is to be loaded; that has {}", shown(name),
                                     some_of(listed)));
    for (const Place& place : places) {
        const auto found = arrays.find(place.name);
        if (found == arrays.end()) refuse(path, fmt::format("has no '{}'; it holds {}", place.name, some_of(there)));
        found->second = fitting(path, place, std::move(found->second));
    }
    for (const Place& place : places) place.assign(std::move(arrays.at(place.name)));
}

template <class T> void save(const nn::Module<T>& model, const fs::path& path) {
    write_safetensors(path, arrays_of(places_of_module(model)));
}

template <class T> void load(nn::Module<T>& model, const fs::path& path) {
    Checkpoint()("", model).load(path);
}

template void save(const nn::Module<float>&, const fs::path&);
template void save(const nn::Module<double>&, const fs::path&);
template void load(nn::Module<float>&, const fs::path&);
template void load(nn::Module<double>&, const fs::path&);
template Checkpoint& Checkpoint::operator()(std::string, nn::Module<float>&);
template Checkpoint& Checkpoint::operator()(std::string, nn::Module<double>&);
template Checkpoint& Checkpoint::operator()(std::string, optim::Optimizer<float>&);
template Checkpoint& Checkpoint::operator()(std::string, optim::Optimizer<double>&);
template Checkpoint& Checkpoint::operator()(std::string, float&);
template Checkpoint& Checkpoint::operator()(std::string, double&);
template Checkpoint& Checkpoint::operator()(std::string, std::int32_t&);
template Checkpoint& Checkpoint::operator()(std::string, std::int64_t&);
template Checkpoint& Checkpoint::operator()(std::string, std::uint64_t&);
template Checkpoint& Checkpoint::operator()(std::string, std::uint8_t&);
template Checkpoint& Checkpoint::operator()(std::string, bool&);

}  // namespace xgrad::training
