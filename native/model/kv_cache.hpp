// Keys and values of the tokens that a sequence has so far, in pages that are taken as it grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/page_pool.hpp"

namespace codling {

class KvCache {
 public:
  explicit KvCache(PagePool& pool) : pool_(pool) {}
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  bool belongs_to(const PagePool& pool) const { return &pool_ == &pool; }
  std::int64_t num_tokens() const { return num_tokens_; }

  // Makes the slots of tokens [num_kept, num_tokens) writable: takes pages for them, and copies what others share.
  // Changes no token, even if it throws InputError, because the pool is full.
  void reserve(std::int64_t num_kept, std::int64_t num_tokens);
  // Gives back the pages after those of its tokens.
  void release();
  // Forgets all tokens but the first `num_tokens`; pages are kept for what comes next.
  void truncate(std::int64_t num_tokens);
  // Writes one head of the token at `position`, which has been reserved.
  void write(std::int64_t layer, std::int64_t kv_head, std::int64_t position, const float* key, const float* value, const Kernels& kernels);
  // Counts tokens whose keys and values have been written to every layer.
  void advance(std::int64_t num_new_tokens) { num_tokens_ += num_new_tokens; }

  KvBlock block(std::int64_t layer, std::int64_t kv_head, std::int64_t page) const {
    return pool_.layout().block(pages_[page].get(), layer, kv_head);
  }

  // The pages that are full, to be shared.
  std::span<const PageRef> full_pages() const { return {pages_.data(), static_cast<std::size_t>(num_tokens_ / kSlotsPerPage)}; }
  // Forgets everything, and begins with full pages of another cache of this pool.
  void assign(std::vector<PageRef> full_pages);

  // Bytes of all pages, one after the other.
  std::int64_t num_bytes() const { return num_pages() * pool_.layout().page_bytes(); }
  void export_pages(std::span<std::byte> bytes) const;
  // Forgets everything, and begins with what another cache of the same layout exported.
  // Throws InputError if there are not as many bytes as the tokens take.
  void import_pages(std::span<const std::byte> bytes, std::int64_t num_tokens);

 private:
  void reserve_page(std::int64_t page);
  std::int64_t num_pages() const { return divide_up(num_tokens_, kSlotsPerPage); }

  PagePool& pool_;
  std::int64_t num_tokens_ = 0;
  std::vector<PageRef> pages_;
};

}  // namespace codling
