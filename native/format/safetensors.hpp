// The tensors of a safetensors file, where they lie in the mapping. FORMAT.md says what the bytes are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "format/mapped_file.hpp"

namespace codling {

enum class DType { kF32, kF16, kBF16, kI8, kU8, kOther };

struct Tensor {
  DType dtype;
  // As the file names it, for messages.
  std::string dtype_name;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
};

// "F32 [3, 4]", for messages.
std::string describe(const std::string& dtype_name, std::span<const std::int64_t> shape);

class SafetensorsFile {
 public:
  // Maps the file and checks its header against it.
  // Throws InputError naming file and tensor: a header that is cut off, not JSON or not of this form, an unknown type, a
  // shape that does not fit the bytes, tensors that overlap, leave gaps, are misaligned or reach past the end, and bytes
  // that belong to no tensor.
  explicit SafetensorsFile(const std::filesystem::path& path);

  // Throws InputError if there is none of this name.
  const Tensor& tensor(const std::string& name) const;
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::string path() const { return file_.path().string(); }

 private:
  MappedFile file_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace codling
