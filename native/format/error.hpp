// Bad input: one line that names the file or the argument, and what is wrong with it.
#pragma once

#include <stdexcept>

namespace codling {

// Python sees it as `codling.errors.UserError`.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace codling
