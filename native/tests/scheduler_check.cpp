// Requests from several threads, read to their end or cancelled at any token, for the sanitizers. Each must get the tokens
// that it gets alone, and all threads must end when the scheduler is closed. Arguments: directories as for model_check.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "format/error.hpp"
#include "model/model.hpp"
#include "model/prefix_cache.hpp"
#include "serve/draft_model.hpp"
#include "serve/scheduler.hpp"

namespace codling {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr int kNumRequests = 24;
constexpr int kNumThreads = 4;
constexpr std::int64_t kNewTokens = 20;
constexpr std::int64_t kTokensPerStep = 16;
constexpr std::int64_t kPrefixBytes = 1 << 20;

Order order(Model& model, int index) {
  Tokens prompt;
  // Repeats itself, so that look-up has something to propose.
  for (int place = 0; place < 3 + index; ++place) {
    prompt.push_back(static_cast<std::int32_t>((place % 5 * 11 + index) % model.config().vocab_size));
  }
  constexpr Speculation kSpeculations[] = {Speculation::kNone, Speculation::kLookup, Speculation::kDraft};
  Sampling sampling;
  sampling.temperature = index % 2;
  sampling.repetition_penalty = index % 4 < 2 ? 1 : 1.1;
  sampling.seed = index;
  return {std::make_shared<Sequence>(model, nullptr, "none"), prompt, sampling, kNewTokens, {}, kSpeculations[index % 3], {}, 0};
}

// Reads an answer up to its end, or cancels it after at least `most_tokens`.
Tokens read(Scheduler& scheduler, Order order, std::size_t most_tokens) {
  const std::shared_ptr<Request> request = scheduler.add(std::move(order));
  Tokens tokens;
  while (tokens.size() < most_tokens) {
    while (!scheduler.advance(*request)) {
    }
    const Update update = scheduler.take(*request);
    for (const Draw& draw : update.draws) tokens.push_back(draw.token);
    if (update.finish != Finish::kNone) return tokens;
  }
  scheduler.cancel(*request);
  return tokens;
}

class Check {
 public:
  explicit Check(const std::filesystem::path& directory)
      : model_(directory / "config.json", directory / "model.safetensors", {2, "", true}),
        draft_of_(directory / "config.json", directory / "model.safetensors", {1, "", true}),
        draft_(draft_of_, nullptr),
        prefixes_(model_.page_pool(), kPrefixBytes),
        scheduler_(model_, &draft_, &prefixes_, kTokensPerStep) {
    for (int index = 0; index < kNumRequests; ++index) alone_.push_back(read(scheduler_, order(model_, index), kNewTokens));
  }

  // Whether the tokens of all are those that they get alone.
  bool run_from_threads() {
    std::vector<Tokens> found(kNumRequests);
    run_threads([&](int thread) {
      for (int index = thread; index < kNumRequests; index += kNumThreads) {
        found[index] = read(scheduler_, order(model_, index), index % 4 == 0 ? kNewTokens : index % 7);
      }
    });
    for (int index = 0; index < kNumRequests; ++index) {
      const Tokens& expected = alone_[index];
      if (found[index].size() > expected.size() || !std::equal(found[index].begin(), found[index].end(), expected.begin())) return false;
    }
    return true;
  }

  // Comes back only if all threads do.
  void close_while_threads_read() {
    std::thread closing;
    run_threads([&](int thread) {
      try {
        for (int index = thread;; ++index) {
          if (thread == 0 && index == 2) closing = std::thread([&] { scheduler_.close(); });
          read(scheduler_, order(model_, index % kNumRequests), kNewTokens);
        }
      } catch (const InputError&) {
        // A closed engine takes no requests.
      }
    });
    closing.join();
  }

 private:
  template <typename Work>
  static void run_threads(const Work& work) {
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kNumThreads; ++thread) threads.emplace_back([&, thread] { work(thread); });
    for (std::thread& thread : threads) thread.join();
  }

  Model model_, draft_of_;
  DraftModel draft_;
  PrefixCache prefixes_;
  Scheduler scheduler_;
  std::vector<Tokens> alone_;
};

}  // namespace
}  // namespace codling

int main(int argc, char** argv) {
  for (int index = 1; index < argc; ++index) {
    codling::Check check(argv[index]);
    if (!check.run_from_threads()) {
      std::printf("%s: a request among others got other tokens than alone\n", argv[index]);
      return 1;
    }
    check.close_while_threads_read();
  }
  std::printf("schedulers: ok\n");
  return 0;
}
