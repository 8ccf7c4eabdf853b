// AVX2 with the EVEX-encoded four-byte dot product, on processors that have AVX-512 VNNI but not AVX-VNNI: there it runs
// the same program as avx2_vnni.cpp, in registers of 256 bits.

#include "kernels/avx2_kernels.hpp"

namespace codling {
namespace {

struct EvexDot {
  static constexpr bool kCorrected = true;
  using Weights = __m256i;
  static __m256i raise(__m256i weights) { return _mm256_xor_si256(weights, _mm256_set1_epi8(-128)); }
  static Weights prepare(__m256i weights) { return weights; }
  static __m256i add_products(__m256i sums, Weights weights, __m256i x) { return _mm256_dpbusd_epi32(sums, weights, x); }
  static __m256i add_small_products(__m256i sums, __m256i first, __m256i x) { return add_products(sums, first, x); }
};

}  // namespace

const Kernels kAvx2VnniEvexKernels = kernels_with<EvexDot>("avx2vnni");

}  // namespace codling
