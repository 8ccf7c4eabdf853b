// Vectors of AVX-512 with VNNI for the kernels that are written once: float_kernels.hpp, attention.hpp.
#pragma once

#include <immintrin.h>

#include "kernels/attention.hpp"

namespace codling {
namespace {

struct V {
  using Float = __m512;
  static constexpr int kWidth = 16;
  static constexpr int kDenseRows = 4;
  static constexpr int kFloatRows = 6;
  static constexpr int kInt8Rows = 3;
  static constexpr int kInt8Vectors = 4;

  using Int = __m512i;
  static constexpr bool kRaised = true;
  static Int load_int(const void* p) { return _mm512_loadu_si512(p); }
  static Int set_int(std::int32_t x) { return _mm512_set1_epi32(x); }
  static Int set_quad(const std::int8_t* p) {
    std::int32_t quad;
    __builtin_memcpy(&quad, p, sizeof quad);
    return _mm512_set1_epi32(quad);
  }
  // What gcc 12 knows to be zeros it copies again and again, until no register is left for the sums.
  static Int no_products() {
    Int zeros = _mm512_setzero_si512();
    asm("" : "+v"(zeros));
    return zeros;
  }
  static Int raise(Int a) { return _mm512_xor_si512(a, _mm512_set1_epi8(-128)); }
  static Int add_products(Int sums, Int first, Int second) { return _mm512_dpbusd_epi32(sums, first, second); }
  static Float add_digits(Int high, Int low) { return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, kDigitBits), low)); }

  static __mmask16 first(int n) { return static_cast<__mmask16>((1U << n) - 1); }
  static Float zero() { return _mm512_setzero_ps(); }
  static Float set(float x) { return _mm512_set1_ps(x); }
  static Float load(const float* p) { return _mm512_loadu_ps(p); }
  static Float load_first(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store(float* p, Float x) { _mm512_storeu_ps(p, x); }
  static void store_first(float* p, Float x, int n) { _mm512_mask_storeu_ps(p, first(n), x); }
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
  static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
  static Float abs(Float a) { return _mm512_abs_ps(a); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static float sum(Float a) { return _mm512_reduce_add_ps(a); }
  static Float sum_each(const Float (&rows)[kWidth]) {
    // Quarter k of of_four[i] has the lanes of row 4 k + i, added up to four.
    Float of_four[4], of_two[2];
    for (int i = 0; i < 4; ++i) {
      Float halves[2];
      for (int j = 0; j < 2; ++j) {
        const Float a = rows[i + 8 * j], b = rows[i + 8 * j + 4];
        halves[j] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
      }
      of_four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(halves[0], halves[1], 0x88), _mm512_shuffle_f32x4(halves[0], halves[1], 0xdd));
    }
    for (int i = 0; i < 2; ++i) {
      const Float a = of_four[2 * i], b = of_four[2 * i + 1];
      of_two[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    }
    return _mm512_add_ps(_mm512_shuffle_ps(of_two[0], of_two[1], 0x88), _mm512_shuffle_ps(of_two[0], of_two[1], 0xdd));
  }
  static float largest(Float a) { return _mm512_reduce_max_ps(a); }
  static Float round(Float a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Float times_power_of_two(Float a, Float n) { return _mm512_scalef_ps(a, n); }
  static void store_int8(std::int8_t* p, Float a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
  }

  template <DenseType kType>
  static Float load_first_as(const void* values, std::int64_t place, int n) {
    const __mmask16 mask = first(n);
    if constexpr (kType == DenseType::kF32) {
      return _mm512_maskz_loadu_ps(mask, static_cast<const float*>(values) + place);
    } else if constexpr (kType == DenseType::kI8) {
      const __m128i bytes = _mm_maskz_loadu_epi8(mask, static_cast<const std::int8_t*>(values) + place);
      return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
    } else {
      const __m256i halves = _mm256_maskz_loadu_epi16(mask, static_cast<const std::uint16_t*>(values) + place);
      if constexpr (kType == DenseType::kF16) return _mm512_cvtph_ps(halves);
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
  }

  template <DenseType kType>
  static Float load_as(const void* values, std::int64_t place) {
    return load_first_as<kType>(values, place, kWidth);
  }
};

}  // namespace
}  // namespace codling
