// Runs models for the sanitizers: prompts whole and in pieces, alone and together, from one thread and from several.
// What a sequence gets must not depend on any of it. Arguments: directories with config.json and model.safetensors.
// Ends with status 1 and a line if something differs.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "model/kv_cache.hpp"
#include "model/model.hpp"
#include "model/prefix_cache.hpp"

namespace codling {
namespace {

using Logits = std::vector<float>;

constexpr std::int64_t kPromptTokens = 70;
constexpr int kNumSequences = 4;

std::vector<std::int32_t> prompt(const Model& model, int sequence) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t index = 0; index < kPromptTokens; ++index) {
    tokens.push_back(static_cast<std::int32_t>((index * index + 7 * sequence) % model.config().vocab_size));
  }
  return tokens;
}

// Logits after the last token, run `piece` tokens at a time after those that the cache holds.
Logits run_rest(Model& model, KvCache& cache, const std::vector<std::int32_t>& tokens, std::size_t piece) {
  Logits logits(model.config().vocab_size);
  for (std::size_t begin = cache.num_tokens(); begin < tokens.size(); begin += piece) {
    const std::size_t count = std::min(piece, tokens.size() - begin);
    const Segment segment{&cache, static_cast<std::int64_t>(begin), std::span(tokens).subspan(begin, count), nullptr};
    model.run({&segment, 1}, logits);
  }
  return logits;
}

Logits run_alone(Model& model, const std::vector<std::int32_t>& tokens, std::size_t piece) {
  KvCache cache(model.page_pool());
  return run_rest(model, cache, tokens, piece);
}

// The same with what others have run already, and for them.
Logits run_shared(Model& model, PrefixCache& prefixes, const std::vector<std::int32_t>& tokens) {
  KvCache cache(model.page_pool());
  cache.assign(prefixes.find("", std::span(tokens).first(tokens.size() - 1)));
  Logits logits = run_rest(model, cache, tokens, 9);
  prefixes.insert("", tokens, cache.full_pages());
  return logits;
}

// All sequences in one run.
std::vector<Logits> run_together(Model& model, const std::vector<std::vector<std::int32_t>>& prompts) {
  const auto vocab_size = model.config().vocab_size;
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<Segment> segments;
  for (const auto& tokens : prompts) {
    caches.push_back(std::make_unique<KvCache>(model.page_pool()));
    segments.push_back({caches.back().get(), 0, tokens, nullptr});
  }
  Logits logits(prompts.size() * vocab_size);
  model.run(segments, logits);
  std::vector<Logits> split;
  for (auto row = logits.begin(); row != logits.end(); row += vocab_size) split.emplace_back(row, row + vocab_size);
  return split;
}

// Each sequence from a thread of its own, all at once, with a prefix cache that has room for half of them.
std::vector<Logits> run_from_threads(Model& model, const std::vector<std::vector<std::int32_t>>& prompts) {
  PrefixCache prefixes(model.page_pool(), kNumSequences / 2 * model.page_pool().layout().page_bytes());
  std::vector<Logits> logits(prompts.size());
  std::vector<std::thread> threads;
  for (std::size_t index = 0; index < prompts.size(); ++index) {
    threads.emplace_back([&, index] {
      // The first time for itself, the second for whoever comes next.
      run_shared(model, prefixes, prompts[index]);
      const std::size_t next = (index + 1) % prompts.size();
      logits[next] = run_shared(model, prefixes, prompts[next]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return logits;
}

bool check(const std::filesystem::path& directory, const ModelOptions& options) {
  Model model(directory / "config.json", directory / "model.safetensors", options);
  std::vector<std::vector<std::int32_t>> prompts;
  for (int sequence = 0; sequence < kNumSequences; ++sequence) prompts.push_back(prompt(model, sequence));
  std::vector<Logits> expected;
  for (const auto& tokens : prompts) expected.push_back(run_alone(model, tokens, tokens.size()));
  bool equal = run_together(model, prompts) == expected && run_from_threads(model, prompts) == expected;
  for (const std::size_t piece : {1, 23}) equal = equal && run_alone(model, prompts[0], piece) == expected[0];
  if (!equal) {
    std::printf("%s, %s, %d threads, activations %s, %s cache: what a sequence gets depends on how it is run\n", directory.c_str(),
                model.kernels().name, options.num_threads, options.rounds_activations ? "rounded" : "float", name_of(options.kv_type));
  }
  return equal;
}

}  // namespace
}  // namespace codling

int main(int argc, char** argv) {
  bool all_equal = true;
  for (int index = 1; index < argc; ++index) {
    for (const bool rounds_activations : {false, true}) {
      for (const int num_threads : {1, 3}) {
        for (const codling::KvType kv_type : {codling::KvType::kF32, codling::KvType::kBF16, codling::KvType::kI8}) {
          all_equal = codling::check(argv[index], {num_threads, "", rounds_activations, kv_type}) && all_equal;
        }
      }
    }
  }
  if (all_equal) std::printf("models: ok\n");
  return all_equal ? 0 : 1;
}
