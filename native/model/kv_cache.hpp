// Keys and values of the tokens that a sequence has so far, in pages that are taken as it grows.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/views.hpp"
#include "model/config.hpp"

namespace codling {

class KvCache {
 public:
  explicit KvCache(const ModelConfig& config);
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  std::int64_t num_tokens() const { return num_tokens_; }
  // Forgets all tokens but the first `num_tokens`; pages are kept for what comes next.
  void truncate(std::int64_t num_tokens);
  // Takes the pages for so many tokens in all.
  void reserve(std::int64_t num_tokens);
  // Counts tokens whose keys and values have been written to every layer.
  void advance(std::int64_t num_new_tokens) { num_tokens_ += num_new_tokens; }

  // [head_dim, kSlotsPerPage]
  float* keys(std::int64_t layer, std::int64_t kv_head, std::int64_t page) { return head(layer, kv_head, page); }
  // [kSlotsPerPage, head_dim]
  float* values(std::int64_t layer, std::int64_t kv_head, std::int64_t page) {
    return head(layer, kv_head, page) + kSlotsPerPage * head_dim_;
  }
  // Writes one head of the token at `position`.
  void write(std::int64_t layer, std::int64_t kv_head, std::int64_t position, const float* key, const float* value);

 private:
  // Keys, then values, of one head in one page.
  float* head(std::int64_t layer, std::int64_t kv_head, std::int64_t page) {
    return pages_[page].get() + (layer * num_kv_heads_ + kv_head) * 2 * kSlotsPerPage * head_dim_;
  }

  std::int64_t num_layers_, num_kv_heads_, head_dim_;
  std::int64_t num_tokens_ = 0;
  std::vector<std::unique_ptr<float[]>> pages_;
};

}  // namespace codling
