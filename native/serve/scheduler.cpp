#include "serve/scheduler.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>
#include <utility>

#include "format/error.hpp"

namespace codling {
namespace {

// A reader may lag behind the others by so many tokens before its request waits for it.
constexpr std::size_t kMostReadyTokens = 16;
// How long a reader waits for another thread's step before it looks whether its program was interrupted.
constexpr std::chrono::milliseconds kLongestWait{50};

}  // namespace

std::shared_ptr<Request> Scheduler::add(Order order) {
  check(order);
  auto request = std::make_shared<Request>(std::move(order));
  const std::lock_guard lock(mutex_);
  if (is_closed_) throw InputError("the engine is closed; open it again");
  check_is_free(*request->order.sequence);
  running_.push_back(request);
  return request;
}

void Scheduler::check_is_free(const Sequence& sequence) const {
  for (const auto& request : running_) {
    if (request->finish == Finish::kNone && request->order.sequence.get() == &sequence) {
      throw InputError("the session is still answering; read the answer to its end, or cancel it");
    }
  }
}

void Scheduler::check_is_no_mask() const {
  if (is_stepping_ && stepper_ == std::this_thread::get_id()) throw InputError("a mask cannot wait for the engine that it is called by");
}

void Scheduler::settle(const Sequence& sequence) {
  std::unique_lock lock(mutex_);
  check_is_no_mask();
  check_is_free(sequence);
  const auto is_run = [&](const auto& request) { return request->order.sequence.get() == &sequence; };
  changed_.wait(lock, [&] { return std::none_of(running_.begin(), running_.end(), is_run); });
}

void Scheduler::check_fits(std::int64_t num_tokens) const {
  const std::int64_t context = model_.config().context_length_tokens;
  if (num_tokens == 0) throw InputError("the prompt is empty; say something");
  if (num_tokens >= context) {
    throw InputError("the prompt has " + std::to_string(num_tokens) + " tokens, the context of this model holds " + std::to_string(context) +
                     ", prompt and answer together; nothing was run, shorten it");
  }
}

void Scheduler::check(const Order& order) const {
  check_fits(static_cast<std::int64_t>(order.prompt.size()));
  model_.check_tokens(order.prompt);
  if (order.max_new_tokens < 1) throw InputError("an answer of up to " + std::to_string(order.max_new_tokens) + " tokens; 1 is the least");
  if (order.speculation == Speculation::kDraft && !has_draft_) {
    throw InputError("no draft model is open; open the engine with one, or speculate by look-up");
  }
}

bool Scheduler::is_ready(Request& request) {
  const std::lock_guard lock(mutex_);
  return !request.ready.empty() || request.finish != Finish::kNone;
}

bool Scheduler::advance(Request& request) {
  {
    std::unique_lock lock(mutex_);
    const auto is_ready = [&] { return !request.ready.empty() || request.finish != Finish::kNone; };
    if (is_ready()) return true;
    if (is_stepping_) {
      check_is_no_mask();
      changed_.wait_for(lock, kLongestWait);
      return is_ready();
    }
    choose();
    is_stepping_ = true;
    stepper_ = std::this_thread::get_id();
  }
  batch_.step(chosen_);
  publish();
  return is_ready(request);
}

Update Scheduler::take(Request& request) {
  const std::lock_guard lock(mutex_);
  Update update{std::move(request.ready), request.finish};
  request.ready.clear();
  if (request.error) {
    // Once: what Python threw is handed back to it.
    if (update.draws.empty()) std::rethrow_exception(std::exchange(request.error, nullptr));
    update.finish = Finish::kNone;
  }
  return update;
}

RequestUsage Scheduler::usage(Request& request) {
  const std::lock_guard lock(mutex_);
  return request.usage;
}

void Scheduler::cancel(Request& request) {
  Requests ended;
  {
    const std::lock_guard lock(mutex_);
    if (request.finish == Finish::kNone) request.finish = Finish::kCancelled;
    if (!is_stepping_) ended = remove_ended();
    changed_.notify_all();
  }
  let_go(ended);
}

void Scheduler::close() {
  Requests ended;
  {
    std::unique_lock lock(mutex_);
    check_is_no_mask();
    is_closed_ = true;
    for (const auto& request : running_) {
      if (request->finish == Finish::kNone) request->finish = Finish::kCancelled;
    }
    changed_.wait(lock, [&] { return !is_stepping_; });
    ended = remove_ended();
    changed_.notify_all();
  }
  let_go(ended);
}

Scheduler::Requests Scheduler::remove_ended() {
  const auto is_going_on = [](const auto& request) { return request->finish == Finish::kNone; };
  const auto end = std::stable_partition(running_.begin(), running_.end(), is_going_on);
  Requests ended(std::make_move_iterator(end), std::make_move_iterator(running_.end()));
  running_.erase(end, running_.end());
  return ended;
}

void Scheduler::let_go(const Requests& ended) {
  for (const auto& request : ended) {
    // An answer that somebody keeps is no reason to keep its cache.
    request->order.sequence.reset();
    request->order.mask = nullptr;
  }
}

void Scheduler::choose() {
  for (const auto& request : running_) {
    if (request->finish == Finish::kNone && request->ready.size() < kMostReadyTokens) chosen_.push_back(request);
  }
}

void Scheduler::publish() {
  Requests ended;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& request : chosen_) {
      Progress& progress = request->progress;
      if (request->finish == Finish::kNone) {
        std::move(progress.draws.begin(), progress.draws.end(), std::back_inserter(request->ready));
        request->finish = progress.error ? Finish::kFailed : progress.finish;
        request->error = progress.error;
        request->usage = progress.usage;
      }
      progress.draws.clear();
    }
    // All of them are among the running ones as well, and are let go of there.
    chosen_.clear();
    ended = remove_ended();
    is_stepping_ = false;
    stepper_ = {};
    changed_.notify_all();
  }
  let_go(ended);
}

}  // namespace codling
