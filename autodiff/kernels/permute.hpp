// Permutations of numbers among registers, where the processor has them. Only *.simd.cpp files and their parts include
// it.
#pragma once

#include <cstddef>

#include <xgrad/autodiff/kernels/vector.hpp>

#if defined(__AVX2__)

#define XGRAD_PERMUTES

namespace xgrad::kernels::XGRAD_LEVEL {

// Permutations are of words: a double is two.
using Words = Vector<float>;
using Places = Vector<int>;  // where each word comes from
constexpr size_t words = lanes<float>;
template <class T> constexpr size_t words_of_one = sizeof(T) / sizeof(float);

#if defined(__AVX512F__)
[[gnu::always_inline]] inline Words pick(const Words (&x)[1], Places from) {
    return _mm512_permutexvar_ps(reinterpret_cast<__m512i>(from), x[0]);
}
[[gnu::always_inline]] inline Words pick(const Words& first, const Words& second, Places from) {
    return _mm512_permutex2var_ps(first, reinterpret_cast<__m512i>(from), second);
}
// Of each place the second word where the bit of `from` is set.
template <int bit> [[gnu::always_inline]] inline Words blend(const Words& first, const Words& second, Places from) {
    const __mmask16 is_second = _mm512_test_epi32_mask(reinterpret_cast<__m512i>(from), _mm512_set1_epi32(1 << bit));
    return _mm512_mask_blend_ps(is_second, first, second);
}
constexpr int bit_of_second_pair = 5;
#else
[[gnu::always_inline]] inline Words pick(const Words (&x)[1], Places from) {
    return _mm256_permutevar8x32_ps(x[0], reinterpret_cast<__m256i>(from));
}
template <int bit> [[gnu::always_inline]] inline Words blend(const Words& first, const Words& second, Places from) {
    return _mm256_blendv_ps(first, second, reinterpret_cast<__m256>(from << (31 - bit)));
}
[[gnu::always_inline]] inline Words pick(const Words& first, const Words& second, Places from) {
    return blend<3>(_mm256_permutevar8x32_ps(first, reinterpret_cast<__m256i>(from)),
                    _mm256_permutevar8x32_ps(second, reinterpret_cast<__m256i>(from)), from);
}
constexpr int bit_of_second_pair = 4;
#endif

// Words of the vectors of x, counted from the first vector's first word on.
[[gnu::always_inline]] inline Words pick(const Words (&x)[2], Places from) { return pick(x[0], x[1], from); }
[[gnu::always_inline]] inline Words pick(const Words (&x)[4], Places from) {
    return blend<bit_of_second_pair>(pick(x[0], x[1], from), pick(x[2], x[3], from), from);
}

}  // namespace xgrad::kernels::XGRAD_LEVEL

#endif
