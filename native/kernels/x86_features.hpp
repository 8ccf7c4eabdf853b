// What an x86-64 processor can do beyond its baseline. Features come in the bundles that the kernel files are compiled for.
#pragma once

#include <cpuid.h>

namespace codling {

struct X86Features {
  bool avx2;
  bool avx_vnni;
  bool avx512_vnni;
};

// Asked of the processor itself, as the built-in functions of clang 14 do not know these two. Both need AVX2, for which
// the built-in ones also look whether the system keeps the registers.
inline bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1) != 0;
}
inline bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

inline X86Features x86_features() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  const bool avx512_vnni = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                           __builtin_cpu_supports("avx512vnni");
  return {avx2, avx2 && has_avx_vnni(), avx512_vnni};
}

}  // namespace codling
