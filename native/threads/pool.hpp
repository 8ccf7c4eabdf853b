// Threads that share the rows of one product after the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace codling {

// So many multiply-adds are done before another thread has heard of them: no piece of a job should have fewer.
inline constexpr std::int64_t kLeastProducts = 1 << 17;

// A worker that has nothing to do spins shortly, as the next product is microseconds away while a token is computed, and
// then sleeps. Whoever calls works, too, and waits only for workers that have begun: one that the system does not run
// costs its share of the speed, and no more.
class ThreadPool {
 public:
  // `num_threads` counts the caller's.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(begin, end) for pieces of [0, count) on all threads; returns when all are done. `piece` is the smallest one,
  // but for the last, and others are multiples of it. One caller at a time. The task must not throw, and not call this.
  template <typename Task>
  void for_range(std::int64_t count, std::int64_t piece, const Task& task) {
    const auto call = [](const void* erased, std::int64_t begin, std::int64_t end) {
      (*static_cast<const Task*>(erased))(begin, end);
    };
    run({call, &task, count, piece});
  }

 private:
  struct Job {
    void (*call)(const void* task, std::int64_t begin, std::int64_t end);
    const void* task;
    std::int64_t count;
    std::int64_t piece;
  };

  void run(const Job& job);
  void work();
  void run_pieces();

  // Written by the caller while `is_open_` is false and nobody is active.
  Job job_{};
  std::atomic<std::int64_t> next_{0};
  std::atomic<bool> is_open_{false};
  // Workers that may be reading the job.
  std::atomic<int> num_active_{0};
  // What workers wait for: one more for each job, and at the end.
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<bool> is_ending_{false};
  std::vector<std::thread> workers_;
};

}  // namespace codling
