#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include <xgrad/autodiff/error.hpp>
#include <xgrad/training/files.hpp>

namespace xgrad::training::detail {

namespace fs = std::filesystem;

void refuse(const fs::path& path, const std::string& what) {
    throw Error(fmt::format("{}: {}", path.string(), what));
}

std::string shown(std::string_view name) {
    std::size_t size = std::min<std::size_t>(name.size(), 100);
    while (size > 0 && size < name.size() && (name[size] & 0xC0) == 0x80) --size;  // within a character of UTF-8
    std::string text = fmt::format("'{}{}'", name.substr(0, size), size < name.size() ? "…" : "");
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]), before = static_cast<unsigned char>(i ? text[i - 1] : 0);
        if (c < 0x20 || c == 0x7F || (before == 0xC2 && c < 0xA0)) text[i] = '?';  // control characters
    }
    return text;
}

std::uintmax_t file_size(const fs::path& path) {
    std::error_code code;
    const fs::file_status status = fs::status(path, code);
    if (status.type() == fs::file_type::not_found) refuse(path, "there is no such file");
    if (!code && !fs::is_regular_file(status)) refuse(path, "this is no file");
    const std::uintmax_t bytes = code ? 0 : fs::file_size(path, code);
    if (code) refuse(path, fmt::format("cannot be read: {}", code.message()));
    return bytes;
}

std::optional<std::size_t> claimed_count(const Shape& shape) {
    std::size_t count = 1;
    std::ptrdiff_t stride = 1;  // strides are products of the sizes, also where one of these is 0
    bool too_many = false;
    for (const std::size_t size : shape) {
        too_many |= __builtin_mul_overflow(count, size, &count);
        too_many |= size > 0 && __builtin_mul_overflow(stride, size, &stride);
    }
    if (too_many) return std::nullopt;
    return count;
}

Replacement::Replacement(const fs::path& path) : path_(path) {
    struct stat old {};
    const bool replaces = ::stat(path_.c_str(), &old) == 0;
    if (replaces) {
        if (!S_ISREG(old.st_mode)) detail::refuse(path_, "cannot be written: this is no file");
        std::error_code code;
        path_ = fs::canonical(path, code);
        if (code) detail::refuse(path, fmt::format("cannot be written: {}", code.message()));
    }
    std::random_device random;
    do {
        temporary_ = fmt::format("{}.{:08x}", path_.string(), random());
        // The mode of any new file: the kernel takes the process's mask from it.
        descriptor_ = ::open(temporary_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    } while (descriptor_ < 0 && errno == EEXIST);
    if (descriptor_ < 0) refuse();
    if (replaces) ::fchmod(descriptor_, old.st_mode & 07777);  // where it cannot be done, it is a new file's
}

Replacement::~Replacement() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void Replacement::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ::ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
        if (written < 0 && errno != EINTR) refuse();
        if (written > 0) bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

void Replacement::commit() {
    if (::fsync(descriptor_) != 0) refuse();
    if (::close(std::exchange(descriptor_, -1)) != 0) refuse();
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) refuse();
    temporary_.clear();
}

void Replacement::refuse() const {
    detail::refuse(path_, fmt::format("cannot be written: {}", std::strerror(errno)));
}

}  // namespace xgrad::training::detail
