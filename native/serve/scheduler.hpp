// Requests that share the model: each step runs the next tokens of all of them in one batch.
//
// There is no thread behind it. Who waits for a token runs the next step, for all, unless somebody else does: one reader
// alone pays for no hand-over between threads, and many share their batches. Readers that are slow find tokens ready.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "model/model.hpp"
#include "serve/batch.hpp"
#include "serve/draft_model.hpp"
#include "serve/request.hpp"

namespace codling {

// What came since the last look. After `finish` nothing comes any more.
struct Update {
  std::vector<Draw> draws;
  Finish finish;
};

class Scheduler {
 public:
  // As for `Batch`.
  Scheduler(Model& model, DraftModel* draft, PrefixCache* prefixes, std::int64_t tokens_per_step)
      : model_(model), has_draft_(draft != nullptr), batch_(model, draft, prefixes, tokens_per_step) {}

  std::int64_t vocab_size() const { return model_.config().vocab_size; }

  // Throws InputError for a prompt that is empty, or leaves no room for an answer.
  void check_fits(std::int64_t num_tokens) const;
  // Throws InputError like `check_fits`; for a prompt that is not of this vocabulary; for a limit below one token; for a draft
  // model that is not there; for a sequence that another request still uses; and when closed.
  std::shared_ptr<Request> add(Order order);
  // Runs a step, or waits a moment for the one that another thread runs; whether there is something to take. To be called
  // until there is. Throws InputError if the caller is itself in a step, as a mask is; so do `settle` and `close`.
  bool advance(Request& request);
  bool is_ready(Request& request);
  // Throws what ended the request, if that was an error, when everything before was taken.
  Update take(Request& request);
  RequestUsage usage(Request& request);
  // Its finish becomes kCancelled, unless it has one. Returns at once; a step that is under way ends first.
  void cancel(Request& request);
  // Waits for the end of a step that runs the sequence, after which nothing does until the next request.
  // Throws InputError if a request still uses it.
  void settle(const Sequence& sequence);
  // Cancels all, and waits for the end of a step that is under way.
  void close();

 private:
  using Requests = std::vector<std::shared_ptr<Request>>;

  void check(const Order& order) const;
  // With the mutex: throws InputError if the caller is in a step, and would wait for itself.
  void check_is_no_mask() const;
  // With the mutex: throws InputError if a request that goes on uses it.
  void check_is_free(const Sequence& sequence) const;
  // With the mutex: who takes part in the next step.
  void choose();
  void publish();
  // Takes them from the running ones. What dies with them may need the interpreter's lock: to be let go of without the mutex.
  [[nodiscard]] Requests remove_ended();
  static void let_go(const Requests& ended);

  const Model& model_;
  bool has_draft_;

  // Guards what readers see, and is never held while a step runs.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_stepping_ = false, is_closed_ = false;
  std::thread::id stepper_;
  // In the order in which they came.
  Requests running_;

  // Who steps has these to itself.
  Requests chosen_;
  Batch batch_;
};

}  // namespace codling
