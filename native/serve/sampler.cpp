#include "serve/sampler.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "format/error.hpp"
#include "serve/noise.hpp"

namespace codling {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// The largest, in lanes that the compiler turns into vectors; NaN is never the largest.
float largest(std::span<const float> values) {
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> lanes;
  lanes.fill(kNever);
  std::size_t place = 0;
  for (; place + kLanes <= values.size(); place += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = values[place + lane] > lanes[lane] ? values[place + lane] : lanes[lane];
    }
  }
  for (; place < values.size(); ++place) lanes[0] = values[place] > lanes[0] ? values[place] : lanes[0];
  return *std::max_element(lanes.begin(), lanes.end());
}

void penalize(std::span<float> logits, std::span<const std::int32_t> tokens, double penalty) {
  for (const std::int32_t token : tokens) {
    const double logit = logits[token];
    logits[token] = static_cast<float>(logit < 0 ? logit * penalty : logit / penalty);
  }
}

void apply(std::span<const std::uint32_t> mask, std::span<float> logits) {
  for (std::size_t token = 0; token < logits.size(); ++token) {
    if (!(mask[token / 32] >> (token % 32) & 1)) logits[token] = kNever;
  }
}

// The candidate with the largest noisy score, of equal ones the first.
class Winner {
 public:
  Winner(const Noise& noise, double temperature) : noise_(noise), temperature_(temperature) {}

  void offer(float logit, std::int32_t token) {
    const double score = logit / temperature_;
    // What cannot win needs no noise, or no logarithms: for most of a vocabulary that is all there is to do.
    if (!(score + Noise::kLargest > best_)) return;
    const std::uint32_t bits = noise_.bits(token);
    if (!(score + Noise::bound(bits) > best_)) return;
    const double noisy = score + Noise::gumbel(bits);
    if (noisy > best_ || (noisy == best_ && token < token_)) {
      best_ = noisy;
      token_ = token;
    }
  }

  std::int32_t token() const { return token_; }

 private:
  const Noise& noise_;
  double temperature_;
  double best_ = -std::numeric_limits<double>::infinity();
  std::int32_t token_ = -1;
};

}  // namespace

void Sampling::check() const {
  const auto refuse = [](const std::string& what) { throw InputError("sampling: " + what); };
  if (!(temperature >= 0 && std::isfinite(temperature))) refuse("temperature " + std::to_string(temperature) + " is not a number from 0 on");
  if (top_k < 0) refuse("top_k " + std::to_string(top_k) + " is negative; 0 keeps all tokens");
  if (!(top_p > 0 && top_p <= 1)) refuse("top_p " + std::to_string(top_p) + " is not in (0, 1]; 1 keeps all tokens");
  if (!(min_p >= 0 && min_p <= 1)) refuse("min_p " + std::to_string(min_p) + " is not in [0, 1]; 0 keeps all tokens");
  if (!(repetition_penalty > 0 && std::isfinite(repetition_penalty))) {
    refuse("repetition_penalty " + std::to_string(repetition_penalty) + " is not a number above 0; 1 changes nothing");
  }
  if (num_logprobs < 0) refuse("logprobs " + std::to_string(num_logprobs) + " is negative; 0 reports none");
}

void SeenTokens::add(std::int32_t token) {
  if (is_seen_[token]) return;
  is_seen_[token] = true;
  tokens_.push_back(token);
}

void SeenTokens::truncate(std::int64_t count) {
  for (; this->count() > count; tokens_.pop_back()) is_seen_[tokens_.back()] = false;
}

Draw Sampler::draw(std::span<float> logits, std::int64_t position, const Sampling& sampling, const SeenTokens* seen,
                   std::span<const std::uint32_t> mask) {
  if (seen && sampling.repetition_penalty != 1) penalize(logits, seen->tokens(), sampling.repetition_penalty);
  if (!mask.empty()) apply(mask, logits);
  const float top = largest(logits);
  if (top == kNever) throw InputError(mask.empty() ? "the model gives no token a finite score" : "the mask allows no token");
  const auto best = static_cast<std::int32_t>(std::find(logits.begin(), logits.end(), top) - logits.begin());

  Draw draw{best};
  if (sampling.temperature > 0) {
    const Noise noise(sampling.seed, position);
    Winner winner(noise, sampling.temperature);
    // First, so that most of the others are out at once.
    winner.offer(top, best);
    const bool has_top_k = sampling.top_k > 0 && sampling.top_k < static_cast<std::int64_t>(logits.size());
    const double least = top + sampling.temperature * std::log(sampling.min_p);
    if (has_top_k || sampling.top_p < 1) {
      collect(logits);
      if (has_top_k) keep_best(sampling.top_k);
      if (sampling.top_p < 1) keep_mass(sampling.top_p, sampling.temperature);
      for (const Candidate& one : candidates_) {
        if (one.logit >= least) winner.offer(one.logit, one.token);
      }
    } else {
      for (std::size_t token = 0; token < logits.size(); ++token) {
        if (logits[token] >= least) winner.offer(logits[token], static_cast<std::int32_t>(token));
      }
    }
    draw.token = winner.token();
  }
  if (sampling.num_logprobs > 0) report(logits, sampling.num_logprobs, draw);
  return draw;
}

void Sampler::collect(std::span<const float> logits) {
  candidates_.clear();
  for (std::size_t token = 0; token < logits.size(); ++token) {
    if (logits[token] > kNever) candidates_.push_back({logits[token], static_cast<std::int32_t>(token)});
  }
}

void Sampler::keep_best(std::int64_t count) {
  if (count >= static_cast<std::int64_t>(candidates_.size())) return;
  std::partial_sort(candidates_.begin(), candidates_.begin() + count, candidates_.end(), is_before);
  candidates_.resize(count);
}

void Sampler::keep_mass(double top_p, double temperature) {
  const float top = std::min_element(candidates_.begin(), candidates_.end(), is_before)->logit;
  const auto weight = [&](const Candidate& one) { return std::exp(static_cast<float>((one.logit - top) / temperature)); };
  double total = 0;
  for (const Candidate& one : candidates_) total += weight(one);
  // A heap whose best moves to the back, one by one: only what is kept gets sorted.
  const auto is_after = [](const Candidate& left, const Candidate& right) { return is_before(right, left); };
  std::make_heap(candidates_.begin(), candidates_.end(), is_after);
  auto first_kept = candidates_.end();
  for (double mass = 0; mass < top_p * total && first_kept != candidates_.begin(); mass += weight(*first_kept)) {
    std::pop_heap(candidates_.begin(), first_kept--, is_after);
  }
  candidates_.erase(candidates_.begin(), first_kept);
}

void Sampler::report(std::span<const float> logits, std::int64_t count, Draw& draw) {
  collect(logits);
  keep_best(count);
  std::sort(candidates_.begin(), candidates_.end(), is_before);
  const float top = candidates_.front().logit;
  double total = 0;
  for (const float logit : logits) total += std::exp(logit - top);
  const double log_total = top + std::log(total);
  draw.logprob = static_cast<float>(logits[draw.token] - log_total);
  for (const Candidate& one : candidates_) draw.best.push_back({one.token, static_cast<float>(one.logit - log_total)});
}

}  // namespace codling
