// Speculation by a smaller model of the same vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/adapter.hpp"
#include "model/model.hpp"
#include "serve/sampler.hpp"
#include "serve/sequence.hpp"

namespace codling {

// What is to be proposed for one sequence.
struct DraftJob {
  CachedTokens* cached;
  // Of the sequence; proposals are appended.
  std::vector<std::int32_t>* tokens;
  // Tokens of the sequence to run.
  std::int64_t num_tokens;
  // After all of them; 0 only runs what comes in of a prompt.
  std::int64_t num_proposals;
  Sampling sampling;
  // Or null; left as it was.
  SeenTokens* seen;
  // Of the first token.
  std::int64_t first_position;
};

class DraftModel {
 public:
  // `adapter` or null.
  DraftModel(Model& model, const Adapter* adapter) : model_(model), adapter_(adapter) {}

  Model& model() { return model_; }
  std::int64_t context_length_tokens() const { return model_.config().context_length_tokens; }

  // Draws as the target would, with the same noise; all jobs share each run.
  void propose(std::span<const DraftJob> jobs);

 private:
  // The next segment of a job, and whether a token is drawn after it.
  struct Part {
    const DraftJob* job;
    std::int64_t num_tokens;
    bool is_drawn_after;
  };

  bool plan(std::span<const DraftJob> jobs);
  void run();

  Model& model_;
  const Adapter* adapter_;
  Sampler sampler_;
  std::vector<Part> parts_;
  std::vector<Segment> segments_;
  std::vector<float> logits_;
};

}  // namespace codling
