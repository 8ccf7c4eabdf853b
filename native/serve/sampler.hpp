// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace codling {

// How tokens are drawn. In this order: repetition penalty, mask, temperature, top-k, top-p, min-p.
struct Sampling {
  // Divides the logits; 0 takes the first of the most likely.
  double temperature = 0;
  // The most likely so many; 0 for all.
  std::int64_t top_k = 0;
  // Of these the fewest, best first, whose probabilities reach top_p.
  double top_p = 1;
  // Of these the ones that are at least min_p times as likely as the best.
  double min_p = 0;
  // Divides positive logits of tokens that were there before, multiplies negative ones.
  double repetition_penalty = 1;
  std::uint64_t seed = 0;
  // How many of the best are reported; 0 computes no log-probabilities at all.
  std::int64_t num_logprobs = 0;

  // Throws InputError for what no token can be drawn by.
  void check() const;
};

struct TokenLogprob {
  std::int32_t token;
  float logprob;
};

struct Draw {
  std::int32_t token;
  // Before temperature and filters, after penalty and mask; zero, and no `best`, where they were not asked for.
  float logprob = 0;
  std::vector<TokenLogprob> best{};
};

// The distinct tokens of a sequence, in the order of their first place.
class SeenTokens {
 public:
  explicit SeenTokens(std::int64_t vocab_size) : is_seen_(vocab_size) {}

  void add(std::int32_t token);
  std::int64_t count() const { return static_cast<std::int64_t>(tokens_.size()); }
  // Forgets all but the first `count`.
  void truncate(std::int64_t count);
  std::span<const std::int32_t> tokens() const { return tokens_; }

 private:
  std::vector<bool> is_seen_;
  std::vector<std::int32_t> tokens_;
};

class Sampler {
 public:
  // Draws the token for `position` of its sequence. Changes the logits: they are penalized and masked in place.
  // `seen`: what the repetition penalty is for, or null. `mask`: bit t % 32 of word t / 32 allows token t; empty allows all.
  // Throws InputError if no token is left, as with a mask that allows none.
  Draw draw(std::span<float> logits, std::int64_t position, const Sampling& sampling, const SeenTokens* seen,
            std::span<const std::uint32_t> mask);

 private:
  struct Candidate {
    float logit;
    std::int32_t token;
  };

  // Likelier first, of equally likely ones the first.
  static bool is_before(const Candidate& left, const Candidate& right) {
    return left.logit != right.logit ? left.logit > right.logit : left.token < right.token;
  }

  void collect(std::span<const float> logits);
  void keep_best(std::int64_t count);
  void keep_mass(double top_p, double temperature);
  void report(std::span<const float> logits, std::int64_t count, Draw& draw);

  std::vector<Candidate> candidates_;
};

}  // namespace codling
