#include "train/train_state.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

namespace trainhost {
namespace {

// Steps are counted from where the run stands, which in another recipe may be another step.
nlohmann::ordered_json mix_to_json(const MixProgress &mix, uint64_t step) {
  nlohmann::ordered_json json;
  json["round"] = mix.round.number;
  json["steps_done"] = step - mix.round.first_step;
  json["steps_left"] = mix.round.end_step - step;
  json["weights"] = mix.round.weights;
  json["start"] = nlohmann::ordered_json::array();
  for (const ReadingPosition &place : mix.round.start) json["start"].push_back({place.epoch, place.window, place.windows});
  json["mixer_state"] = mix.mixer_state;
  json["losses"] = mix.losses;
  json["tokens"] = mix.tokens;
  return json;
}

MixProgress mix_from_json(const nlohmann::json &json, uint64_t step) {
  MixProgress mix;
  json.at("round").get_to(mix.round.number);
  mix.round.first_step = step - std::min(step, json.at("steps_done").get<uint64_t>());
  mix.round.end_step = step + json.at("steps_left").get<uint64_t>();
  json.at("weights").get_to(mix.round.weights);
  for (const auto &place : json.at("start"))
    mix.round.start.push_back({place.at(0).get<uint64_t>(), place.at(1).get<uint64_t>(), place.at(2).get<uint64_t>()});
  json.at("mixer_state").get_to(mix.mixer_state);
  json.at("losses").get_to(mix.losses);
  json.at("tokens").get_to(mix.tokens);
  return mix;
}

nlohmann::ordered_json batch_to_json(const BatchProgress &batch) {
  nlohmann::ordered_json json;
  json["grown"] = nlohmann::ordered_json::array();
  for (const GrownBatch &grown : batch.grown) json["grown"].push_back({grown.from_token, grown.tokens});
  json["loss_sum"] = batch.loss_sum;
  json["steps"] = batch.steps;
  json["loss_before"] = batch.loss_before;
  return json;
}

BatchProgress batch_from_json(const nlohmann::json &json) {
  BatchProgress batch;
  for (const auto &grown : json.at("grown")) batch.grown.push_back({grown.at(0).get<uint64_t>(), grown.at(1).get<uint64_t>()});
  json.at("loss_sum").get_to(batch.loss_sum);
  json.at("steps").get_to(batch.steps);
  json.at("loss_before").get_to(batch.loss_before);
  return batch;
}

nlohmann::ordered_json past_to_json(const std::map<std::string, PastLosses> &past) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto &[source, losses] : past) {
    json[source] = {{"tokens", losses.tokens}, {"training_loss", losses.training_loss}, {"windows", losses.windows}};
  }
  return json;
}

std::map<std::string, PastLosses> past_from_json(const nlohmann::json &json) {
  std::map<std::string, PastLosses> past;
  for (const auto &[source, losses] : json.items()) {
    past[source] = {.tokens = losses.at("tokens").get<uint64_t>(),
                    .training_loss = losses.at("training_loss").get<double>(),
                    .windows = losses.at("windows").get<std::vector<double>>()};
  }
  return past;
}

}  // namespace

void BatchProgress::learn(double loss) {
  loss_sum += loss;
  ++steps;
}

void BatchProgress::look() {
  loss_before = mean_loss();
  loss_sum = 0;
  steps = 0;
}

void MixProgress::add(size_t source, double loss, uint64_t counted) {
  if (!std::isfinite(loss)) return;
  losses[source] += loss;
  tokens[source] += counted;
}

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
  if (batch != BatchProgress()) json["batch"] = batch_to_json(batch);
  json["noise"] = {noise.gradient_square, noise.trace};
  if (mix) json["mix"] = mix_to_json(*mix, step);
  if (!at_phase_start.empty()) json["at_phase_start"] = past_to_json(at_phase_start);
  if (!lowest_held_out.empty()) json["lowest_held_out"] = past_to_json(lowest_held_out);
  if (since_evaluation != RunningLoss()) json["since_evaluation"] = {since_evaluation.sum, since_evaluation.steps};
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
  if (json.contains("batch")) state.batch = batch_from_json(json["batch"]);
  if (json.contains("noise")) {  // not in checkpoints of earlier builds
    json["noise"].at(0).get_to(state.noise.gradient_square);
    json["noise"].at(1).get_to(state.noise.trace);
  }
  if (json.contains("mix")) state.mix = mix_from_json(json["mix"], step);
  if (json.contains("at_phase_start")) state.at_phase_start = past_from_json(json["at_phase_start"]);
  if (json.contains("lowest_held_out")) state.lowest_held_out = past_from_json(json["lowest_held_out"]);
  if (json.contains("since_evaluation")) {
    json["since_evaluation"].at(0).get_to(state.since_evaluation.sum);
    json["since_evaluation"].at(1).get_to(state.since_evaluation.steps);
  }
  return state;
} catch (const nlohmann::json::exception &problem) {
  return failure(ErrorKind::kData, std::string("the training state in the checkpoint cannot be read: ") + problem.what());
}

}  // namespace trainhost
