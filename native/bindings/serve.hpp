// Drawing tokens and serving requests, for Python.
#pragma once

#include <nanobind/nanobind.h>

namespace codling {

void bind_sampler(nanobind::module_& module);
// After the sampler and the model.
void bind_scheduler(nanobind::module_& module);

}  // namespace codling
