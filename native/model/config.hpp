// Everything that fixes the shapes and the function of a model, except its weights.
#pragma once

#include <cstdint>
#include <filesystem>

namespace codling {

struct ModelConfig {
  std::int64_t vocab_size;
  std::int64_t model_dim;
  std::int64_t ffn_dim;
  std::int64_t num_layers;
  std::int64_t num_query_heads;
  std::int64_t num_kv_heads;
  std::int64_t head_dim;
  std::int64_t context_length_tokens;
  float rope_theta;
  float norm_epsilon;
  // RMS norm of each query and key head before RoPE: Qwen3 has it, Llama has not.
  bool query_key_norm;
};

// Reads a `config.json` in the Hugging Face layout, by the rules of `codling.artifact.hf.model_config`.
// Throws InputError naming the file for another architecture, a feature that we do not have, and sizes that do not fit.
ModelConfig read_config(const std::filesystem::path& path);

}  // namespace codling
