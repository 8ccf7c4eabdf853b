#include "format/safetensors.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "format/error.hpp"
#include "format/json.hpp"

namespace codling {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::string_view kMetadata = "__metadata__";

struct NamedType {
  std::string_view name;
  DType dtype;
  std::int64_t size_bytes;
};

// All whole-byte types of the format; what the engine cannot compute with may still stand in a file.
constexpr NamedType kTypes[] = {
    {"F32", DType::kF32, 4},     {"F16", DType::kF16, 2},     {"BF16", DType::kBF16, 2},   {"I8", DType::kI8, 1},
    {"U8", DType::kU8, 1},       {"BOOL", DType::kOther, 1},  {"F8_E4M3", DType::kOther, 1}, {"F8_E5M2", DType::kOther, 1},
    {"I16", DType::kOther, 2},   {"U16", DType::kOther, 2},   {"I32", DType::kOther, 4},   {"U32", DType::kOther, 4},
    {"F64", DType::kOther, 8},   {"I64", DType::kOther, 8},   {"U64", DType::kOther, 8},
};

// What a header says of one tensor, checked by itself.
struct Entry {
  const NamedType* type;
  std::vector<std::int64_t> shape;
  std::int64_t begin;
  std::int64_t end;
};

std::vector<std::int64_t> whole_numbers(const Json* value, const std::string& what) {
  const JsonArray* array = value ? value->get<JsonArray>() : nullptr;
  if (!array) throw InputError(what + " is not a list of whole numbers");
  std::vector<std::int64_t> numbers;
  for (const Json& one : *array) {
    const std::int64_t* number = one.get<std::int64_t>();
    if (!number || *number < 0) throw InputError(what + " is not a list of whole numbers");
    numbers.push_back(*number);
  }
  return numbers;
}

Entry read_entry(const Json& value, const std::string& where) {
  const JsonObject* object = value.get<JsonObject>();
  if (!object) throw InputError(where + " is not described by an object");
  const Json* dtype = find(*object, "dtype");
  const std::string* name = dtype ? dtype->get<std::string>() : nullptr;
  if (!name) throw InputError(where + " has no dtype");
  const NamedType* type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const NamedType& t) { return t.name == *name; });
  if (type == std::end(kTypes)) throw InputError(where + " has the unknown dtype '" + *name + "'");
  std::vector<std::int64_t> shape = whole_numbers(find(*object, "shape"), where + ": shape");
  const std::vector<std::int64_t> offsets = whole_numbers(find(*object, "data_offsets"), where + ": data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1]) throw InputError(where + ": data_offsets are not a begin and an end");
  std::int64_t size_bytes = type->size_bytes;
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(size_bytes, dim, &size_bytes)) throw InputError(where + ": shape is too large");
  }
  if (size_bytes != offsets[1] - offsets[0]) {
    throw InputError(where + ": " + describe(*name, shape) + " takes " + std::to_string(size_bytes) +
                     " bytes, data_offsets give it " + std::to_string(offsets[1] - offsets[0]));
  }
  return {type, std::move(shape), offsets[0], offsets[1]};
}

std::map<std::string, std::string> read_metadata(const Json& value, const std::string& path) {
  const JsonObject* object = value.get<JsonObject>();
  if (!object) throw InputError(path + ": __metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, entry] : *object) {
    const std::string* text = entry.get<std::string>();
    if (!text) throw InputError(path + ": __metadata__ has '" + key + "', which is not a string");
    metadata[key] = *text;
  }
  return metadata;
}

}  // namespace

std::string describe(const std::string& dtype_name, std::span<const std::int64_t> shape) {
  std::string text = dtype_name + " [";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) text += (axis ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  const std::span<const std::byte> bytes = file_.bytes();
  if (bytes.size() < kLengthBytes) throw InputError(name + ": too short for a safetensors file");
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  if (header_bytes > bytes.size() - kLengthBytes) {
    throw InputError(name + ": not safetensors, or cut off: its header is to have " + std::to_string(header_bytes) +
                     " bytes, the file has " + std::to_string(bytes.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes);
  const Json parsed = parse_json(text, name + ": header");
  const JsonObject* header = parsed.get<JsonObject>();
  if (!header) throw InputError(name + ": the header is not an object");
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + header_bytes);
  const auto data_bytes = static_cast<std::int64_t>(data.size());

  std::vector<std::pair<std::string, Entry>> entries;
  for (const auto& [key, value] : *header) {
    if (key == kMetadata) {
      metadata_ = read_metadata(value, name);
    } else {
      entries.emplace_back(key, read_entry(value, name + ": tensor '" + key + "'"));
    }
  }
  std::sort(entries.begin(), entries.end(), [](const auto& left, const auto& right) {
    return std::pair(left.second.begin, left.second.end) < std::pair(right.second.begin, right.second.end);
  });
  std::int64_t expected_begin = 0;
  for (auto& [key, entry] : entries) {
    const std::string where = name + ": tensor '" + key + "'";
    if (entry.begin < expected_begin) throw InputError(where + " overlaps the one before it");
    if (entry.begin > expected_begin) throw InputError(where + " leaves a gap before it");
    if (entry.end > data_bytes) {
      throw InputError(where + " reaches to byte " + std::to_string(entry.end) + " of " + std::to_string(data_bytes) +
                       "; the file is cut off");
    }
    const std::span<const std::byte> part = data.subspan(entry.begin, entry.end - entry.begin);
    if ((kLengthBytes + header_bytes + entry.begin) % entry.type->size_bytes != 0) {
      throw InputError(where + " is misaligned for " + std::string(entry.type->name));
    }
    expected_begin = entry.end;
    tensors_[key] = {entry.type->dtype, std::string(entry.type->name), std::move(entry.shape), part};
  }
  if (expected_begin != data_bytes) {
    throw InputError(name + ": " + std::to_string(data_bytes - expected_begin) + " bytes after the last tensor belong to none");
  }
}

const Tensor& SafetensorsFile::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw InputError(path() + ": tensor '" + name + "' is missing");
  return found->second;
}

}  // namespace codling
