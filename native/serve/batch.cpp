#include "serve/batch.hpp"

#include <algorithm>

#include "serve/prompt_lookup.hpp"

namespace codling {
namespace {

// While others wait for their next token, prompts get this part of a step, but never less than the least.
constexpr std::int64_t kSharedPart = 4, kLeastPromptTokens = 16;
// Proposals double when all were accepted, and otherwise go back to one more than were.
constexpr std::int64_t kFirstProposals = 4, kMostProposals = 16;

}  // namespace

void Batch::step(Requests requests) {
  try {
    plan(requests);
    propose();
    run(requests);
  } catch (...) {
    for (const auto& request : requests) request->progress.error = std::current_exception();
  }
}

void Batch::begin(Request& request) {
  Progress& progress = request.progress;
  progress.has_begun = true;
  progress.tokens = request.order.prompt;
  Sequence& sequence = *request.order.sequence;
  // The last token is run in any case: its logits are what is drawn from.
  find_cached(sequence, std::span<const std::int32_t>(progress.tokens).first(progress.tokens.size() - 1));
  progress.usage.num_cached = sequence.cached.size();
  if (request.order.sampling.repetition_penalty != 1) {
    progress.seen.emplace(model_.config().vocab_size);
    for (const std::int32_t token : progress.tokens) progress.seen->add(token);
  }
  if (request.order.speculation != Speculation::kNone) progress.most_proposals = kFirstProposals;
  if (request.order.speculation == Speculation::kDraft && !sequence.draft_cached) sequence.draft_cached.emplace(draft_->model());
}

void Batch::find_cached(Sequence& sequence, std::span<const std::int32_t> tokens) {
  sequence.cached.keep_common(tokens);
  if (!prefixes_) return;
  std::vector<PageRef> pages = prefixes_->find(sequence.adapter_name, tokens);
  const std::size_t num_found = pages.size() * kSlotsPerPage;
  if (static_cast<std::int64_t>(num_found) > sequence.cached.size()) sequence.cached.assign(std::move(pages), tokens.first(num_found));
}

void Batch::keep_cached(Sequence& sequence, std::span<const std::int32_t> new_tokens) {
  const std::int64_t num_full = sequence.cached.size() / kSlotsPerPage;
  sequence.cached.append(new_tokens);
  if (prefixes_ && sequence.cached.size() / kSlotsPerPage > num_full) {
    prefixes_->insert(sequence.adapter_name, sequence.cached.tokens(), sequence.cached.cache().full_pages());
  }
}

void Batch::plan(Requests requests) {
  drafting_.clear();
  draft_jobs_.clear();
  std::int64_t num_generated = 0;
  for (const auto& request : requests) {
    Progress& progress = request->progress;
    if (!progress.has_begun) begin(*request);
    progress.num_run = static_cast<std::int64_t>(progress.tokens.size()) - request->order.sequence->cached.size();
    progress.num_proposals = 0;
    progress.is_generating = progress.num_run == 1;
    if (!progress.is_generating) continue;
    plan_proposals(*request);
    num_generated += 1 + progress.most_proposals;
  }
  std::int64_t budget = tokens_per_step_;
  if (num_generated > 0) budget = std::max(budget / kSharedPart - num_generated, kLeastPromptTokens);
  for (const auto& request : requests) {
    Progress& progress = request->progress;
    if (progress.is_generating) continue;
    progress.num_run = std::min(progress.num_run, budget);
    budget -= progress.num_run;
    if (request->order.speculation == Speculation::kDraft) {
      add_draft_job(*request, request->order.sequence->cached.size() + progress.num_run, 0);
    }
  }
}

void Batch::plan_proposals(Request& request) {
  Progress& progress = request.progress;
  const auto size = static_cast<std::int64_t>(progress.tokens.size());
  const std::int64_t num_drawn = size - static_cast<std::int64_t>(request.order.prompt.size());
  // The run itself gives one token more than were proposed.
  const std::int64_t most = std::min({progress.most_proposals, request.order.max_new_tokens - num_drawn - 1,
                                      model_.config().context_length_tokens - size - 1});
  if (most < 1) return;
  if (request.order.speculation == Speculation::kDraft) return add_draft_job(request, size, most);
  const std::span<const std::int32_t> found = look_up(progress.tokens, most);
  progress.num_proposals = static_cast<std::int64_t>(found.size());
  progress.num_run += progress.num_proposals;
  // From a copy: they are a part of what grows.
  const std::vector<std::int32_t> proposals(found.begin(), found.end());
  progress.tokens.insert(progress.tokens.end(), proposals.begin(), proposals.end());
}

void Batch::add_draft_job(Request& request, std::int64_t num_tokens, std::int64_t num_proposals) {
  // A draft model whose context is shorter than the target's has nothing to say beyond it.
  if (num_tokens + num_proposals > draft_->context_length_tokens()) return;
  Progress& progress = request.progress;
  Sampling sampling = request.order.sampling;
  sampling.num_logprobs = 0;
  drafting_.push_back(&request);
  draft_jobs_.push_back({&*request.order.sequence->draft_cached, &progress.tokens, num_tokens, num_proposals, sampling,
                         progress.seen ? &*progress.seen : nullptr, request.order.num_dropped});
}

void Batch::propose() {
  if (draft_jobs_.empty()) return;
  try {
    draft_->propose(draft_jobs_);
  } catch (...) {
    for (Request* request : drafting_) request->progress.error = std::current_exception();
  }
  for (std::size_t index = 0; index < draft_jobs_.size(); ++index) {
    if (draft_jobs_[index].num_proposals == 0) continue;
    Progress& progress = drafting_[index]->progress;
    progress.num_proposals = static_cast<std::int64_t>(progress.tokens.size()) - draft_jobs_[index].num_tokens;
    progress.num_run += progress.num_proposals;
  }
}

void Batch::run(Requests requests) {
  segment_requests_.clear();
  segments_.clear();
  std::int64_t num_rows = 0;
  for (const auto& request : requests) {
    Progress& progress = request->progress;
    if (progress.error || progress.num_run == 0) continue;
    Sequence& sequence = *request->order.sequence;
    const std::int64_t num_cached = sequence.cached.size(), end = num_cached + progress.num_run;
    try {
      sequence.cached.cache().reserve(num_cached, end);
    } catch (...) {
      // No memory for this one; the others go on.
      progress.error = std::current_exception();
      continue;
    }
    const bool is_whole = end == static_cast<std::int64_t>(progress.tokens.size());
    const std::int64_t num_logits = is_whole ? 1 + progress.num_proposals : 0;
    const auto tokens = std::span<const std::int32_t>(progress.tokens).subspan(num_cached, progress.num_run);
    segment_requests_.push_back(request.get());
    segments_.push_back(sequence.cached.segment(tokens, sequence.adapter, num_logits));
    num_rows += num_logits;
  }
  if (segments_.empty()) return;
  logits_.resize(num_rows * model_.config().vocab_size);
  model_.run(segments_, logits_);
  float* row = logits_.data();
  for (std::size_t index = 0; index < segments_.size(); ++index) {
    Request& request = *segment_requests_[index];
    if (segments_[index].num_logits == 0) {
      keep_cached(*request.order.sequence, segments_[index].tokens);
    } else {
      draw(request, row);
    }
    row += segments_[index].num_logits * model_.config().vocab_size;
  }
}

// Speculation changes nothing but the time: at each place the draw is the model's own, given what was drawn before it, and
// the logits of a place count only if all before it was proposed as it was drawn.
void Batch::draw(Request& request, float* logits) {
  const Order& order = request.order;
  Progress& progress = request.progress;
  std::vector<std::int32_t>& tokens = progress.tokens;
  const std::int64_t vocab_size = model_.config().vocab_size;
  const std::vector<std::int32_t> proposals(tokens.end() - progress.num_proposals, tokens.end());
  tokens.resize(tokens.size() - proposals.size());
  std::size_t num_agreed = 0;
  do {
    try {
      const auto answer = std::span<const std::int32_t>(tokens).subspan(order.prompt.size());
      const bool is_masked = order.mask && order.mask(answer, mask_);
      progress.draws.push_back(sampler_.draw(std::span(logits, vocab_size), order.num_dropped + static_cast<std::int64_t>(tokens.size()),
                                             order.sampling, progress.seen ? &*progress.seen : nullptr,
                                             is_masked ? std::span<const std::uint32_t>(mask_) : std::span<const std::uint32_t>()));
    } catch (...) {
      progress.error = std::current_exception();
      break;
    }
    logits += vocab_size;
    tokens.push_back(progress.draws.back().token);
    if (progress.seen) progress.seen->add(tokens.back());
    progress.finish = finish_after(request);
  } while (num_agreed < proposals.size() && proposals[num_agreed] == tokens.back() && ++num_agreed && progress.finish == Finish::kNone);

  progress.usage.num_proposed += progress.num_proposals;
  progress.usage.num_accepted += static_cast<std::int64_t>(num_agreed);
  if (!proposals.empty()) {
    progress.most_proposals = static_cast<std::int64_t>(num_agreed < proposals.size() ? num_agreed + 1 : 2 * num_agreed);
    progress.most_proposals = std::min(progress.most_proposals, kMostProposals);
  }
  // The last one was drawn, and not run.
  Sequence& sequence = *order.sequence;
  const std::int64_t num_cached = sequence.cached.size();
  keep_cached(sequence, std::span<const std::int32_t>(tokens).subspan(num_cached, tokens.size() - 1 - num_cached));
}

Finish Batch::finish_after(const Request& request) const {
  const Order& order = request.order;
  const std::vector<std::int32_t>& tokens = request.progress.tokens;
  if (std::find(order.stop_tokens.begin(), order.stop_tokens.end(), tokens.back()) != order.stop_tokens.end()) return Finish::kStop;
  const auto size = static_cast<std::int64_t>(tokens.size());
  if (size - static_cast<std::int64_t>(order.prompt.size()) >= order.max_new_tokens) return Finish::kLength;
  return size >= model_.config().context_length_tokens ? Finish::kContext : Finish::kNone;
}

}  // namespace codling
