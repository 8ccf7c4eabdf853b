// Key/value caches that know which tokens they hold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/adapter.hpp"
#include "model/kv_cache.hpp"
#include "model/model.hpp"

namespace codling {

class CachedTokens {
 public:
  explicit CachedTokens(Model& model) : cache_(model.page_pool()) {}

  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::span<const std::int32_t> tokens() const { return tokens_; }
  KvCache& cache() { return cache_; }

  // Forgets what is not the beginning of `wanted`.
  void keep_common(std::span<const std::int32_t> wanted) {
    const auto end = tokens_.begin() + std::min(tokens_.size(), wanted.size());
    tokens_.erase(std::mismatch(tokens_.begin(), end, wanted.begin()).first, tokens_.end());
  }
  void keep(std::int64_t count) { tokens_.resize(count); }
  // The next tokens, to be run.
  Segment segment(std::span<const std::int32_t> tokens, const Adapter* adapter, std::int64_t num_logits) {
    return {&cache_, size(), tokens, adapter, num_logits};
  }
  // Forgets everything, and begins with the tokens of these full pages.
  void assign(std::vector<PageRef> pages, std::span<const std::int32_t> tokens) {
    cache_.assign(std::move(pages));
    tokens_.assign(tokens.begin(), tokens.end());
  }
  // Begins with what another one of the same model, or of an equal one, held and exported.
  // Throws InputError for what cannot be, with nothing cached.
  void restore(const Model& model, std::span<const std::int32_t> tokens, std::span<const std::byte> pages);
  std::vector<std::byte> export_pages();
  // After they were.
  void append(std::span<const std::int32_t> tokens) { tokens_.insert(tokens_.end(), tokens.begin(), tokens.end()); }

 private:
  KvCache cache_;
  // The cache may hold more, which the next run overwrites.
  std::vector<std::int32_t> tokens_;
};

// What a session keeps from one request to the next.
struct Sequence {
  Sequence(Model& model, const Adapter* of, std::string named) : adapter(of), adapter_name(std::move(named)), cached(model) {}

  // Or null.
  const Adapter* adapter;
  // Of this adapter, or of none, and of no other as long as the model is open.
  std::string adapter_name;
  CachedTokens cached;
  // Of the draft model, from the first request on that wants it.
  std::optional<CachedTokens> draft_cached;
};

}  // namespace codling
