#include "app/checkpoints_verb.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <functional>
#include <tuple>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/consolidate.h"
#include "metrics/metrics.h"

namespace trainhost {
namespace {

struct Row {
  CheckpointInfo info;
  std::string state;  // "present" by its manifest, "verified" by every byte, or "damaged"
};

std::string size_text(uint64_t bytes) {
  static constexpr std::array<const char *, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string age_text(uint64_t created) {
  const auto now = static_cast<uint64_t>(std::max<std::time_t>(std::time(nullptr), 0));
  if (created == 0) return "-";
  const uint64_t seconds = now > created ? now - created : 0;
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 120 * 60) return std::to_string(seconds / 60) + " min";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / 86400) + " d";
}

Result<std::vector<Row>> look(const CheckpointsQuery &query, FileSystem &files) {
  TRAINHOST_TRY(const auto directory, CheckpointDirectory::view(files, query.folder));
  TRAINHOST_TRY(const auto checkpoints, directory.list());
  std::vector<Row> rows;
  for (CheckpointInfo info : checkpoints) {
    if (query.verify && info.problem.empty()) {
      if (const auto verified = directory.verify(info.path); !verified) info.problem = verified.error().message;
    }
    const char *state = !info.problem.empty() ? "damaged" : query.verify ? "verified" : "present";
    rows.push_back({.info = std::move(info), .state = state});
  }
  return rows;
}

void print_json(const std::string &folder, const std::vector<Row> &rows, std::ostream &out) {
  nlohmann::ordered_json checkpoints = nlohmann::ordered_json::array();
  for (const Row &row : rows) {
    const CheckpointInfo &info = row.info;
    checkpoints.push_back({{"path", info.path},
                           {"step", info.step},
                           {"tokens", info.tokens},
                           {"label", info.label},
                           {"bytes", info.bytes},
                           {"processes", info.processes},
                           {"created", info.created},
                           {"state", row.state},
                           {"problem", info.problem}});
  }
  const nlohmann::ordered_json object{{"folder", folder}, {"checkpoints", std::move(checkpoints)}};
  out << object.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

using Cells = std::array<std::string, 7>;

void print_table(const std::string &folder, const std::vector<Row> &rows, std::ostream &out) {
  if (rows.empty()) {
    out << "no checkpoints in " << folder << "\n";
    return;
  }
  std::vector<Cells> table{{"step", "tokens", "label", "size", "processes", "age", "state"}};
  for (const auto &[info, state] : rows) {
    const bool known = info.problem.empty();
    table.push_back({std::to_string(info.step), known ? std::to_string(info.tokens) : "-", info.label.empty() ? "-" : info.label,
                     known ? size_text(info.bytes) : "-", known ? std::to_string(info.processes) : "-",
                     known ? age_text(info.created) : "-", state});
  }
  std::array<size_t, std::tuple_size_v<Cells>> widths{};
  for (const Cells &cells : table) {
    for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
  }
  for (const Cells &cells : table) {
    for (size_t i = 0; i + 1 < cells.size(); ++i) {
      const std::string padding(widths[i] - cells[i].size(), ' ');
      const bool left = i == 2;  // the label; all others are numbers
      out << (left ? cells[i] + padding : padding + cells[i]) << "  ";
    }
    out << cells.back() << "\n";
  }
  for (const Row &row : rows) {
    if (!row.info.problem.empty()) out << row.info.problem << "\n";
  }
}

// Does `use` with the checkpoint that is meant.
Result<> with_checkpoint(const std::string &source, FileSystem &files, const std::function<Result<>(const std::string &path)> &use) {
  const std::string folder = source + "/checkpoints";
  if (files.exists(source + "/manifest.json")) return use(source);
  if (!files.exists(folder)) {
    return failure(ErrorKind::kUsage, source + ": is neither a run directory, with checkpoints in it, nor the directory of a checkpoint");
  }
  TRAINHOST_TRY(const auto directory, CheckpointDirectory::view(files, folder));
  TRAINHOST_TRY(const bool found, directory.use_newest(use));
  return found ? Result<>() : failure(ErrorKind::kData, folder + ": there is no checkpoint yet");
}

}  // namespace

Result<> consolidate_checkpoint(const ConsolidateQuery &query, FileSystem &files, std::ostream &out) {
  const auto console = open_console();
  return with_checkpoint(query.source, files, [&](const std::string &path) -> Result<> {
    const auto show = [&](uint64_t done, uint64_t total) { console->progress("writing " + query.output, done, total); };
    TRAINHOST_TRY(const ConsolidatedWeights written, consolidate(files, path, query.output, show));
    out << query.output << ": " << written.parameters << " parameters in " << written.tensors << " tensors, " << size_text(written.bytes)
        << ", of step " << written.step << "\n";
    return {};
  });
}

Result<> print_checkpoints(const CheckpointsQuery &query, FileSystem &files, std::ostream &out) {
  TRAINHOST_TRY(const auto rows, look(query, files));
  query.json ? print_json(query.folder, rows, out) : print_table(query.folder, rows, out);
  const auto damaged = std::count_if(rows.begin(), rows.end(), [](const Row &row) { return !row.info.problem.empty(); });
  if (damaged == 0) return {};
  return failure(ErrorKind::kData,
                 query.folder + ": " + std::to_string(damaged) + " of " + std::to_string(rows.size()) + " checkpoints cannot be used");
}

}  // namespace trainhost
