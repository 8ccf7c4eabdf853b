// What an aarch64 processor can do beyond its baseline, as the system tells it.
#pragma once

#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#endif

namespace codling {

struct ArmFeatures {
  // FEAT_DotProd and FEAT_I8MM.
  bool dot_product = false;
  bool int8_matrix_product = false;
};

#if defined(__APPLE__)

inline bool apple_says(const char* name) {
  int value = 0;
  std::size_t size_bytes = sizeof value;
  return sysctlbyname(name, &value, &size_bytes, nullptr, 0) == 0 && value != 0;
}

inline ArmFeatures arm_features() {
  return {apple_says("hw.optional.arm.FEAT_DotProd"), apple_says("hw.optional.arm.FEAT_I8MM")};
}

#elif defined(__linux__)

inline ArmFeatures arm_features() {
  // HWCAP_ASIMDDP and HWCAP2_I8MM of the kernel's interface, which older headers lack.
  constexpr unsigned long kDotProduct = 1UL << 20, kInt8MatrixProduct = 1UL << 13;
  return {(getauxval(AT_HWCAP) & kDotProduct) != 0, (getauxval(AT_HWCAP2) & kInt8MatrixProduct) != 0};
}

#else

// Nothing is known: the plain loops run.
inline ArmFeatures arm_features() { return {}; }

#endif

}  // namespace codling
