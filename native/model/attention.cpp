#include "model/attention.hpp"

#include <algorithm>
#include <limits>

namespace codling {
namespace {

// Few enough for their outputs to stay in the second-level cache while pages go by.
constexpr std::int64_t kTokensPerGroup = 32;
// Long enough for merging to cost nothing beside it, short enough for many threads to share a context of some thousands.
constexpr std::int64_t kPagesPerRange = 8;
// More keep the threads busy without; and each range of each has a state.
constexpr std::int64_t kMostSplitTokens = 8;

}  // namespace

Attention::Attention(const ModelConfig& config, KvType type, const Kernels& kernels, ThreadPool& pool)
    : kernels_(kernels),
      pool_(pool),
      type_(type),
      num_query_heads_(config.num_query_heads),
      num_kv_heads_(config.num_kv_heads),
      head_dim_(config.head_dim),
      group_size_(config.num_query_heads / config.num_kv_heads) {}

void Attention::plan(std::span<const SequencePart> parts) {
  groups_.clear();
  std::int64_t num_states = 0, num_tokens = 0, num_products = 0;
  for (const SequencePart& part : parts) {
    const bool is_split = part.num_tokens <= kMostSplitTokens;
    for (std::int64_t kv_head = 0; kv_head < num_kv_heads_; ++kv_head) {
      for (std::int64_t first = 0; first < part.num_tokens; first += kTokensPerGroup) {
        const std::int64_t count = std::min(kTokensPerGroup, part.num_tokens - first);
        const std::int64_t num_ranges = divide_up(part.first_position + first + count, kPagesPerRange * kSlotsPerPage);
        groups_.push_back({{part.cache, part.first_token + first, count, part.first_position + first}, kv_head, num_states, num_ranges, is_split});
        num_states += num_rows(groups_.back()) * (is_split ? num_ranges : 2);
        num_products += num_rows(groups_.back()) * (part.first_position + first + count) * 2 * head_dim_;
      }
    }
    num_tokens += part.num_tokens;
  }
  tasks_.clear();
  split_groups_.clear();
  for (const Group& group : groups_) {
    if (!group.is_split || group.num_ranges == 1) {
      tasks_.push_back({&group, 0, group.num_ranges});
      continue;
    }
    for (std::int64_t range = 0; range < group.num_ranges; ++range) tasks_.push_back({&group, range, range + 1});
    split_groups_.push_back(&group);
  }
  tasks_per_piece_ = std::max(kLeastProducts * static_cast<std::int64_t>(tasks_.size()) / std::max(num_products, std::int64_t{1}), std::int64_t{1});
  const std::int64_t padded = padded_head_dim(head_dim_);
  maxima_.resize(num_states);
  sums_.resize(num_states);
  states_.resize(num_states * padded);
  digits_.resize(num_tokens * num_query_heads_ * 2 * padded);
  digit_scales_.resize(num_tokens * num_query_heads_);
  corrections_.resize(num_tokens * num_query_heads_);
}

void Attention::take_query(std::int64_t token, const float* heads) {
  if (type_ != KvType::kI8) return;
  for (std::int64_t head = 0; head < num_query_heads_; ++head) {
    const std::int64_t row = token * num_query_heads_ + head;
    kernels_.split_query(heads + head * head_dim_, head_dim_, digits_.data() + row * 2 * padded_head_dim(head_dim_), &digit_scales_[row],
                         &corrections_[row]);
  }
}

void Attention::run(std::int64_t layer, const FloatBuffer& queries, FloatBuffer& attended) {
  pool_.for_range(static_cast<std::int64_t>(tasks_.size()), tasks_per_piece_, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) run_task(tasks_[index], layer, queries, attended);
  });
  pool_.for_range(static_cast<std::int64_t>(split_groups_.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) {
      const Group& group = *split_groups_[index];
      for (std::int64_t range = 1; range < group.num_ranges; ++range) {
        kernels_.merge(state(group, 0), state(group, range), num_rows(group), padded_head_dim(head_dim_));
      }
      finish(group, attended);
    }
  });
}

AttentionState Attention::state(const Group& group, std::int64_t index) {
  const std::int64_t row = group.state + index * num_rows(group);
  return {maxima_.data() + row, sums_.data() + row, states_.data() + row * padded_head_dim(head_dim_)};
}

void Attention::run_task(const Task& task, std::int64_t layer, const FloatBuffer& queries, FloatBuffer& attended) {
  const Group& group = *task.group;
  const bool is_whole = task.last_range - task.first_range == group.num_ranges;
  if (!is_whole) return attend_range(group, task.first_range, layer, queries, state(group, task.first_range));
  attend_range(group, 0, layer, queries, state(group, 0));
  for (std::int64_t range = 1; range < group.num_ranges; ++range) {
    attend_range(group, range, layer, queries, state(group, 1));
    kernels_.merge(state(group, 0), state(group, 1), num_rows(group), padded_head_dim(head_dim_));
  }
  finish(group, attended);
}

void Attention::attend_range(const Group& group, std::int64_t range, std::int64_t layer, const FloatBuffer& queries,
                             const AttentionState& into) const {
  const SequencePart& tokens = group.tokens;
  std::fill_n(into.maxima, num_rows(group), -std::numeric_limits<float>::infinity());
  std::fill_n(into.sums, num_rows(group), 0.0F);
  std::fill_n(into.attended, num_rows(group) * padded_head_dim(head_dim_), 0.0F);
  const std::int64_t first_head = group.kv_head * group_size_, row = tokens.first_token * num_query_heads_ + first_head;
  const std::int64_t num_pages = divide_up(tokens.first_position + tokens.num_tokens, kSlotsPerPage);
  const std::int64_t last = std::min(num_pages, (range + 1) * kPagesPerRange);
  // Of the next range, too, which this thread will likely take.
  const auto keys_of = [&](std::int64_t page) { return page < num_pages ? tokens.cache->block(layer, group.kv_head, page).keys : nullptr; };
  for (std::int64_t page = range * kPagesPerRange; page < last; ++page) {
    kernels_.attend({
        tokens.cache->block(layer, group.kv_head, page),
        keys_of(page + 1),
        keys_of(page + 2),
        queries.token(tokens.first_token) + first_head * head_dim_,
        queries.stride(),
        digits_.data() + row * 2 * padded_head_dim(head_dim_),
        digit_scales_.data() + row,
        corrections_.data() + row,
        num_query_heads_,
        tokens.num_tokens,
        group_size_,
        tokens.first_position + 1 - page * kSlotsPerPage,
        into,
    });
  }
}

void Attention::finish(const Group& group, FloatBuffer& attended) {
  const AttentionState found = state(group, 0);
  for (std::int64_t row = 0; row < num_rows(group); ++row) {
    const std::int64_t head = group.kv_head * group_size_ + row % group_size_;
    const float* values = found.attended + row * padded_head_dim(head_dim_);
    float* outputs = attended.token(group.tokens.first_token + row / group_size_) + head * head_dim_;
    for (std::int64_t dim = 0; dim < head_dim_; ++dim) outputs[dim] = values[dim] / found.sums[row];
  }
}

}  // namespace codling
