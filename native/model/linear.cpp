#include "model/linear.hpp"

#include <algorithm>

namespace codling {
namespace {

// The smallest piece of the embedding that a thread takes.
constexpr std::int64_t kEmbeddingRows = 64;
// Of weights that meet one tile of tokens after the other: they stay in the second-level cache meanwhile.
constexpr std::int64_t kBytesInCache = 1 << 19;
// Of the first product of an adapter, which alone is too short for more.
constexpr std::int64_t kPartsOfRank = 4;

bool is_rounded_for(const Matrix& matrix) {
  const DenseView* dense = std::get_if<DenseView>(&matrix);
  return !dense || dense->type == DenseType::kI8;
}

}  // namespace

void Linear::multiply(const FloatBuffer& input, std::span<const Product> products, std::span<const AdaptedTokens> adapted,
                      std::int64_t layer) {
  if (rounds_ && std::any_of(products.begin(), products.end(), [](const Product& one) { return is_rounded_for(*one.matrix); })) {
    rounded_.assign(input, kernels_, pool_);
  }
  reduce(input, products, adapted, layer);
  // All blocks of all products, one after the other.
  std::int64_t num_blocks = 0;
  for (const Product& product : products) num_blocks += divide_up(num_rows(*product.matrix), kRowsPerBlock);
  const std::int64_t piece = std::max(kLeastProducts / (kRowsPerBlock * input.num_columns() * input.num_tokens()), std::int64_t{1});
  pool_.for_range(num_blocks, piece, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t start = 0;
    for (std::size_t index = 0; index < products.size(); ++index) {
      const std::int64_t rows = num_rows(*products[index].matrix), blocks = divide_up(rows, kRowsPerBlock);
      const std::int64_t first_block = std::max(begin - start, std::int64_t{0}), last_block = std::min(end - start, blocks);
      start += blocks;
      if (first_block >= last_block) continue;
      const std::int64_t first = first_block * kRowsPerBlock, last = std::min(last_block * kRowsPerBlock, rows);
      const Outputs out = products[index].output->outputs();
      multiply_rows(*products[index].matrix, input, first, last, out);
      for (const Reduced& one : reduced_) {
        if (one.product != index) continue;
        const FloatTokens values = one.values.tokens(0, one.tokens->count);
        kernels_.dense(one.low_rank->up, values, first, last, {out.values + one.tokens->first * out.stride, out.stride}, true);
      }
    }
  });
}

void Linear::reduce(const FloatBuffer& input, std::span<const Product> products, std::span<const AdaptedTokens> adapted,
                    std::int64_t layer) {
  reduced_.clear();
  for (const AdaptedTokens& tokens : adapted) {
    if (!tokens.adapter) continue;
    for (std::size_t index = 0; index < products.size(); ++index) {
      const LowRank& low_rank = tokens.adapter->at(layer, products[index].projection);
      reduced_.push_back({&tokens, index, &low_rank, FloatBuffer(tokens.adapter->rank())});
      reduced_.back().values.resize(tokens.count);
    }
  }
  const auto num_parts = static_cast<std::int64_t>(reduced_.size()) * kPartsOfRank;
  pool_.for_range(num_parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) {
      Reduced& one = reduced_[index / kPartsOfRank];
      const std::int64_t part = index % kPartsOfRank, rank = one.low_rank->down.num_rows;
      kernels_.dense(one.low_rank->down, input.tokens(one.tokens->first, one.tokens->count), rank * part / kPartsOfRank,
                     rank * (part + 1) / kPartsOfRank, one.values.outputs(), false);
    }
  });
}

void Linear::multiply_embedding(const FloatBuffer& input, const DenseView& embedding, const Outputs& out) {
  const Matrix matrix = embedding;
  if (rounds_ && is_rounded_for(matrix)) rounded_.assign(input, kernels_, pool_);
  pool_.for_range(embedding.num_rows, kEmbeddingRows,
                  [&](std::int64_t begin, std::int64_t end) { multiply_rows(matrix, input, begin, end, out); });
}

void Linear::multiply_rows(const Matrix& matrix, const FloatBuffer& input, std::int64_t first, std::int64_t last, const Outputs& out) const {
  if (const PaletteView* palette = std::get_if<PaletteView>(&matrix)) {
    return multiply_blocks(*palette, input, first / kRowsPerBlock, divide_up(last, kRowsPerBlock), out);
  }
  const DenseView& dense = std::get<DenseView>(matrix);
  if (rounds_ && dense.type == DenseType::kI8) return kernels_.int8_rows(dense, rounded_.tokens(), first, last, out);
  kernels_.dense(dense, input.tokens(0, input.num_tokens()), first, last, out, false);
}

void Linear::multiply_blocks(const PaletteView& matrix, const FloatBuffer& input, std::int64_t first, std::int64_t last,
                             const Outputs& out) const {
  if (!rounds_) return kernels_.palette_float(matrix, input.tokens(0, input.num_tokens()), first, last, out);
  const std::int64_t blocks_in_cache = std::max(kBytesInCache / (matrix.chunks_per_block() * kChunkBytes), std::int64_t{1});
  for (std::int64_t begin = first; begin < last; begin += blocks_in_cache) {
    for (std::int64_t index = 0; index < rounded_.num_tiles(); ++index) {
      const Outputs of_tile{out.values + rounded_.first_token(index) * out.stride, out.stride};
      kernels_.palette_int8(matrix, rounded_.tile(index), begin, std::min(begin + blocks_in_cache, last), of_tile);
    }
  }
}

}  // namespace codling
