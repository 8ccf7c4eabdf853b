// Keys and values of sequences, for Python.
#pragma once

#include <nanobind/nanobind.h>

namespace codling {

void bind_kv_cache(nanobind::module_& module);

}  // namespace codling
