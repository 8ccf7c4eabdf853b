#include "format/error.hpp"
#include "kernels/sets.hpp"
#ifdef CODLING_X86_64
#include "kernels/x86_features.hpp"
#endif
#ifdef CODLING_AARCH64
#include "kernels/arm_features.hpp"
#endif

namespace codling {
namespace {

struct Candidate {
  const Kernels* kernels;
  bool runs_here;
};

// Slowest first. Of two with the same name, a processor that runs both gets the first.
std::vector<Candidate> candidates() {
  std::vector<Candidate> all = {{&kScalarKernels, true}};
#ifdef CODLING_X86_64
  const X86Features x86 = x86_features();
  all.push_back({&kAvx2Kernels, x86.avx2});
  all.push_back({&kAvx2VnniKernels, x86.avx_vnni});
  all.push_back({&kAvx2VnniEvexKernels, x86.avx512_vnni && !x86.avx_vnni});
  all.push_back({&kAvx512Kernels, x86.avx512_vnni});
#endif
#ifdef CODLING_AARCH64
  const ArmFeatures arm = arm_features();
  all.push_back({&kNeonKernels, arm.dot_product});
  all.push_back({&kNeonI8mmKernels, arm.dot_product && arm.int8_matrix_product});
#endif
  return all;
}

}  // namespace

std::vector<std::string> runnable_kernels() {
  std::vector<std::string> names;
  for (const Candidate& one : candidates()) {
    if (one.runs_here) names.emplace_back(one.kernels->name);
  }
  return names;
}

const Kernels& choose_kernels(const std::string& name) {
  const std::vector<Candidate> all = candidates();
  for (auto one = all.rbegin(); one != all.rend(); ++one) {
    if (one->runs_here && (name.empty() || name == one->kernels->name)) return *one->kernels;
  }
  std::string known;
  for (const std::string& runnable : runnable_kernels()) known += (known.empty() ? "" : ", ") + runnable;
  throw InputError("kernels '" + name + "' are unknown or do not run on this processor (it runs: " + known + ")");
}

}  // namespace codling
