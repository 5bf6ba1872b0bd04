// What a run tells the outside: reports, and sinks that write them down.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace trainhost {

struct RunSummary {  // once, before the first step
  std::string recipe, directory, model;
  uint64_t parameters = 0, total_steps = 0, total_tokens = 0, first_step = 0;
};

// A resumed run goes on with something else than its checkpoint was made with.
struct RunChange {
  uint64_t step = 0;  // after which it holds
  std::string what, before, after;
};

// A phase begins.
struct PhaseReport {
  uint64_t step = 0, tokens = 0;  // done when it begins
  std::string phase;
  uint64_t batch_tokens = 0;  // of its first step
  uint32_t sequence_length = 0;
  std::map<std::string, double> mix;                           // source -> share; where the mix moves, what it comes to
  std::vector<std::pair<std::string, std::string>> overrides;  // "optimizer.beta2" and its value, as in the recipe
};

// The batch has grown by itself.
struct BatchReport {
  uint64_t step = 0, tokens = 0;   // done when it grows
  uint64_t before = 0, after = 0;  // tokens in a step
  uint64_t total_steps = 0;        // of the run, as it is laid out now
  std::string reason;
};

struct StepReport {
  uint64_t step = 0;    // steps done, this one included
  uint64_t tokens = 0;  // consumed, this step's included
  std::string phase, stage;
  uint64_t batch_tokens = 0;  // in this step
  double loss = 0;            // nats per counted token; NaN when the step was thrown away for it
  double learning_rate = 0, gradient_norm = 0;
  bool skipped = false;  // no update was made
  double seconds = 0;    // of this step
  double tokens_per_second = 0;
  double utilisation = 0;    // achieved over measured peak matrix-product rate; 0: unknown
  uint64_t peak_memory = 0;  // bytes, resident, of the process so far
};

struct EvaluationReport {
  struct Row {
    std::string source;
    double loss_per_token = 0, loss_per_byte = 0;  // nats
    uint64_t tokens = 0;
  };
  uint64_t step = 0, tokens = 0;
  std::vector<Row> rows;
};

// The shares of the sources in a round that begins, and what the mixer made them from.
struct MixReport {
  struct Row {
    std::string source;
    double weight = 0;          // its share of the samples from here on
    double loss_per_token = 0;  // training loss in the round before, in nats; NaN without tokens
    uint64_t tokens = 0;        // counted in the round before
  };
  uint64_t step = 0, tokens = 0;  // done when the round begins
  uint64_t round = 0;             // from 0
  std::vector<Row> rows;
};

// How often the text of each source has been read.
struct EpochReport {
  struct Row {
    std::string source;
    double epochs = 0;
    uint64_t unique_tokens = 0;  // of the text that has been read at least once
    uint64_t tokens_read = 0;    // as often as it was read
    double effective_share = 1;  // what these are worth, over what as many new tokens would be; 1 while no text has come again
  };
  uint64_t step = 0, tokens = 0;
  std::vector<Row> rows;
};

// What a phase did to the held-out losses: at its end, beside those when it began. All in nats per byte.
struct PanelReport {
  struct Row {
    std::string source;
    bool out_of_domain = false;
    double loss = 0, before = 0;
    double difference = 0, sigma = 0;  // of the same windows, before and after; sigma: of the mean difference, NaN with one window
    bool worse = false;                // by more than two sigma
  };
  struct Mean {  // over the sources of one kind
    size_t sources = 0;
    double loss = 0, before = 0;
  };
  uint64_t step = 0, tokens = 0;
  uint64_t since_tokens = 0;  // of the run, when the losses before were measured
  std::string phase;
  std::vector<Row> rows;
  Mean in_domain, out_of_domain;
};

// How training goes at a step; see docs/metrics.md. NaN: unknown.
struct TelemetryReport {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

  uint64_t step = 0, tokens = 0;  // done, this step's included
  std::string phase;
  // Of this step's gradient without noise, the square; and the trace of the covariance of a token's gradient.
  double gradient_square = kUnknown, gradient_variance = kUnknown;
  double noise_scale = kUnknown;  // tokens; the smoothed quotient
  // Between the gradients of this step and the one before it, and along the update of that one.
  double gradient_cosine = kUnknown, d1 = kUnknown, d2 = kUnknown, curvature = kUnknown;
  // That update's norm over the parameters' norm: of all, and the largest of a unit.
  double update_ratio = kUnknown, largest_update_ratio = kUnknown;
};

// How far each block of the model turns what passes through it; see docs/evaluation.md.
struct LayerReport {
  struct Row {
    std::string block;
    double cosine = 0;  // of its input and output
  };
  uint64_t step = 0, tokens = 0;
  std::vector<Row> rows;
};

struct TextSample {
  uint64_t step = 0;
  std::string prompt, continuation;
};

// Called from the training thread, except metric, which may come from any.
class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void begin(const RunSummary &) {}
  virtual void change(const RunChange &) {}
  virtual void phase(const PhaseReport &) {}
  virtual void batch(const BatchReport &) {}
  virtual void step(const StepReport &) = 0;
  virtual void evaluation(const EvaluationReport &) = 0;
  virtual void mix(const MixReport &) {}
  virtual void epochs(const EpochReport &) {}
  virtual void panel(const PanelReport &) {}
  virtual void telemetry(const TelemetryReport &) {}
  virtual void layers(const LayerReport &) {}
  virtual void sample(const TextSample &) {}
  virtual void metric(uint64_t /*step*/, std::string_view /*name*/, double /*value*/) {}
  // Makes what was written so far readable by others; before a checkpoint is announced. Fails with kCheckpointWrite.
  virtual Result<> flush() { return {}; }
};

// Lines of JSON, one a report, in <run>/log/metrics.jsonl. Opened to go on after `step`: lines of later steps, and a torn last one,
// are dropped, so that the file of a resumed run reads as that of an undisturbed one; likewise lines of `step` whose kind is among those
// that are still to come.
Result<std::unique_ptr<MetricSink>> open_jsonl_sink(const std::string &path, uint64_t step, const std::vector<std::string> &to_come = {});

// TensorBoard scalars and texts in a new events.out.tfevents file in the folder.
Result<std::unique_ptr<MetricSink>> open_tensorboard_sink(const std::string &folder, uint64_t step);

// The terminal: on a TTY one progress line drawn anew, elsewhere plain lines now and then. Colour only on a TTY without NO_COLOR.
class Console : public MetricSink {
 public:
  // Progress of long work before training, as PluginEvents::progress. Any thread.
  virtual void progress(std::string_view what, uint64_t done, uint64_t total) = 0;
};
std::unique_ptr<Console> open_console();

// Peak resident memory of this process so far, in bytes.
uint64_t peak_resident_bytes();

}  // namespace trainhost
