// What a reader asks for, and what it got so far.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "serve/sampler.hpp"
#include "serve/sequence.hpp"

namespace codling {

// Whether the next token is restricted, given the answer so far; if so, fills in a bit for each allowed token. What it
// throws ends its request only, and reaches its reader.
using Mask = std::function<bool(std::span<const std::int32_t> answer, std::vector<std::uint32_t>& words)>;

enum class Speculation { kNone, kLookup, kDraft };

struct Order {
  std::shared_ptr<Sequence> sequence;
  std::vector<std::int32_t> prompt;
  Sampling sampling;
  std::int64_t max_new_tokens;
  // Each ends the answer, and is its last token.
  std::vector<std::int32_t> stop_tokens;
  Speculation speculation;
  // Or empty.
  Mask mask;
  // Tokens that were left out of the prompt: draws go on with the noise of the whole.
  std::int64_t num_dropped;
};

// kContext: prompt and answer fill the context. kFailed: by the error that `Scheduler::take` throws.
enum class Finish { kNone, kStop, kLength, kContext, kCancelled, kFailed };

struct RequestUsage {
  // Of the prompt: that were not run, as the sequence or the prefix cache had them.
  std::int64_t num_cached = 0;
  std::int64_t num_proposed = 0;
  std::int64_t num_accepted = 0;
};

// The part of a request that only the thread that steps sees.
struct Progress {
  bool has_begun = false;
  // Prompt and answer; while a step runs, proposals for what comes next follow.
  std::vector<std::int32_t> tokens;
  // For the repetition penalty only.
  std::optional<SeenTokens> seen;
  // How many are worth a try.
  std::int64_t most_proposals = 0;
  RequestUsage usage;

  // Of the step: whether the prompt is behind it, tokens to run, proposals among them.
  bool is_generating = false;
  std::int64_t num_run = 0;
  std::int64_t num_proposals = 0;
  // What came of it.
  std::vector<Draw> draws;
  Finish finish = Finish::kNone;
  std::exception_ptr error;
};

struct Request {
  explicit Request(Order of) : order(std::move(of)) {}

  Order order;
  Progress progress;
  // For the reader, guarded by the scheduler's mutex.
  std::vector<Draw> ready;
  Finish finish = Finish::kNone;
  std::exception_ptr error;
  RequestUsage usage;
};

}  // namespace codling
