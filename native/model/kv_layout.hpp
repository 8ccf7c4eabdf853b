// How keys and values lie in memory: pages of some tokens, all layers and heads of them, one block a head.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/kernels.hpp"
#include "model/config.hpp"

namespace codling {

// Of the name that users give: `f32`, `bf16`, `int8`. Throws InputError for another.
KvType kv_type_named(const std::string& name);
const char* name_of(KvType type);

class KvLayout {
 public:
  // Throws InputError if the heads are too long for sums of int8 products.
  KvLayout(KvType type, const ModelConfig& config);

  KvType type() const { return type_; }
  std::int64_t page_bytes() const { return num_layers_ * num_kv_heads_ * block_bytes(); }
  // What must be equal for pages to be exchanged, in words.
  std::string description() const;

  KvBlock block(const std::byte* page, std::int64_t layer, std::int64_t kv_head) const;
  // Writes one head of the token in a slot.
  void write(std::byte* page, std::int64_t layer, std::int64_t kv_head, std::int64_t slot, const float* key, const float* value,
             const Kernels& kernels) const;

 private:
  std::int64_t key_bytes() const;
  std::int64_t value_bytes() const;
  std::int64_t scale_bytes() const;
  // Keys, values, their scales.
  std::int64_t block_bytes() const { return key_bytes() + value_bytes() + 2 * scale_bytes(); }
  std::int64_t place(std::int64_t layer, std::int64_t kv_head) const { return (layer * num_kv_heads_ + kv_head) * block_bytes(); }

  KvType type_;
  std::int64_t num_layers_, num_kv_heads_, head_dim_;
};

}  // namespace codling
