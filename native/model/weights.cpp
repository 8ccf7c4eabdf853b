#include "model/weights.hpp"

#include <set>

#include "format/error.hpp"

namespace codling {
namespace {

const std::string kEmbedding = "model.embed_tokens.weight";
const std::string kFinalNorm = "model.norm.weight";
// The output embedding, where a writer repeats it.
const std::string kHead = "lm_head.weight";

// Hands out the tensors of a file by name, and knows which nobody asked for.
class Taker {
 public:
  explicit Taker(const SafetensorsFile& file) : file_(file), left_(file_.names()) {}

  Matrix matrix(const std::string& name, const ProjectionShape& shape) {
    left_.erase(name);
    return file_.matrix(name, shape.out_dim, shape.in_dim);
  }

  std::vector<float> vector(const std::string& name, std::int64_t size) {
    left_.erase(name);
    return file_.vector(name, size);
  }

  const std::set<std::string>& left() const { return left_; }

 private:
  MatrixFile file_;
  std::set<std::string> left_;
};

LayerWeights take_layer(Taker& taker, const ModelConfig& config, std::int64_t index) {
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  LayerWeights layer;
  for (int projection = 0; projection < kNumProjections; ++projection) {
    const std::string name = prefix + kProjectionNames[projection] + ".weight";
    layer.projections[projection] = taker.matrix(name, projection_shape(config, projection));
  }
  layer.attention_norm = taker.vector(prefix + "input_layernorm.weight", config.model_dim);
  layer.feed_forward_norm = taker.vector(prefix + "post_attention_layernorm.weight", config.model_dim);
  if (config.query_key_norm) {
    layer.query_norm = taker.vector(prefix + "self_attn.q_norm.weight", config.head_dim);
    layer.key_norm = taker.vector(prefix + "self_attn.k_norm.weight", config.head_dim);
  }
  return layer;
}

}  // namespace

ProjectionShape projection_shape(const ModelConfig& config, int projection) {
  const std::int64_t queries = config.num_query_heads * config.head_dim, keys = config.num_kv_heads * config.head_dim;
  switch (projection) {
    case kQuery:
      return {queries, config.model_dim};
    case kKey:
    case kValue:
      return {keys, config.model_dim};
    case kOutput:
      return {config.model_dim, queries};
    case kDown:
      return {config.model_dim, config.ffn_dim};
    default:
      return {config.ffn_dim, config.model_dim};
  }
}

Weights::Weights(const std::filesystem::path& path, const ModelConfig& config) : file_(path) {
  Taker taker(file_);
  const Matrix embedding = taker.matrix(kEmbedding, {config.vocab_size, config.model_dim});
  const DenseView* rows = std::get_if<DenseView>(&embedding);
  if (!rows) throw InputError(file_.path() + ": tensor '" + kEmbedding + "' is palettized; an embedding is int8 or dense");
  embedding_ = *rows;
  final_norm_ = taker.vector(kFinalNorm, config.model_dim);
  for (std::int64_t index = 0; index < config.num_layers; ++index) layers_.push_back(take_layer(taker, config, index));
  for (const std::string& name : taker.left()) {
    if (name != kHead) throw InputError(file_.path() + ": tensor '" + name + "' belongs to no part of this model");
  }
}

}  // namespace codling
