// One of the runs that `trainhost compare` makes: a recipe with a seed, trained by a process of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "app/corpus.h"
#include "base/status.h"
#include "evaluate/critical_batch.h"
#include "evaluate/weak_source.h"
#include "metrics/metrics.h"

namespace trainhost {

// What is compared: a recipe as it stands, or with settings.
struct Contestant {
  std::string name;                   // a folder's; unique
  std::string recipe;                 // its file
  std::vector<std::string> settings;  // KEY=VALUE
  std::string from = {};              // a checkpoint to begin with; empty: fresh parameters
};

class ComparedRun {
 public:
  // The run of a contestant with a seed, in `directory`; `processes`: 0 for what the recipe gives itself, else as of --processes. Reads and
  // checks the recipe; starts nothing. kRecipe as of check_recipe.
  static Result<ComparedRun> plan(const Contestant &contestant, uint64_t seed, const std::string &directory, uint32_t processes);

  const Contestant &contestant() const { return contestant_; }
  uint64_t seed() const { return seed_; }
  uint64_t total_tokens() const { return total_tokens_; }
  const Recipe &recipe() const { return checked_.recipe; }
  // The names of what is compared: the contestant's, and "NAME/BRANCH" for each branch of its recipe.
  std::vector<std::string> names() const;

  // The losses of each of names() at the end of the token axis; nullopt while the run, or a branch, is not finished. kRecipe when the
  // directory holds a run of another recipe.
  Result<std::optional<std::map<std::string, LossPanel>>> losses() const;

  // What the recipe, without its branches, took until the held-out loss of a source was at most `loss`, in nats per byte: linear between
  // the two evaluations around it. nullopt when no evaluation was as low.
  std::optional<ReachedLoss> reached(const std::string &source, double loss) const;
  bool has_source(const std::string &name) const;

  // Trains, or goes on, when it is not finished, and gives the losses; says in the log what it does, of which run of how many, `place`, it
  // is. console: shows how far it is; may be null. kRecipe when no held-out loss is measured at the end; else as of train and losses.
  Result<std::map<std::string, LossPanel>> finish(const std::string &place, const std::atomic<bool> &stop, Console *console) const;

 private:
  // Starts this program to train, or to go on, and waits for its end. What it writes is appended to the directory's name with ".log". A
  // stop is passed on: kStopped. Its failure with its last line.
  Result<> train(const std::atomic<bool> &stop, Console *console) const;
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
