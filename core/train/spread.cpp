#include "train/spread.h"

#include <algorithm>

#include <fmt/format.h>

namespace trainhost {

Sharding sharding_of(const std::string &name) {
  if (name == "optimizer") return Sharding::kOptimizer;
  if (name == "gradients") return Sharding::kGradients;
  return name == "parameters" ? Sharding::kParameters : Sharding::kNone;
}

Spread unspread(const Model &model, ProcessGroup &process) {
  return {.world = &process,
          .data = &process,
          .stages = &process,
          .ties = &process,
          .units = {0, static_cast<uint32_t>(model.units().size())},
          .stage_of = std::vector<uint32_t>(model.units().size(), 0),
          .sharding = Sharding::kNone,
          .compute = {}};
}

Result<uint32_t> StageGroups::data_ranks(uint32_t world_size, uint32_t stages) {
  if (world_size % stages == 0) return world_size / stages;
  return failure(ErrorKind::kRecipe,
                 fmt::format("{} processes cannot be cut into {} pipeline stages of equal size (parallel.pipeline_stages); "
                             "start a multiple of {}",
                             world_size, stages, stages));
}

Result<StageGroups> StageGroups::split(ProcessGroup &world, uint32_t stages) {
  TRAINHOST_TRY(const uint32_t data_ranks, StageGroups::data_ranks(world.size(), stages));
  StageGroups groups;
  groups.world_ = &world;
  TRAINHOST_TRY(groups.data_, world.split(world.rank() / data_ranks));
  TRAINHOST_TRY(groups.stages_, world.split(world.rank() % data_ranks));
  TRAINHOST_TRY(groups.ties_, world.split(world.rank() % data_ranks));
  return groups;
}

Result<Spread> StageGroups::spread(const Model &model, Sharding sharding, Compute compute) const {
  TRAINHOST_TRY(const auto stages, cut_into_stages(model, stages_->size()));
  Spread spread{.world = world_,
                .data = data_.get(),
                .stages = stages_.get(),
                .ties = ties_.get(),
                .units = stages[stages_->rank()],
                .stage_of = {},
                .sharding = sharding,
                .compute = compute};
  for (uint32_t stage = 0; stage < stages.size(); ++stage) spread.stage_of.resize(stages[stage].end, stage);
  return spread;
}

Result<std::vector<UnitRange>> cut_into_stages(const Model &model, uint32_t stages) {
  std::vector<double> work;
  for (const th_unit_info &unit : model.units()) work.push_back(unit.forward_flops_per_token);
  if (stages > work.size()) {
    return failure(
        ErrorKind::kRecipe,
        fmt::format("parallel.pipeline_stages is {}, but the model has only {} units; a stage holds at least one", stages, work.size()));
  }
  std::vector<UnitRange> ranges;
  for (uint32_t stage = 0; stage < stages; ++stage) ranges.push_back(stage_units(work, stage, stages));
  return ranges;
}

UnitRange stage_units(const std::vector<double> &work, uint32_t stage, uint32_t stages) {
  const size_t units = work.size();
  std::vector<double> before(units + 1, 0);  // work of the units before
  for (size_t i = 0; i < units; ++i) before[i + 1] = before[i] + work[i];
  // lightest[s][e]: the heaviest of s stages over the first e units, cut as well as can be; cut_at: where the last of them begins.
  std::vector<std::vector<double>> lightest(stages + 1, std::vector<double>(units + 1, 1e300));
  std::vector<std::vector<uint32_t>> cut_at(stages + 1, std::vector<uint32_t>(units + 1, 0));
  lightest[0][0] = 0;
  for (uint32_t s = 1; s <= stages; ++s) {
    for (uint32_t end = s; end <= units; ++end) {
      for (uint32_t begin = s - 1; begin < end; ++begin) {
        const double heaviest = std::max(lightest[s - 1][begin], before[end] - before[begin]);
        if (heaviest >= lightest[s][end]) continue;
        lightest[s][end] = heaviest;
        cut_at[s][end] = begin;
      }
    }
  }
  auto end = static_cast<uint32_t>(units);
  for (uint32_t s = stages; s > stage + 1; --s) end = cut_at[s][end];
  return {cut_at[stage + 1][end], end};
}

}  // namespace trainhost
