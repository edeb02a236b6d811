#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/training/files.hpp>
#include <xgrad/training/safetensors.hpp>

namespace xgrad::training {
namespace {

namespace fs = std::filesystem;
using detail::refuse;
using detail::shown;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the numbers of a file are written as they lie in memory");

constexpr std::uint64_t longest_header = 100'000'000;  // of the format
constexpr std::size_t most_dimensions = 64;
constexpr std::string_view metadata = "__metadata__";

// A kind of numbers in the words of the format.
template <class T> constexpr std::string_view kind = "";
template <> constexpr std::string_view kind<float> = "F32";
template <> constexpr std::string_view kind<double> = "F64";
template <> constexpr std::string_view kind<std::int64_t> = "I64";
template <> constexpr std::string_view kind<std::int32_t> = "I32";
template <> constexpr std::string_view kind<std::uint64_t> = "U64";
template <> constexpr std::string_view kind<std::uint8_t> = "U8";
template <> constexpr std::string_view kind<bool> = "BOOL";

// The number that 16 bits of either format stand for.
float half_precision(std::uint16_t bits) {
    const std::uint32_t sign = (bits & 0x8000u) << 16, rest = (bits & 0x7FFFu) << 13;
    if (rest >= 0x1Fu << 23) return std::bit_cast<float>(sign | 0x7F800000u | rest);  // infinity, NaN
    const float magnitude = std::bit_cast<float>(rest) * 0x1p112f;  // the exponent's bias is 15, not 127
    return sign ? -magnitude : magnitude;
}
float brain_float(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

// What the header says of one array.
struct Entry {
    std::string name, kind;
    Shape shape;
    std::size_t count;
    std::uint64_t first, last;  // its bytes, counted from the end of the header
};

class Reader {
public:
    explicit Reader(const fs::path& path)
        : path_(path), bytes_(detail::file_size(path)), file_(path, std::ios::binary) {
        if (!file_) refuse(path, fmt::format("cannot be opened: {}", std::strerror(errno)));
    }

    NamedArrays arrays(const std::function<bool(const std::string&)>& wanted) {
        NamedArrays result;
        for (const Entry& entry : entries())
            if (!wanted || wanted(entry.name)) result.emplace(entry.name, array(entry));
        return result;
    }

private:
    // In the order in which they lie in the file.
    std::vector<Entry> entries() {
        std::uint64_t length = 0;
        if (bytes_ < sizeof length) refuse(path_, "is no safetensors file: it is too short for one");
        read(&length, sizeof length);
        if (length > std::min<std::uint64_t>(bytes_ - sizeof length, longest_header))
            refuse(path_, fmt::format("is no safetensors file, or truncated: its header should have {} bytes", length));
        std::string text(length, ' ');
        read(text.data(), text.size());
        begin_ = sizeof length + length;

        std::vector<Entry> result = parsed(text);
        std::ranges::sort(result, {}, &Entry::name);
        if (const auto twice = std::ranges::adjacent_find(result, {}, &Entry::name); twice != result.end())
            refuse(path_, fmt::format("has {} twice", shown(twice->name)));
        std::ranges::sort(result, {}, [](const Entry& entry) { return std::pair(entry.first, entry.last); });
        std::uint64_t end = 0;
        for (const Entry& entry : result) {
            if (entry.first != end)
                refuse(path_, fmt::format("{} should begin at byte {}, after the array before it, not at {}",
                                          shown(entry.name), end, entry.first));
            end = entry.last;
        }
        if (const std::uint64_t there = bytes_ - begin_; end != there)
            refuse(path_, fmt::format("has {} bytes of numbers, and its header says {}", there, end));
        return result;
    }

    // What a header says: {"name": {"dtype": …, "shape": […], "data_offsets": […]}, …}. Each array is taken as soon as
    // it is read, and what else may be there (`__metadata__`, of any length) is dropped, so that no header becomes
    // something large.
    std::vector<Entry> parsed(const std::string& text) const {
        std::vector<Entry> result;
        std::string name;
        std::size_t parts = 0;
        using Event = json::parse_event_t;
        const auto take = [&](int depth, Event event, json& part) {
            if (depth == 1) {
                if (event == Event::value || event == Event::array_start) refuse_header();
                if (event == Event::key) name = part.get<std::string>(), parts = 0;
                if (event != Event::object_end) return true;
                if (name != metadata) result.push_back(entry(name, part));
                return false;
            }
            if (depth == 0 || event == Event::array_end) return true;
            if (event == Event::object_start || (event == Event::array_start && depth > 2)) refuse_header();
            if (name == metadata) return false;
            if (++parts > 4 * most_dimensions) refuse_header();
            return true;
        };
        const bool is_right =
            text.starts_with('{') && text.find('\0') == text.npos && json::parse(text, take, false).is_object();
        if (!is_right) refuse_header();
        return result;
    }
    [[noreturn]] void refuse_header() const {
        refuse(path_, "is no safetensors file: its header is no JSON object of arrays");
    }

    Entry entry(const std::string& name, const json& description) const {
        const auto unsigneds = [&](const char* field) {
            const auto found = description.find(field);
            const bool right = found != description.end() && found->is_array() && found->size() <= most_dimensions &&
                               std::ranges::all_of(*found, [](const json& n) { return n.is_number_unsigned(); });
            if (!right) refuse(path_, fmt::format("{} has no {}, or a wrong one", shown(name), field));
            return found->get<std::vector<std::uint64_t>>();
        };
        if (!description.contains("dtype") || !description["dtype"].is_string())
            refuse(path_, fmt::format("{} has no dtype", shown(name)));
        const std::vector<std::uint64_t> sizes = unsigneds("shape"), offsets = unsigneds("data_offsets");
        if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > bytes_)
            refuse(path_, fmt::format("{} has data_offsets that do not lie in the file", shown(name)));
        Entry result{name, description["dtype"], Shape(sizes.begin(), sizes.end()), 0, offsets[0], offsets[1]};
        const std::optional<std::size_t> count = detail::claimed_count(result.shape);
        if (!count)
            refuse(path_, fmt::format("{} has shape {}, which is more than a file of its length can hold", shown(name),
                                      describe(result.shape)));
        result.count = *count;
        return result;
    }

    AnyArray array(const Entry& entry) {
        file_.seekg(static_cast<std::streamoff>(begin_ + entry.first));
        std::optional<AnyArray> result;
        const auto try_kinds = [&]<class... T>(std::type_identity<std::variant<Array<T>...>>) {
            ((entry.kind == kind<T> ? void(result = numbers<T>(entry)) : void()), ...);
        };
        try_kinds(std::type_identity<AnyArray>());
        if (entry.kind == "F16") result = floats(entry, half_precision);
        if (entry.kind == "BF16") result = floats(entry, brain_float);
        if (!result)
            refuse(path_, fmt::format("{} has numbers of the kind {}, which are not read", shown(entry.name),
                                      shown(entry.kind)));
        return *std::move(result);
    }

    template <class T> Array<T> numbers(const Entry& entry) {
        const std::uint64_t bytes = entry.last - entry.first;
        if (bytes % sizeof(T) != 0 || bytes / sizeof(T) != entry.count)
            refuse(path_, fmt::format("{} has {} bytes, which are not those of an array {} of {}", shown(entry.name),
                                      bytes, describe(entry.shape), entry.kind));
        Array<T> result = empty<T>(entry.shape);
        read(result.data(), bytes);
        if constexpr (std::is_same_v<T, bool>) {  // bytes other than 0 and 1 are no bools
            auto* const each = reinterpret_cast<std::uint8_t*>(result.data());
            std::transform(each, each + bytes, result.data(), [](std::uint8_t byte) { return byte != 0; });
        }
        return result;
    }

    Array<float> floats(const Entry& entry, float (*number)(std::uint16_t)) {
        const Array<std::uint16_t> bits = numbers<std::uint16_t>(entry);
        Array<float> result = empty<float>(entry.shape);
        std::transform(bits.data(), bits.data() + bits.size(), result.data(), number);
        return result;
    }

    void read(void* to, std::size_t count) {
        if (!file_.read(static_cast<char*>(to), static_cast<std::streamsize>(count)))
            refuse(path_, "cannot be read to its end");
    }

    const fs::path& path_;
    std::uintmax_t bytes_, begin_ = 0;  // of the file, and where the numbers begin
    std::ifstream file_;
};

std::span<const std::byte> bytes_of(const AnyArray& array) {
    return std::visit([](const auto& a) { return std::as_bytes(std::span(a.data(), a.size())); }, array);
}

std::size_t bytes_of_each(const AnyArray& array) {
    return std::visit([]<class T>(const Array<T>&) { return sizeof(T); }, array);
}

}  // namespace

NamedArrays read_safetensors(const fs::path& path, const std::function<bool(const std::string&)>& wanted) {
    return Reader(path).arrays(wanted);
}

void write_safetensors(const fs::path& path, const NamedArrays& arrays) {
    // The largest kinds of numbers first, so that each lies where it may be used in place.
    std::vector<NamedArrays::const_pointer> order;
    for (const auto& named : arrays) order.push_back(&named);
    std::ranges::stable_sort(order, std::ranges::greater(),
                             [](const auto* named) { return bytes_of_each(named->second); });

    json header{{metadata, {{"format", "pt"}}}};  // some readers ask for it: shapes are as PyTorch has them
    std::size_t end = 0;
    for (const auto* named : order) {
        const auto& [name, array] = *named;
        if (name == metadata) refuse(path, "an array cannot have the name '__metadata__'");
        const std::size_t first = std::exchange(end, end + bytes_of(array).size());
        std::visit(
            [&, &name = name]<class T>(const Array<T>& a) {
                const std::vector<std::size_t> shape(a.shape().begin(), a.shape().end());
                header[name] = {{"dtype", kind<T>}, {"shape", shape}, {"data_offsets", {first, end}}};
            },
            array);
    }
    std::string text;
    try {
        text = header.dump();
    } catch (const json::exception&) {
        refuse(path, "cannot be written: the name of an array is no UTF-8");
    }
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::uint64_t length = text.size();
    if (length > longest_header) refuse(path, "cannot be written: its header would have more than 100 MB");

    detail::Replacement file(path);
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(std::as_bytes(std::span(text)));
    for (const auto* named : order) file.write(bytes_of(named->second));
    file.commit();
}

}  // namespace xgrad::training
