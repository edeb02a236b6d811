#include <algorithm>
#include <bit>
#include <catch.hpp>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <folder.hpp>
#include <limits>
#include <message.hpp>
#include <string>
#include <sys/resource.h>
#include <variant>
#include <vector>

#include <xgrad/training/safetensors.hpp>

namespace fs = std::filesystem;
using namespace xgrad;
using testing::content;
using testing::Folder;
using testing::message;
using training::NamedArrays;
using training::read_safetensors;
using training::write_safetensors;

namespace {

// A file with this header and as many bytes of zeros behind it.
std::string file(const std::string& header, std::size_t bytes = 0) {
    const std::uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + std::string(bytes, '\0');
}

// The message for these bytes, without the file's name, which it must begin with.
std::string complaint(const std::string& bytes) {
    Folder folder;
    const fs::path path = folder.write("file", bytes);
    const std::string text = message([&] { read_safetensors(path); });
    REQUIRE(text.starts_with(path.string() + ": "));
    return text.substr(path.string().size() + 2);
}

template <class T> std::vector<T> numbers(const NamedArrays& arrays, const std::string& name) {
    const auto& array = std::get<Array<T>>(arrays.at(name));
    return std::vector<T>(array.begin(), array.end());
}

}  // namespace

TEST_CASE("Arrays of every kind and shape come back from a file as they were", "[files]") {
    Folder folder;
    NamedArrays arrays;
    arrays["float"] = Array<float>{{1.5f, -0.0f, std::numeric_limits<float>::infinity()}, {1e-45f, 3e38f, -2}};
    arrays["double"] = Array<double>{1 / 3.0, -1e308};
    arrays["int64"] = Array<std::int64_t>{std::numeric_limits<std::int64_t>::min(), 7};
    arrays["int32"] = full(Shape{2, 1}, std::int32_t{-1});
    arrays["uint64"] = Array<std::uint64_t>{std::numeric_limits<std::uint64_t>::max()};
    arrays["uint8"] = Array<std::uint8_t>{0, 255};
    arrays["bool"] = Array<bool>{true, false, true};
    arrays["a number"] = full(Shape{}, 3.0f);
    arrays["nothing"] = empty<float>({4, 0, 2});
    arrays["a \"name\" — naïve\n"] = full(Shape{1, 2, 1}, 4.0);
    arrays[""] = full(Shape{1}, 5.0);

    const fs::path path = folder / "arrays.safetensors";
    write_safetensors(path, arrays);
    const NamedArrays read = read_safetensors(path);
    CHECK(read == arrays);
    CHECK(std::signbit(numbers<float>(read, "float")[1]));
    const NamedArrays some = read_safetensors(path, [](const std::string& name) { return name == "bool"; });
    CHECK(some == NamedArrays{{"bool", arrays["bool"]}});
    write_safetensors(path, {});
    CHECK(read_safetensors(path).empty());
    CHECK(folder.files() == 1);
}

TEST_CASE("NaN comes back from a file with its bits", "[files]") {
    Folder folder;
    const auto bits = std::uint32_t{0x7FC12345};
    write_safetensors(folder / "nan", {{"x", full(Shape{1}, std::bit_cast<float>(bits))}});
    const auto x = numbers<float>(read_safetensors(folder / "nan"), "x");
    CHECK(std::bit_cast<std::uint32_t>(x[0]) == bits);
}

TEST_CASE("A written file lies as the format asks, each number where it can be used in place", "[files]") {
    Folder folder;
    write_safetensors(folder / "file", {{"a", Array<std::uint8_t>{1, 2, 3}}, {"b", Array<double>{0.5}}});
    const std::string bytes = content(folder / "file");
    const std::string header = R"({"__metadata__":{"format":"pt"},)"
                               R"("a":{"data_offsets":[8,11],"dtype":"U8","shape":[3]},)"
                               R"("b":{"data_offsets":[0,8],"dtype":"F64","shape":[1]}})";
    const std::size_t length = (header.size() + 7) / 8 * 8;
    REQUIRE(bytes.size() == 8 + length + 11);
    std::uint64_t said = 0;
    std::copy_n(bytes.data(), 8, reinterpret_cast<char*>(&said));
    CHECK(said == length);
    CHECK(bytes.substr(8, length) == header + std::string(length - header.size(), ' '));
    CHECK(bytes.substr(8 + length) == std::string("\0\0\0\0\0\0\xe0\x3f\1\2\3", 11));
}

TEST_CASE("Numbers of half precision, written by PyTorch, are read as floats without error", "[files]") {
    const NamedArrays arrays = read_safetensors(XGRAD_FIXTURES "/half.safetensors");
    const auto same = [](const std::vector<float>& found, const std::vector<double>& expected) {
        REQUIRE(found.size() == expected.size() + 2);
        for (std::size_t i = 0; i < expected.size(); ++i) {
            CHECK(found[i] == expected[i]);
            CHECK(std::signbit(found[i]) == std::signbit(expected[i]));
        }
        CHECK(found[expected.size()] == std::numeric_limits<float>::infinity());
        CHECK(std::isnan(found[expected.size() + 1]));
    };
    same(numbers<float>(arrays, "half"), {0, -0.0, std::exp2(-24), std::exp2(-14), 1, -2.5, 65504});
    same(numbers<float>(arrays, "brain"),
         {0, -0.0, std::exp2(-133), std::exp2(-126), 1, -2.5, (2 - std::exp2(-7)) * std::exp2(127)});
}

TEST_CASE("A file that is no right safetensors file is refused in words", "[files]") {
    CHECK(complaint("") == "is no safetensors file: it is too short for one");
    CHECK(complaint("1234567") == "is no safetensors file: it is too short for one");
    CHECK(complaint(std::string(8, '\xff')) ==
          "is no safetensors file, or truncated: its header should have 18446744073709551615 bytes");
    CHECK(complaint(file("{}").substr(0, 9)) == "is no safetensors file, or truncated: its header should have 2 bytes");
    CHECK(complaint(file("")) == "is no safetensors file: its header is no JSON object of arrays");
    CHECK(complaint(file("[]")) == "is no safetensors file: its header is no JSON object of arrays");
    CHECK(complaint(file("{\"\xff\":1}")) == "is no safetensors file: its header is no JSON object of arrays");
    CHECK(complaint(file(std::string(100'000, '['))) ==
          "is no safetensors file: its header is no JSON object of arrays");
    CHECK(complaint(file("{}", 3)) == "has 3 bytes of numbers, and its header says 0");
    const std::string no_arrays = "is no safetensors file: its header is no JSON object of arrays";
    CHECK(complaint(file(R"({"x":3})")) == no_arrays);
    CHECK(complaint(file(R"({"x":[]})")) == no_arrays);
    CHECK(complaint(file(R"({"x":{"dtype":{"y":{}}}})")) == no_arrays);
    CHECK(complaint(file(R"({"x":{"shape":[[1]]}})")) == no_arrays);
    CHECK(complaint(file(R"( {})")) == no_arrays);
    CHECK(complaint(file(std::string("{}\0", 3))) == no_arrays);
    CHECK(complaint(file(R"({"x":{}})")) == "'x' has no dtype");
    CHECK(complaint(file(R"({"x":{"dtype":3}})")) == "'x' has no dtype");
    CHECK(complaint(file(R"({"x":{"dtype":"F32"}})")) == "'x' has no shape, or a wrong one");
    CHECK(complaint(file(R"({"x":{"dtype":"F32","shape":[-1]}})")) == "'x' has no shape, or a wrong one");
    CHECK(complaint(file(R"({"x":{"dtype":"F32","shape":[1.5]}})")) == "'x' has no shape, or a wrong one");
    CHECK(complaint(file(R"({"x":{"dtype":"F32","shape":[1]}})")) == "'x' has no data_offsets, or a wrong one");
    const auto array = [](const std::string& kind, const std::string& shape, const std::string& offsets) {
        return R"({"dtype":")" + kind + R"(","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]}";
    };
    const auto one = [&](const std::string& kind, const std::string& shape, const std::string& offsets, std::size_t bytes) {
        return complaint(file(R"({"x":)" + array(kind, shape, offsets) + "}", bytes));
    };
    CHECK(one("F32", "1", "0", 4) == "'x' has data_offsets that do not lie in the file");
    CHECK(one("F32", "1", "4,0", 4) == "'x' has data_offsets that do not lie in the file");
    CHECK(one("F32", "1", "0,99999999", 4) == "'x' has data_offsets that do not lie in the file");
    CHECK(one("F32", "1", "0,8", 4) == "has 4 bytes of numbers, and its header says 8");
    CHECK(one("F32", "1", "0,4", 5) == "has 5 bytes of numbers, and its header says 4");
    CHECK(one("F32", "1", "4,8", 8) == "'x' should begin at byte 0, after the array before it, not at 4");
    CHECK(one("F32", "2", "0,4", 4) == "'x' has 4 bytes, which are not those of an array (2,) of F32");
    CHECK(one("F32", "4294967296,4294967296", "0,4", 4) ==
          "'x' has shape (4294967296, 4294967296), which is more than a file of its length can hold");
    CHECK(one("F32", "1099511627776", "0,4", 4) ==
          "'x' has 4 bytes, which are not those of an array (1099511627776,) of F32");
    CHECK(one("F32", "0,4294967296,4294967296", "0,0", 0) ==
          "'x' has shape (0, 4294967296, 4294967296), which is more than a file of its length can hold");
    CHECK(one("F8_E5M2", "4", "0,4", 4) == "'x' has numbers of the kind 'F8_E5M2', which are not read");
    std::string many = "1";
    for (int i = 0; i < 64; ++i) many += ",1";
    CHECK(one("F32", many, "0,4", 4) == "'x' has no shape, or a wrong one");
    for (int i = 0; i < 300; ++i) many += ",1";
    CHECK(one("F32", many, "0,4", 4) == no_arrays);
    CHECK(complaint(file(R"({"x":)" + array("F32", "0", "0,0") + R"(,"x":)" + array("F64", "0", "0,0") + "}")) ==
          "has 'x' twice");
    CHECK(complaint(file(R"({"a\u001b\nb)" + std::string(100, 'c') + R"(":{}})")) ==
          "'a??b" + std::string(96, 'c') + "…' has no dtype");
    // Two arrays in one place.
    CHECK(complaint(file(R"({"x":)" + array("F32", "1", "0,4") + R"(,"y":)" + array("F32", "1", "0,4") + "}", 4)) ==
          "'y' should begin at byte 4, after the array before it, not at 0");

    Folder folder;
    CHECK(message([&] { read_safetensors(folder / "none"); }) == (folder / "none").string() + ": there is no such file");
    CHECK(message([&] { read_safetensors(folder); }) == fs::path(folder).string() + ": this is no file");
}

TEST_CASE("Files that other programs write are read, whatever else stands in their header", "[files]") {
    std::string metadata = R"("__metadata__":{"format":"pt")";
    for (int i = 0; i < 1000; ++i) metadata += ",\"" + std::to_string(i) + R"(":"")";
    const std::string header = "{" + metadata +
                               R"(},"none":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},)"
                               R"("x":{"note":"of no account","shape":[2],"dtype":"F32","data_offsets":[0,8]},)"
                               R"("last":{"dtype":"I64","shape":[0],"data_offsets":[8,8]}}   )";
    Folder folder;
    const NamedArrays arrays = read_safetensors(folder.write("file", file(header, 8)));
    CHECK(arrays == NamedArrays{{"none", empty<float>({0, 3})},
                                {"x", Array<float>{0, 0}},
                                {"last", empty<std::int64_t>(Shape{0})}});
    CHECK(read_safetensors(folder.write("empty", file(R"({"__metadata__":{}})"))).empty());
}

TEST_CASE("A header that would take long to be read is refused at once", "[files]") {
    for (const char* const part : {"{}", "[]", "0"}) {
        std::string header = R"({"x":{"dtype":"F32")";
        for (int i = 0; i < 300'000; ++i) header += ",\"" + std::to_string(i) + "\":" + part;
        CHECK(complaint(file(header + "}}")) == "is no safetensors file: its header is no JSON object of arrays");
    }
}

TEST_CASE("A bool in a file is true for every byte but 0", "[files]") {
    Folder folder;
    std::string bytes = file(R"({"x":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", 3);
    bytes[bytes.size() - 1] = 2;
    CHECK(numbers<bool>(read_safetensors(folder.write("file", bytes)), "x") == std::vector<bool>{false, false, true});
}

TEST_CASE("A safetensors file with any wrong byte, or cut anywhere, is read or refused, and nothing else", "[files]") {
    Folder folder;
    write_safetensors(folder / "good", {{"a.weight", Array<float>{{1, 2, 3}, {4, 5, 6}}},
                                        {"b", Array<std::int64_t>{1}},
                                        {"c", Array<bool>{true, false}}});
    const std::string good = content(folder / "good");
    for (std::size_t i = 0; i < good.size(); ++i) {
        CHECK(message([&] { read_safetensors(folder.write("cut", good.substr(0, i))); }) != "no Error was thrown");
        for (const char wrong : {'\0', '9', '"', ']', '\xff', static_cast<char>(good[i] ^ 1)}) {
            std::string bad = good;
            bad[i] = wrong;
            const fs::path path = folder.write("bad", bad);
            try {
                read_safetensors(path);
            } catch (const Error& error) {
                CHECK_THAT(error.what(), Catch::Matchers::StartsWith(path.string()));
            }
        }
    }
}

TEST_CASE("Kinds of numbers that are not read are passed over where they are not wanted", "[files]") {
    Folder folder;
    const fs::path path = folder.write("file", file(R"({"x":{"dtype":"I16","shape":[2],"data_offsets":[0,4]},)"
                                                    R"("y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                                    8));
    CHECK(message([&] { read_safetensors(path); }) ==
          path.string() + ": 'x' has numbers of the kind 'I16', which are not read");
    CHECK(read_safetensors(path, [](const std::string& name) { return name == "y"; }).size() == 1);
}

TEST_CASE("A disk that is full half-way leaves the old file as it was, and none beside it", "[files]") {
    Folder folder;
    const fs::path path = folder / "file";
    write_safetensors(path, {{"x", full(Shape{2}, 1.0f)}});
    const std::string before = content(path);
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit little{.rlim_cur = 4096, .rlim_max = limit.rlim_max};
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &little);
    const std::string text = message([&] { write_safetensors(path, {{"x", full(Shape{5000}, 1.0f)}}); });
    setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, handler);
    CHECK(text == path.string() + ": cannot be written: File too large");
    CHECK(content(path) == before);
    CHECK(folder.files() == 1);
}

TEST_CASE("Writing goes through a link, and keeps the permissions of the file", "[files]") {
    Folder folder;
    const fs::path target = folder / "target", link = folder / "link";
    write_safetensors(target, {});
    fs::permissions(target, fs::perms::owner_read | fs::perms::owner_write);
    fs::create_symlink("target", link);
    write_safetensors(link, {{"x", full(Shape{2}, 1.0f)}});
    CHECK(fs::is_symlink(link));
    CHECK(read_safetensors(target).size() == 1);
    CHECK(fs::status(target).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
    CHECK(folder.files() == 2);
}

TEST_CASE("A file that cannot be written leaves the old one as it was, and none beside it", "[files]") {
    Folder folder;
    const fs::path path = folder / "file";
    write_safetensors(path, {{"x", full(Shape{2}, 1.0f)}});
    const std::string before = content(path);
    CHECK(message([&] { write_safetensors(path, {{"\xff", full(Shape{2}, 2.0f)}}); }) ==
          path.string() + ": cannot be written: the name of an array is no UTF-8");
    CHECK(message([&] { write_safetensors(path, {{"__metadata__", full(Shape{2}, 2.0f)}}); }) ==
          path.string() + ": an array cannot have the name '__metadata__'");
    CHECK(content(path) == before);
    CHECK(folder.files() == 1);
    const fs::path nowhere = folder / "nowhere/file";
    CHECK(message([&] { write_safetensors(nowhere, {}); }) ==
          nowhere.string() + ": cannot be written: No such file or directory");
    fs::create_directory(folder / "folder");
    CHECK(message([&] { write_safetensors(folder / "folder", {}); }) ==
          (folder / "folder").string() + ": cannot be written: this is no file");
    CHECK(folder.files() == 2);
}
