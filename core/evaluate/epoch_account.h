// How often the text of each source is read, what that is worth, and two alarms: of text repeated too often, and of overfitting.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/prepare.h"
#include "data/sample_stream.h"
#include "evaluate/held_out_loss.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/observer.h"
#include "train/reporter.h"
#include "train/train_state.h"

namespace trainhost {

// How many new tokens `read` tokens are worth of which `unique` are new and the others repeat them: U + U R* (1 - exp(-R / R*)), where R is
// read / unique - 1, the repetitions, and R* = 15.39 (N. Muennighoff et al. 2023, Scaling Data-Constrained Language Models, arXiv
// 2305.16264). read >= unique > 0.
double effective_tokens(double unique, double read);

// A source whose text was read so many times.
EpochReport::Row epochs_read(const std::string &source, uint64_t tokens, double epochs);

// How often a run of the recipe will have read each source at its end. With a mixer that moves the shares: as the recipe's mixes have it.
Result<std::vector<EpochReport::Row>> planned_epochs(const TokenAxis &axis, const PreparedData &data, const SampleStream &stream);

// The sources among the rows that are read more often than the recipe says, each with what to do about it.
std::vector<std::string> repetition_warnings(const Recipe &recipe, const std::vector<EpochReport::Row> &rows);

// Reports at each evaluation. Warns once of each source, from where this process began: when it has been read more often than its
// epochs_at_most; and when it is being read again, its held-out loss has risen above its lowest, by more than three standard errors of the
// difference over its windows, and the training loss has fallen since.
class EpochAccount : public TrainObserver, public HeldOutWatcher {
 public:
  // All outlive it.
  struct Parts {
    const Recipe &recipe;
    const TokenAxis &axis;
    const PreparedData &data;
    const SampleStream &stream;
    Reporter &reporter;
    bool warns;  // one of the ranks
  };
  explicit EpochAccount(Parts parts) : parts_(parts) {}

  // At a run's start warns of what it will repeat too often.
  Result<> begin(TrainState &state) override;
  Result<> after_step(TrainState &state, const StepReport &report) override;
  Result<> measured(TrainState &state, const std::vector<HeldOutLosses> &losses) override;

 private:
  void watch(TrainState &state, const HeldOutLosses &losses, const EpochReport::Row &row);
  bool is_read(const std::string &source, uint64_t step) const;
  void warn(const std::string &source, const std::string &text, std::set<std::string> &warned) const;

  Parts parts_;
  std::set<std::string> repeated_, overfitted_;  // sources that were warned of
};

}  // namespace trainhost
