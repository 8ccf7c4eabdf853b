// What flows between layers: float tokens, and the same rounded to int8.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.hpp"
#include "threads/pool.hpp"

namespace codling {

// Tokens of a fixed width, padded as kernels want them. Kernels never write the padding, so it stays zero.
class FloatBuffer {
 public:
  explicit FloatBuffer(std::int64_t num_columns) : num_columns_(num_columns), stride_(round_up(num_columns, kColumnPadding)) {}

  void resize(std::int64_t num_tokens) {
    num_tokens_ = num_tokens;
    if (static_cast<std::int64_t>(values_.size()) < num_tokens * stride_) values_.resize(num_tokens * stride_);
  }

  float* token(std::int64_t index) { return values_.data() + index * stride_; }
  const float* token(std::int64_t index) const { return values_.data() + index * stride_; }
  std::int64_t num_columns() const { return num_columns_; }
  std::int64_t num_tokens() const { return num_tokens_; }
  std::int64_t stride() const { return stride_; }
  FloatTokens tokens(std::int64_t first, std::int64_t count) const { return {token(first), stride_, count}; }
  Outputs outputs() { return {values_.data(), stride_}; }

 private:
  std::int64_t num_columns_, stride_, num_tokens_ = 0;
  std::vector<float> values_;
};

class Int8Buffer {
 public:
  // Rounds all tokens of `x`.
  void assign(const FloatBuffer& x, const Kernels& kernels, ThreadPool& pool);

  Int8Tokens tokens() const {
    return {values_.data(), scales_.data(), corrections_.data(), stride_, num_scales_, num_tokens_};
  }
  std::int64_t num_tiles() const { return static_cast<std::int64_t>(tiles_.size()); }
  Int8Tile tile(std::int64_t index) const;
  std::int64_t first_token(std::int64_t tile) const { return tiles_[tile].first_token; }

 private:
  struct TilePlace {
    std::int64_t first_token;
    int width;
  };

  void pack(const TilePlace& tile);

  std::int64_t num_tokens_ = 0, num_scales_ = 0, stride_ = 0;
  // Token after token.
  std::vector<std::int8_t> values_;
  std::vector<float> scales_;
  std::vector<std::int32_t> corrections_;
  // The same, tile after tile.
  std::vector<TilePlace> tiles_;
  std::vector<std::int8_t> quads_;
  std::vector<float> tile_scales_;
  std::vector<std::int32_t> tile_corrections_;
};

}  // namespace codling
