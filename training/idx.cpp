#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <zlib.h>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/training/files.hpp>
#include <xgrad/training/idx.hpp>

namespace xgrad::training {
namespace {

namespace fs = std::filesystem;
using detail::refuse;

// A file, unpacked while it is read when it is compressed.
class Reader {
public:
    explicit Reader(const fs::path& path) : path_(path), bytes_(detail::file_size(path)) {
        file_.reset(gzopen(path.c_str(), "rb"));
        if (!file_) refuse(path, fmt::format("cannot be opened: {}", std::strerror(errno)));
        gzbuffer(file_.get(), 1 << 17);
    }

    // More than this cannot come out of the file: nothing is packed tighter than 1032 to 1.
    std::uintmax_t most() const { return gzdirect(file_.get()) ? bytes_ : bytes_ * 1032; }

    // The next bytes, as many as there are up to `count`.
    std::size_t read(std::uint8_t* out, std::size_t count) {
        std::size_t done = 0;
        while (done < count) {
            const int got = gzread(file_.get(), out + done, static_cast<unsigned>(std::min(count - done, piece)));
            if (got < 0) complain();
            if (got == 0) break;
            done += static_cast<std::size_t>(got);
        }
        if (done < count) complain();
        return done;
    }

private:
    static constexpr std::size_t piece = std::size_t{1} << 30;

    void complain() {
        int code = Z_OK;
        const char* message = gzerror(file_.get(), &code);
        if (code != Z_OK && code != Z_STREAM_END) refuse(path_, fmt::format("cannot be unpacked: {}", message));
    }
    struct Close {
        void operator()(gzFile file) const { gzclose(file); }
    };

    fs::path path_;
    std::uintmax_t bytes_;
    std::unique_ptr<std::remove_pointer_t<gzFile>, Close> file_;
};

std::uint32_t big_endian(const std::uint8_t* bytes) {
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

std::string element_name(std::uint8_t code) {
    switch (code) {
        case 0x09:
            return "signed bytes";
        case 0x0B:
            return "16-bit integers";
        case 0x0C:
            return "32-bit integers";
        case 0x0D:
            return "floats";
        case 0x0E:
            return "doubles";
        default:
            return fmt::format("an unknown kind (0x{:02x})", code);
    }
}

// The file with this name in the directory, or the same compressed.
fs::path find(const fs::path& directory, const std::string& name) {
    for (const char* ending : {"", ".gz"}) {
        fs::path path = directory / (name + ending);
        std::error_code code;
        if (fs::exists(path, code)) return path;
    }
    refuse(directory, fmt::format("has neither {} nor {}.gz", name, name));
}

}  // namespace

Array<std::uint8_t> read_idx(const fs::path& path) {
    Reader reader(path);
    std::array<std::uint8_t, 4> magic{};
    if (reader.read(magic.data(), magic.size()) < magic.size() || magic[0] != 0 || magic[1] != 0)
        refuse(path, "is no IDX file: it does not begin with two zero bytes, a type and a number of dimensions");
    if (magic[2] != 0x08)
        refuse(path, fmt::format("holds {}, but only files of unsigned bytes are read", element_name(magic[2])));
    const std::size_t dimensions = magic[3];
    if (dimensions == 0) refuse(path, "has no dimensions");

    std::array<std::uint8_t, 4 * 255> sizes{};
    if (reader.read(sizes.data(), 4 * dimensions) < 4 * dimensions)
        refuse(path, fmt::format("ends inside its header, which should give the sizes of {} dimensions", dimensions));
    Shape shape;
    for (std::size_t i = 0; i < dimensions; ++i) shape.push_back(big_endian(sizes.data() + 4 * i));
    const std::optional<std::size_t> count = detail::claimed_count(shape);
    if (!count || *count > reader.most())
        refuse(path, fmt::format("says that it holds an array {}, which is more than a file of its length can hold",
                                 describe(shape)));

    Array<std::uint8_t> array = empty<std::uint8_t>(shape);
    const std::size_t got = reader.read(array.data(), *count);
    if (got < *count)
        refuse(path, fmt::format("ends after {} of the {} bytes of its array {}", got, *count, describe(shape)));
    std::uint8_t beyond = 0;
    if (reader.read(&beyond, 1) != 0)
        refuse(path, fmt::format("goes on after the {} bytes of its array {}", *count, describe(shape)));
    return array;
}

template <class T> Array<T> read_idx_images(const fs::path& path) {
    const Array<std::uint8_t> bytes = read_idx(path);
    if (bytes.dimension() != 3)
        refuse(path, fmt::format("holds an array {}; images have three dimensions", describe(bytes.shape())));
    Array<T> images = empty<T>({bytes.shape()[0], bytes.shape()[1] * bytes.shape()[2]});
    std::transform(bytes.data(), bytes.data() + bytes.size(), images.data(),
                   [](std::uint8_t byte) { return static_cast<T>(byte) / 255; });
    return images;
}

Array<std::int64_t> read_idx_labels(const fs::path& path, std::int64_t classes) {
    const Array<std::uint8_t> bytes = read_idx(path);
    if (bytes.dimension() != 1)
        refuse(path, fmt::format("holds an array {}; labels have one dimension", describe(bytes.shape())));
    Array<std::int64_t> labels = empty<std::int64_t>(bytes.shape());
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        labels.data()[i] = bytes.data()[i];
        if (labels.data()[i] >= classes)
            refuse(path, fmt::format("label {} of sample {} is not one of the classes 0 to {}", labels.data()[i], i,
                                     classes - 1));
    }
    return labels;
}

template <class T> Dataset<T> load_mnist(const fs::path& directory, Split split, std::int64_t classes) {
    std::error_code code;
    if (!fs::is_directory(directory, code)) refuse(directory, "there is no such folder");
    const std::string prefix = split == Split::train ? "train" : "t10k";
    const fs::path images_path = find(directory, prefix + "-images-idx3-ubyte");
    const fs::path labels_path = find(directory, prefix + "-labels-idx1-ubyte");
    Array<T> images = read_idx_images<T>(images_path);
    Array<std::int64_t> labels = read_idx_labels(labels_path, classes);
    if (images.shape()[0] != labels.shape()[0])
        refuse(images_path, fmt::format("has {} images, but {} has {} labels", images.shape()[0],
                                        labels_path.filename().string(), labels.shape()[0]));
    if (labels.size() == 0) refuse(images_path, "has no images");
    return Dataset<T>(std::move(images), std::move(labels));
}

template Array<float> read_idx_images(const fs::path&);
template Array<double> read_idx_images(const fs::path&);
template Dataset<float> load_mnist(const fs::path&, Split, std::int64_t);
template Dataset<double> load_mnist(const fs::path&, Split, std::int64_t);

}  // namespace xgrad::training
