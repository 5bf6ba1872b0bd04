#include "plan/schedule_plan.h"

#include <algorithm>
#include <numeric>

#include "plugin_host/plugin_call.h"

namespace trainhost {
namespace {

uint64_t batch_at(const TokenAxis &axis, uint64_t step) { return axis.phases()[axis.phase_of_step(step)].step_tokens(); }

std::vector<double> mix_at(const Recipe &recipe, const TokenAxis &axis, uint64_t step) {
  const auto &mix = recipe.phases[axis.phase_of_step(step)].overrides.mix;
  std::vector<double> shares;
  for (const Source &source : recipe.sources) {
    const bool mixed_in = !mix || mix->contains(source.name);
    shares.push_back(!mixed_in ? 0.0 : mix ? mix->at(source.name) : 1.0);
  }
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double &share : shares) share /= sum;
  return shares;
}

Result<SchedulePlan::Point> point_at(const Recipe &recipe, const TokenAxis &axis, const PhaseParts &parts, uint64_t step) {
  const PluginStep here(step);
  TRAINHOST_TRY(const ScheduleValues values, parts.schedulers[axis.phase_of_step(step)]->values(axis.progress(step)));
  return SchedulePlan::Point{.step = step,
                             .tokens = axis.tokens_at_step(step),
                             .learning_rate = values.learning_rate,
                             .batch_tokens = batch_at(axis, step),
                             .mix = mix_at(recipe, axis, step),
                             .stage = values.stage};
}

}  // namespace

Result<SchedulePlan> plan_schedule(const Recipe &recipe, const TokenAxis &axis, const PhaseParts &parts, uint64_t points) {
  SchedulePlan plan;
  for (const Source &source : recipe.sources) plan.sources.push_back(source.name);
  const uint64_t stride = (axis.total_steps() + points - 1) / points;
  for (size_t i = 0; i < recipe.phases.size(); ++i) {
    const PhaseSpan &span = axis.phases()[i];
    plan.phases.push_back({recipe.phases[i].name, span.first_step, span.end_step, span.first_token, span.end_token});
    for (uint64_t step = span.first_step; step < span.end_step; step = std::max(step + 1, std::min(step + stride, span.end_step - 1))) {
      TRAINHOST_TRY(auto point, point_at(recipe, axis, parts, step));
      plan.points.push_back(std::move(point));
    }
  }
  return plan;
}

}  // namespace trainhost
