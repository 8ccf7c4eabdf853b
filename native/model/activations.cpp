#include "model/activations.hpp"

#include <cstring>

namespace codling {
namespace {

template <typename T>
void grow(std::vector<T>& values, std::int64_t size) {
  if (static_cast<std::int64_t>(values.size()) < size) values.resize(size);
}

}  // namespace

void Int8Buffer::assign(const FloatBuffer& x, const Kernels& kernels, ThreadPool& pool) {
  num_tokens_ = x.num_tokens();
  num_scales_ = divide_up(x.num_columns(), kColumnsPerScale);
  stride_ = num_scales_ * kColumnsPerScale;
  grow(values_, num_tokens_ * stride_);
  grow(scales_, num_tokens_ * num_scales_);
  grow(corrections_, num_tokens_ * num_scales_);
  grow(quads_, num_tokens_ * stride_);
  grow(tile_scales_, num_tokens_ * num_scales_);
  grow(tile_corrections_, num_tokens_ * num_scales_);
  tiles_.clear();
  for (std::int64_t token = 0; token < num_tokens_; token += tiles_.back().width) {
    tiles_.push_back({token, tile_width(num_tokens_ - token, kernels.max_tile_width)});
  }
  pool.for_range(num_tiles(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) {
      const TilePlace& tile = tiles_[index];
      for (std::int64_t token = tile.first_token; token < tile.first_token + tile.width; ++token) {
        const std::int64_t scale = token * num_scales_;
        kernels.quantize(x.token(token), x.num_columns(), values_.data() + token * stride_, scales_.data() + scale,
                         corrections_.data() + scale);
      }
      if (tile.width > 1) pack(tile);
    }
  });
}

Int8Tile Int8Buffer::tile(std::int64_t index) const {
  const auto [first_token, width] = tiles_[index];
  const std::int64_t value = first_token * stride_, scale = first_token * num_scales_;
  // One token alone lies in its tile as it does by itself.
  if (width == 1) return {values_.data() + value, scales_.data() + scale, corrections_.data() + scale, width};
  return {quads_.data() + value, tile_scales_.data() + scale, tile_corrections_.data() + scale, width};
}

void Int8Buffer::pack(const TilePlace& tile) {
  std::int8_t* quads = quads_.data() + tile.first_token * stride_;
  const std::int64_t scale = tile.first_token * num_scales_;
  for (int t = 0; t < tile.width; ++t) {
    const std::int8_t* values = values_.data() + (tile.first_token + t) * stride_;
    for (std::int64_t quad = 0; quad < stride_ / kColumnsPerStep; ++quad) {
      std::memcpy(quads + (quad * tile.width + t) * kColumnsPerStep, values + quad * kColumnsPerStep, kColumnsPerStep);
    }
    for (std::int64_t index = 0; index < num_scales_; ++index) {
      tile_scales_[scale + index * tile.width + t] = scales_[scale + t * num_scales_ + index];
      tile_corrections_[scale + index * tile.width + t] = corrections_[scale + t * num_scales_ + index];
    }
  }
}

}  // namespace codling
