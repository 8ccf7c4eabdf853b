#include "format/matrices.hpp"

#include <algorithm>
#include <cmath>

#include "format/error.hpp"
#include "format/json.hpp"
#include "kernels/half.hpp"

namespace codling {
namespace {

const std::string kVersionKey = "codling.format_version";
const std::string kPalettizedKey = "codling.palettized";
const std::string kInt8Key = "codling.int8_rows";
// The largest matrix that is read: row and column numbers, and their products, stay far from overflow.
constexpr std::int64_t kMaxDim = std::int64_t{1} << 28;

// Reads the compressed matrices of one file; notes which tensors are parts of them.
class Reader {
 public:
  explicit Reader(const SafetensorsFile& file) : file_(file) {}

  std::map<std::string, Matrix> read() {
    const std::string* version = metadata(kVersionKey);
    if (!version) return {};
    if (*version != "1" && *version != "2") {
      throw InputError(file_.path() + ": " + kVersionKey + " is '" + *version + "' in the metadata, this codling reads '1' and '2'");
    }
    has_row_scales_ = *version != "1";
    std::map<std::string, Matrix> matrices;
    for (const auto& [name, entry] : listed(kPalettizedKey)) matrices.emplace(name, palettized(name, entry));
    for (const auto& [name, entry] : listed(kInt8Key)) {
      if (!matrices.emplace(name, int8_rows(name, entry)).second) fail(name, "is listed as palettized and as int8");
    }
    return matrices;
  }

  const std::set<std::string>& parts() const { return parts_; }

 private:
  [[noreturn]] void fail(const std::string& name, const std::string& problem) const {
    throw InputError(file_.path() + ": '" + name + "' " + problem);
  }

  const std::string* metadata(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    return found == file_.metadata().end() ? nullptr : &found->second;
  }

  JsonObject listed(const std::string& key) const {
    const std::string* text = metadata(key);
    if (!text) return {};
    const std::string source = file_.path() + ": " + key + " in the metadata";
    const Json parsed = parse_json(*text, source);
    const JsonObject* object = parsed.get<JsonObject>();
    if (!object) throw InputError(source + " is not a JSON object");
    return *object;
  }

  struct Shape {
    std::int64_t num_rows, num_columns;
  };

  Shape shape(const std::string& name, const Json& entry) const {
    const JsonObject* object = entry.get<JsonObject>();
    const Json* found = object ? find(*object, "shape") : nullptr;
    const JsonArray* dims = found ? found->get<JsonArray>() : nullptr;
    if (!dims || dims->size() != 2) fail(name, "has a shape in the metadata that is not two positive whole numbers");
    std::int64_t sizes[2];
    for (int axis = 0; axis < 2; ++axis) {
      const std::int64_t* size = (*dims)[axis].get<std::int64_t>();
      if (!size || *size < 1 || *size > kMaxDim) fail(name, "has a shape in the metadata that is not two positive whole numbers");
      sizes[axis] = *size;
    }
    return {sizes[0], sizes[1]};
  }

  const Tensor& part(const std::string& name, const std::string& suffix, DType dtype, const std::string& dtype_name,
                     const std::vector<std::int64_t>& shape) {
    const Tensor& tensor = file_.tensor(name + suffix);
    if (tensor.dtype != dtype || tensor.shape != shape) {
      fail(name + suffix, "is " + describe(tensor.dtype_name, tensor.shape) + ", expected " + describe(dtype_name, shape));
    }
    parts_.insert(name + suffix);
    return tensor;
  }

  void check_scale(const std::string& name, float scale) const {
    if (!(std::isfinite(scale) && scale > 0)) fail(name, "has scales that are not positive finite numbers");
  }

  const float* float_scales(const std::string& name, const std::string& suffix, std::int64_t count) {
    const auto* scales = part(name, suffix, DType::kF32, "F32", {count}).as<float>();
    for (std::int64_t index = 0; index < count; ++index) check_scale(name + suffix, scales[index]);
    return scales;
  }

  PaletteView palettized(const std::string& name, const Json& entry) {
    const auto [num_rows, num_columns] = shape(name, entry);
    const JsonObject& object = *entry.get<JsonObject>();
    const auto whole = [&](const std::string& key) {
      const Json* found = find(object, key);
      const std::int64_t* value = found ? found->get<std::int64_t>() : nullptr;
      return value ? *value : 0;
    };
    const std::int64_t bits = whole("bits"), rows_per_table = whole("rows_per_table");
    if (bits != 2 && bits != 4) fail(name, "has bits in the metadata that are not 2 or 4");
    if (rows_per_table < 1 || rows_per_table > kMaxDim || rows_per_table % kRowsPerBlock != 0) {
      fail(name, "has rows_per_table in the metadata that is no multiple of 16");
    }
    PaletteView view{nullptr, nullptr, nullptr, nullptr, num_rows, num_columns, rows_per_table, static_cast<int>(bits)};
    const std::int64_t num_tables = divide_up(num_rows, rows_per_table), num_entries = std::int64_t{1} << bits;
    const std::vector<std::int64_t> packed = {view.num_blocks(), view.chunks_per_block() * kChunkBytes};
    view.indices = part(name, ".palette_indices", DType::kU8, "U8", packed).as<std::uint8_t>();
    view.tables = part(name, ".palette_tables", DType::kI8, "I8", {num_tables, num_entries}).as<std::int8_t>();
    view.table_scales = float_scales(name, ".palette_scales", num_tables);
    const std::int8_t* end = view.tables + num_tables * num_entries;
    if (std::find(view.tables, end, std::int8_t{-128}) != end) fail(name + ".palette_tables", "has entries below -127");
    if (has_row_scales(name, object)) view.row_scales = row_scales(name, num_rows);
    return view;
  }

  bool has_row_scales(const std::string& name, const JsonObject& entry) const {
    if (!has_row_scales_) return false;
    const Json* found = find(entry, "row_scales");
    const bool* value = found ? found->get<bool>() : nullptr;
    if (!value) fail(name, "has row_scales in the metadata that is not true or false");
    return *value;
  }

  const std::uint16_t* row_scales(const std::string& name, std::int64_t num_rows) {
    const std::string suffix = ".palette_row_scales";
    const auto* scales = part(name, suffix, DType::kF16, "F16", {num_rows}).as<std::uint16_t>();
    for (std::int64_t row = 0; row < num_rows; ++row) check_scale(name + suffix, half_to_float(scales[row]));
    return scales;
  }

  DenseView int8_rows(const std::string& name, const Json& entry) {
    const auto [num_rows, num_columns] = shape(name, entry);
    const auto* values = part(name, ".int8_values", DType::kI8, "I8", {num_rows, num_columns}).as<std::int8_t>();
    return {values, float_scales(name, ".int8_scales", num_rows), num_rows, num_columns, DenseType::kI8};
  }

  const SafetensorsFile& file_;
  bool has_row_scales_ = false;
  std::set<std::string> parts_;
};

}  // namespace

std::int64_t num_rows(const Matrix& matrix) {
  return std::visit([](const auto& view) { return view.num_rows; }, matrix);
}

std::int64_t num_columns(const Matrix& matrix) {
  return std::visit([](const auto& view) { return view.num_columns; }, matrix);
}

MatrixFile::MatrixFile(const SafetensorsFile& file) : file_(file) {
  Reader reader(file);
  compressed_ = reader.read();
  for (const auto& [name, tensor] : file.tensors()) {
    if (!reader.parts().contains(name)) names_.insert(name);
  }
  for (const auto& [name, matrix] : compressed_) {
    if (!names_.insert(name).second) throw InputError(file.path() + ": '" + name + "' is there compressed and dense");
  }
}

Matrix MatrixFile::matrix(const std::string& name, std::int64_t num_rows, std::int64_t num_columns) const {
  const auto found = compressed_.find(name);
  if (found == compressed_.end()) return dense(name, {num_rows, num_columns});
  const std::int64_t rows = codling::num_rows(found->second), columns = codling::num_columns(found->second);
  if (rows != num_rows || columns != num_columns) {
    throw InputError(file_.path() + ": tensor '" + name + "' has shape [" + std::to_string(rows) + ", " + std::to_string(columns) +
                     "], the config asks for [" + std::to_string(num_rows) + ", " + std::to_string(num_columns) + "]");
  }
  return found->second;
}

DenseView MatrixFile::dense(const std::string& name, const std::vector<std::int64_t>& shape) const {
  if (!names_.contains(name)) throw InputError(file_.path() + ": tensor '" + name + "' is missing");
  const Tensor& tensor = file_.tensor(name);
  DenseType type;
  switch (tensor.dtype) {
    case DType::kF32:
      type = DenseType::kF32;
      break;
    case DType::kF16:
      type = DenseType::kF16;
      break;
    case DType::kBF16:
      type = DenseType::kBF16;
      break;
    default:
      throw InputError(file_.path() + ": tensor '" + name + "' is " + tensor.dtype_name + ", the engine reads F32, F16 and BF16");
  }
  if (tensor.shape != shape) {
    throw InputError(file_.path() + ": tensor '" + name + "' is " + describe(tensor.dtype_name, tensor.shape) +
                     ", the config asks for " + describe(tensor.dtype_name, shape));
  }
  return {tensor.bytes.data(), nullptr, shape[0], shape.size() > 1 ? shape[1] : 1, type};
}

std::vector<float> MatrixFile::vector(const std::string& name, std::int64_t size) const {
  if (compressed_.contains(name)) throw InputError(file_.path() + ": tensor '" + name + "' is compressed, it must be dense");
  const DenseView view = dense(name, {size});
  std::vector<float> values(size);
  for (std::int64_t index = 0; index < size; ++index) {
    switch (view.type) {
      case DenseType::kF32:
        values[index] = static_cast<const float*>(view.values)[index];
        break;
      case DenseType::kF16:
        values[index] = half_to_float(static_cast<const std::uint16_t*>(view.values)[index]);
        break;
      default:
        values[index] = bfloat16_to_float(static_cast<const std::uint16_t*>(view.values)[index]);
    }
  }
  return values;
}

}  // namespace codling
