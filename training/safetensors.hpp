// Named arrays in safetensors files, the format in which models are exchanged: a header of JSON, then the numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>

#include <xgrad/autodiff/array.hpp>

namespace xgrad::training {

/// An array of one of the kinds that are read and written (in the format's words F32, F64, I64, I32, U64, U8, BOOL).
using AnyArray = std::variant<Array<float>, Array<double>, Array<std::int64_t>, Array<std::int32_t>,
                              Array<std::uint64_t>, Array<std::uint8_t>, Array<bool>>;

/// Arrays by their names.
using NamedArrays = std::map<std::string, AnyArray>;

/// All arrays of a file. Numbers of half precision (F16, BF16) become floats, which is exact.
/// Files are not trusted: throws Error, with the path, for one that is missing, truncated, too long, of other kinds of
/// numbers, or whose header is not right; no more memory is asked for than the file can fill.
NamedArrays read_safetensors(const std::filesystem::path& path);

/// Writes arrays to a file, in place of an old one only once all is written. Throws Error when that fails; the old file
/// is as it was then.
void write_safetensors(const std::filesystem::path& path, const NamedArrays& arrays);

}  // namespace xgrad::training
