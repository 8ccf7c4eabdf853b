#include "model/kv_cache.hpp"

#include <algorithm>

namespace codling {

KvCache::KvCache(const ModelConfig& config)
    : num_layers_(config.num_layers), num_kv_heads_(config.num_kv_heads), head_dim_(config.head_dim) {}

void KvCache::truncate(std::int64_t num_tokens) { num_tokens_ = std::min(num_tokens_, num_tokens); }

void KvCache::reserve(std::int64_t num_tokens) {
  const std::int64_t page_size = num_layers_ * num_kv_heads_ * 2 * kSlotsPerPage * head_dim_;
  while (static_cast<std::int64_t>(pages_.size()) * kSlotsPerPage < num_tokens) {
    pages_.push_back(std::make_unique<float[]>(page_size));
  }
}

void KvCache::write(std::int64_t layer, std::int64_t kv_head, std::int64_t position, const float* key, const float* value) {
  const std::int64_t page = position / kSlotsPerPage, slot = position % kSlotsPerPage;
  float* key_slot = keys(layer, kv_head, page) + slot;
  for (std::int64_t dim = 0; dim < head_dim_; ++dim) key_slot[dim * kSlotsPerPage] = key[dim];
  std::copy_n(value, head_dim_, values(layer, kv_head, page) + slot * head_dim_);
}

}  // namespace codling
