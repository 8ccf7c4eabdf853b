// The tables that the kernel files define, and the constants that all of them round by.
#pragma once

#include "kernels/kernels.hpp"

namespace codling {

inline constexpr float kLargestInt8 = 127.0F;
// Of a block of activations: below it they count as zero, and 127 over it would be infinite.
inline constexpr float kSmallestScaled = 1e-30F;

extern const Kernels kScalarKernels;
#ifdef CODLING_X86_64
extern const Kernels kAvx2Kernels;
// With VEX-encoded and with EVEX-encoded VNNI: processors have the one, the other or both.
extern const Kernels kAvx2VnniKernels;
extern const Kernels kAvx2VnniEvexKernels;
extern const Kernels kAvx512Kernels;
#endif
#ifdef CODLING_AARCH64
extern const Kernels kNeonKernels;
extern const Kernels kNeonI8mmKernels;
#endif

}  // namespace codling
