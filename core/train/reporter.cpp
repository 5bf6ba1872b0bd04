#include "train/reporter.h"

namespace trainhost {

void Reporter::add(std::unique_ptr<MetricSink> sink) {
  sinks_.push_back(sink.get());
  owned_.push_back(std::move(sink));
}

void Reporter::begin_run(const RunSummary &summary) {
  std::lock_guard lock(mutex_);
  step_ = summary.first_step;
  for (MetricSink *sink : sinks_) sink->begin(summary);
}

void Reporter::change(const RunChange &change) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->change(change);
}

void Reporter::phase(const PhaseReport &report) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->phase(report);
}

void Reporter::batch(const BatchReport &report) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->batch(report);
}

Result<> Reporter::after_step(TrainState &, const StepReport &report) {
  std::lock_guard lock(mutex_);
  step_ = report.step;
  for (MetricSink *sink : sinks_) sink->step(report);
  return {};
}

Result<> Reporter::before_checkpoint() {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) TRAINHOST_CHECK(sink->flush());
  return {};
}

void Reporter::evaluation(const EvaluationReport &report) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->evaluation(report);
}

void Reporter::mix(const MixReport &report) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->mix(report);
}

void Reporter::epochs(const EpochReport &report) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->epochs(report);
}

void Reporter::panel(const PanelReport &report) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->panel(report);
}

void Reporter::telemetry(const TelemetryReport &report) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->telemetry(report);
}

void Reporter::layers(const LayerReport &report) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->layers(report);
}

void Reporter::sample(const TextSample &sample) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->sample(sample);
}

void Reporter::metric(std::string_view name, double value) {
  std::lock_guard lock(mutex_);
  for (MetricSink *sink : sinks_) sink->metric(step_ + 1, name, value);
}

}  // namespace trainhost
