// Vectors of NEON for the kernels that are written once: float_kernels.hpp, attention.hpp.
// Included by kernel files only, each of which has its own copy.
#pragma once

#include <arm_neon.h>

#include "kernels/attention.hpp"

namespace codling {
namespace {

// A vector, or a number, from any address.
template <typename T>
T read(const void* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

struct V {
  using Float = float32x4_t;
  static constexpr int kWidth = 4;
  static constexpr int kDenseRows = 4;
  static constexpr int kFloatRows = 6;
  static constexpr int kInt8Rows = 3;
  static constexpr int kInt8Vectors = 4;

  using Int = int32x4_t;
  static constexpr bool kRaised = false;
  static Int load_int(const void* p) { return read<Int>(p); }
  static Int set_int(std::int32_t x) { return vdupq_n_s32(x); }
  static Int set_quad(const std::int8_t* p) { return vdupq_n_s32(read<std::int32_t>(p)); }
  static Int raise(Int a) { return a; }
  static Int no_products() { return vdupq_n_s32(0); }
  static Int add_products(Int sums, Int first, Int second) {
    return vdotq_s32(sums, vreinterpretq_s8_s32(first), vreinterpretq_s8_s32(second));
  }
  static Float add_digits(Int high, Int low) { return vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(high, kDigitBits), low)); }

  static Float zero() { return vdupq_n_f32(0); }
  static Float set(float x) { return vdupq_n_f32(x); }
  static Float load(const float* p) { return read<Float>(p); }
  static Float load_first(const float* p, int n) { return load_first_as<DenseType::kF32>(p, 0, n); }
  static void store(float* p, Float x) { __builtin_memcpy(p, &x, sizeof x); }
  static void store_first(float* p, Float x, int n) { __builtin_memcpy(p, &x, n * sizeof *p); }
  static Float add(Float a, Float b) { return vaddq_f32(a, b); }
  static Float sub(Float a, Float b) { return vsubq_f32(a, b); }
  static Float mul(Float a, Float b) { return vmulq_f32(a, b); }
  static Float div(Float a, Float b) { return vdivq_f32(a, b); }
  static Float min(Float a, Float b) { return vminnmq_f32(a, b); }
  static Float max(Float a, Float b) { return vmaxnmq_f32(a, b); }
  static Float abs(Float a) { return vabsq_f32(a); }
  static Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
  static float sum(Float a) { return vaddvq_f32(a); }
  static Float sum_each(const Float (&rows)[kWidth]) {
    return vpaddq_f32(vpaddq_f32(rows[0], rows[1]), vpaddq_f32(rows[2], rows[3]));
  }
  static float largest(Float a) { return vmaxvq_f32(a); }
  static Float round(Float a) { return vrndnq_f32(a); }
  static Float times_power_of_two(Float a, Float n) {
    const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
  }
  static void store_int8(std::int8_t* p, Float a) {
    const int16x4_t words = vmovn_s32(vcvtnq_s32_f32(a));
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    __builtin_memcpy(p, &bytes, kWidth);
  }

  template <DenseType kType>
  static Float load_as(const void* values, std::int64_t place) {
    if constexpr (kType == DenseType::kF32) {
      return read<Float>(static_cast<const float*>(values) + place);
    } else if constexpr (kType == DenseType::kI8) {
      const auto bytes = read<std::uint32_t>(static_cast<const std::int8_t*>(values) + place);
      return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(bytes)))));
    } else {
      const auto halves = read<uint16x4_t>(static_cast<const std::uint16_t*>(values) + place);
      if constexpr (kType == DenseType::kF16) return vcvt_f32_f16(vreinterpret_f16_u16(halves));
      return vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
    }
  }

  template <DenseType kType>
  static Float load_first_as(const void* values, std::int64_t place, int n) {
    constexpr int kSizeBytes = size_bytes(kType);
    unsigned char copy[kSizeBytes * kWidth] = {};
    __builtin_memcpy(copy, static_cast<const unsigned char*>(values) + place * kSizeBytes, n * kSizeBytes);
    return load_as<kType>(copy, 0);
  }
};

}  // namespace
}  // namespace codling
