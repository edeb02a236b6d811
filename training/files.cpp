#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <random>
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

std::uintmax_t file_size(const fs::path& path) {
    std::error_code code;
    if (!fs::exists(path, code)) refuse(path, "there is no such file");
    if (!fs::is_regular_file(path, code)) refuse(path, "this is no file");
    const std::uintmax_t bytes = fs::file_size(path, code);
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
    std::random_device random;
    do {
        temporary_ = fmt::format("{}.{:08x}", path.string(), random());
        // The mode of any new file: the kernel takes the process's mask from it.
        descriptor_ = ::open(temporary_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    } while (descriptor_ < 0 && errno == EEXIST);
    if (descriptor_ < 0) refuse();
    created_ = true;
}

Replacement::~Replacement() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (created_) ::unlink(temporary_.c_str());
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
    created_ = false;
}

void Replacement::refuse() const {
    detail::refuse(path_, fmt::format("cannot be written: {}", std::strerror(errno)));
}

}  // namespace xgrad::training::detail
