// The weights of a model, used where they lie in the mapped file.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "format/matrices.hpp"
#include "format/safetensors.hpp"
#include "model/config.hpp"

namespace codling {

// The linear layers of a block.
enum Projection { kQuery, kKey, kValue, kOutput, kGate, kUp, kDown };
inline constexpr int kNumProjections = 7;

// Inside `model.layers.<i>.`, in the order of `Projection`.
inline constexpr std::array<const char*, kNumProjections> kProjectionNames = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
};

struct ProjectionShape {
  std::int64_t out_dim, in_dim;
};

ProjectionShape projection_shape(const ModelConfig& config, int projection);

struct LayerWeights {
  std::array<Matrix, kNumProjections> projections;
  std::vector<float> attention_norm;
  std::vector<float> feed_forward_norm;
  // Empty where the model has none.
  std::vector<float> query_norm;
  std::vector<float> key_norm;
};

class Weights {
 public:
  // Throws InputError naming file and tensor for one that is missing, surplus, or of a shape that the config does not ask
  // for.
  Weights(const std::filesystem::path& path, const ModelConfig& config);

  const DenseView& embedding() const { return embedding_; }
  const std::vector<float>& final_norm() const { return final_norm_; }
  const LayerWeights& layer(std::int64_t index) const { return layers_[index]; }

 private:
  SafetensorsFile file_;
  // Input and output embedding in one.
  DenseView embedding_{};
  std::vector<float> final_norm_;
  std::vector<LayerWeights> layers_;
};

}  // namespace codling
