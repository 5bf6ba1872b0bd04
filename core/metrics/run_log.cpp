#include "metrics/run_log.h"

#include <nlohmann/json.hpp>

namespace trainhost {
namespace {

// An object whose values need not be what they should be.
class Fields {
 public:
  explicit Fields(const nlohmann::json &json) : json_(json) {}

  std::string text(const char *key) const { return at(key).is_string() ? at(key).get<std::string>() : std::string(); }
  uint64_t count(const char *key) const { return at(key).is_number_unsigned() ? at(key).get<uint64_t>() : 0; }
  double number(const char *key) const { return at(key).is_number() ? at(key).get<double>() : std::numeric_limits<double>::quiet_NaN(); }
  bool flag(const char *key) const { return at(key).is_boolean() && at(key).get<bool>(); }
  const nlohmann::json &at(const char *key) const {
    static const nlohmann::json kAbsent;
    const auto found = json_.find(key);
    return found == json_.end() ? kAbsent : *found;
  }

 private:
  const nlohmann::json &json_;
};

template <class Report>
void keep(Report report, std::vector<Report> &reports) {
  while (!reports.empty() && reports.back().step >= report.step) reports.pop_back();
  reports.push_back(std::move(report));
}

template <class Row>
std::vector<Row> rows_of(const nlohmann::json &sources, Row (*row_of)(const std::string &source, const Fields &)) {
  std::vector<Row> rows;
  if (!sources.is_object()) return rows;
  for (const auto &[source, row] : sources.items()) {
    if (row.is_object()) rows.push_back(row_of(source, Fields(row)));
  }
  return rows;
}

RunSummary summary(const Fields &line) {
  return {.recipe = line.text("recipe"),
          .directory = line.text("directory"),
          .model = line.text("model"),
          .parameters = line.count("parameters"),
          .total_steps = line.count("total_steps"),
          .total_tokens = line.count("total_tokens"),
          .first_step = line.count("first_step")};
}

PhaseReport phase(const Fields &line) {
  PhaseReport report{.step = line.count("step"),
                     .tokens = line.count("tokens"),
                     .phase = line.text("phase"),
                     .batch_tokens = line.count("batch"),
                     .sequence_length = static_cast<uint32_t>(line.count("sequence_length")),
                     .mix = {},
                     .overrides = {}};
  if (!line.at("mix").is_object()) return report;
  for (const auto &[source, share] : line.at("mix").items()) {
    if (share.is_number()) report.mix[source] = share.get<double>();
  }
  return report;
}

StepReport step(const Fields &line) {
  return {.step = line.count("step"),
          .tokens = line.count("tokens"),
          .phase = line.text("phase"),
          .stage = line.text("stage"),
          .batch_tokens = line.count("batch"),
          .loss = line.number("loss"),
          .learning_rate = line.number("learning_rate"),
          .gradient_norm = line.number("gradient_norm"),
          .skipped = line.flag("skipped"),
          .seconds = line.number("seconds"),
          .tokens_per_second = line.number("tokens_per_second"),
          .utilisation = line.number("utilisation"),
          .peak_memory = line.count("peak_memory")};
}

EvaluationReport evaluation(const Fields &line) {
  const auto row_of = [](const std::string &source, const Fields &row) {
    return EvaluationReport::Row{.source = source,
                                 .loss_per_token = row.number("loss_per_token"),
                                 .loss_per_byte = row.number("loss_per_byte"),
                                 .tokens = row.count("tokens")};
  };
  return {.step = line.count("step"), .tokens = line.count("tokens"), .rows = rows_of<EvaluationReport::Row>(line.at("sources"), row_of)};
}

MixReport mix(const Fields &line) {
  const auto row_of = [](const std::string &source, const Fields &row) {
    return MixReport::Row{
        .source = source, .weight = row.number("weight"), .loss_per_token = row.number("loss_per_token"), .tokens = row.count("tokens")};
  };
  return {.step = line.count("step"),
          .tokens = line.count("tokens"),
          .round = line.count("round"),
          .rows = rows_of<MixReport::Row>(line.at("sources"), row_of)};
}

TelemetryReport telemetry(const Fields &line) {
  return {.step = line.count("step"),
          .tokens = line.count("tokens"),
          .phase = line.text("phase"),
          .gradient_square = line.number("gradient_square"),
          .gradient_variance = line.number("gradient_variance"),
          .noise_scale = line.number("noise_scale"),
          .gradient_cosine = line.number("gradient_cosine"),
          .d1 = line.number("d1"),
          .d2 = line.number("d2"),
          .curvature = line.number("curvature"),
          .update_ratio = line.number("update_ratio"),
          .largest_update_ratio = line.number("largest_update_ratio")};
}

void add(const Fields &line, RunLog &log) {
  const std::string kind = line.text("kind");
  if (kind == "begin") log.begin = summary(line);
  if (!line.at("step").is_number_unsigned()) return;
  if (kind == "phase") keep(phase(line), log.phases);
  if (kind == "step") keep(step(line), log.steps);
  if (kind == "evaluation") keep(evaluation(line), log.evaluations);
  if (kind == "mix") keep(mix(line), log.mixes);
  if (kind == "telemetry") keep(telemetry(line), log.telemetry);
}

}  // namespace

RunLog read_run_log(std::string_view contents) {
  RunLog log;
  for (size_t end; (end = contents.find('\n')) != std::string_view::npos; contents.remove_prefix(end + 1)) {
    const auto json = nlohmann::json::parse(contents.substr(0, end), nullptr, false);
    if (json.is_object()) add(Fields(json), log);
  }
  return log;
}

}  // namespace trainhost
