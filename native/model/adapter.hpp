// A low-rank adapter, applied beside the weights: y = W x + B (A x). Loading one is mapping its file.
#pragma once

#include <array>
#include <filesystem>
#include <vector>

#include "format/safetensors.hpp"
#include "model/weights.hpp"

namespace codling {

struct LowRank {
  // A, [rank, in_dim]
  DenseView down;
  // B, [out_dim, rank]
  DenseView up;
};

class Adapter {
 public:
  // Reads the `adapter_model.safetensors` of the PEFT library, whose scale is one (lora_alpha = r).
  // Throws InputError naming file and tensor for one that is missing, surplus or of another shape.
  Adapter(const std::filesystem::path& path, const ModelConfig& config, std::int64_t rank);

  const LowRank& at(std::int64_t layer, int projection) const { return layers_[layer][projection]; }
  std::int64_t rank() const { return rank_; }

 private:
  SafetensorsFile file_;
  std::int64_t rank_;
  std::vector<std::array<LowRank, kNumProjections>> layers_;
};

}  // namespace codling
