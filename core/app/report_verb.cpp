#include "app/report_verb.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/run_history.h"
#include "telemetry/phase_account.h"

namespace trainhost {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMillion = 1e6;

std::string title(const PhaseAccount &piece) {
  return piece.stage.empty() || piece.stage == piece.phase ? piece.phase : piece.phase + ", " + piece.stage;
}

// ---- Text

std::string number_text(double value) { return std::isfinite(value) ? fmt::format("{:.4g}", value) : "unknown"; }

template <class Number>
std::string range_text(const Number &first, const Number &last) {
  return first == last ? fmt::format("{}", first) : fmt::format("{} to {}", first, last);
}

void print_line(std::string_view name, const std::string &text, std::ostream &out) { out << fmt::format("  {:<16} {}\n", name, text); }

void print_slope(const PhaseAccount &piece, std::ostream &out) {
  std::string text = fmt::format("{} +- {} nats per million tokens, exponent {}", number_text(kMillion * piece.slope.per_token),
                                 number_text(kMillion * piece.slope.sigma), number_text(piece.slope.exponent));
  if (std::isfinite(piece.slope_ratio)) text += fmt::format("; {} times that just before", number_text(piece.slope_ratio));
  print_line("loss slope", text, out);
}

void print_telemetry(const TelemetryMeans &means, std::ostream &out) {
  if (means.measurements == 0) return print_line("telemetry", "none", out);
  print_line("measurements", fmt::format("{}", means.measurements), out);
  print_line("gradient cosine", number_text(means.gradient_cosine), out);
  print_line("along updates",
             fmt::format("D1 {}, D2 {}, curvature {}", number_text(means.d1), number_text(means.d2), number_text(means.curvature)), out);
  print_line("update / weight",
             fmt::format("{}, of a unit at most {}", number_text(means.update_ratio), number_text(means.largest_update_ratio)), out);
  print_line("noise scale", number_text(means.noise_scale) + (std::isfinite(means.noise_scale) ? " tokens" : ""), out);
}

void print_held_out(const std::optional<EvaluationReport> &evaluation, std::ostream &out) {
  if (!evaluation) return print_line("held-out loss", "not measured", out);
  for (const auto &row : evaluation->rows) {
    print_line("held-out loss",
               fmt::format("{} nats per byte, {} per token, of {} after step {}", number_text(row.loss_per_byte),
                           number_text(row.loss_per_token), row.source, evaluation->step),
               out);
  }
}

// What the behaviour says in words; empty for kOther.
std::string behaviour_text(const PhaseAccount &piece) {
  if (piece.behaviour == Behaviour::kStable) return "stable: the slope changed by less than 10 %";
  if (piece.behaviour == Behaviour::kOther) return "";
  if (piece.same_mix) return "annealing by learning-rate drop: the loss falls faster than before, on the same mix";
  return "the loss falls faster than before; both learning rate and mix changed, so it may be due to either";
}

void print_piece(const PhaseAccount &piece, std::ostream &out) {
  out << fmt::format("\n{}: steps {} to {}, tokens {} to {}\n", title(piece), piece.from_step, piece.to_step, piece.from_tokens,
                     piece.to_tokens);
  print_line("batch", range_text(piece.first_batch, piece.last_batch) + " tokens", out);
  print_line("learning rate", range_text(number_text(piece.first_rate), number_text(piece.last_rate)), out);
  print_line("training loss", range_text(number_text(piece.first_loss), number_text(piece.last_loss)), out);
  print_slope(piece, out);
  print_telemetry(piece.telemetry, out);
  print_held_out(piece.held_out, out);
  if (piece.steps_without_update > 0) print_line("skipped steps", fmt::format("{}", piece.steps_without_update), out);
  if (const std::string text = behaviour_text(piece); !text.empty()) out << "  " << text << "\n";
}

std::string distance_text(const Knee &knee, const std::vector<PhaseAccount> &pieces) {
  if (!knee.border) return "there is no border";
  const PhaseAccount &piece = pieces[*knee.border];
  return fmt::format("{:.0f} tokens ({:.1f} %) {} the border at {}, where {} begins", std::abs(knee.distance),
                     100 * std::abs(knee.distance) / static_cast<double>(piece.from_tokens), knee.distance < 0 ? "before" : "after",
                     piece.from_tokens, title(piece));
}

void print_knees(const RunAccount &account, std::ostream &out) {
  out << "\nthe loss curve alone";
  for (size_t i = 0; i < account.exponents.size(); ++i)
    out << fmt::format("{} {}", i == 0 ? ": exponent" : ", then", number_text(account.exponents[i]));
  out << "\n";
  if (account.knees.empty()) out << "  no knee\n";
  for (const Knee &knee : account.knees)
    out << fmt::format("  knee at {:.0f} tokens: {}\n", knee.tokens, distance_text(knee, account.pieces));
}

void print_text(const std::string &directory, const RunLog &log, const RunAccount &account, std::ostream &out) {
  const StepReport last = log.steps.empty() ? StepReport{} : log.steps.back();
  out << fmt::format("{}: {} steps, {} tokens", directory, last.step, last.tokens);
  if (log.begin) out << fmt::format(" of {} steps, {} tokens", log.begin->total_steps, log.begin->total_tokens);
  out << "\n";
  if (account.pieces.empty()) return;
  for (const PhaseAccount &piece : account.pieces) print_piece(piece, out);
  print_knees(account, out);
}

// ---- JSON; a number that is unknown is null

Json json_of(const TelemetryMeans &means) {
  if (means.measurements == 0) return nullptr;
  return {{"measurements", means.measurements},
          {"gradient_cosine", means.gradient_cosine},
          {"d1", means.d1},
          {"d2", means.d2},
          {"curvature", means.curvature},
          {"noise_scale", means.noise_scale},
          {"update_ratio", means.update_ratio},
          {"largest_update_ratio", means.largest_update_ratio}};
}

Json json_of(const std::optional<EvaluationReport> &evaluation) {
  if (!evaluation) return nullptr;
  Json sources = Json::object();
  for (const auto &row : evaluation->rows)
    sources[row.source] = {{"loss_per_token", row.loss_per_token}, {"loss_per_byte", row.loss_per_byte}};
  return {{"step", evaluation->step}, {"sources", std::move(sources)}};
}

Json json_of(const PhaseAccount &piece, bool first) {
  const char *const behaviour = piece.behaviour == Behaviour::kStable      ? "stable"
                                : piece.behaviour == Behaviour::kAnnealing ? "annealing"
                                                                           : "other";
  return {{"phase", piece.phase},
          {"stage", piece.stage},
          {"from_step", piece.from_step},
          {"to_step", piece.to_step},
          {"from_tokens", piece.from_tokens},
          {"to_tokens", piece.to_tokens},
          {"steps_without_update", piece.steps_without_update},
          {"first_batch", piece.first_batch},
          {"last_batch", piece.last_batch},
          {"first_learning_rate", piece.first_rate},
          {"last_learning_rate", piece.last_rate},
          {"first_loss", piece.first_loss},
          {"last_loss", piece.last_loss},
          {"slope_per_million_tokens", kMillion * piece.slope.per_token},
          {"slope_sigma_per_million_tokens", kMillion * piece.slope.sigma},
          {"exponent", piece.slope.exponent},
          {"slope_before_per_million_tokens", kMillion * piece.slope_before.per_token},
          {"slope_ratio", piece.slope_ratio},
          {"slope_change", piece.slope_change},
          {"same_mix", first ? Json() : Json(piece.same_mix)},
          {"behaviour", behaviour},
          {"telemetry", json_of(piece.telemetry)},
          {"held_out", json_of(piece.held_out)}};
}

Json json_of(const Knee &knee, const std::vector<PhaseAccount> &pieces) {
  Json json{{"tokens", knee.tokens}, {"border", nullptr}, {"distance", nullptr}};
  if (!knee.border) return json;
  const PhaseAccount &piece = pieces[*knee.border];
  json["border"] = {{"tokens", piece.from_tokens}, {"phase", piece.phase}, {"stage", piece.stage}};
  json["distance"] = knee.distance;
  return json;
}

void print_json(const std::string &directory, const RunLog &log, const RunAccount &account, std::ostream &out) {
  Json pieces = Json::array(), knees = Json::array();
  for (const PhaseAccount &piece : account.pieces) pieces.push_back(json_of(piece, pieces.empty()));
  for (const Knee &knee : account.knees) knees.push_back(json_of(knee, account.pieces));
  const StepReport last = log.steps.empty() ? StepReport{} : log.steps.back();
  const Json object{{"run", directory},
                    {"step", last.step},
                    {"tokens", last.tokens},
                    {"total_steps", log.begin ? Json(log.begin->total_steps) : Json()},
                    {"total_tokens", log.begin ? Json(log.begin->total_tokens) : Json()},
                    {"pieces", std::move(pieces)},
                    {"loss_curve", {{"exponents", account.exponents}, {"knees", std::move(knees)}}}};
  out << object.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

}  // namespace

Result<> print_report(const ReportQuery &query, FileSystem &files, std::ostream &out) {
  TRAINHOST_TRY(const RunLog log, read_run(query.directory, files));
  const RunAccount account = account_of(log);
  query.json ? print_json(query.directory, log, account, out) : print_text(query.directory, log, account, out);
  return {};
}

}  // namespace trainhost
