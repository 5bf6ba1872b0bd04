#include "train/train_state.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace trainhost {

bool TrainState::is_skipped(uint64_t at_step) const {
  return std::any_of(skipped.begin(), skipped.end(), [&](const Skipped &range) { return at_step >= range.first && at_step < range.end; });
}

std::string TrainState::to_json() const {
  nlohmann::ordered_json json;
  json["updates"] = updates;
  json["evaluated_step"] = evaluated_step;
  json["sampled_step"] = sampled_step;
  json["rollbacks"] = rollbacks;
  json["skipped"] = nlohmann::ordered_json::array();
  for (const Skipped &range : skipped) json["skipped"].push_back({range.first, range.end});
  json["losses"] = spikes.losses;
  json["gradient_norms"] = spikes.gradient_norms;
  return json.dump();
}

Result<TrainState> TrainState::from_json(const std::string &text, uint64_t step) try {
  const auto json = nlohmann::json::parse(text);
  TrainState state;
  state.step = step;
  json.at("updates").get_to(state.updates);
  json.at("evaluated_step").get_to(state.evaluated_step);
  json.at("sampled_step").get_to(state.sampled_step);
  json.at("rollbacks").get_to(state.rollbacks);
  for (const auto &range : json.at("skipped")) state.skipped.push_back({range.at(0).get<uint64_t>(), range.at(1).get<uint64_t>()});
  json.at("losses").get_to(state.spikes.losses);
  json.at("gradient_norms").get_to(state.spikes.gradient_norms);
  return state;
} catch (const nlohmann::json::exception &problem) {
  return failure(ErrorKind::kData, std::string("the training state in the checkpoint cannot be read: ") + problem.what());
}

}  // namespace trainhost
