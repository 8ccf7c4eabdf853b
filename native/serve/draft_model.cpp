#include "serve/draft_model.hpp"

#include <algorithm>

namespace codling {
namespace {

// Of a prompt, in one run.
constexpr std::int64_t kTokensPerSegment = 256;

}  // namespace

void DraftModel::propose(std::span<const DraftJob> jobs) {
  std::vector<std::int64_t> num_seen;
  for (const DraftJob& job : jobs) {
    const std::span<const std::int32_t> wanted(job.tokens->data(), job.num_tokens);
    // Of all tokens the last is run in any case: what is drawn needs its logits.
    job.cached->keep_common(wanted.first(job.num_tokens - (job.num_proposals > 0 ? 1 : 0)));
    num_seen.push_back(job.seen ? job.seen->count() : 0);
  }
  while (plan(jobs)) run();
  for (std::size_t index = 0; index < jobs.size(); ++index) {
    if (jobs[index].seen) jobs[index].seen->truncate(num_seen[index]);
  }
}

bool DraftModel::plan(std::span<const DraftJob> jobs) {
  parts_.clear();
  segments_.clear();
  for (const DraftJob& job : jobs) {
    const auto size = static_cast<std::int64_t>(job.tokens->size());
    const bool is_drawn = job.num_proposals > 0 && size < job.num_tokens + job.num_proposals;
    const std::int64_t first = job.cached->size(), end = is_drawn ? size : job.num_tokens;
    if (first >= end) continue;
    const std::int64_t count = std::min(end - first, kTokensPerSegment);
    const bool is_drawn_after = is_drawn && first + count == end;
    parts_.push_back({&job, count, is_drawn_after});
    segments_.push_back(job.cached->segment({job.tokens->data() + first, static_cast<std::size_t>(count)}, adapter_, is_drawn_after));
  }
  return !parts_.empty();
}

void DraftModel::run() {
  const std::int64_t vocab_size = model_.config().vocab_size;
  logits_.resize(parts_.size() * vocab_size);
  model_.run(segments_, logits_);
  float* row = logits_.data();
  for (std::size_t index = 0; index < parts_.size(); ++index) {
    const auto& [job, num_tokens, is_drawn_after] = parts_[index];
    job->cached->append(segments_[index].tokens);
    if (!is_drawn_after) continue;
    const std::int64_t position = job->first_position + job->cached->size();
    const Draw draw = sampler_.draw({row, static_cast<std::size_t>(vocab_size)}, position, job->sampling, job->seen, {});
    if (job->seen) job->seen->add(draw.token);
    job->tokens->push_back(draw.token);
    row += vocab_size;
  }
}

}  // namespace codling
