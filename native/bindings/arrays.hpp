// NumPy arrays in and out.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

namespace codling {

template <typename T, std::size_t kDims>
using InputArray = nanobind::ndarray<const T, nanobind::ndim<kDims>, nanobind::c_contig, nanobind::device::cpu>;
using FloatMatrix = nanobind::ndarray<nanobind::numpy, float, nanobind::ndim<2>>;
using ByteArray = nanobind::ndarray<nanobind::numpy, std::uint8_t, nanobind::ndim<1>>;
using IdArray = nanobind::ndarray<nanobind::numpy, std::int32_t, nanobind::ndim<1>>;

// Hand the numbers over to Python, which frees them.
template <typename Array, typename T>
Array to_shaped(std::vector<T> values, std::initializer_list<std::size_t> shape) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  T* data = owned->data();
  nanobind::capsule owner(owned.get(), [](void* vector) noexcept { delete static_cast<std::vector<T>*>(vector); });
  owned.release();
  return Array(data, shape, owner);
}

inline FloatMatrix to_array(std::vector<float> values, std::size_t num_rows, std::size_t num_columns) {
  return to_shaped<FloatMatrix>(std::move(values), {num_rows, num_columns});
}

inline IdArray to_array(std::vector<std::int32_t> ids) {
  const std::size_t size = ids.size();
  return to_shaped<IdArray>(std::move(ids), {size});
}

inline ByteArray to_array(std::vector<std::byte> bytes) {
  const std::size_t size = bytes.size();
  return to_shaped<ByteArray>(std::move(bytes), {size});
}

}  // namespace codling
