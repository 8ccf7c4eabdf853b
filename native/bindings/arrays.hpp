// NumPy arrays in and out.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace codling {

template <typename T, std::size_t kDims>
using InputArray = nanobind::ndarray<const T, nanobind::ndim<kDims>, nanobind::c_contig, nanobind::device::cpu>;
using FloatMatrix = nanobind::ndarray<nanobind::numpy, float, nanobind::ndim<2>>;

// Hands the numbers over to Python, which frees them.
inline FloatMatrix to_array(std::vector<float> values, std::size_t num_rows, std::size_t num_columns) {
  auto owned = std::make_unique<std::vector<float>>(std::move(values));
  float* data = owned->data();
  nanobind::capsule owner(owned.get(), [](void* vector) noexcept { delete static_cast<std::vector<float>*>(vector); });
  owned.release();
  return FloatMatrix(data, {num_rows, num_columns}, owner);
}

}  // namespace codling
