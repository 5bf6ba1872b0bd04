#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>

#include <unistd.h>

#include <fmt/format.h>

#include "base/file_system.h"
#include "metrics/event_record.h"
#include "metrics/metrics.h"
#include "metrics/utf8_text.h"

namespace trainhost {
namespace {

double unix_seconds() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

class TensorboardSink final : public MetricSink {
 public:
  explicit TensorboardSink(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}

  void start(uint64_t step) {
    const double now = unix_seconds();
    write(version_event(now));
    write(session_start_event(now, step));
  }

  void step(const StepReport &report) override {
    scalar(report.step, "train/loss", report.loss);
    scalar(report.step, "train/learning_rate", report.learning_rate);
    scalar(report.step, "train/gradient_norm", report.gradient_norm);
    scalar(report.step, "train/batch", static_cast<double>(report.batch_tokens));
    scalar(report.step, "train/tokens_per_second", report.tokens_per_second);
  }

  void evaluation(const EvaluationReport &report) override {
    for (const auto &row : report.rows) {
      scalar(report.step, "held_out_loss_per_token/" + row.source, row.loss_per_token);
      scalar(report.step, "held_out_loss_per_byte/" + row.source, row.loss_per_byte);
    }
  }

  void mix(const MixReport &report) override {
    for (const auto &row : report.rows) {
      scalar(report.step, "mix/" + row.source, row.weight);
      if (row.tokens > 0) scalar(report.step, "training_loss_per_token/" + row.source, row.loss_per_token);
    }
  }

  void epochs(const EpochReport &report) override {
    for (const auto &row : report.rows) {
      scalar(report.step, "epochs/" + row.source, row.epochs);
      scalar(report.step, "effective_share/" + row.source, row.effective_share);
    }
  }

  void panel(const PanelReport &report) override {
    for (const auto &row : report.rows) scalar(report.step, "held_out_change_over_phase/" + row.source, row.difference);
    if (report.in_domain.sources > 0) scalar(report.step, "domain_loss_per_byte/in", report.in_domain.loss);
    if (report.out_of_domain.sources > 0) scalar(report.step, "domain_loss_per_byte/out", report.out_of_domain.loss);
  }

  void telemetry(const TelemetryReport &report) override {
    const auto known = [&](std::string_view tag, double value) {
      if (!std::isnan(value)) scalar(report.step, tag, value);
    };
    known("telemetry/noise_scale", report.noise_scale);
    known("telemetry/gradient_cosine", report.gradient_cosine);
    known("telemetry/d1", report.d1);
    known("telemetry/d2", report.d2);
    known("telemetry/curvature", report.curvature);
    known("telemetry/update_ratio", report.update_ratio);
    known("telemetry/largest_update_ratio", report.largest_update_ratio);
  }

  void layers(const LayerReport &report) override {
    for (const auto &row : report.rows) scalar(report.step, "layer_cosine/" + row.block, row.cosine);
  }

  void sample(const TextSample &sample) override {
    write(text_event(unix_seconds(), sample.step, "samples/" + valid_utf8(sample.prompt),
                     indented(valid_utf8(sample.prompt + sample.continuation))));
  }

  void metric(uint64_t step, std::string_view name, double value) override { scalar(step, name, value); }

  Result<> flush() override {
    std::lock_guard lock(mutex_);
    if (written_) written_ = file_->sync();
    return written_;
  }

 private:
  // Four spaces before each line: TensorBoard renders Markdown, and this is its way to leave text alone.
  static std::string indented(std::string_view text) {
    std::string block = "    ";
    for (const char c : text) c == '\n' ? block += "\n    " : block += c;
    return block;
  }

  void scalar(uint64_t step, std::string_view tag, double value) { write(scalar_event(unix_seconds(), step, tag, value)); }

  // A failure is kept for the next flush.
  void write(const ProtobufMessage &event) {
    const std::string record = event_record(event);
    std::lock_guard lock(mutex_);
    if (written_) written_ = file_->append(record);
  }

  std::mutex mutex_;
  std::unique_ptr<WritableFile> file_;
  Result<> written_;
};

// events.out.tfevents.<unix time>.<host>.<process>.<number>: readers take the files of a folder in the order of their names.
std::string event_file_name() {
  static std::atomic<int> number = 0;
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return fmt::format("events.out.tfevents.{:010}.{}.{}.{}", static_cast<int64_t>(unix_seconds()), host, getpid(), number++);
}

}  // namespace

Result<std::unique_ptr<MetricSink>> open_tensorboard_sink(const std::string &folder, uint64_t step) {
  FileSystem &files = posix_file_system();
  TRAINHOST_CHECK(files.create_directories(folder));
  TRAINHOST_TRY(auto file, files.create(folder + "/" + event_file_name()));
  auto sink = std::make_unique<TensorboardSink>(std::move(file));
  sink->start(step == 0 ? 0 : step + 1);  // the points of `step` itself stay
  TRAINHOST_CHECK(sink->flush());
  return sink;
}

}  // namespace trainhost
