#include "model/prefix_cache.hpp"

#include <algorithm>

namespace codling {

PrefixCache::PrefixCache(PagePool& pool, std::int64_t limit_bytes) : pool_(pool), most_pages_(limit_bytes / pool.layout().page_bytes()) {
  pool_.set_reclaim([this] {
    const std::lock_guard lock(mutex_);
    ++num_calls_;
    return evict();
  });
}

PrefixCache::~PrefixCache() { pool_.set_reclaim(nullptr); }

std::vector<PageRef> PrefixCache::find(std::string_view adapter, std::span<const std::int32_t> tokens) {
  const std::lock_guard lock(mutex_);
  ++num_calls_;
  std::vector<Node*> path;
  const auto tree = adapters_.find(adapter);
  Branches* branches = tree == adapters_.end() ? nullptr : &tree->second;
  for (std::size_t begin = 0; branches && begin + kSlotsPerPage <= tokens.size(); begin += kSlotsPerPage) {
    const auto found = branches->find(Tokens(tokens.begin() + begin, tokens.begin() + begin + kSlotsPerPage));
    if (found == branches->end()) break;
    path.push_back(found->second.get());
    branches = &path.back()->branches;
  }
  std::vector<PageRef> pages;
  for (const Node* node : path) pages.push_back(node->page);
  std::for_each(path.rbegin(), path.rend(), [this](Node* node) { touch(*node); });
  statistics_.num_asked_tokens += static_cast<std::int64_t>(tokens.size());
  statistics_.num_found_tokens += static_cast<std::int64_t>(pages.size()) * kSlotsPerPage;
  return pages;
}

void PrefixCache::insert(std::string_view adapter, std::span<const std::int32_t> tokens, std::span<const PageRef> pages) {
  if (most_pages_ == 0 || pages.empty()) return;
  const std::lock_guard lock(mutex_);
  ++num_calls_;
  std::vector<Node*> path;
  Branches* branches = &adapters_.try_emplace(std::string(adapter)).first->second;
  for (std::size_t page = 0; page < pages.size() && (page + 1) * kSlotsPerPage <= tokens.size(); ++page) {
    const auto begin = tokens.begin() + page * kSlotsPerPage;
    Tokens of_page(begin, begin + kSlotsPerPage);
    auto place = branches->find(of_page);
    if (place == branches->end()) {
      if (statistics_.num_pages == most_pages_ && !evict()) break;
      place = branches->emplace(std::move(of_page), std::make_unique<Node>()).first;
      Node& added = *place->second;
      added.siblings = branches;
      added.place = place;
      added.page = pages[page];
      added.age = ages_.insert(ages_.end(), &added);
      ++statistics_.num_pages;
    }
    path.push_back(place->second.get());
    // What this call came by stays, even if nobody else uses it.
    path.back()->last_call = num_calls_;
    branches = &path.back()->branches;
  }
  std::for_each(path.rbegin(), path.rend(), [this](Node* node) { touch(*node); });
}

PrefixStatistics PrefixCache::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void PrefixCache::touch(Node& node) {
  node.last_call = num_calls_;
  ages_.splice(ages_.begin(), ages_, node.age);
}

bool PrefixCache::evict() {
  const auto found = std::find_if(ages_.rbegin(), ages_.rend(), [this](const Node* node) {
    return node->branches.empty() && !is_shared(node->page) && node->last_call != num_calls_;
  });
  if (found == ages_.rend()) return false;
  Node& node = **found;
  ages_.erase(node.age);
  node.siblings->erase(node.place);
  --statistics_.num_pages;
  ++statistics_.num_evicted_pages;
  return true;
}

}  // namespace codling
