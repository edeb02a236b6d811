// Batch normalisation over raw memory, forward and backward. Statistics are taken of deviations from a guess
// at the mean and added up pairwise, so a large mean does not spoil a small variance.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::kernels {

/// A row-major array of (batch, channels, inner): inner is 1 for (N,C), L for (N,C,L) and H·W for (N,C,H,W).
struct Channels {
    std::size_t batch = 1;
    std::size_t channels = 1;
    std::size_t inner = 1;

    std::size_t size() const { return batch * channels * inner; }
    std::size_t samples() const { return batch * inner; }  ///< numbers that a channel's statistics are taken over
};

/// y = (x - mean)·rstd·weight + bias per channel, with rstd = 1/√(variance + epsilon), and max(y, 0) with `relu`.
template <class T> struct BatchNorm {
    Channels shape;
    const T* x;
    const T* weight = nullptr;  ///< (channels); null means 1
    const T* bias = nullptr;    ///< (channels); null means 0
    T epsilon;
    bool relu = false;
    T* y;  ///< may be x
};

/// The statistics of each channel, (channels) each.
template <class T> struct BatchStatistics {
    T* mean;
    T* rstd;
    T* variance = nullptr;  ///< the biased variance, for running estimates; null when not wanted
};

/// Normalises with the statistics of the batch itself and writes them.
template <class T> void batch_norm(const BatchNorm<T>& norm, const BatchStatistics<T>& statistics);

/// Normalises with statistics that are given.
template <class T> void batch_norm_inference(const BatchNorm<T>& norm, const T* mean, const T* variance);

/// The cotangents of batch_norm or batch_norm_inference, from those of the result. What is null is not computed.
template <class T> struct BatchNormBackward {
    Channels shape;
    const T* x;
    const T* mean;
    const T* rstd;
    const T* weight = nullptr;         ///< null means 1
    const T* g;                        ///< the cotangent of y
    const T* relu_y = nullptr;         ///< the result y when relu was fused: g counts where y > 0 or is NaN
    bool constant_statistics = false;  ///< mean and rstd were given, and do not depend on x
    T* dx = nullptr;                   ///< may be g
    T* dweight = nullptr;
    T* dbias = nullptr;
};

template <class T> void batch_norm_backward(const BatchNormBackward<T>& norm);

/// The level's share of the work: one thread's piece, a range of channels [first, last).
template <class T> struct BatchNormKernels {
    void (*batch_norm)(const BatchNorm<T>& norm, const BatchStatistics<T>& statistics, std::size_t first,
                       std::size_t last);
    void (*inference)(const BatchNorm<T>& norm, const T* mean, const T* variance, std::size_t first, std::size_t last);
    void (*backward)(const BatchNormBackward<T>& norm, std::size_t first, std::size_t last);
};

XGRAD_AT_EVERY_LEVEL(template <class T> const BatchNormKernels<T>& batch_norm_kernels();)

/// The table of the level in use.
template <class T> const BatchNormKernels<T>& batch_norm_kernels() { XGRAD_SELECT(batch_norm_kernels<T>()) }

}  // namespace xgrad::kernels
