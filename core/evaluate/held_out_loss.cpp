#include "evaluate/held_out_loss.h"

#include <algorithm>

#include "collectives/agreement.h"

namespace trainhost {

Result<std::vector<uint32_t>> bytes_per_id(const Tokenizer &tokenizer) {
  std::vector<uint32_t> lengths(tokenizer.vocabulary_size());
  for (uint32_t id = 0; id < lengths.size(); ++id) {
    TRAINHOST_TRY(const std::string bytes, tokenizer.decode({&id, 1}));
    lengths[id] = static_cast<uint32_t>(bytes.size());
  }
  return lengths;
}

namespace {

// Sums over counted tokens.
struct LossSums {
  ExactSum loss, weight, bytes;

  void add(const TokenBatch &batch, std::span<const float> losses, const std::vector<uint32_t> &bytes_per_id) {
    double sum = 0, counted = 0, length = 0;
    for (size_t i = 0; i < losses.size(); ++i) {
      const double counts = batch.loss_weights[i];
      if (counts == 0) continue;
      sum += counts * losses[i];
      counted += counts;
      length += counts * bytes_per_id[static_cast<size_t>(batch.targets[i])];
    }
    loss.add(sum);
    weight.add(counted);
    bytes.add(length);
  }
};

}  // namespace

Result<EvaluationReport::Row> held_out_loss(ModelRunner &runner, const HeldOutSource &source, const std::vector<uint32_t> &bytes_per_id,
                                            const std::atomic<bool> &stop) {
  const Spread &spread = runner.spread();
  const uint32_t ranks = spread.data->size();
  LossSums sums;
  std::vector<float> losses;
  for (size_t first = 0; first < source.batches.size(); first += ranks) {
    TRAINHOST_TRY(const bool stopped, any_of(*spread.world, stop));
    if (stopped) return failure(ErrorKind::kStopped, "stopped while measuring held-out loss");
    // Every rank takes part in every round, because the parameters may be spread over all; one without a batch repeats the first.
    const bool counts = first + spread.data->rank() < source.batches.size();
    const TokenBatch &batch = source.batches[counts ? first + spread.data->rank() : 0];
    losses.assign(batch.tokens.size(), 0);
    TRAINHOST_CHECK(runner.token_losses(batch, losses));
    if (counts && runner.gives_loss()) sums.add(batch, losses, bytes_per_id);
  }
  TRAINHOST_TRY(const auto total, sum_over(*spread.world, {sums.loss, sums.weight, sums.bytes}));
  const double loss = total[0].value(), weight = total[1].value(), bytes = total[2].value();
  return EvaluationReport::Row{.source = source.name,
                               .loss_per_token = weight > 0 ? loss / weight : 0,
                               .loss_per_byte = bytes > 0 ? loss / bytes : 0,
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
  if (!pending(state)) return {};
  const auto report = measure(state);
  if (!report && report.error().kind == ErrorKind::kStopped) return {};  // the trainer saves; the evaluation is made after the resume
  if (!report) return tl::unexpected(report.error());
  state.evaluated_step = state.step;
  parts_.reporter.evaluation(*report);
  return {};
}

}  // namespace trainhost
