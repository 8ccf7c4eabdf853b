#include "bindings/memory.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "bindings/arrays.hpp"
#include "kernels/prefetch.hpp"
#include "threads/pool.hpp"

#ifdef CODLING_X86_64
#include <immintrin.h>
#endif

namespace nb = nanobind;

namespace codling {
namespace {

// Pieces that threads take: large enough that taking one costs nothing, small enough that none is left waiting long.
constexpr std::int64_t kNumbersPerPiece = 1 << 16;

// Sums modulo 2^64. More than one sum at a time, as an addition waits for the one before it.
std::uint64_t sum_plain(const std::uint64_t* values, std::int64_t count) {
  constexpr std::int64_t kLanes = 16;
  std::uint64_t sums[kLanes] = {};
  std::int64_t index = 0;
  for (; index + kLanes <= count; index += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += values[index + lane];
  }
  for (; index < count; ++index) sums[0] += values[index];
  std::uint64_t total = 0;
  for (const std::uint64_t sum : sums) total += sum;
  return total;
}

#ifdef CODLING_X86_64
__attribute__((target("avx2"))) std::uint64_t sum_avx2(const std::uint64_t* values, std::int64_t count) {
  constexpr std::int64_t kNumbers = 4, kRegisters = 8;
  __m256i sums[kRegisters];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  std::int64_t index = 0;
  for (; index + kRegisters * kNumbers <= count; index += kRegisters * kNumbers) {
#pragma GCC unroll 8
    for (std::int64_t place = 0; place < kRegisters; ++place) {
      const auto* from = reinterpret_cast<const __m256i*>(values + index + place * kNumbers);
      if (place % 2 == 0) fetch_ahead(from);
      sums[place] = _mm256_add_epi64(sums[place], _mm256_loadu_si256(from));
    }
  }
  std::uint64_t lanes[kRegisters * kNumbers];
  for (std::int64_t place = 0; place < kRegisters; ++place) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes + place * kNumbers), sums[place]);
  }
  return sum_plain(lanes, kRegisters * kNumbers) + sum_plain(values + index, count - index);
}

__attribute__((target("avx512f"))) std::uint64_t sum_avx512(const std::uint64_t* values, std::int64_t count) {
  constexpr std::int64_t kNumbers = 8, kRegisters = 8;
  __m512i sums[kRegisters];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  std::int64_t index = 0;
  for (; index + kRegisters * kNumbers <= count; index += kRegisters * kNumbers) {
#pragma GCC unroll 8
    for (std::int64_t place = 0; place < kRegisters; ++place) {
      fetch_ahead(values + index + place * kNumbers);
      sums[place] = _mm512_add_epi64(sums[place], _mm512_loadu_si512(values + index + place * kNumbers));
    }
  }
  std::uint64_t lanes[kRegisters * kNumbers];
  for (std::int64_t place = 0; place < kRegisters; ++place) _mm512_storeu_si512(lanes + place * kNumbers, sums[place]);
  return sum_plain(lanes, kRegisters * kNumbers) + sum_plain(values + index, count - index);
}
#endif

using Sum = std::uint64_t (*)(const std::uint64_t*, std::int64_t);

Sum fastest_sum() {
#ifdef CODLING_X86_64
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return sum_avx512;
  if (__builtin_cpu_supports("avx2")) return sum_avx2;
#endif
  return sum_plain;
}

// Reads the numbers `num_passes` times.
std::uint64_t sum_memory(const InputArray<std::uint64_t, 1>& values, int num_threads, int num_passes) {
  const nb::gil_scoped_release released;
  ThreadPool pool(num_threads);
  const Sum sum = fastest_sum();
  std::atomic<std::uint64_t> total{0};
  for (int pass = 0; pass < num_passes; ++pass) {
    pool.for_range(static_cast<std::int64_t>(values.size()), kNumbersPerPiece, [&](std::int64_t begin, std::int64_t end) {
      total += sum(values.data() + begin, end - begin);
    });
  }
  return total;
}

}  // namespace

void bind_memory(nb::module_& module) {
  module.def("sum_memory", &sum_memory, nb::arg("values"), nb::arg("num_threads"), nb::arg("num_passes"));
}

}  // namespace codling
