#include "data/prefetcher.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <stop_token>
#include <thread>

#include "plugin_host/plugin_call.h"

namespace trainhost {

struct Prefetcher::State {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::deque<Result<StepBatch>> ready;  // guarded by mutex
  std::jthread thread;                  // last: stopped and joined before the rest goes

  void produce(std::stop_token stop, const SampleStream &stream, Share share, uint64_t first_step, uint64_t end_step, uint32_t depth) {
    for (uint64_t step = first_step; step < end_step; ++step) {
      const PluginStep named(step);
      Result<StepBatch> batch = stream.step(step, share);
      const bool failed = !batch;
      std::unique_lock lock(mutex);
      if (!changed.wait(lock, stop, [&] { return ready.size() < depth; })) return;
      ready.push_back(std::move(batch));
      changed.notify_all();
      if (failed) return;
    }
  }
};

Prefetcher::Prefetcher(const SampleStream &stream, uint64_t first_step, uint64_t end_step, uint32_t depth, Share share)
    : state_(std::make_unique<State>()) {
  State &state = *state_;
  state.thread = std::jthread([&state, &stream, share, first_step, end_step, depth](std::stop_token stop) {
    state.produce(std::move(stop), stream, share, first_step, end_step, depth);
  });
}

Prefetcher::~Prefetcher() = default;

Result<StepBatch> Prefetcher::next() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return !state_->ready.empty(); });
  Result<StepBatch> batch = std::move(state_->ready.front());
  // A failure ends the thread: it stays here, so that asking again fails again instead of waiting for ever.
  if (batch) {
    state_->ready.pop_front();
  } else {
    state_->ready.front() = batch;
  }
  state_->changed.notify_all();
  return batch;
}

}  // namespace trainhost
