#include "train/phase_log.h"

namespace trainhost {
namespace {

void add_overrides(const std::string &table, const Parameters &parameters, PhaseReport &report) {
  for (const auto &[name, parameter] : parameters) report.overrides.emplace_back(table + "." + name, to_toml(parameter.value));
}

}  // namespace

void PhaseLog::before_step(const TrainState &state) {
  const uint32_t index = axis_.phase_of_step(state.step);
  if (axis_.phases()[index].first_step != state.step) return;
  const Phase &phase = recipe_.phases[index];
  const StepShape &shape = axis_.shape_of_step(state.step);
  PhaseReport report{.step = state.step,
                     .tokens = axis_.tokens_at_step(state.step),
                     .phase = phase.name,
                     .batch_tokens = shape.tokens(),
                     .sequence_length = shape.sequence_length,
                     .mix = *phase.overrides.mix,
                     .overrides = {}};
  add_overrides("optimizer", phase.overrides.optimizer, report);
  add_overrides("schedule", phase.overrides.schedule, report);
  reporter_.phase(report);
}

}  // namespace trainhost
