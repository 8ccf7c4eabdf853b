// How fast memory can be read: what a program that reads all weights for every token is measured against.
#pragma once

#include <nanobind/nanobind.h>

namespace codling {

void bind_memory(nanobind::module_& module);

}  // namespace codling
