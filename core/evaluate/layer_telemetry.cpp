#include "evaluate/layer_telemetry.h"

#include <string>

namespace trainhost {

ModelRunner::Watch LayerTelemetry::watch(const TokenBatch &batch) {
  tokens_ = batch.weight();
  return cosines_.emplace(parts_.runner.model()).watch(batch);
}

Result<> LayerTelemetry::report(const TrainState &state) {
  const Model &model = parts_.runner.model();
  const std::vector<uint32_t> blocks = blocks_of(model);
  if (blocks.empty() || !cosines_) return {};
  TRAINHOST_TRY(const std::vector<double> cosines, cosines_->means(*parts_.runner.spread().world, tokens_));
  LayerReport report{.step = state.step, .tokens = parts_.axis.tokens_at_step(state.step), .rows = {}};
  for (size_t i = 0; i < blocks.size(); ++i) {
    const th_string name = model.units()[blocks[i]].name;
    report.rows.push_back({.block = std::string(name.data, name.length), .cosine = cosines[i]});
  }
  parts_.reporter.layers(report);
  return {};
}

}  // namespace trainhost
