#include "evaluate/held_out_loss.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

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

// Fills in the windows of a batch, the first of which has the index `first`. losses: of its tokens, empty where another rank has them.
void add(const TokenBatch &batch, std::span<const float> losses, const std::vector<uint32_t> &bytes_per_id, size_t first,
         HeldOutLosses &sums) {
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    const double counts = batch.loss_weights[i];
    if (counts == 0) continue;
    const size_t window = first + i / batch.sequence_length;
    if (!losses.empty()) sums.losses[window] += counts * losses[i];
    sums.tokens[window] += counts;
    sums.bytes += counts * bytes_per_id[static_cast<size_t>(batch.targets[i])];
  }
}

}  // namespace

double HeldOutLosses::loss() const { return std::accumulate(losses.begin(), losses.end(), 0.0); }

double HeldOutLosses::counted_tokens() const { return std::accumulate(tokens.begin(), tokens.end(), 0.0); }

EvaluationReport::Row HeldOutLosses::row() const {
  const double counted = counted_tokens();
  return {.source = source,
          .loss_per_token = counted > 0 ? loss() / counted : 0,
          .loss_per_byte = bytes > 0 ? loss() / bytes : 0,
          .tokens = static_cast<uint64_t>(counted)};
}

Result<HeldOutLosses> held_out_losses(ModelRunner &runner, const HeldOutSource &source, const std::vector<uint32_t> &bytes_per_id,
                                      const std::atomic<bool> &stop, const ModelRunner::Probe &probe) {
  const Spread &spread = runner.spread();
  const uint32_t ranks = spread.data->size(), rank = spread.data->rank();
  size_t windows = 0;
  for (const TokenBatch &batch : source.batches) windows += batch.sequences;
  HeldOutLosses sums{source.name, std::vector<double>(windows), std::vector<double>(windows), 0};
  std::vector<float> losses;
  for (size_t i = 0, window = 0; i < source.batches.size(); window += source.batches[i].sequences, ++i) {
    if (i % ranks == 0) {
      TRAINHOST_TRY(const bool stopped, any_of(*spread.world, stop));
      if (stopped) return failure(ErrorKind::kStopped, "stopped while measuring held-out loss");
      // Every rank takes part in every round, because the parameters may be spread over all; one without a batch repeats the first.
      const TokenBatch &own = source.batches[i + rank < source.batches.size() ? i + rank : 0];
      losses.assign(own.tokens.size(), 0);
      TRAINHOST_CHECK(runner.token_losses(own, losses, {.without = probe.without, .watch = i + rank == 0 ? probe.watch : nullptr}));
    }
    const bool here = i % ranks == rank && runner.gives_loss();
    add(source.batches[i], here ? std::span<const float>(losses) : std::span<const float>(), bytes_per_id, window, sums);
  }
  TRAINHOST_TRY(sums.losses, joined(*spread.world, sums.losses));
  return sums;
}

bool HeldOutEvaluation::due(uint64_t step) const {
  const auto &phases = parts_.axis.phases();
  return step == parts_.axis.total_steps() || parts_.axis.due_at(parts_.recipe.evaluation.every, step) ||
         std::any_of(phases.begin(), phases.end(), [&](const PhaseSpan &phase) { return phase.end_step == step; });
}

Result<std::vector<HeldOutLosses>> HeldOutEvaluation::losses(LayerTelemetry *layers) {
  std::vector<HeldOutLosses> losses;
  for (const HeldOutSource &source : parts_.sources) {
    ModelRunner::Probe probe;
    if (layers != nullptr && !source.batches.empty()) probe.watch = std::exchange(layers, nullptr)->watch(source.batches.front());
    TRAINHOST_TRY(losses.emplace_back(), held_out_losses(parts_.runner, source, parts_.bytes_per_id, parts_.stop, probe));
  }
  return losses;
}

EvaluationReport HeldOutEvaluation::report_of(const TrainState &state, const std::vector<HeldOutLosses> &losses) const {
  EvaluationReport report{.step = state.step, .tokens = parts_.axis.tokens_at_step(state.step), .rows = {}};
  for (const HeldOutLosses &of_source : losses) report.rows.push_back(of_source.row());
  return report;
}

Result<EvaluationReport> HeldOutEvaluation::measure(const TrainState &state) {
  TRAINHOST_TRY(const auto measured, losses(nullptr));
  return report_of(state, measured);
}

Result<> HeldOutEvaluation::evaluate_when_due(TrainState &state) {
  if (!pending(state)) return {};
  const auto measured = losses(parts_.layers);
  if (!measured && measured.error().kind == ErrorKind::kStopped) return {};  // the trainer saves; the evaluation is made after the resume
  if (!measured) return tl::unexpected(measured.error());
  state.evaluated_step = state.step;
  if (!measured->empty()) parts_.reporter.evaluation(report_of(state, *measured));
  for (HeldOutWatcher *watcher : parts_.watchers) TRAINHOST_CHECK(watcher->measured(state, *measured));
  return parts_.layers == nullptr ? Result<>() : parts_.layers->report(state);
}

}  // namespace trainhost
