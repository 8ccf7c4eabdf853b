// The language model: tokens in, logits of the next one out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.hpp"
#include "model/activations.hpp"
#include "model/adapter.hpp"
#include "model/attention.hpp"
#include "model/config.hpp"
#include "model/kv_cache.hpp"
#include "model/linear.hpp"
#include "model/page_pool.hpp"
#include "model/weights.hpp"
#include "threads/pool.hpp"

namespace codling {

struct ModelOptions {
  int num_threads;
  // Of a set of kernels; empty for the fastest that runs here.
  std::string kernels;
  // Whether activations are rounded to int8 for palettized and int8 weights.
  bool rounds_activations;
  KvType kv_type = KvType::kI8;
  // Of the keys and values of all sequences; 0 for no limit.
  std::int64_t kv_limit_bytes = 0;
};

// The next tokens of one sequence.
struct Segment {
  KvCache* cache;
  // Tokens of the cache that these follow; those after them are forgotten.
  std::int64_t num_kept;
  std::span<const std::int32_t> tokens;
  // Or null.
  const Adapter* adapter;
  // Of the segment's last tokens: how many logits are wanted after. Pieces of a prompt but the last want none.
  std::int64_t num_logits = 1;
};

class Model {
 public:
  // Throws InputError for files that are missing, damaged or do not fit each other, and for kernels that cannot run here.
  Model(const std::filesystem::path& config, const std::filesystem::path& weights, const ModelOptions& options);

  const ModelConfig& config() const { return config_; }
  const Kernels& kernels() const { return kernels_; }
  // Where the caches of its sequences take their pages.
  PagePool& page_pool() { return page_pool_; }
  const PagePool& page_pool() const { return page_pool_; }

  // Throws InputError for one that is outside of the vocabulary.
  void check_tokens(std::span<const std::int32_t> tokens) const;
  // Runs all segments together, and writes the logits after the last `num_logits` tokens of each, one segment after the
  // other: [sum of num_logits, vocab_size].
  // What a segment gets does not depend on the others. May be called by any thread; one run at a time.
  // Throws InputError, before anything has changed, for tokens outside of the vocabulary, a segment without tokens or with
  // more than its context holds, more logits than tokens, a cache that two segments share or that is
  // another model's, and a full page pool.
  void run(std::span<const Segment> segments, std::span<float> logits);

 private:
  void check(std::span<const Segment> segments) const;
  void reserve(std::span<const Segment> segments) const;
  void begin(std::span<const Segment> segments);
  // The stream's beginning, and what the first layer takes of it.
  void embed(std::span<const Segment> segments);
  void run_layer(std::int64_t layer);
  void write_logits(std::span<const Segment> segments, std::span<float> logits);
  void rotate_and_store(std::int64_t layer);
  // Adds the update to the stream, and normalizes it for what comes next.
  void add_update(const std::vector<float>& next_norm);

  ModelConfig config_;
  Weights weights_;
  const Kernels& kernels_;
  ThreadPool pool_;
  Linear linear_;
  PagePool page_pool_;
  Attention attention_;
  // theta^(-2i / head_dim)
  std::vector<float> frequencies_;

  std::mutex mutex_;
  // Of the run: which token belongs where, and what flows.
  struct TokenPlace {
    KvCache* cache;
    std::int64_t position;
  };
  std::vector<TokenPlace> places_;
  std::vector<SequencePart> parts_;
  std::vector<AdaptedTokens> adapted_;
  FloatBuffer stream_, normed_, queries_, keys_, values_, attended_, gate_, up_, update_, cosine_, sine_, last_;
};

}  // namespace codling
