#include <string_view>

#include "checkpoint/checkpoint.h"

namespace trainhost {

std::vector<FingerprintDifference> differences(const Fingerprints &saved, const Fingerprints &now) {
  std::vector<FingerprintDifference> found;
  const auto compare = [&](const std::string &what, const std::string &before, const std::string &after, bool may_go_on = false) {
    if (!after.empty() && before != after) found.push_back({what, before, after, may_go_on});
  };
  compare("tokenizer", saved.tokenizer, now.tokenizer);
  for (const auto &[kind, identity] : now.plugins) {
    const auto plugin = saved.plugins.find(kind);
    compare(kind + " plugin", plugin == saved.plugins.end() ? "" : plugin->second, identity, kind == "lr_scheduler");
  }
  compare("data", saved.data, now.data);
  compare("recipe", saved.recipe, now.recipe);
  if (!saved.schedule.empty()) compare("schedule", saved.schedule, now.schedule, true);
  return found;
}

}  // namespace trainhost
