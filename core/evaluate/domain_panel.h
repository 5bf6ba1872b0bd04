// What each phase did to the held-out loss of each source, in the domain of the model and out of it.
#pragma once

#include <vector>

#include "base/status.h"
#include "evaluate/held_out_loss.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/reporter.h"
#include "train/train_state.h"

namespace trainhost {

constexpr double kPanelSigmas = 2;  // by so many a source must have got worse to be flagged

class DomainPanel : public HeldOutWatcher {
 public:
  // All outlive it.
  struct Parts {
    const Recipe &recipe;
    const TokenAxis &axis;
    Reporter &reporter;
  };
  explicit DomainPanel(Parts parts) : parts_(parts) {}

  // At the end of each phase but the first reports; and keeps the losses in state.at_phase_start for the next. A source whose held-out
  // windows are others than then, or that was not there, is left out.
  Result<> measured(TrainState &state, const std::vector<HeldOutLosses> &losses) override;

 private:
  void report(const TrainState &state, const Phase &phase, const std::vector<HeldOutLosses> &losses) const;

  Parts parts_;
};

}  // namespace trainhost
