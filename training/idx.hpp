// Reading IDX files, the format of MNIST and its relatives. Files are not trusted: whatever is wrong with one gives an
// Error that names it, and no more memory is asked for than the file can fill.
#pragma once

#include <cstdint>
#include <filesystem>

#include <xgrad/autodiff/array.hpp>
#include <xgrad/training/dataset.hpp>

namespace xgrad::training {

/// The bytes of an IDX file, plain or compressed by gzip, with the shape that its header gives.
/// Throws Error for a file that is missing, no IDX file, of elements other than bytes, too short or too long.
Array<std::uint8_t> read_idx(const std::filesystem::path& path);

/// Images of an IDX file, (n, rows · columns), with 0 … 255 scaled to 0 … 1.
template <class T = float> Array<T> read_idx_images(const std::filesystem::path& path);

/// Labels of an IDX file, (n). Throws Error when one is not below `classes`.
Array<std::int64_t> read_idx_labels(const std::filesystem::path& path, std::int64_t classes = 10);

/// The two parts of MNIST: 60 000 samples to learn from and 10 000 to be tested with.
enum class Split { train, test };

/// MNIST, or a set with its file names: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, or the same with
/// `t10k`, with or without `.gz`.
template <class T = float>
Dataset<T> load_mnist(const std::filesystem::path& directory, Split split, std::int64_t classes = 10);

}  // namespace xgrad::training
