// Attention of all tokens of a run: how it is cut into tasks, and how what they find comes together.
//
// The slots that a query sees are cut into ranges of a fixed length, each a softmax of its own, merged in order. So the
// threads share even a single token's long context, and what a token gets depends on nothing but its sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.hpp"
#include "model/activations.hpp"
#include "model/kv_cache.hpp"
#include "threads/pool.hpp"

namespace codling {

// Neighboring tokens of a run that belong to one sequence.
struct SequencePart {
  const KvCache* cache;
  // In the run.
  std::int64_t first_token;
  std::int64_t num_tokens;
  // Of the first token, in its sequence.
  std::int64_t first_position;
};

class Attention {
 public:
  Attention(const ModelConfig& config, KvType type, const Kernels& kernels, ThreadPool& pool);

  // Plans a run.
  void plan(std::span<const SequencePart> parts);
  // Takes in the heads of one token's query, rotated and scaled. Threads may do so for several tokens at once.
  void take_query(std::int64_t token, const float* heads);
  // Attends with all queries of the run to the keys and values that the caches hold by now.
  void run(std::int64_t layer, const FloatBuffer& queries, FloatBuffer& attended);

 private:
  // Tokens of one sequence whose heads share a key/value head, and go through its pages together.
  struct Group {
    SequencePart tokens;
    std::int64_t kv_head;
    // Where its softmax states lie: one for each range if they are tasks of their own, otherwise what is found so far, and
    // one range.
    std::int64_t state;
    std::int64_t num_ranges;
    bool is_split;
  };
  struct Task {
    const Group* group;
    std::int64_t first_range;
    std::int64_t last_range;
  };

  std::int64_t num_rows(const Group& group) const { return group.tokens.num_tokens * group_size_; }
  // The state of a group's range, or of whatever else has this index there.
  AttentionState state(const Group& group, std::int64_t index);
  void run_task(const Task& task, std::int64_t layer, const FloatBuffer& queries, FloatBuffer& attended);
  void attend_range(const Group& group, std::int64_t range, std::int64_t layer, const FloatBuffer& queries, const AttentionState& into) const;
  // Divides by the sums of the softmax.
  void finish(const Group& group, FloatBuffer& attended);

  const Kernels& kernels_;
  ThreadPool& pool_;
  KvType type_;
  std::int64_t num_query_heads_, num_kv_heads_, head_dim_, group_size_;
  std::vector<Group> groups_;
  std::vector<Task> tasks_;
  std::int64_t tasks_per_piece_ = 1;
  // Of the groups, those whose ranges are to be merged.
  std::vector<const Group*> split_groups_;
  std::vector<float> maxima_, sums_, states_;
  // Queries in digits, for the int8 cache.
  std::vector<std::int8_t> digits_;
  std::vector<float> digit_scales_;
  std::vector<std::int32_t> corrections_;
};

}  // namespace codling
