#include "evaluate/layer_telemetry.h"

#include "evaluate/layer_cosine.h"

namespace trainhost {

Result<> LayerTelemetry::measured(TrainState &state, const std::vector<HeldOutLosses> &) {
  const Model &model = parts_.runner.model();
  const std::vector<uint32_t> blocks = blocks_of(model);
  if (blocks.empty()) return {};
  TRAINHOST_TRY(const std::vector<double> cosines, layer_cosines(parts_.runner, {&parts_.batch, 1}));
  LayerReport report{.step = state.step, .tokens = parts_.axis.tokens_at_step(state.step), .rows = {}};
  for (size_t i = 0; i < blocks.size(); ++i) {
    const th_string name = model.units()[blocks[i]].name;
    report.rows.push_back({.block = std::string(name.data, name.length), .cosine = cosines[i]});
  }
  parts_.reporter.layers(report);
  return {};
}

}  // namespace trainhost
