#include "model/page_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "format/error.hpp"

namespace codling {
namespace {

// Pages lie side by side in slabs, aligned to the system's large pages: attention walks through all of them for each head,
// and would spend its time on translating addresses. What no page was taken of yet takes no memory.
constexpr std::align_val_t kSlabAlignment{std::size_t{1} << 21};
constexpr std::int64_t kSlabBytes = std::int64_t{1} << 25;

struct Free {
  void operator()(std::byte* memory) const { ::operator delete(memory, kSlabAlignment); }
};
using Slab = std::unique_ptr<std::byte, Free>;

Slab new_slab(std::size_t num_bytes) {
  Slab slab(static_cast<std::byte*>(::operator new(num_bytes, kSlabAlignment)));
#ifdef MADV_HUGEPAGE
  static_cast<void>(::madvise(slab.get(), num_bytes, MADV_HUGEPAGE));
#endif
  return slab;
}

}  // namespace

struct PagePool::Store {
  std::mutex mutex;
  std::vector<Slab> slabs;
  // Given back; has room for all pages there are.
  std::vector<std::byte*> free;
  // Taken once, of all slabs.
  std::int64_t num_pages = 0;
};

PagePool::PagePool(const KvLayout& layout, std::int64_t limit_bytes)
    : layout_(layout), limit_bytes_(limit_bytes), store_(std::make_shared<Store>()) {}

std::int64_t PagePool::num_used_pages() const {
  const std::lock_guard lock(store_->mutex);
  return store_->num_pages - static_cast<std::int64_t>(store_->free.size());
}

PageRef PagePool::take() {
  while (true) {
    if (PageRef page = try_take()) {
      std::memset(page.get(), 0, static_cast<std::size_t>(layout_.page_bytes()));
      return page;
    }
    const std::lock_guard lock(reclaim_mutex_);
    if (!reclaim_ || !reclaim_()) {
      throw InputError("the key/value cache is full: its limit of " + std::to_string(limit_bytes_) + " bytes holds " +
                       std::to_string(limit_bytes_ / layout_.page_bytes() * kSlotsPerPage) +
                       " tokens, all in use; end other sessions, or allow it more bytes");
    }
  }
}

void PagePool::set_reclaim(std::function<bool()> reclaim) {
  const std::lock_guard lock(reclaim_mutex_);
  reclaim_ = std::move(reclaim);
}

PageRef PagePool::try_take() {
  const std::int64_t page_bytes = layout_.page_bytes(), pages_per_slab = std::max(kSlabBytes / page_bytes, std::int64_t{1});
  std::byte* page;
  {
    const std::lock_guard lock(store_->mutex);
    if (!store_->free.empty()) {
      page = store_->free.back();
      store_->free.pop_back();
    } else {
      if (limit_bytes_ > 0 && (store_->num_pages + 1) * page_bytes > limit_bytes_) return nullptr;
      const std::int64_t place = store_->num_pages % pages_per_slab;
      store_->free.reserve(store_->num_pages + 1);
      if (place == 0) store_->slabs.push_back(new_slab(static_cast<std::size_t>(pages_per_slab * page_bytes)));
      page = store_->slabs.back().get() + place * page_bytes;
      ++store_->num_pages;
    }
  }
  const auto give_back = [store = store_](std::byte* given) {
    const std::lock_guard lock(store->mutex);
    store->free.push_back(given);
  };
  return PageRef(page, give_back);
}

}  // namespace codling
