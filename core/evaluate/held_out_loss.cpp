#include "evaluate/held_out_loss.h"

#include <algorithm>

namespace trainhost {

Result<std::vector<uint32_t>> bytes_per_id(const Tokenizer &tokenizer) {
  std::vector<uint32_t> lengths(tokenizer.vocabulary_size());
  for (uint32_t id = 0; id < lengths.size(); ++id) {
    TRAINHOST_TRY(const std::string bytes, tokenizer.decode({&id, 1}));
    lengths[id] = static_cast<uint32_t>(bytes.size());
  }
  return lengths;
}

Result<EvaluationReport::Row> held_out_loss(ModelRunner &runner, const HeldOutSource &source, const std::vector<uint32_t> &bytes_per_id,
                                            const std::atomic<bool> &stop) {
  double sum = 0, weight = 0, bytes = 0;
  std::vector<float> losses;
  for (const TokenBatch &batch : source.batches) {
    if (stop) return failure(ErrorKind::kStopped, "stopped while measuring held-out loss");
    losses.assign(batch.tokens.size(), 0);
    TRAINHOST_CHECK(runner.token_losses(batch, losses));
    for (size_t i = 0; i < losses.size(); ++i) {
      const double counts = batch.loss_weights[i];
      if (counts == 0) continue;
      sum += counts * losses[i];
      weight += counts;
      bytes += counts * bytes_per_id[static_cast<size_t>(batch.targets[i])];
    }
  }
  return EvaluationReport::Row{.source = source.name,
                               .loss_per_token = weight > 0 ? sum / weight : 0,
                               .loss_per_byte = bytes > 0 ? sum / bytes : 0,
                               .tokens = static_cast<uint64_t>(weight)};
}

bool HeldOutEvaluation::due(uint64_t step) const {
  const auto &phases = parts_.axis.phases();
  return step == parts_.axis.total_steps() || parts_.axis.due_at(parts_.recipe.evaluation.every, step) ||
         std::any_of(phases.begin(), phases.end(), [&](const PhaseSpan &phase) { return phase.end_step == step; });
}

Result<EvaluationReport> HeldOutEvaluation::measure(const TrainState &state) {
  EvaluationReport report{.step = state.step, .tokens = parts_.axis.tokens_at_step(state.step), .rows = {}};
  for (const HeldOutSource &source : parts_.sources) {
    TRAINHOST_TRY(auto row, held_out_loss(parts_.runner, source, parts_.bytes_per_id, parts_.stop));
    report.rows.push_back(std::move(row));
  }
  return report;
}

Result<> HeldOutEvaluation::evaluate_when_due(TrainState &state) {
  if (parts_.sources.empty() || state.evaluated_step == state.step || !due(state.step)) return {};
  const auto report = measure(state);
  if (!report && report.error().kind == ErrorKind::kStopped) return {};  // the trainer saves; the evaluation is made after the resume
  if (!report) return tl::unexpected(report.error());
  state.evaluated_step = state.step;
  parts_.reporter.evaluation(*report);
  return {};
}

}  // namespace trainhost
