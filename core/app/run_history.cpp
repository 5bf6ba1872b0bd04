#include "app/run_history.h"

#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "metrics/jsonl_history.h"

namespace trainhost {
namespace {

Result<std::string> read_metrics(const std::string &directory, FileSystem &files) {
  if (!files.exists(directory + "/recipe.toml"))
    return failure(ErrorKind::kUsage, fmt::format("{}: is no run directory: it has no recipe.toml", directory));
  const std::string path = directory + "/log/metrics.jsonl";
  if (!files.exists(path))
    return failure(ErrorKind::kData, fmt::format("{}: there is none; a run writes it unless its recipe says metrics.jsonl = false", path));
  return files.read(path);
}

// The trunk of a branch, in TRUNK/branches/NAME.
std::optional<std::string> trunk_of(const std::string &directory) {
  const auto path = std::filesystem::absolute(directory + "/").lexically_normal().parent_path();
  if (path.parent_path().filename() != "branches") return std::nullopt;
  return path.parent_path().parent_path().string();
}

}  // namespace

Result<RunLog> read_run(const std::string &directory, FileSystem &files) {
  TRAINHOST_TRY(const std::string own, read_metrics(directory, files));
  RunLog log = read_run_log(own);
  const auto trunk = trunk_of(directory);
  if (!trunk || !log.begin || log.begin->first_step == 0) return log;
  const auto before = read_metrics(*trunk, files);
  if (!before) return log;
  return read_run_log(history_until(*before, log.begin->first_step, {"phase"}).lines + own);
}

}  // namespace trainhost
