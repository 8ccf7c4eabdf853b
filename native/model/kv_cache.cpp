#include "model/kv_cache.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "format/error.hpp"

namespace codling {

void KvCache::reserve(std::int64_t num_kept, std::int64_t num_tokens) {
  const std::int64_t first = num_kept / kSlotsPerPage, last = divide_up(num_tokens, kSlotsPerPage);
  pages_.reserve(last);
  try {
    for (std::int64_t page = first; page < last; ++page) reserve_page(page);
  } catch (...) {
    // What cannot be used here, others may.
    release();
    throw;
  }
}

void KvCache::reserve_page(std::int64_t page) {
  if (page == static_cast<std::int64_t>(pages_.size())) {
    pages_.push_back(pool_.take());
  } else if (is_shared(pages_[page])) {
    PageRef copy = pool_.take();
    std::memcpy(copy.get(), pages_[page].get(), static_cast<std::size_t>(pool_.layout().page_bytes()));
    pages_[page] = std::move(copy);
  }
}

void KvCache::release() { pages_.resize(std::min<std::size_t>(pages_.size(), num_pages())); }

void KvCache::truncate(std::int64_t num_tokens) { num_tokens_ = std::min(num_tokens_, num_tokens); }

void KvCache::write(std::int64_t layer, std::int64_t kv_head, std::int64_t position, const float* key, const float* value,
                    const Kernels& kernels) {
  pool_.layout().write(pages_[position / kSlotsPerPage].get(), layer, kv_head, position % kSlotsPerPage, key, value, kernels);
}

void KvCache::assign(std::vector<PageRef> full_pages) {
  pages_ = std::move(full_pages);
  num_tokens_ = static_cast<std::int64_t>(pages_.size()) * kSlotsPerPage;
}

void KvCache::export_pages(std::span<std::byte> bytes) const {
  const auto page_bytes = static_cast<std::size_t>(pool_.layout().page_bytes());
  for (std::int64_t page = 0; page < num_pages(); ++page) std::memcpy(bytes.data() + page * page_bytes, pages_[page].get(), page_bytes);
}

void KvCache::import_pages(std::span<const std::byte> bytes, std::int64_t num_tokens) {
  const auto page_bytes = static_cast<std::size_t>(pool_.layout().page_bytes());
  const auto count = static_cast<std::size_t>(divide_up(num_tokens, kSlotsPerPage));
  if (num_tokens < 0 || bytes.size() % page_bytes != 0 || bytes.size() / page_bytes != count) {
    throw InputError(std::to_string(bytes.size()) + " bytes are not the keys and values of " + std::to_string(num_tokens) + " tokens");
  }
  std::vector<PageRef> pages;
  for (std::size_t page = 0; page < count; ++page) {
    pages.push_back(pool_.take());
    std::memcpy(pages.back().get(), bytes.data() + page * page_bytes, page_bytes);
  }
  pages_ = std::move(pages);
  num_tokens_ = num_tokens;
}

}  // namespace codling
