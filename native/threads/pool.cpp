#include "threads/pool.hpp"

#include <algorithm>
#include <chrono>

namespace codling {
namespace {

// Longer than what lies between two products of a token, short beside what a sleeping thread takes to wake up.
constexpr std::chrono::microseconds kSpinTime{50};
constexpr int kSpinsPerLook = 32;
// A thread takes this part of what each of them would get of the rest: much at once while there is much, little at the end,
// so that all end together, one that was held up, too.
constexpr std::int64_t kSharesPerThread = 2;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `is_done()` or the time is over; whether it is done.
template <typename IsDone>
bool spin_until(const IsDone& is_done) {
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int spin = 0; spin < kSpinsPerLook; ++spin) {
      if (is_done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return is_done();
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  for (int index = 1; index < num_threads; ++index) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  is_ending_ = true;
  ++generation_;
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(const Job& job) {
  if (workers_.empty() || job.count <= job.piece) {
    if (job.count > 0) job.call(job.task, 0, job.count);
    return;
  }
  job_ = job;
  next_ = 0;
  is_open_ = true;
  ++generation_;
  generation_.notify_all();
  run_pieces();
  is_open_ = false;
  // A worker counts itself before it looks whether the job is open: whoever saw it open is counted here.
  if (spin_until([&] { return num_active_ == 0; })) return;
  for (int active = num_active_; active != 0; active = num_active_) num_active_.wait(active);
}

void ThreadPool::work() {
  std::uint32_t seen = 0;
  while (true) {
    if (!spin_until([&] { return generation_ != seen; })) generation_.wait(seen);
    seen = generation_;
    if (is_ending_) return;
    ++num_active_;
    if (is_open_) run_pieces();
    if (--num_active_ == 0) num_active_.notify_all();
  }
}

void ThreadPool::run_pieces() {
  const Job job = job_;
  std::int64_t begin = next_.load(std::memory_order_relaxed);
  while (begin < job.count) {
    const std::int64_t share = (job.count - begin) / (kSharesPerThread * num_threads());
    const std::int64_t end = std::min(begin + std::max(share / job.piece, std::int64_t{1}) * job.piece, job.count);
    if (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    job.call(job.task, begin, end);
    begin = next_.load(std::memory_order_relaxed);
  }
}

}  // namespace codling
