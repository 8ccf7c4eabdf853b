#include "model/model.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "format/error.hpp"
#include "kernels/half.hpp"

namespace codling {
namespace {

void copy_row(const DenseView& matrix, std::int64_t row, float* out) {
  const std::int64_t begin = row * matrix.num_columns;
  for (std::int64_t column = 0; column < matrix.num_columns; ++column) {
    switch (matrix.type) {
      case DenseType::kF32:
        out[column] = static_cast<const float*>(matrix.values)[begin + column];
        break;
      case DenseType::kF16:
        out[column] = half_to_float(static_cast<const std::uint16_t*>(matrix.values)[begin + column]);
        break;
      case DenseType::kBF16:
        out[column] = bfloat16_to_float(static_cast<const std::uint16_t*>(matrix.values)[begin + column]);
        break;
      case DenseType::kI8:
        out[column] = static_cast<const std::int8_t*>(matrix.values)[begin + column] * matrix.row_scales[row];
        break;
    }
  }
}

}  // namespace

Model::Model(const std::filesystem::path& config, const std::filesystem::path& weights, const ModelOptions& options)
    : config_(read_config(config)),
      weights_(weights, config_),
      kernels_(choose_kernels(options.kernels)),
      pool_(options.num_threads),
      linear_(kernels_, pool_, options.rounds_activations),
      page_pool_(KvLayout(options.kv_type, config_), options.kv_limit_bytes),
      attention_(config_, options.kv_type, kernels_, pool_),
      stream_(config_.model_dim),
      normed_(config_.model_dim),
      queries_(config_.num_query_heads * config_.head_dim),
      keys_(config_.num_kv_heads * config_.head_dim),
      values_(config_.num_kv_heads * config_.head_dim),
      attended_(config_.num_query_heads * config_.head_dim),
      gate_(config_.ffn_dim),
      up_(config_.ffn_dim),
      update_(config_.model_dim),
      cosine_(config_.head_dim / 2),
      sine_(config_.head_dim / 2),
      last_(config_.model_dim) {
  for (std::int64_t index = 0; index < config_.head_dim; index += 2) {
    frequencies_.push_back(std::pow(config_.rope_theta, -static_cast<float>(index) / static_cast<float>(config_.head_dim)));
  }
}

void Model::run(std::span<const Segment> segments, std::span<float> logits) {
  const std::lock_guard lock(mutex_);
  check(segments);
  reserve(segments);
  begin(segments);
  embed(segments);
  for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) run_layer(layer);
  write_logits(segments, logits);
  for (const Segment& segment : segments) {
    segment.cache->advance(static_cast<std::int64_t>(segment.tokens.size()));
    segment.cache->release();
  }
}

void Model::write_logits(std::span<const Segment> segments, std::span<float> logits) {
  std::int64_t num_logits = 0, end = 0, row = 0;
  for (const Segment& segment : segments) num_logits += segment.num_logits;
  if (num_logits == 0) return;
  last_.resize(num_logits);
  for (const Segment& segment : segments) {
    end += static_cast<std::int64_t>(segment.tokens.size());
    for (std::int64_t token = end - segment.num_logits; token < end; ++token, ++row) {
      std::copy_n(normed_.token(token), config_.model_dim, last_.token(row));
    }
  }
  linear_.multiply_embedding(last_, weights_.embedding(), {logits.data(), config_.vocab_size});
}

void Model::check(std::span<const Segment> segments) const {
  std::set<const KvCache*> caches;
  for (const Segment& segment : segments) {
    if (!caches.insert(segment.cache).second) throw InputError("two segments of a run share a cache");
    if (!segment.cache->belongs_to(page_pool_)) throw InputError("a segment has the cache of another model");
    if (segment.tokens.empty()) throw InputError("a segment has no tokens; there is nothing to run");
    if (segment.num_logits < 0 || segment.num_logits > static_cast<std::int64_t>(segment.tokens.size())) {
      throw InputError(std::to_string(segment.num_logits) + " logits are wanted of a segment of " + std::to_string(segment.tokens.size()) +
                       " tokens");
    }
    if (segment.num_kept < 0 || segment.num_kept > segment.cache->num_tokens()) {
      throw InputError("a segment is to follow " + std::to_string(segment.num_kept) + " tokens, its cache has " +
                       std::to_string(segment.cache->num_tokens()));
    }
    const auto num_tokens = segment.num_kept + static_cast<std::int64_t>(segment.tokens.size());
    if (num_tokens > config_.context_length_tokens) {
      throw InputError("the sequence would have " + std::to_string(num_tokens) + " tokens, the context of this model holds " +
                       std::to_string(config_.context_length_tokens));
    }
    check_tokens(segment.tokens);
  }
}

void Model::check_tokens(std::span<const std::int32_t> tokens) const {
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= config_.vocab_size) {
      throw InputError("token " + std::to_string(token) + " is not in the vocabulary of " + std::to_string(config_.vocab_size));
    }
  }
}

void Model::reserve(std::span<const Segment> segments) const {
  try {
    for (const Segment& segment : segments) {
      segment.cache->reserve(segment.num_kept, segment.num_kept + static_cast<std::int64_t>(segment.tokens.size()));
    }
  } catch (...) {
    // What this run cannot use, others may.
    for (const Segment& segment : segments) segment.cache->release();
    throw;
  }
}

void Model::begin(std::span<const Segment> segments) {
  places_.clear();
  parts_.clear();
  adapted_.clear();
  for (const Segment& segment : segments) {
    const auto count = static_cast<std::int64_t>(segment.tokens.size()), first = static_cast<std::int64_t>(places_.size());
    for (std::int64_t index = 0; index < count; ++index) places_.push_back({segment.cache, segment.num_kept + index});
    parts_.push_back({segment.cache, first, count, segment.num_kept});
    adapted_.push_back({first, count, segment.adapter});
  }
  const auto num_tokens = static_cast<std::int64_t>(places_.size());
  for (FloatBuffer* buffer : {&stream_, &normed_, &queries_, &keys_, &values_, &attended_, &gate_, &up_, &update_, &cosine_, &sine_}) {
    buffer->resize(num_tokens);
  }
  attention_.plan(parts_);
  // After all that can fail: a run that never began has changed nothing.
  for (const Segment& segment : segments) segment.cache->truncate(segment.num_kept);
  for (std::int64_t token = 0; token < num_tokens; ++token) {
    for (std::size_t index = 0; index < frequencies_.size(); ++index) {
      const float angle = static_cast<float>(places_[token].position) * frequencies_[index];
      cosine_.token(token)[index] = std::cos(angle);
      sine_.token(token)[index] = std::sin(angle);
    }
  }
}

void Model::embed(std::span<const Segment> segments) {
  std::int64_t place = 0;
  for (const Segment& segment : segments) {
    for (const std::int32_t token : segment.tokens) {
      float* row = stream_.token(place);
      copy_row(weights_.embedding(), token, row);
      kernels_.rms_norm(row, weights_.layer(0).attention_norm.data(), config_.norm_epsilon, config_.model_dim, normed_.token(place));
      ++place;
    }
  }
}

void Model::run_layer(std::int64_t layer) {
  const LayerWeights& weights = weights_.layer(layer);
  const auto product = [&](int projection, FloatBuffer& output) {
    return Product{&weights.projections[projection], &output, projection};
  };
  const Product from_stream[] = {product(kQuery, queries_), product(kKey, keys_), product(kValue, values_)};
  linear_.multiply(normed_, from_stream, adapted_, layer);
  rotate_and_store(layer);
  attention_.run(layer, queries_, attended_);
  const Product from_heads[] = {product(kOutput, update_)};
  linear_.multiply(attended_, from_heads, adapted_, layer);
  add_update(weights.feed_forward_norm);

  const Product to_units[] = {product(kGate, gate_), product(kUp, up_)};
  linear_.multiply(normed_, to_units, adapted_, layer);
  pool_.for_range(gate_.num_tokens(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) kernels_.swiglu(gate_.token(token), up_.token(token), config_.ffn_dim);
  });
  const Product from_units[] = {product(kDown, update_)};
  linear_.multiply(gate_, from_units, adapted_, layer);
  add_update(layer + 1 < config_.num_layers ? weights_.layer(layer + 1).attention_norm : weights_.final_norm());
}

void Model::rotate_and_store(std::int64_t layer) {
  const LayerWeights& weights = weights_.layer(layer);
  const float scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim));
  const auto turn = [&](float* head, const std::vector<float>& norm, std::int64_t token) {
    if (!norm.empty()) kernels_.rms_norm(head, norm.data(), config_.norm_epsilon, config_.head_dim, head);
    kernels_.rotate(head, cosine_.token(token), sine_.token(token), config_.head_dim);
  };
  pool_.for_range(queries_.num_tokens(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) {
      float* queries = queries_.token(token);
      for (std::int64_t head = 0; head < config_.num_query_heads; ++head) turn(queries + head * config_.head_dim, weights.query_norm, token);
      for (std::int64_t index = 0; index < queries_.num_columns(); ++index) queries[index] *= scale;
      attention_.take_query(token, queries);
      for (std::int64_t head = 0; head < config_.num_kv_heads; ++head) {
        float* key = keys_.token(token) + head * config_.head_dim;
        turn(key, weights.key_norm, token);
        const TokenPlace& place = places_[token];
        place.cache->write(layer, head, place.position, key, values_.token(token) + head * config_.head_dim, kernels_);
      }
    }
  });
}

void Model::add_update(const std::vector<float>& next_norm) {
  pool_.for_range(stream_.num_tokens(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) {
      kernels_.add(stream_.token(token), update_.token(token), config_.model_dim);
      kernels_.rms_norm(stream_.token(token), next_norm.data(), config_.norm_epsilon, config_.model_dim, normed_.token(token));
    }
  });
}

}  // namespace codling
