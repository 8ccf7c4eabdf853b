#include "model/page_pool.hpp"

#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "format/error.hpp"

namespace codling {
namespace {

// Of a cache line, and of the widest vector.
constexpr std::align_val_t kAlignment{64};

struct Free {
  void operator()(std::byte* memory) const { ::operator delete(memory, kAlignment); }
};
using Memory = std::unique_ptr<std::byte, Free>;

}  // namespace

struct PagePool::Store {
  std::mutex mutex;
  // Given back; has room for all pages there are.
  std::vector<Memory> free;
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
  const auto page_bytes = static_cast<std::size_t>(layout_.page_bytes());
  Memory memory;
  {
    const std::lock_guard lock(store_->mutex);
    if (!store_->free.empty()) {
      memory = std::move(store_->free.back());
      store_->free.pop_back();
    } else {
      if (limit_bytes_ > 0 && (store_->num_pages + 1) * layout_.page_bytes() > limit_bytes_) return nullptr;
      store_->free.reserve(store_->num_pages + 1);
      memory = Memory(static_cast<std::byte*>(::operator new(page_bytes, kAlignment)));
      ++store_->num_pages;
    }
  }
  const auto give_back = [store = store_](std::byte* page) {
    const std::lock_guard lock(store->mutex);
    store->free.push_back(Memory(page));
  };
  return PageRef(memory.release(), give_back);
}

}  // namespace codling
