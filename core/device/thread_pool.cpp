#include "device/thread_pool.h"

#include <algorithm>

#include <omp.h>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace trainhost {
namespace {

// GCC's OpenMP runtime is not instrumented, so ThreadSanitizer does not see that a parallel region begins after what came before it
// and ends before what comes after; these two say so.
void publish([[maybe_unused]] void *address) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(address);
#endif
}
void observe([[maybe_unused]] void *address) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(address);
#endif
}

}  // namespace

int core_count() { return omp_get_num_procs(); }

int thread_count() { return omp_get_max_threads(); }

// Not instrumented itself, bodies are: the compiler hands count, body and context to the region in a record that it fills after
// publish() and reads before observe(), so that ThreadSanitizer would take it for a race.
__attribute__((no_sanitize("thread"))) void parallel_for(int64_t count, int64_t grain, ParallelBody body, void *context) {
  if (count <= 0) return;
  const int64_t pieces = std::min<int64_t>(thread_count(), (count + grain - 1) / std::max<int64_t>(grain, 1));
  if (pieces <= 1 || omp_in_parallel()) return body(context, 0, count);
  char entry = 0, exit = 0;
  publish(&entry);
#pragma omp parallel num_threads(static_cast <int>(pieces))
  {
    observe(&entry);
    const int64_t piece = omp_get_thread_num(), started = omp_get_num_threads();
    body(context, count * piece / started, count * (piece + 1) / started);
    publish(&exit);
  }
  observe(&exit);
}

}  // namespace trainhost
