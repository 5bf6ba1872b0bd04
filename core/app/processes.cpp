#include "app/processes.h"

#include <chrono>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "app/stop_signal.h"
#include "base/log.h"
#include "collectives/agreement.h"
#include "collectives/join.h"
#include "collectives/launch_environment.h"

namespace trainhost {
namespace {

constexpr std::chrono::milliseconds kLookAgain{100};
constexpr std::chrono::seconds kSayAgain{30};

std::chrono::milliseconds milliseconds(double seconds) { return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)); }

std::string ended(uint32_t rank) { return fmt::format("ended/{}", rank); }  // the key that a rank sets at its end

}  // namespace

Result<std::unique_ptr<Processes>> Processes::join(const Recipe::Parallel &settings) {
  TRAINHOST_TRY(const LaunchEnvironment launch, detect_launch(process_environment()));
  std::unique_ptr<Processes> processes(new Processes);
  if (launch.rank > 0) set_log_level(LogLevel::kWarning);  // rank 0 tells what all of them do
  processes->on_this_machine_ = launch.local_world_size;
  processes->local_rank_ = launch.local_rank;
  processes->settings_ = {.heartbeat = milliseconds(settings.heartbeat), .timeout = milliseconds(settings.timeout), .stop = &stop_signal()};
  const ControlSettings &control = processes->settings_;
  TRAINHOST_TRY(processes->control_, ControlChannel::connect(launch, control));
  processes->control_->on_stop([] { request_stop(); });
  auto world = trainhost::join(launch, control, *processes->control_);
  if (!world) {
    processes->control_->leave(world.error().message);
    return tl::unexpected(world.error());
  }
  processes->world_ = *std::move(world);
  return processes;
}

Result<> Processes::first_then_others(const std::string &what, const std::function<Result<>()> &action) {
  const std::string key = fmt::format("first_then_others/{}", waits_++);
  if (first()) {
    control_->report_activity("at work to " + what);
    const Result<> outcome = action();
    TRAINHOST_CHECK(control_->set(key, "done"));
    TRAINHOST_CHECK(agreed(*world_, outcome));
    return agreed(*world_, {});
  }
  // By looking and not by a collective, which has a deadline: rank 0 is alive as long as its heartbeats come.
  control_->report_activity("waiting for rank 0 to " + what);
  auto said = std::chrono::steady_clock::now();
  bool announced = false;
  while (true) {
    TRAINHOST_TRY(const auto value, control_->look(key));
    if (value) break;
    if (stop_signal() && !std::exchange(announced, true)) control_->announce_stop();  // rank 0 ends its work, and all of them
    if (std::chrono::steady_clock::now() - said > kSayAgain) {
      log_info("waiting for rank 0 to " + what);
      said = std::chrono::steady_clock::now();
    }
    std::this_thread::sleep_for(kLookAgain);
  }
  TRAINHOST_CHECK(agreed(*world_, {}));
  return agreed(*world_, action());
}

Result<std::unique_ptr<ProcessGroup>> Processes::join_on(Device &gpu) {
  TRAINHOST_TRY(auto host, world_->split(0));
  return join_on_device(gpu, std::move(host), settings_, *control_);
}

Result<> Processes::check_same(const std::string &what, const std::string &value) {
  TRAINHOST_TRY(const auto all, world_->gather(value));
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    return failure(ErrorKind::kRecipe,
                   fmt::format("rank {} has another {} than rank 0: {} there, {} here; all processes of a run need the same", rank, what,
                               all[rank], all[0]));
  }
  return {};
}

void Processes::leave(const Result<> &outcome) {
  control_->report_activity("leaving");
  const bool told = control_->set(ended(world_->rank()), "").has_value();
  const bool stopped = !outcome && outcome.error().kind == ErrorKind::kStopped;  // the others stop too, each in its own time
  const bool quietly = outcome || stopped || (told && all_end());
  control_->leave(quietly ? std::string_view() : std::string_view(outcome.error().message));
}

// Whether all processes end about now: most errors are agreed on, and then none must be taken for lost.
bool Processes::all_end() {
  const auto deadline = std::chrono::steady_clock::now() + 2 * settings_.heartbeat;
  for (uint32_t rank = 0; rank < world_->size(); ++rank) {
    while (true) {
      const auto found = control_->look(ended(rank));
      if (!found || std::chrono::steady_clock::now() > deadline) return false;
      if (*found) break;
      std::this_thread::sleep_for(kLookAgain / 10);
    }
  }
  return true;
}

void ActivityReport::before_step(const TrainState &state) { processes_.report_activity(fmt::format("step {}", state.step + 1)); }

Result<> ReportedObserver::begin(TrainState &state) {
  report(state);
  return observer_.begin(state);
}

Result<> ReportedObserver::after_step(TrainState &state, const StepReport &step) {
  report(state);
  return observer_.after_step(state, step);
}

void ReportedObserver::report(const TrainState &state) {
  if (observer_.pending(state)) processes_.report_activity(fmt::format("{} after step {}", activity_, state.step));
}

Result<> ActivityReport::before_checkpoint() {
  processes_.report_activity("saving a checkpoint");
  return {};
}

}  // namespace trainhost
