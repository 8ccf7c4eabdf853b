// AVX2 without VNNI: products of bytes are summed in 16 bits first, which must not overflow. So the unsigned factor is a
// weight's magnitude, at most 128, and its sign goes to the activation: 2 * 128 * 127 < 2^15.

#include "kernels/avx2_kernels.hpp"

namespace codling {
namespace {

struct PairDot {
  static constexpr bool kCorrected = false;
  struct Weights {
    __m256i magnitudes, signs;
  };
  static __m256i raise(__m256i weights) { return weights; }
  static Weights prepare(__m256i weights) { return {_mm256_abs_epi8(weights), weights}; }
  static __m256i add_products(__m256i sums, const Weights& weights, __m256i x) {
    return add_small_products(sums, weights.magnitudes, _mm256_sign_epi8(x, weights.signs));
  }
  static __m256i add_small_products(__m256i sums, __m256i first, __m256i x) {
    return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(first, x), _mm256_set1_epi16(1)));
  }
};

}  // namespace

const Kernels kAvx2Kernels = kernels_with<PairDot>("avx2");

}  // namespace codling
