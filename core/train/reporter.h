// Hands what a run reports to all metric sinks.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "metrics/metrics.h"
#include "train/observer.h"

namespace trainhost {

class Reporter : public TrainObserver {
 public:
  void add(std::unique_ptr<MetricSink> sink);
  // A sink that outlives the reporter and may serve several.
  void show_on(MetricSink *sink) { sinks_.push_back(sink); }

  void begin_run(const RunSummary &summary);
  void change(const RunChange &change);
  void phase(const PhaseReport &report);
  void batch(const BatchReport &report);
  Result<> after_step(TrainState &state, const StepReport &report) override;
  Result<> before_checkpoint() override;
  void evaluation(const EvaluationReport &report);
  void mix(const MixReport &report);
  void epochs(const EpochReport &report);
  void panel(const PanelReport &report);
  void telemetry(const TelemetryReport &report);
  void layers(const LayerReport &report);
  void sample(const TextSample &sample);
  // From a plugin; under the step that is being made. Any thread.
  void metric(std::string_view name, double value);

 private:
  std::vector<std::unique_ptr<MetricSink>> owned_;
  std::vector<MetricSink *> sinks_;
  std::mutex mutex_;  // metric may come from any thread
  uint64_t step_ = 0;
};

}  // namespace trainhost
