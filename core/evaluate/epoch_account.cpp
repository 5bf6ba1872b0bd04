#include "evaluate/epoch_account.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/log.h"
#include "evaluate/paired_difference.h"

namespace trainhost {
namespace {

constexpr double kRepetitions = 15.39;  // R*, after which 1 - 1/e of what repetition can give was given
constexpr double kOverfitSigmas = 3;

const Source &source_of(const Recipe &recipe, const std::string &name) { return *std::ranges::find(recipe.sources, name, &Source::name); }

std::string worth(const EpochReport::Row &row) {
  return fmt::format("what it gives is worth {:.1f}% of new text; give it more text or a smaller share", 100 * row.effective_share);
}

// Before the first step it is unknown, and any loss is lower.
double training_loss(const TrainState &state) {
  const auto &[sum, steps] = state.since_evaluation;
  return steps > 0 ? sum / steps : std::numeric_limits<double>::max();
}

}  // namespace

double effective_tokens(double unique, double read) {
  const double repetitions = read / unique - 1;
  return unique + unique * kRepetitions * -std::expm1(-repetitions / kRepetitions);
}

EpochReport::Row epochs_read(const std::string &source, uint64_t tokens, double epochs) {
  const double read = epochs * static_cast<double>(tokens), unique = std::min(read, static_cast<double>(tokens));
  return {.source = source,
          .epochs = epochs,
          .unique_tokens = static_cast<uint64_t>(std::llround(unique)),
          .tokens_read = static_cast<uint64_t>(std::llround(read)),
          .effective_share = read > 0 ? effective_tokens(unique, read) / read : 1};
}

static Result<std::vector<EpochReport::Row>> rows_at(uint64_t step, const PreparedData &data, const SampleStream &stream) {
  TRAINHOST_TRY(const auto positions, stream.positions(step));
  std::vector<EpochReport::Row> rows;
  for (size_t i = 0; i < positions.size(); ++i) {
    rows.push_back(epochs_read(data.sources[i].name, data.sources[i].training->tokens(), positions[i].epochs()));
  }
  return rows;
}

Result<std::vector<EpochReport::Row>> planned_epochs(const TokenAxis &axis, const PreparedData &data, const SampleStream &stream) {
  return rows_at(axis.total_steps(), data, stream);
}

std::vector<std::string> repetition_warnings(const Recipe &recipe, const std::vector<EpochReport::Row> &rows) {
  std::vector<std::string> warnings;
  for (const EpochReport::Row &row : rows) {
    const double most = source_of(recipe, row.source).epochs_at_most;
    if (row.epochs <= most) continue;
    warnings.push_back(fmt::format("source \"{}\" will be read {:.1f} times by the end of the run (its epochs_at_most is {}): {}",
                                   row.source, row.epochs, most, worth(row)));
  }
  return warnings;
}

Result<> EpochAccount::begin(TrainState &state) {
  if (state.step > 0 || !parts_.warns) return {};
  TRAINHOST_TRY(const auto planned, planned_epochs(parts_.axis, parts_.data, parts_.stream));
  for (const std::string &warning : repetition_warnings(parts_.recipe, planned)) log_warning(warning);
  return {};
}

Result<> EpochAccount::after_step(TrainState &state, const StepReport &report) {
  if (!std::isfinite(report.loss)) return {};  // a step without an update
  state.since_evaluation.sum += report.loss;
  state.since_evaluation.steps += 1;
  return {};
}

Result<> EpochAccount::measured(TrainState &state, const std::vector<HeldOutLosses> &losses) {
  EpochReport report{.step = state.step, .tokens = parts_.axis.tokens_at_step(state.step), .rows = {}};
  TRAINHOST_TRY(report.rows, rows_at(state.step, parts_.data, parts_.stream));
  parts_.reporter.epochs(report);
  for (const EpochReport::Row &row : report.rows) {
    const double most = source_of(parts_.recipe, row.source).epochs_at_most;
    if (row.epochs > most)
      warn(row.source,
           fmt::format("source \"{}\" has been read {:.1f} times (its epochs_at_most is {}): {}", row.source, row.epochs, most, worth(row)),
           repeated_);
    const auto held_out = std::ranges::find(losses, row.source, &HeldOutLosses::source);
    if (held_out != losses.end()) watch(state, *held_out, row);
  }
  state.since_evaluation = {};
  return {};
}

void EpochAccount::watch(TrainState &state, const HeldOutLosses &losses, const EpochReport::Row &row) {
  PastLosses &lowest = state.lowest_held_out[row.source];
  const bool known = lowest.windows.size() == losses.losses.size();
  const PairedDifference risen = known ? paired_difference(lowest.windows, losses.losses, losses.tokens) : PairedDifference();
  if (!known || risen.mean < 0) {
    lowest = {.tokens = parts_.axis.tokens_at_step(state.step), .training_loss = training_loss(state), .windows = losses.losses};
    return;
  }
  if (row.epochs <= 1 || !is_read(row.source, state.step) || !(risen.mean > kOverfitSigmas * risen.sigma)) return;
  if (!(training_loss(state) < lowest.training_loss)) return;
  warn(row.source,
       fmt::format(
           "source \"{}\" is being overfitted after {:.1f} epochs: its held-out loss is {:.4f} nats/token above its lowest, of token {} "
           "({:.0f} standard errors), while the training loss fell from {:.4f} to {:.4f}; give it more text or a smaller share",
           row.source, row.epochs, risen.mean, lowest.tokens, risen.mean / risen.sigma, lowest.training_loss, training_loss(state)),
       overfitted_);
}

// Whether the steps up to this one had a share of the source.
bool EpochAccount::is_read(const std::string &source, uint64_t step) const {
  const size_t i = static_cast<size_t>(&source_of(parts_.recipe, source) - parts_.recipe.sources.data());
  return step > 0 && parts_.stream.mix(step - 1).weights[i] > 0;
}

void EpochAccount::warn(const std::string &source, const std::string &text, std::set<std::string> &warned) const {
  if (warned.insert(source).second && parts_.warns) log_warning(text);
}

}  // namespace trainhost
