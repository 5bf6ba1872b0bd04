// Measures how training goes, now and then: noise scale, derivatives along the update, update over weight.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/exact_sum.h"
#include "device/buffer.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "telemetry/decay_telemetry.h"
#include "train/gradient_store.h"
#include "train/observer.h"
#include "train/parameter_store.h"
#include "train/reporter.h"

namespace trainhost {

// Looks on and changes nothing of the training. A measurement belongs to the step at which it is due, and takes two: the update of the step
// before it, and the gradients of both. No step belongs to two of them; where that would be, only even steps are measured. Where a
// checkpoint is due between the two, the next step is measured instead; where that cannot be, what needs both stays unknown. A stop waits
// for the second one: so a resumed run reports what an undisturbed one does. With several ranks all have the observer, each measures what
// it answers for, and the numbers are exact sums of the same terms however many ranks there are. All its life it has room for two copies of
// this rank's share of the parameters in the device's memory, as plans count; the constructor throws std::bad_alloc when there is none.
class StepTelemetry : public TrainObserver {
 public:
  // All outlive it. every: how often to measure; checkpoint_every: how often the run is saved, beside the ends of phases.
  struct Parts {
    const Amount &every, &checkpoint_every;
    const TokenAxis &axis;
    ParameterStore &parameters;
    GradientStore &gradients;
    Reporter &reporter;
  };
  explicit StepTelemetry(const Parts &parts);

  void before_step(const TrainState &state) override;
  Result<> after_step(TrainState &state, const StepReport &report) override;
  bool needs_next_step() const override { return update_.has_value(); }

 private:
  // What is known of a step's update beside its floats.
  struct Update {
    double gradient_norm = 0;                // of the whole model
    std::vector<ExactSum> weights, changes;  // squares, by the first unit that uses them
  };

  bool due(uint64_t step) const { return step <= parts_.axis.total_steps() && parts_.axis.due_at(parts_.every, step); }
  bool planned(uint64_t step) const { return due(step) && (step % 2 == 0 || !(due(step - 1) || due(step + 1))); }
  bool put_off(uint64_t step) const;
  bool measured(uint64_t step) const { return put_off(step - 1) || (planned(step) && !put_off(step)); }
  bool saved(uint64_t step) const;
  Device &device() const { return *parts_.parameters.spread().compute.device; }
  FloatRange own(uint32_t group) const;
  const float *values_of(uint32_t group) const;
  const float *gradient_of(uint32_t group) const;
  void add_products(uint32_t group, const float *a, const float *b, ExactSum &sum) const;
  void add_squares_by_unit(const Buffer<float> &values, std::vector<ExactSum> &sums) const;
  Update finish_update(const StepReport &report);
  Result<> measure(TrainState &state, const StepReport &report);
  std::vector<ExactSum> own_sums() const;
  void add_update(std::span<const ExactSum> sums, double next_norm, TelemetryReport &telemetry) const;

  const Parts parts_;
  std::vector<uint32_t> groups_;  // that this rank answers for
  std::vector<size_t> offsets_;   // of the own floats of each in the copies
  bool wanted_ = false;           // the update of the step that is being made
  std::optional<Update> update_;  // of the step before
  // This rank's own floats of all groups, one group after the other: where an update is wanted, the parameters before the step; then
  // its change of them and the gradient that it was made with.
  Buffer<float> change_, gradient_;
};

}  // namespace trainhost
