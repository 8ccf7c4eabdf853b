// Many short jobs on pools of every small size, for the thread sanitizer: each piece done once, and all of it seen by the
// caller, whether the workers spin or sleep when the job comes. Ends with status 1 if not.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "threads/pool.hpp"

namespace codling {
namespace {

// How often each number of [0, count) was handed out.
std::vector<int> count_calls(ThreadPool& pool, std::int64_t count, std::int64_t piece) {
  std::vector<int> calls(count);
  pool.for_range(count, piece, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) ++calls[index];
  });
  return calls;
}

bool is_each_called_once(int num_threads) {
  ThreadPool pool(num_threads);
  for (int round = 0; round < 300; ++round) {
    // Longer than workers spin, now and then.
    if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    for (const int calls : count_calls(pool, round % 71, 1 + round % 7)) {
      if (calls != 1) return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace codling

int main() {
  for (int num_threads = 1; num_threads <= 4; ++num_threads) {
    // Pools come and go: workers that never had a job, too.
    for (int index = 0; index < 20; ++index) codling::ThreadPool pool(num_threads);
    if (!codling::is_each_called_once(num_threads)) {
      std::printf("%d threads: a piece was done twice, or not at all\n", num_threads);
      return 1;
    }
  }
  std::printf("pools: ok\n");
  return 0;
}
