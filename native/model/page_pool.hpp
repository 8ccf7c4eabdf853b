// Memory for keys and values, in pages that caches take, share and give back.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>

#include "model/kv_layout.hpp"

namespace codling {

// Keys and values of kSlotsPerPage tokens. Who holds the only reference may write; the last to let go gives the page back.
using PageRef = std::shared_ptr<std::byte>;

inline bool is_shared(const PageRef& page) { return page.use_count() > 1; }

// Used by any threads.
class PagePool {
 public:
  // `limit_bytes` of all pages together; 0 for none.
  PagePool(const KvLayout& layout, std::int64_t limit_bytes);
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  const KvLayout& layout() const { return layout_; }
  std::int64_t num_used_pages() const;

  // A page of zeros: nobody finds what another sequence left. Throws InputError at the limit, if nothing can be reclaimed.
  PageRef take();

  // `reclaim` is called at the limit; it gives back a page that is kept for later only, or returns false. Null for none.
  void set_reclaim(std::function<bool()> reclaim);

 private:
  // Outlives the pool if pages do.
  struct Store;

  PageRef try_take();

  KvLayout layout_;
  std::int64_t limit_bytes_;
  std::shared_ptr<Store> store_;
  std::mutex reclaim_mutex_;
  std::function<bool()> reclaim_;
};

}  // namespace codling
