// The schema is in docs/metrics.md.
#include <filesystem>
#include <mutex>

#include <nlohmann/json.hpp>

#include "base/file_system.h"
#include "metrics/jsonl_history.h"
#include "metrics/metrics.h"

namespace trainhost {
namespace {

using Json = nlohmann::ordered_json;

class JsonlSink final : public MetricSink {
 public:
  JsonlSink(std::unique_ptr<WritableFile> file, bool has_begin) : file_(std::move(file)), has_begin_(has_begin) {}

  void begin(const RunSummary &run) override {
    if (std::exchange(has_begin_, true)) return;
    write({{"kind", "begin"},
           {"recipe", run.recipe},
           {"directory", run.directory},
           {"model", run.model},
           {"parameters", run.parameters},
           {"total_steps", run.total_steps},
           {"total_tokens", run.total_tokens},
           {"first_step", run.first_step}});
  }

  void change(const RunChange &change) override {
    write({{"kind", "change"}, {"step", change.step}, {"what", change.what}, {"before", change.before}, {"after", change.after}});
  }

  void phase(const PhaseReport &report) override {
    Json overrides = Json::object();
    for (const auto &[key, value] : report.overrides) overrides[key] = value;
    write({{"kind", "phase"},
           {"step", report.step},
           {"tokens", report.tokens},
           {"phase", report.phase},
           {"batch", report.batch_tokens},
           {"sequence_length", report.sequence_length},
           {"mix", report.mix},
           {"overrides", std::move(overrides)}});
  }

  void batch(const BatchReport &report) override {
    write({{"kind", "batch"},
           {"step", report.step},
           {"tokens", report.tokens},
           {"before", report.before},
           {"after", report.after},
           {"total_steps", report.total_steps},
           {"reason", report.reason}});
  }

  void step(const StepReport &report) override {
    write({{"kind", "step"},
           {"step", report.step},
           {"tokens", report.tokens},
           {"phase", report.phase},
           {"stage", report.stage},
           {"batch", report.batch_tokens},
           {"loss", report.loss},
           {"learning_rate", report.learning_rate},
           {"gradient_norm", report.gradient_norm},
           {"skipped", report.skipped},
           {"seconds", report.seconds},
           {"tokens_per_second", report.tokens_per_second},
           {"utilisation", report.utilisation},
           {"peak_memory", report.peak_memory}});
  }

  void evaluation(const EvaluationReport &report) override {
    Json sources = Json::object();
    for (const auto &row : report.rows) {
      sources[row.source] = {{"loss_per_token", row.loss_per_token}, {"loss_per_byte", row.loss_per_byte}, {"tokens", row.tokens}};
    }
    write({{"kind", "evaluation"}, {"step", report.step}, {"tokens", report.tokens}, {"sources", std::move(sources)}});
  }

  void mix(const MixReport &report) override {
    Json sources = Json::object();
    for (const auto &row : report.rows) {
      sources[row.source] = {{"weight", row.weight}, {"loss_per_token", row.loss_per_token}, {"tokens", row.tokens}};
    }
    write({{"kind", "mix"}, {"step", report.step}, {"tokens", report.tokens}, {"round", report.round}, {"sources", std::move(sources)}});
  }

  void epochs(const EpochReport &report) override {
    Json sources = Json::object();
    for (const auto &row : report.rows) {
      sources[row.source] = {{"epochs", row.epochs},
                             {"unique_tokens", row.unique_tokens},
                             {"tokens_read", row.tokens_read},
                             {"effective_share", row.effective_share}};
    }
    write({{"kind", "epochs"}, {"step", report.step}, {"tokens", report.tokens}, {"sources", std::move(sources)}});
  }

  void panel(const PanelReport &report) override {
    Json sources = Json::object();
    for (const auto &row : report.rows) {
      sources[row.source] = {{"out_of_domain", row.out_of_domain}, {"loss_per_byte", row.loss}, {"before", row.before},
                             {"difference", row.difference},       {"sigma", row.sigma},        {"worse", row.worse}};
    }
    const auto mean = [](const PanelReport::Mean &mean) {
      return Json{{"sources", mean.sources}, {"loss_per_byte", mean.loss}, {"before", mean.before}};
    };
    write({{"kind", "panel"},
           {"step", report.step},
           {"tokens", report.tokens},
           {"since_tokens", report.since_tokens},
           {"phase", report.phase},
           {"sources", std::move(sources)},
           {"in_domain", mean(report.in_domain)},
           {"out_of_domain", mean(report.out_of_domain)}});
  }

  void telemetry(const TelemetryReport &report) override {
    write({{"kind", "telemetry"},
           {"step", report.step},
           {"tokens", report.tokens},
           {"phase", report.phase},
           {"gradient_square", report.gradient_square},
           {"gradient_variance", report.gradient_variance},
           {"noise_scale", report.noise_scale},
           {"gradient_cosine", report.gradient_cosine},
           {"d1", report.d1},
           {"d2", report.d2},
           {"curvature", report.curvature},
           {"update_ratio", report.update_ratio},
           {"largest_update_ratio", report.largest_update_ratio}});
  }

  void layers(const LayerReport &report) override {
    Json cosines = Json::object();
    for (const auto &row : report.rows) cosines[row.block] = row.cosine;
    write({{"kind", "layers"}, {"step", report.step}, {"tokens", report.tokens}, {"cosine", std::move(cosines)}});
  }

  void sample(const TextSample &sample) override {
    write({{"kind", "sample"}, {"step", sample.step}, {"prompt", sample.prompt}, {"continuation", sample.continuation}});
  }

  void metric(uint64_t step, std::string_view name, double value) override {
    write({{"kind", "metric"}, {"step", step}, {"name", name}, {"value", value}});
  }

  Result<> flush() override {
    std::lock_guard lock(mutex_);
    if (written_) written_ = file_->sync();
    return written_;
  }

 private:
  // A failure is kept for the next flush.
  void write(const Json &line) {
    const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
    std::lock_guard lock(mutex_);
    if (written_) written_ = file_->append(text);
  }

  std::mutex mutex_;
  std::unique_ptr<WritableFile> file_;
  Result<> written_;
  bool has_begin_;
};

// Writes the kept lines beside the file and lets the result take its place; the open file is then the one under `path`.
Result<std::unique_ptr<WritableFile>> replace_with(FileSystem &files, const std::string &path, std::string_view lines) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!folder.empty()) TRAINHOST_CHECK(files.create_directories(folder));
  TRAINHOST_TRY(auto file, files.create(path + ".partial"));
  TRAINHOST_CHECK(file->append(lines));
  TRAINHOST_CHECK(file->sync());
  TRAINHOST_CHECK(files.rename(path + ".partial", path));
  TRAINHOST_CHECK(files.sync_directory(folder.empty() ? "." : folder));
  return file;
}

}  // namespace

Result<std::unique_ptr<MetricSink>> open_jsonl_sink(const std::string &path, uint64_t step, const std::vector<std::string> &to_come) {
  FileSystem &files = posix_file_system();
  JsonlHistory history;
  if (step > 0 && files.exists(path)) {
    TRAINHOST_TRY(const auto contents, files.read(path));
    history = history_until(contents, step, to_come);
  }
  TRAINHOST_TRY(auto file, replace_with(files, path, history.lines));
  return std::make_unique<JsonlSink>(std::move(file), history.has_begin);
}

}  // namespace trainhost
