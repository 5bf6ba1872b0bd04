#include "telemetry/phase_account.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "telemetry/phase_detector.h"

namespace trainhost {
namespace {

constexpr size_t kFewestForHalves = 20;

std::vector<LossPoint> loss_points(std::span<const StepReport> steps) {
  std::vector<LossPoint> points;
  for (const StepReport &step : steps) {
    const bool usable = !step.skipped && std::isfinite(step.loss) && step.loss > 0 && step.tokens > 0;
    if (usable) points.push_back({static_cast<double>(step.tokens), step.loss});
  }
  return points;
}

double mean_loss(std::span<const LossPoint> points) {
  double sum = 0;
  for (const LossPoint &point : points) sum += point.loss;
  return sum / static_cast<double>(points.size());
}

void measure_loss(std::span<const StepReport> steps, PhaseAccount &piece) {
  const std::vector<LossPoint> points = loss_points(steps);
  const std::span all(points);
  piece.slope = loss_slope(all);
  if (all.empty()) return;
  const size_t tenth = std::max<size_t>(all.size() / 10, 1);
  piece.first_loss = mean_loss(all.first(tenth));
  piece.last_loss = mean_loss(all.last(tenth));
  if (all.size() < kFewestForHalves) return;
  const size_t half = all.size() / 2;
  const double before = loss_slope(all.first(half)).exponent, after = loss_slope(all.subspan(half)).exponent;
  piece.slope_change = (after - before) / std::abs(before);
}

PhaseAccount account_of_steps(std::span<const StepReport> steps) {
  const StepReport &first = steps.front(), &last = steps.back();
  PhaseAccount piece{.phase = first.phase,
                     .stage = first.stage,
                     .from_step = first.step - 1,
                     .to_step = last.step,
                     .from_tokens = first.tokens - first.batch_tokens,
                     .to_tokens = last.tokens,
                     .steps_without_update = static_cast<uint64_t>(std::ranges::count_if(steps, &StepReport::skipped)),
                     .first_batch = first.batch_tokens,
                     .last_batch = last.batch_tokens,
                     .first_rate = first.learning_rate,
                     .last_rate = last.learning_rate};
  measure_loss(steps, piece);
  return piece;
}

// The reports of steps in (from, to].
template <class Report>
std::span<const Report> between(const std::vector<Report> &reports, uint64_t from, uint64_t to) {
  const auto begin = std::ranges::upper_bound(reports, from, {}, &Report::step);
  return {begin, std::ranges::upper_bound(begin, reports.end(), to, {}, &Report::step)};
}

TelemetryMeans means_of(std::span<const TelemetryReport> reports) {
  const auto mean = [&](double TelemetryReport::*quantity) {
    double sum = 0, known = 0;
    for (const TelemetryReport &report : reports) {
      if (!std::isfinite(report.*quantity)) continue;
      sum += report.*quantity;
      ++known;
    }
    return sum / known;
  };
  return {.measurements = reports.size(),
          .gradient_cosine = mean(&TelemetryReport::gradient_cosine),
          .d1 = mean(&TelemetryReport::d1),
          .d2 = mean(&TelemetryReport::d2),
          .curvature = mean(&TelemetryReport::curvature),
          .update_ratio = mean(&TelemetryReport::update_ratio),
          .largest_update_ratio = mean(&TelemetryReport::largest_update_ratio),
          .noise_scale = reports.empty() ? TelemetryReport::kUnknown : reports.back().noise_scale};
}

// The shares of the sources when so many steps are done; of a phase whose mix moves, what it comes to.
std::map<std::string, double> mix_at(const RunLog &log, uint64_t step) {
  const auto begun = std::ranges::upper_bound(log.phases, step, {}, &PhaseReport::step);
  return begun == log.phases.begin() ? std::map<std::string, double>() : std::prev(begun)->mix;
}

bool same_mix(const RunLog &log, const PhaseAccount &before, const PhaseAccount &piece) {
  const bool moved_by_mixer = !between(log.mixes, before.from_step, piece.to_step).empty();
  return !moved_by_mixer && mix_at(log, before.from_step) == mix_at(log, piece.from_step);
}

// Two standard errors are left to chance.
bool falls_faster(const LossSlope &before, const LossSlope &slope) {
  const double faster = (1 + kSlopeChange) * before.per_token;
  return slope.per_token + 2 * std::hypot(before.sigma, slope.sigma) < std::min(0.0, faster);
}

bool anneals(const PhaseAccount &before, const PhaseAccount &piece) {
  const double fall_before = before.last_rate / before.first_rate, fall = piece.last_rate / piece.first_rate;
  return fall_before <= 1 && fall < fall_before && falls_faster(piece.slope_before, piece.slope);
}

// Of a long piece its end alone: a loss falls faster early on than late under any schedule.
LossSlope slope_at_end(const RunLog &log, const PhaseAccount &before, const PhaseAccount &piece) {
  const auto steps = between(log.steps, before.from_step, before.to_step);
  const uint64_t length = piece.to_tokens - piece.from_tokens;
  const auto first = std::ranges::find_if(steps, [&](const StepReport &step) { return step.tokens + length > piece.from_tokens; });
  return loss_slope(loss_points({first, steps.end()}));
}

void compare(const RunLog &log, const PhaseAccount &before, PhaseAccount &piece) {
  piece.slope_before = slope_at_end(log, before, piece);
  if (piece.slope_before.per_token < 0) piece.slope_ratio = piece.slope.per_token / piece.slope_before.per_token;
  piece.same_mix = same_mix(log, before, piece);
  if (anneals(before, piece)) piece.behaviour = Behaviour::kAnnealing;
}

std::vector<PhaseAccount> pieces_of(const RunLog &log) {
  std::vector<PhaseAccount> pieces;
  const std::span steps(log.steps);
  for (size_t begin = 0, end = 0; begin < steps.size(); begin = end) {
    while (end < steps.size() && steps[end].phase == steps[begin].phase && steps[end].stage == steps[begin].stage) ++end;
    PhaseAccount piece = account_of_steps(steps.subspan(begin, end - begin));
    piece.telemetry = means_of(between(log.telemetry, piece.from_step, piece.to_step));
    const auto evaluations = between(log.evaluations, piece.from_step, piece.to_step);
    if (!evaluations.empty()) piece.held_out = evaluations.back();
    if (std::abs(piece.slope_change) < kSlopeChange) piece.behaviour = Behaviour::kStable;
    if (!pieces.empty()) compare(log, pieces.back(), piece);
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

Knee knee_at(double tokens, const std::vector<PhaseAccount> &pieces) {
  Knee knee{.tokens = tokens};
  for (size_t i = 1; i < pieces.size(); ++i) {
    const double distance = tokens - static_cast<double>(pieces[i].from_tokens);
    if (knee.border && std::abs(distance) >= std::abs(knee.distance)) continue;
    knee.border = i;
    knee.distance = distance;
  }
  return knee;
}

}  // namespace

RunAccount account_of(const RunLog &log) {
  RunAccount account{.pieces = pieces_of(log)};
  const DetectedPhases detected = detect_phases(loss_points(log.steps));
  account.exponents = detected.exponents;
  for (const double tokens : detected.knees) account.knees.push_back(knee_at(tokens, account.pieces));
  return account;
}

}  // namespace trainhost
