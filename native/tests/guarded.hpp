// Arrays that end where readable memory ends: whoever reads or writes beyond one dies at once, sanitizer or not.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>

namespace codling {

template <typename T>
class Guarded {
 public:
  explicit Guarded(std::int64_t count, T value = {}) : count_(count) {
    const std::int64_t page_bytes = sysconf(_SC_PAGESIZE), used_bytes = count * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t before = (used_bytes + page_bytes - 1) / page_bytes * page_bytes;
    mapped_bytes_ = before + page_bytes;
    start_ = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start_ == MAP_FAILED) std::abort();
    auto* bytes = static_cast<unsigned char*>(start_);
    if (mprotect(bytes + before, page_bytes, PROT_NONE) != 0) std::abort();
    data_ = reinterpret_cast<T*>(bytes + before - used_bytes);
    for (T& one : all()) one = value;
  }
  ~Guarded() {
    if (start_) munmap(start_, mapped_bytes_);
  }
  Guarded(Guarded&& other) noexcept
      : start_(std::exchange(other.start_, nullptr)), data_(other.data_), count_(other.count_), mapped_bytes_(other.mapped_bytes_) {}
  Guarded& operator=(Guarded&&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::span<T> all() { return {data_, static_cast<std::size_t>(count_)}; }
  std::span<const T> all() const { return {data_, static_cast<std::size_t>(count_)}; }

 private:
  void* start_;
  T* data_;
  std::int64_t count_, mapped_bytes_;
};

}  // namespace codling
