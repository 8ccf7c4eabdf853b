#include "model/adapter.hpp"

#include <string>

#include "format/error.hpp"

namespace codling {

Adapter::Adapter(const std::filesystem::path& path, const ModelConfig& config, std::int64_t rank) : file_(path), rank_(rank) {
  if (rank < 1 || rank > config.model_dim) throw InputError(file_.path() + ": rank " + std::to_string(rank) + " does not fit the model");
  const MatrixFile matrices(file_);
  const auto take = [&](const std::string& name, std::int64_t num_rows, std::int64_t num_columns) {
    const Matrix matrix = matrices.matrix(name, num_rows, num_columns);
    const DenseView* view = std::get_if<DenseView>(&matrix);
    if (!view) throw InputError(file_.path() + ": tensor '" + name + "' is palettized; an adapter is dense");
    return *view;
  };
  for (std::int64_t index = 0; index < config.num_layers; ++index) {
    auto& layer = layers_.emplace_back();
    for (int projection = 0; projection < kNumProjections; ++projection) {
      const ProjectionShape shape = projection_shape(config, projection);
      const std::string prefix =
          "base_model.model.model.layers." + std::to_string(index) + "." + kProjectionNames[projection] + ".lora_";
      layer[projection] = {take(prefix + "A.weight", rank, shape.in_dim), take(prefix + "B.weight", shape.out_dim, rank)};
    }
  }
  const std::size_t expected = static_cast<std::size_t>(config.num_layers) * kNumProjections * 2;
  if (matrices.names().size() != expected) {
    throw InputError(file_.path() + ": has " + std::to_string(matrices.names().size()) + " tensors, an adapter of this model has " +
                     std::to_string(expected));
  }
}

}  // namespace codling
