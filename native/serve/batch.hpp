// One step of all requests that take part: what is run of each, in one batch, and what is drawn after it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/model.hpp"
#include "model/prefix_cache.hpp"
#include "serve/draft_model.hpp"
#include "serve/request.hpp"
#include "serve/sampler.hpp"

namespace codling {

class Batch {
 public:
  using Requests = std::span<const std::shared_ptr<Request>>;

  // `draft` and `prefixes` may be null. A step runs up to `tokens_per_step` of prompts, fewer while others wait for their next token.
  Batch(Model& model, DraftModel* draft, PrefixCache* prefixes, std::int64_t tokens_per_step)
      : model_(model), draft_(draft), prefixes_(prefixes), tokens_per_step_(tokens_per_step) {}

  // Leaves draws, end and error of each in its progress.
  void step(Requests requests);

 private:
  void plan(Requests requests);
  void begin(Request& request);
  void find_cached(Sequence& sequence, std::span<const std::int32_t> tokens);
  void keep_cached(Sequence& sequence, std::span<const std::int32_t> new_tokens);
  void plan_proposals(Request& request);
  void add_draft_job(Request& request, std::int64_t num_tokens, std::int64_t num_proposals);
  void propose();
  void run(Requests requests);
  void draw(Request& request, float* logits);
  Finish finish_after(const Request& request) const;

  Model& model_;
  DraftModel* draft_;
  PrefixCache* prefixes_;
  std::int64_t tokens_per_step_;
  // Whose draft jobs, and whose segments.
  std::vector<Request*> drafting_, segment_requests_;
  std::vector<DraftJob> draft_jobs_;
  std::vector<Segment> segments_;
  std::vector<float> logits_;
  std::vector<std::uint32_t> mask_;
  Sampler sampler_;
};

}  // namespace codling
