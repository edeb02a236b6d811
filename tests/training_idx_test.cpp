#include <catch.hpp>
#include <cstdint>
#include <filesystem>
#include <folder.hpp>
#include <message.hpp>
#include <string>
#include <vector>
#include <zlib.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/training/idx.hpp>

namespace fs = std::filesystem;
using namespace xgrad;
using testing::content;
using testing::Folder;
using testing::message;
using training::load_mnist;
using training::read_idx;
using training::Split;

namespace {

using Bytes = std::vector<std::uint8_t>;

fs::path plain(const Folder& folder, const std::string& name, const Bytes& bytes) {
    return folder.write(name, std::string(bytes.begin(), bytes.end()));
}
fs::path packed(const Folder& folder, const std::string& name, const Bytes& bytes) {
    gzFile file = gzopen((folder / name).c_str(), "wb");
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
    return folder / name;
}
Bytes read_file(const fs::path& path) {
    const std::string text = content(path);
    return Bytes(text.begin(), text.end());
}

Bytes idx(const std::vector<std::uint32_t>& sizes, const Bytes& data, std::uint8_t type = 8) {
    Bytes bytes{0, 0, type, static_cast<std::uint8_t>(sizes.size())};
    for (std::uint32_t size : sizes)
        for (int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::uint8_t>(size >> shift));
    bytes.insert(bytes.end(), data.begin(), data.end());
    return bytes;
}

// The message for these bytes, without the file's name, which it must begin with.
std::string complaint(const Bytes& bytes, bool pack = false) {
    Folder folder;
    const fs::path path = pack ? packed(folder, "file", bytes) : plain(folder, "file", bytes);
    const std::string text = message([&] { read_idx(path); });
    if (text == "no Error was thrown") return text;
    REQUIRE(text.starts_with(path.string() + ": "));
    return text.substr(path.string().size() + 2);
}

void write_set(const Folder& folder, const std::string& prefix, const Bytes& images, const Bytes& labels) {
    plain(folder, prefix + "-images-idx3-ubyte", images);
    plain(folder, prefix + "-labels-idx1-ubyte", labels);
}

}  // namespace

TEST_CASE("An IDX file gives its bytes and shape, plain or compressed", "[idx]") {
    Folder folder;
    const Bytes bytes = idx({2, 1, 3}, {0, 1, 2, 253, 254, 255});
    for (const fs::path& path : {plain(folder, "plain", bytes), packed(folder, "packed.gz", bytes)}) {
        const Array<std::uint8_t> array = read_idx(path);
        CHECK(array.shape() == Shape{2, 1, 3});
        CHECK(Bytes(array.begin(), array.end()) == Bytes{0, 1, 2, 253, 254, 255});
    }
    CHECK(read_idx(plain(folder, "empty", idx({0, 5}, {}))).shape() == Shape{0, 5});
}

TEST_CASE("Images are scaled to [0, 1] and flattened, labels become integers", "[idx]") {
    Folder folder;
    const auto images = training::read_idx_images<double>(plain(folder, "images", idx({2, 1, 2}, {0, 51, 255, 102})));
    CHECK(images.shape() == Shape{2, 2});
    CHECK(images(0, 0) == 0);
    CHECK(images(0, 1) == 0.2);
    CHECK(images(1, 0) == 1);
    const auto labels = training::read_idx_labels(plain(folder, "labels", idx({3}, {7, 0, 9})));
    CHECK(std::vector<std::int64_t>(labels.begin(), labels.end()) == std::vector<std::int64_t>{7, 0, 9});
}

TEST_CASE("A malformed IDX file is refused in words", "[idx]") {
    const Bytes six{1, 2, 3, 4, 5, 6};
    CHECK(complaint({}).starts_with("is no IDX file"));
    CHECK(complaint({0, 0, 8}).starts_with("is no IDX file"));
    CHECK(complaint({'P', 'K', 8, 1, 0, 0}).starts_with("is no IDX file"));
    CHECK(complaint({0, 0, 8, 0}) == "has no dimensions");
    CHECK(complaint(idx({6}, six, 0x0D)) == "holds floats, but only files of unsigned bytes are read");
    CHECK(complaint(idx({6}, six, 0x77)) == "holds an unknown kind (0x77), but only files of unsigned bytes are read");
    CHECK(complaint({0, 0, 8, 3, 0, 0, 0, 2, 0, 0}) ==
          "ends inside its header, which should give the sizes of 3 dimensions");
    CHECK(complaint({0, 0, 8, 255, 0, 0}) == "ends inside its header, which should give the sizes of 255 dimensions");
    CHECK(complaint(idx({7}, six)) == "ends after 6 of the 7 bytes of its array (7,)");
    CHECK(complaint(idx({2, 2}, six)) == "goes on after the 4 bytes of its array (2, 2)");
    CHECK(complaint(idx({6}, six)) == "no Error was thrown");
}

TEST_CASE("A header that promises more than the file can hold allocates nothing", "[idx]") {
    const std::string too_much = "which is more than a file of its length can hold";
    for (bool pack : {false, true}) {
        CHECK_THAT(complaint(idx({0xFFFFFFFF, 28, 28}, {1, 2, 3}), pack), Catch::Matchers::EndsWith(too_much));
        CHECK_THAT(complaint(idx({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, {}), pack), Catch::Matchers::EndsWith(too_much));
        CHECK_THAT(complaint(idx({0, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, {}), pack),
                   Catch::Matchers::EndsWith(too_much));
        // a product that is small again after it overflowed
        CHECK_THAT(complaint(idx({0x80000000, 0x80000000, 4}, {}), pack), Catch::Matchers::EndsWith(too_much));
        CHECK_THAT(complaint(idx({1u << 30}, {}), pack), Catch::Matchers::EndsWith(too_much));
    }
}

TEST_CASE("A damaged compressed file is refused, wherever it is cut", "[idx]") {
    Folder folder;
    Bytes data(5000);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::uint8_t>(i * i >> 3);
    const Bytes whole = read_file(packed(folder, "whole.gz", idx({50, 100}, data)));
    for (std::size_t length = 0; length < whole.size(); length += 1 + length / 7) {
        const fs::path path = plain(folder, "cut.gz", Bytes(whole.begin(), whole.begin() + static_cast<long>(length)));
        CHECK_THAT(message([&] { read_idx(path); }), Catch::Matchers::StartsWith(path.string()));
    }
    for (std::size_t short_of : {1, 4, 8, 9}) {
        const fs::path path = plain(folder, "cut.gz", Bytes(whole.begin(), whole.end() - static_cast<long>(short_of)));
        CHECK_THAT(message([&] { read_idx(path); }), Catch::Matchers::Contains("cannot be unpacked"));
    }
    Bytes wrong = whole;
    wrong[wrong.size() - 6] ^= 1;  // in the checksum
    CHECK_THAT(message([&] { read_idx(plain(folder, "wrong.gz", wrong)); }),
               Catch::Matchers::Contains("cannot be unpacked"));
}

TEST_CASE("Any single byte of an IDX file may be wrong without a crash", "[idx]") {
    Folder folder;
    for (const Bytes& good :
         {idx({2, 3}, {1, 2, 3, 4, 5, 6}), read_file(packed(folder, "good.gz", idx({2, 3}, {1, 2, 3, 4, 5, 6})))})
        for (std::size_t i = 0; i < good.size(); ++i)
            for (int value = 0; value < 256; value += 17) {
                Bytes bytes = good;
                bytes[i] = static_cast<std::uint8_t>(value);
                const fs::path path = plain(folder, "bad", bytes);
                try {
                    read_idx(path);
                } catch (const Error&) {
                }
            }
    SUCCEED();
}

TEST_CASE("A missing file, a folder, or the wrong dimensions are refused", "[idx]") {
    Folder folder;
    const fs::path& path = folder;
    CHECK(message([&] { read_idx(path / "none"); }) == (path / "none").string() + ": there is no such file");
    CHECK(message([&] { read_idx(path); }) == path.string() + ": this is no file");
    const fs::path flat = plain(folder, "flat", idx({2}, {3, 12}));
    CHECK_THAT(message([&] { training::read_idx_images(flat); }),
               Catch::Matchers::Contains("images have three dimensions"));
    CHECK_THAT(message([&] {
                   training::read_idx_labels(plain(folder, "deep", idx({1, 1}, {3})));
               }),
               Catch::Matchers::Contains("labels have one dimension"));
    CHECK(message([&] { training::read_idx_labels(flat); }) ==
          flat.string() + ": label 12 of sample 1 is not one of the classes 0 to 9");
    CHECK(training::read_idx_labels(flat, 13).size() == 2);
}

TEST_CASE("MNIST's files are found by their names, and must belong together", "[idx]") {
    Folder folder;
    const fs::path& path = folder;
    CHECK(message([&] { load_mnist(path / "none", Split::train); }) ==
          (path / "none").string() + ": there is no such folder");
    CHECK(message([&] { load_mnist(path, Split::train); }) ==
          path.string() + ": has neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz");
    write_set(folder, "train", idx({2, 1, 2}, {0, 255, 0, 0}), idx({2}, {4, 2}));
    packed(folder, "t10k-images-idx3-ubyte.gz", idx({1, 1, 2}, {255, 255}));
    packed(folder, "t10k-labels-idx1-ubyte.gz", idx({1}, {9}));
    const auto train = load_mnist(path, Split::train);
    CHECK(train.inputs().shape() == Shape{2, 2});
    CHECK(train.inputs()(0, 1) == 1);
    CHECK(train.targets()(0) == 4);
    CHECK(load_mnist<double>(path, Split::test).targets()(0) == 9);

    write_set(folder, "train", idx({2, 1, 2}, {0, 255, 0, 0}), idx({3}, {4, 2, 1}));
    CHECK(message([&] { load_mnist(path, Split::train); }) ==
          (path / "train-images-idx3-ubyte").string() + ": has 2 images, but train-labels-idx1-ubyte has 3 labels");
    write_set(folder, "train", idx({0, 1, 2}, {}), idx({0}, {}));
    CHECK(message([&] { load_mnist(path, Split::train); }) ==
          (path / "train-images-idx3-ubyte").string() + ": has no images");
}

TEST_CASE("The real MNIST is read", "[idx]") {
    const char* folder = std::getenv("XGRAD_MNIST");
    if (!folder) {
        WARN("skipped: the environment variable XGRAD_MNIST names no folder");
        return;
    }
    const auto train = load_mnist(folder, Split::train), test = load_mnist(folder, Split::test);
    CHECK(train.inputs().shape() == Shape{60000, 784});
    CHECK(test.inputs().shape() == Shape{10000, 784});
    CHECK(train.targets()(0) == 5);
    CHECK(test.targets()(0) == 7);
    double ink = 0;
    for (float value : train.inputs()) ink += value;
    CHECK(ink / 47'040'000 == Approx(0.13066).epsilon(1e-4));
}
