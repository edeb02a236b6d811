// What the loops of batch_norm and of layer_norm share. Only their .simd.cpp files include it.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/rows.hpp>

namespace xgrad::kernels::XGRAD_LEVEL {
namespace {

struct Add {
    template <class V> V operator()(const V& a, const V& b) const { return a + b; }
};

// The sums over a channel, or a row, that its cotangents are made of.
template <class T> struct CotangentSums {
    Lane<T> g{T(0)}, g_deviation{T(0)};

    void add(const Lane<T>& cotangent, const Lane<T>& deviation) {
        g += cotangent;
        g_deviation += cotangent * deviation;
    }
    friend CotangentSums operator+(const CotangentSums& a, const CotangentSums& b) {
        return {a.g + b.g, a.g_deviation + b.g_deviation};
    }
};

template <class V, std::size_t size> struct SideBySide {
    V lanes[size];

    friend SideBySide operator+(const SideBySide& a, const SideBySide& b) {
        SideBySide sum;
        for (std::size_t k = 0; k < size; ++k) sum.lanes[k] = a.lanes[k] + b.lanes[k];
        return sum;
    }
};

// A weight or bias that may be absent.
template <class T, class Places> Lane<T> load_or(const T* from, std::size_t i, Places places, T otherwise) {
    return from ? places.load_shared(from + i) : Lane<T>(otherwise);
}

template <class T> T root(T x) { return static_cast<T>(__builtin_sqrt(static_cast<double>(x))); }

}  // namespace
}  // namespace xgrad::kernels::XGRAD_LEVEL
