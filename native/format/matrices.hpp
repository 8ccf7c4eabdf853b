// The matrices of a weights file as the kernels read them: palettized, int8 or dense (FORMAT.md).
#pragma once

#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "format/safetensors.hpp"
#include "kernels/views.hpp"

namespace codling {

using Matrix = std::variant<PaletteView, DenseView>;

std::int64_t num_rows(const Matrix& matrix);
std::int64_t num_columns(const Matrix& matrix);

// Views into a file, which must outlive them.
class MatrixFile {
 public:
  // Reads what the metadata says of compressed matrices, and checks it against the tensors.
  // Throws InputError naming the file and the matrix for a version that is unknown, and for parts that are missing, of
  // another type or shape, or out of range (scales, tables).
  explicit MatrixFile(const SafetensorsFile& file);

  // Names as if every matrix were stored dense.
  const std::set<std::string>& names() const { return names_; }
  // Throws InputError if there is none of this name, or it is not of this shape or of a type that kernels read.
  Matrix matrix(const std::string& name, std::int64_t num_rows, std::int64_t num_columns) const;
  // A dense vector, as floats. Throws like `matrix`.
  std::vector<float> vector(const std::string& name, std::int64_t size) const;

 private:
  DenseView dense(const std::string& name, const std::vector<std::int64_t>& shape) const;

  const SafetensorsFile& file_;
  std::set<std::string> names_;
  std::map<std::string, Matrix> compressed_;
};

}  // namespace codling
