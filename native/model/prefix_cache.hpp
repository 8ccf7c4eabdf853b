// Keys and values of prompts that were run before, found again by their tokens and kept while there is room.
//
// Full pages in a tree: one for each adapter, a branch for each 64 tokens. What is found has the same tokens from the very
// beginning, compared one by one; a hash that two prompts share could hand one user's keys and values to another.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/page_pool.hpp"

namespace codling {

struct PrefixStatistics {
  std::int64_t num_asked_tokens = 0;
  std::int64_t num_found_tokens = 0;
  std::int64_t num_pages = 0;
  std::int64_t num_evicted_pages = 0;
};

// Used by any threads. A pool has one at most.
class PrefixCache {
 public:
  // Keeps pages of `pool` for `limit_bytes` at most; 0 switches it off. When the pool is full, it gives back what nobody uses.
  PrefixCache(PagePool& pool, std::int64_t limit_bytes);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The pages of as many of these tokens as are known for the adapter, which `adapter` names for good: whole pages only.
  std::vector<PageRef> find(std::string_view adapter, std::span<const std::int32_t> tokens);
  // Keeps the pages of the tokens that they hold. Those that nobody uses and that were not asked for the longest go to make
  // room; if there is none, the rest of these pages are not kept.
  void insert(std::string_view adapter, std::span<const std::int32_t> tokens, std::span<const PageRef> pages);

  PrefixStatistics statistics() const;

 private:
  struct Node;
  using Tokens = std::vector<std::int32_t>;
  using Branches = std::map<Tokens, std::unique_ptr<Node>>;
  struct Node {
    // Where it hangs, and as what.
    Branches* siblings;
    Branches::iterator place;
    PageRef page;
    Branches branches;
    std::list<Node*>::iterator age;
    // The call that came by last.
    std::int64_t last_call;
  };

  void touch(Node& node);
  // Gives back the page that has waited the longest, unless this call came by; whether there was one.
  bool evict();

  PagePool& pool_;
  std::int64_t most_pages_;
  mutable std::mutex mutex_;
  std::map<std::string, Branches, std::less<>> adapters_;
  // All nodes, from the one that was asked for last on. A node comes before those on its branches.
  std::list<Node*> ages_;
  std::int64_t num_calls_ = 0;
  PrefixStatistics statistics_;
};

}  // namespace codling
