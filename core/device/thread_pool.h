// The process's one thread pool: OpenMP's, because LibTorch's matrix products run on it too and two pools would fight for the cores.
#pragma once

#include <cstdint>
#include <type_traits>

namespace trainhost {

using ParallelBody = void (*)(void *context, int64_t begin, int64_t end);

// body over [0, count) in pieces of at least `grain`, one piece per thread at most; returns when all are done. Inline when called
// from inside a body. The cut depends on count, grain and thread_count() only. The body must not throw. Any thread.
void parallel_for(int64_t count, int64_t grain, ParallelBody body, void *context);

template <class Body>
void parallel_for(int64_t count, int64_t grain, Body &&body) {
  parallel_for(
      count, grain, [](void *context, int64_t begin, int64_t end) { (*static_cast<std::remove_reference_t<Body> *>(context))(begin, end); },
      &body);
}

int core_count();    // that the process may use
int thread_count();  // OMP_NUM_THREADS, or the cores that the process may use

}  // namespace trainhost
