// Vectors of AVX2 for the kernels that are written once: float_kernels.hpp, attention.hpp.
// Included by kernel files only, each of which has its own copy.
#pragma once

#include <immintrin.h>

#include "kernels/attention.hpp"

namespace codling {
namespace {

struct V {
  using Float = __m256;
  static constexpr int kWidth = 8;
  static constexpr int kDenseRows = 2;
  static constexpr int kFloatRows = 3;

  static __m256i first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Float zero() { return _mm256_setzero_ps(); }
  static Float set(float x) { return _mm256_set1_ps(x); }
  static Float load(const float* p) { return _mm256_loadu_ps(p); }
  static Float load_first(const float* p, int n) { return _mm256_maskload_ps(p, first(n)); }
  static void store(float* p, Float x) { _mm256_storeu_ps(p, x); }
  static void store_first(float* p, Float x, int n) { _mm256_maskstore_ps(p, first(n), x); }
  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm256_div_ps(a, b); }
  static Float min(Float a, Float b) { return _mm256_min_ps(a, b); }
  static Float max(Float a, Float b) { return _mm256_max_ps(a, b); }
  static Float abs(Float a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static float sum(Float a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static Float sum_each(const Float (&rows)[kWidth]) {
    // Half k of of_four[i] has the lanes of row 4 k + i, added up to four.
    Float of_four[4], of_two[2];
    for (int i = 0; i < 4; ++i) {
      of_four[i] = _mm256_add_ps(_mm256_permute2f128_ps(rows[i], rows[i + 4], 0x20), _mm256_permute2f128_ps(rows[i], rows[i + 4], 0x31));
    }
    for (int i = 0; i < 2; ++i) {
      const Float a = of_four[2 * i], b = of_four[2 * i + 1];
      of_two[i] = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
    }
    return _mm256_add_ps(_mm256_shuffle_ps(of_two[0], of_two[1], 0x88), _mm256_shuffle_ps(of_two[0], of_two[1], 0xdd));
  }
  static float largest(Float a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static Float round(Float a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Float times_power_of_two(Float a, Float n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }
  static void store_int8(std::int8_t* p, Float a) {
    const __m256i wide = _mm256_cvtps_epi32(a);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }

  template <DenseType kType>
  static Float load_as(const void* values, std::int64_t place) {
    if constexpr (kType == DenseType::kF32) {
      return load(static_cast<const float*>(values) + place);
    } else if constexpr (kType == DenseType::kI8) {
      const void* p = static_cast<const std::int8_t*>(values) + place;
      return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))));
    } else {
      const void* p = static_cast<const std::uint16_t*>(values) + place;
      const __m128i halves = _mm_loadu_si128(static_cast<const __m128i*>(p));
      if constexpr (kType == DenseType::kF16) return _mm256_cvtph_ps(halves);
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
  }

  template <DenseType kType>
  static Float load_first_as(const void* values, std::int64_t place, int n) {
    constexpr int kSizeBytes = size_bytes(kType);
    alignas(32) unsigned char copy[4 * kWidth] = {};
    const auto* bytes = static_cast<const unsigned char*>(values) + place * kSizeBytes;
    for (int i = 0; i < n * kSizeBytes; ++i) copy[i] = bytes[i];
    return load_as<kType>(copy, 0);
  }
};

// With the whole numbers that attention needs.
template <typename Dot>
struct WithInts : V {
  using Int = __m256i;
  static constexpr bool kRaised = true;
  static constexpr int kInt8Rows = 2;
  static constexpr int kInt8Vectors = 2;
  static Int load_int(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static Int set_int(std::int32_t x) { return _mm256_set1_epi32(x); }
  static Int set_quad(const std::int8_t* p) {
    std::int32_t quad;
    __builtin_memcpy(&quad, p, sizeof quad);
    return _mm256_set1_epi32(quad);
  }
  // What gcc 12 knows to be zeros it copies again and again, until no register is left for the sums.
  static Int no_products() {
    Int zeros = _mm256_setzero_si256();
    asm("" : "+x"(zeros));
    return zeros;
  }
  static Int raise(Int a) { return _mm256_xor_si256(a, _mm256_set1_epi8(-128)); }
  static Int add_products(Int sums, Int first, Int second) { return Dot::add_small_products(sums, first, second); }
  static Float add_digits(Int high, Int low) { return _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32(high, kDigitBits), low)); }
};

}  // namespace
}  // namespace codling
