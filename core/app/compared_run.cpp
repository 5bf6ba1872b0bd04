#include "app/compared_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "app/check_recipe.h"
#include "base/file_system.h"
#include "base/log.h"
#include "base/program.h"
#include "collectives/rank_process.h"
#include "metrics/run_log.h"
#include "recipe/quotation.h"
#include "recipe/token_axis.h"

namespace trainhost {
namespace {

// What there is of a run's metrics so far.
RunLog log_of(const std::string &directory) {
  const auto contents = posix_file_system().read(directory + "/log/metrics.jsonl");
  return contents ? read_run_log(*contents) : RunLog();
}

// The last evaluation, when all tokens had been read. How many steps that takes is not known of batches that grow. A loss that was not
// finite is not a number.
std::optional<LossPanel> final_losses(const std::string &directory, uint64_t tokens) {
  const RunLog log = log_of(directory);
  if (log.evaluations.empty() || log.evaluations.back().tokens < tokens) return std::nullopt;
  LossPanel losses;
  for (const auto &row : log.evaluations.back().rows) losses[row.source] = row.loss_per_byte;
  return losses;
}

uint64_t last_step(const std::string &directory) {
  constexpr std::streamoff kEnough = 8192;  // some lines
  std::ifstream file(directory + "/log/metrics.jsonl", std::ios::ate);
  file.seekg(std::max<std::streamoff>(std::streamoff{file.tellg()} - kEnough, 0));
  uint64_t step = 0;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object()) step = json.value("step", step);
  }
  return step;
}

std::string last_line(const std::string &path) {
  std::ifstream file(path);
  std::string last;
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) last = line;
  return last;
}

// Recipes differ in which keys were given, and say it in comments.
std::string without_comments(std::string toml) {
  constexpr std::string_view kMark = "  # default";
  for (size_t at; (at = toml.find(kMark)) != std::string::npos;) toml.erase(at, kMark.size());
  return toml;
}

std::vector<std::string> own_environment() {
  std::vector<std::string> variables;
  for (char **variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  return variables;
}

std::vector<std::string> settings_of(const Contestant &contestant, uint64_t seed, const std::string &directory) {
  std::vector<std::string> settings = contestant.settings;
  settings.push_back(fmt::format("run.seed={}", seed));
  settings.push_back("run.directory=" + quotation(directory));
  settings.push_back("metrics.jsonl=true");  // where the losses are read
  return settings;
}

}  // namespace

Result<ComparedRun> ComparedRun::plan(const Contestant &contestant, uint64_t seed, const std::string &directory, uint32_t processes) {
  ComparedRun run;
  run.contestant_ = contestant;
  run.seed_ = seed;
  run.processes_ = processes;
  run.directory_ = directory;
  TRAINHOST_TRY(run.checked_, check_recipe(contestant.recipe, settings_of(contestant, seed, directory)));
  for (const Branch &branch : run.checked_.recipe.branches) {
    if (branch.until)
      return failure(ErrorKind::kRecipe, fmt::format("{}: branch {} ends at {}; only runs of equal tokens can be compared",
                                                     contestant.recipe, quotation(branch.name), branch.until->text));
  }
  const TokenAxis axis(run.checked_.recipe);
  run.total_tokens_ = axis.total_tokens();
  run.total_steps_ = axis.total_steps();
  return run;
}

std::vector<std::string> ComparedRun::names() const {
  std::vector<std::string> names{contestant_.name};
  for (const Branch &branch : checked_.recipe.branches) names.push_back(contestant_.name + "/" + branch.name);
  return names;
}

std::string ComparedRun::directory_of(const std::string &name) const {
  const size_t branch = name.find('/');
  return branch == std::string::npos ? directory_ : directory_ + "/branches" + name.substr(branch);
}

Result<> ComparedRun::check_same_recipe() const {
  TRAINHOST_TRY(const std::string found, posix_file_system().read(directory_ + "/recipe.toml"));
  if (without_comments(found) == without_comments(resolved_toml(checked_.recipe))) return {};
  return failure(ErrorKind::kRecipe,
                 fmt::format("{}: holds a run of another recipe than {} with these settings; remove it, or name another --output",
                             directory_, contestant_.recipe));
}

Result<std::optional<std::map<std::string, LossPanel>>> ComparedRun::losses() const {
  std::map<std::string, LossPanel> all;
  for (const std::string &name : names()) {
    const auto losses = final_losses(directory_of(name), checked_.recipe.run.tokens);
    if (!losses) return std::nullopt;
    all[name] = *losses;
  }
  TRAINHOST_CHECK(check_same_recipe());
  return all;
}

std::optional<ReachedLoss> ComparedRun::reached(const std::string &source, double loss) const {
  std::optional<ReachedLoss> before;
  double loss_before = 0;
  for (const EvaluationReport &evaluation : log_of(directory_).evaluations) {
    const ReachedLoss done{.steps = static_cast<double>(evaluation.step), .tokens = static_cast<double>(evaluation.tokens)};
    const auto found = std::ranges::find(evaluation.rows, source, &EvaluationReport::Row::source);
    if (found == evaluation.rows.end()) continue;
    if (found->loss_per_byte <= loss) {
      if (!before) return done;
      const double share = (loss_before - loss) / (loss_before - found->loss_per_byte);
      return ReachedLoss{.steps = std::lerp(before->steps, done.steps, share), .tokens = std::lerp(before->tokens, done.tokens, share)};
    }
    before = done;
    loss_before = found->loss_per_byte;
  }
  return std::nullopt;
}

bool ComparedRun::has_source(const std::string &name) const {
  return std::ranges::any_of(checked_.recipe.sources, [&](const Source &source) { return source.name == name; });
}

std::vector<std::string> ComparedRun::command() const {
  std::vector<std::string> command{program_path(), "train", "--recipe", contestant_.recipe};
  for (std::string &setting : settings_of(contestant_, seed_, directory_)) {
    command.push_back("--set");
    command.push_back(std::move(setting));
  }
  if (!contestant_.from.empty()) {
    command.push_back("--from");
    command.push_back(contestant_.from);
  }
  if (processes_ > 0) {
    command.push_back("--processes");
    command.push_back(std::to_string(processes_));
  }
  return command;
}

Result<std::map<std::string, LossPanel>> ComparedRun::finish(const std::string &place, const std::atomic<bool> &stop,
                                                             Console *console) const {
  const std::string what = fmt::format("{}: {}, seed-{}", place, contestant_.name, seed_);
  TRAINHOST_TRY(auto finished, losses());
  if (finished) {
    log_info(what + " is finished already");
    return *finished;
  }
  if (posix_file_system().exists(directory_ + "/recipe.toml")) TRAINHOST_CHECK(check_same_recipe());
  log_info(what + " begins");
  TRAINHOST_CHECK(posix_file_system().create_directories(std::filesystem::path(directory_).parent_path().string()));
  TRAINHOST_CHECK(train(stop, console));
  TRAINHOST_TRY(finished, losses());
  if (finished) return *finished;
  return failure(ErrorKind::kRecipe, what + " measured no held-out loss at its end; sources need held_out, and evaluation.sources those");
}

Result<> ComparedRun::train(const std::atomic<bool> &stop, Console *console) const {
  const std::string log = directory_ + ".log";
  TRAINHOST_TRY(RankProcess process,
                RankProcess::start({.command = command(), .environment = own_environment(), .log_file = log, .own_output = true}));
  const auto under_way = [&] {
    std::string name = contestant_.name;
    for (const std::string &each : names())
      if (posix_file_system().exists(directory_of(each) + "/log")) name = each;
    return name;
  };
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds kInterval{1};
  auto shown = Clock::now();
  for (bool told = false; !process.reap(); std::this_thread::sleep_for(std::chrono::milliseconds(20))) {
    if (stop && !told) {
      process.signal(SIGTERM);
      told = true;
    }
    if (console == nullptr || Clock::now() - shown < kInterval) continue;
    const std::string name = under_way();
    console->progress(fmt::format("{}, seed {}", name, seed_), last_step(directory_of(name)), total_steps_);
    shown = Clock::now();
  }
  if (WIFEXITED(process.status()) && WEXITSTATUS(process.status()) == 0) return {};
  const auto kind = WIFEXITED(process.status()) ? kind_of(WEXITSTATUS(process.status())) : std::nullopt;
  if (stop) return failure(ErrorKind::kStopped, "stopped; the same command goes on where it stopped");
  return failure(kind.value_or(ErrorKind::kUnavailable),
                 fmt::format("{}, seed {}: its process failed; the last line in {}: {}", contestant_.name, seed_, log, last_line(log)));
}

}  // namespace trainhost
