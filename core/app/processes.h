// The processes of a run, this one among them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "collectives/control_channel.h"
#include "collectives/process_group.h"
#include "device/device.h"
#include "recipe/recipe.h"
#include "train/observer.h"

namespace trainhost {

class Processes {
 public:
  // Joins those that the launch environment names; alone when it names none. Returns when all are there. A stop signal to one reaches all;
  // kStopped on all when one comes before all are there.
  static Result<std::unique_ptr<Processes>> join(const Recipe::Parallel &settings);

  ProcessGroup &world() { return *world_; }
  bool first() const { return world_->rank() == 0; }
  uint32_t local_rank() const { return local_rank_; }            // among those of this machine
  uint32_t on_this_machine() const { return on_this_machine_; }  // how many of them

  // Rank 0 does it while the others wait, for as long as it takes; then the others do it, and all fail when one did.
  Result<> first_then_others(const std::string &what, const std::function<Result<>()> &action);

  // All processes as a group whose floats are on the GPU, which outlives it.
  Result<std::unique_ptr<ProcessGroup>> join_on(Device &gpu);

  // kRecipe on every rank when a rank brings another text than rank 0; names the rank and what differs.
  Result<> check_same(const std::string &what, const std::string &value);

  // What this process is doing, in words.
  void report_activity(std::string activity) { control_->report_activity(std::move(activity)); }

  // The end of the run for this process, which the others are told, so that they do not take it for lost. An error but kStopped ends them
  // too.
  void leave(const Result<> &outcome);

 private:
  Processes() = default;
  bool all_end();
  std::unique_ptr<ControlChannel> control_;
  std::unique_ptr<ProcessGroup> world_;
  ControlSettings settings_;
  uint32_t on_this_machine_ = 1;
  uint32_t local_rank_ = 0;
  uint32_t waits_ = 0;
};

// Tells the other processes how far this one has come, for them to say when they miss it.
class ActivityReport : public TrainObserver {
 public:
  explicit ActivityReport(Processes &processes) : processes_(processes) {}
  void before_step(const TrainState &state) override;
  Result<> after_step(TrainState &, const StepReport &) override { return {}; }
  Result<> before_checkpoint() override;

 private:
  Processes &processes_;
};

// Likewise that another observer is at work.
class ReportedObserver : public TrainObserver {
 public:
  ReportedObserver(Processes &processes, std::string activity, TrainObserver &observer)
      : processes_(processes), activity_(std::move(activity)), observer_(observer) {}
  Result<> begin(TrainState &state) override;
  Result<> after_step(TrainState &state, const StepReport &report) override;
  Result<> before_checkpoint() override { return observer_.before_checkpoint(); }
  bool pending(const TrainState &state) const override { return observer_.pending(state); }

 private:
  void report(const TrainState &state);

  Processes &processes_;
  const std::string activity_;
  TrainObserver &observer_;
};

}  // namespace trainhost
