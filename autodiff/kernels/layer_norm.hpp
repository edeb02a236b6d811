// Layer normalisation over raw memory, forward and backward.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/level.hpp>

namespace xgrad::kernels {

/// y = (x - mean)·rstd·weight + bias over each of `rows` rows of `count`, weight and bias being one row.
template <class T> struct LayerNorm {
    std::size_t rows;
    std::size_t count;
    const T* x;
    const T* weight = nullptr;  ///< (count); null means 1
    const T* bias = nullptr;    ///< (count); null means 0
    T epsilon;
    T* y;     ///< may be x
    T* mean;  ///< (rows), saved for the backward
    T* rstd;  ///< (rows)
};

template <class T> void layer_norm(const LayerNorm<T>& norm);

/// The cotangents of layer_norm, from those of its result. What is null is not computed.
template <class T> struct LayerNormBackward {
    std::size_t rows;
    std::size_t count;
    const T* x;
    const T* mean;
    const T* rstd;
    const T* weight = nullptr;  ///< null means 1
    const T* g;                 ///< the cotangent of y
    T* dx = nullptr;            ///< may be g
    T* dweight = nullptr;
    T* dbias = nullptr;
};

template <class T> void layer_norm_backward(const LayerNormBackward<T>& norm);

/// The level's share of the work: one thread's piece, a range of rows.
template <class T> struct LayerNormKernels {
    void (*layer_norm)(const LayerNorm<T>& norm);
    void (*backward)(const LayerNormBackward<T>& norm);
};

XGRAD_AT_EVERY_LEVEL(template <class T> const LayerNormKernels<T>& layer_norm_kernels();)

/// The table of the level in use.
template <class T> const LayerNormKernels<T>& layer_norm_kernels() { XGRAD_SELECT(layer_norm_kernels<T>()) }

}  // namespace xgrad::kernels
