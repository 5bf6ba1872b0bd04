// One of the runs that `trainhost compare` makes: a recipe with a seed, trained by a process of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "app/corpus.h"
#include "base/status.h"
#include "evaluate/critical_batch.h"

namespace trainhost {

// What is compared: a recipe as it stands, or with settings.
struct Contestant {
  std::string name;                   // a folder's; unique
  std::string recipe;                 // its file
  std::vector<std::string> settings;  // KEY=VALUE
};

// Final held-out loss by source, in nats per byte.
using FinalLosses = std::map<std::string, double>;

class ComparedRun {
 public:
  // The run of a contestant with a seed, in `directory`; `processes`: 0 for what the recipe gives itself, else as of --processes. Reads and
  // checks the recipe; starts nothing. kRecipe as of check_recipe.
  static Result<ComparedRun> plan(const Contestant &contestant, uint64_t seed, const std::string &directory, uint32_t processes);

  const Contestant &contestant() const { return contestant_; }
  uint64_t seed() const { return seed_; }
  uint64_t total_tokens() const { return total_tokens_; }
  // The names of what is compared: the contestant's, and "NAME/BRANCH" for each branch of its recipe.
  std::vector<std::string> names() const;

  // The losses of each of names() at the end of the token axis; nullopt while the run, or a branch, is not finished. kRecipe when the
  // directory holds a run of another recipe.
  Result<std::optional<std::map<std::string, FinalLosses>>> losses() const;

  // What the recipe, without its branches, took until the held-out loss of a source was at most `loss`, in nats per byte: linear between
  // the two evaluations around it. nullopt when no evaluation was as low.
  std::optional<ReachedLoss> reached(const std::string &source, double loss) const;
  bool has_source(const std::string &name) const;

  // Starts this program to train, or to go on, and waits for its end. What it writes is appended to `log`. progress: steps of the trunk, or
  // of the branch that is under way, now and then. A stop is passed on: kStopped. Its failure with its last line.
  Result<> train(const std::string &log, const std::atomic<bool> &stop,
                 const std::function<void(const std::string &what, uint64_t step, uint64_t total)> &progress) const;

 private:
  std::vector<std::string> command() const;
  std::string directory_of(const std::string &name) const;
  Result<> check_same_recipe() const;

  Contestant contestant_;
  uint64_t seed_ = 0, total_tokens_ = 0, total_steps_ = 0;
  uint32_t processes_ = 0;
  std::string directory_;
  CheckedRecipe checked_;
};

}  // namespace trainhost
