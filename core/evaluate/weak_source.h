// Which source a model is weakest on, and whether more of its text at the end of training mends that at a price worth paying.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/welch_test.h"

namespace trainhost {

// Held-out loss by source, in nats per byte.
using LossPanel = std::map<std::string, double>;

// The source whose loss is furthest above its target (the excess loss of DoReMi, arXiv 2305.10429), the first of equals; nullopt when none
// is above. Sources that only one of the two names are passed over; a loss that is not finite is above all.
std::optional<std::string> weakest_source(const LossPanel &losses, const LossPanel &targets);

// The mix with `share` of it, in (0, 1), taken from all sources alike and given to one. Shares sum to 1, before and after.
std::map<std::string, double> strengthened(const std::map<std::string, double> &mix, const std::string &source, double share);

// What a proposed mix did to one source, over several seeds.
struct MixEffect {
  std::string source;
  SampleSummary present, proposed;
  std::optional<WelchTest> test;

  double change() const { return proposed.mean - present.mean; }  // below 0: better
};

// A mix is accepted when the weak source's loss fell by more than chance (p < 0.05) and by more than what the losses of all other sources
// rose together: so the panel's mean fell, too.
struct MixVerdict {
  std::vector<MixEffect> effects;  // one for each source, by name
  double gain = 0;                 // mean fall of the weak source's loss, nats per byte; below 0: it rose
  double cost = 0;                 // mean rise of the other sources' losses, summed; below 0: they fell
  size_t seeds_better = 0;         // of the seeds, in so many the weak source's loss fell
  bool significant = false;

  bool accepted() const { return significant && gain > 0 && gain > cost; }
};

// present, proposed: one panel for each seed, in the same order and of the same sources.
MixVerdict judge_mix(const std::string &weak, const std::vector<LossPanel> &present, const std::vector<LossPanel> &proposed);

}  // namespace trainhost
