#include "model/kv_layout.hpp"

#include <array>
#include <cstring>
#include <utility>

#include "format/error.hpp"
#include "kernels/half.hpp"

namespace codling {
namespace {

constexpr std::pair<const char*, KvType> kNames[] = {{"f32", KvType::kF32}, {"bf16", KvType::kBF16}, {"int8", KvType::kI8}};

// 127 * kLargestQuery for each dimension, and room for what is taken off again, in 32 bits.
constexpr std::int64_t kMostInt8HeadDim = 1024;

std::int64_t value_size(KvType type) { return type == KvType::kF32 ? sizeof(float) : type == KvType::kBF16 ? sizeof(std::uint16_t) : 1; }

template <typename T, typename Convert>
void write_floats(std::byte* keys, std::byte* values, std::int64_t head_dim, std::int64_t slot, const float* key, const float* value,
                  Convert convert) {
  T* key_slot = reinterpret_cast<T*>(keys) + slot;
  T* value_slot = reinterpret_cast<T*>(values) + slot * padded_head_dim(head_dim);
  for (std::int64_t dim = 0; dim < head_dim; ++dim) {
    key_slot[dim * kSlotsPerPage] = convert(key[dim]);
    value_slot[dim] = convert(value[dim]);
  }
}

}  // namespace

KvType kv_type_named(const std::string& name) {
  for (const auto& [known, type] : kNames) {
    if (name == known) return type;
  }
  throw InputError("the key/value cache cannot be of type '" + name + "'; use int8, bf16 or f32");
}

const char* name_of(KvType type) {
  for (const auto& [name, known] : kNames) {
    if (type == known) return name;
  }
  __builtin_unreachable();
}

KvLayout::KvLayout(KvType type, const ModelConfig& config)
    : type_(type), num_layers_(config.num_layers), num_kv_heads_(config.num_kv_heads), head_dim_(config.head_dim) {
  if (type == KvType::kI8 && head_dim_ > kMostInt8HeadDim) {
    throw InputError("heads of " + std::to_string(head_dim_) + " dimensions are too long for an int8 key/value cache (" +
                     std::to_string(kMostInt8HeadDim) + " at most); use bf16 or f32");
  }
}

std::string KvLayout::description() const {
  return std::string(name_of(type_)) + ", " + std::to_string(num_layers_) + " layers, " + std::to_string(num_kv_heads_) + " heads of " +
         std::to_string(head_dim_) + ", pages of " + std::to_string(kSlotsPerPage) + " tokens";
}

std::int64_t KvLayout::key_bytes() const {
  const std::int64_t dims = type_ == KvType::kI8 ? round_up(head_dim_, kColumnsPerStep) : head_dim_;
  return dims * kSlotsPerPage * value_size(type_);
}

std::int64_t KvLayout::value_bytes() const { return padded_head_dim(head_dim_) * kSlotsPerPage * value_size(type_); }

std::int64_t KvLayout::scale_bytes() const { return type_ == KvType::kI8 ? kSlotsPerPage * sizeof(float) : 0; }

KvBlock KvLayout::block(const std::byte* page, std::int64_t layer, std::int64_t kv_head) const {
  const std::byte* keys = page + place(layer, kv_head);
  const std::byte* values = keys + key_bytes();
  if (type_ != KvType::kI8) return {type_, head_dim_, keys, values, nullptr, nullptr};
  const auto* scales = reinterpret_cast<const float*>(values + value_bytes());
  return {type_, head_dim_, keys, values, scales, scales + kSlotsPerPage};
}

void KvLayout::write(std::byte* page, std::int64_t layer, std::int64_t kv_head, std::int64_t slot, const float* key, const float* value,
                     const Kernels& kernels) const {
  std::byte* keys = page + place(layer, kv_head);
  std::byte* values = keys + key_bytes();
  if (type_ == KvType::kF32) {
    return write_floats<float>(keys, values, head_dim_, slot, key, value, [](float x) { return x; });
  }
  if (type_ == KvType::kBF16) return write_floats<std::uint16_t>(keys, values, head_dim_, slot, key, value, float_to_bfloat16);
  const std::int64_t padded = padded_head_dim(head_dim_);
  auto* scales = reinterpret_cast<float*>(values + value_bytes());
  std::array<std::int8_t, round_up(kMostInt8HeadDim, kColumnPadding)> rounded;
  scales[slot] = kernels.round_block(key, head_dim_, padded, rounded.data());
  for (std::int64_t dim = 0; dim < round_up(head_dim_, kColumnsPerStep); dim += kColumnsPerStep) {
    std::memcpy(keys + dim * kSlotsPerPage + slot * kColumnsPerStep, rounded.data() + dim, kColumnsPerStep);
  }
  scales[kSlotsPerPage + slot] = kernels.round_block(value, head_dim_, padded, rounded.data());
  std::byte* quad = values + slot / kColumnsPerStep * padded * kColumnsPerStep + slot % kColumnsPerStep;
  for (std::int64_t dim = 0; dim < head_dim_; ++dim) quad[dim * kColumnsPerStep] = static_cast<std::byte>(rounded[dim]);
}

}  // namespace codling
