// Kernels one by one, for tests that compare them with each other.
#pragma once

#include <nanobind/nanobind.h>

namespace codling {

void bind_probes(nanobind::module_& module);

}  // namespace codling
