#include "plan/schedule_plan.h"

#include <algorithm>
#include <iterator>

#include "data/mix_pieces.h"
#include "plugin_host/plugin_call.h"

namespace trainhost {
namespace {

std::vector<double> mix_at(const Recipe &recipe, const TokenAxis &axis, uint64_t step) {
  const std::vector<MixPiece> pieces = mix_pieces(recipe, axis, axis.phase_of_step(step));
  return std::prev(std::ranges::upper_bound(pieces, step, {}, &MixPiece::first_step))->weights;
}

Result<SchedulePlan::Point> point_at(const Recipe &recipe, const TokenAxis &axis, const PhaseParts &parts, uint64_t step) {
  const PluginStep here(step);
  TRAINHOST_TRY(const ScheduleValues values, parts.schedulers[axis.phase_of_step(step)]->values(axis.progress(step)));
  return SchedulePlan::Point{.step = step,
                             .tokens = axis.tokens_at_step(step),
                             .learning_rate = values.learning_rate,
                             .batch_tokens = axis.shape_of_step(step).tokens(),
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
