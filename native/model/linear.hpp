// Matrix products of all tokens of a run, adapters included.
#pragma once

#include <span>
#include <vector>

#include "kernels/kernels.hpp"
#include "model/activations.hpp"
#include "model/adapter.hpp"
#include "threads/pool.hpp"

namespace codling {

// Neighboring tokens of a run that share an adapter.
struct AdaptedTokens {
  std::int64_t first;
  std::int64_t count;
  const Adapter* adapter;
};

// One product: output = matrix * input, and the adapters' part of it.
struct Product {
  const Matrix* matrix;
  FloatBuffer* output;
  int projection;
};

class Linear {
 public:
  // `rounds` says whether activations are rounded to int8 for palettized and int8 weights.
  Linear(const Kernels& kernels, ThreadPool& pool, bool rounds) : kernels_(kernels), pool_(pool), rounds_(rounds) {}

  // Several products of the same input, in one go over the threads.
  void multiply(const FloatBuffer& input, std::span<const Product> products, std::span<const AdaptedTokens> adapted, std::int64_t layer);
  // The output embedding.
  void multiply_embedding(const FloatBuffer& input, const DenseView& embedding, const Outputs& out);

 private:
  // A x of one adapter for the product of this index.
  struct Reduced {
    const AdaptedTokens* tokens;
    std::size_t product;
    const LowRank* low_rank;
    FloatBuffer values;
  };

  void multiply_rows(const Matrix& matrix, const FloatBuffer& input, std::int64_t first, std::int64_t last, const Outputs& out) const;
  void multiply_blocks(const PaletteView& matrix, const FloatBuffer& input, std::int64_t first, std::int64_t last, const Outputs& out) const;
  void reduce(const FloatBuffer& input, std::span<const Product> products, std::span<const AdaptedTokens> adapted, std::int64_t layer);

  const Kernels& kernels_;
  ThreadPool& pool_;
  bool rounds_;
  Int8Buffer rounded_;
  std::vector<Reduced> reduced_;
};

}  // namespace codling
