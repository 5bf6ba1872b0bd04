#include "recipe/recipe.h"

#include <cmath>

#include "recipe/token_axis.h"

namespace trainhost {
namespace {

void lay_over(Parameters &below, const Parameters &above) {
  for (const auto &[name, parameter] : above) below.insert_or_assign(name, parameter);
}

void lay_over(Overrides &below, const Overrides &above) {
  if (above.mix || !above.mix_by_size.empty()) {
    below.mix = above.mix;
    below.mix_by_size = above.mix_by_size;
  }
  if (above.mix_over) below.mix_over = above.mix_over;
  if (above.batch) below.batch = above.batch;
  if (above.sequence_length) below.sequence_length = above.sequence_length;
  if (above.loss_on) below.loss_on = above.loss_on;
  lay_over(below.optimizer, above.optimizer);
  lay_over(below.schedule, above.schedule);
}

// What was written for the branch now stands for the phase.
void move_positions(std::map<std::string, Position> &given, const std::string &branch, const std::string &phase) {
  for (auto entry = given.lower_bound(branch); entry != given.end() && entry->first.starts_with(branch); ++entry) {
    const std::string key = entry->first.substr(branch.size());
    if (key != "name" && key != "from" && key != "until" && key != "seed") given.insert_or_assign(phase + key, entry->second);
  }
}

// Shares of one length as tokens, so that they mean the same in a run of another length.
class Places {
 public:
  explicit Places(uint64_t tokens) : tokens_(static_cast<double>(tokens)) {}

  void keep(std::optional<Amount> &amount) const {
    if (!amount || amount->unit != Amount::Unit::kShare) return;
    amount->value = std::ceil(amount->value * tokens_ - 1e-6);  // the first whole token that is not before it
    amount->unit = Amount::Unit::kTokens;
    amount->text = std::to_string(static_cast<uint64_t>(amount->value)) + " tokens";
  }
  void keep(Batch &batch) const {
    keep(batch.until);
    keep(batch.every);
    for (Batch::Level &level : batch.levels) keep(level.until);
  }
  void keep(Phase &phase) const {
    keep(phase.until);
    keep(phase.overrides.mix_over);
    if (phase.overrides.batch) keep(*phase.overrides.batch);
  }

 private:
  double tokens_;
};

void end_at(const Amount &until, size_t from, Recipe &recipe) {
  const TokenAxis axis(recipe);
  const double end = axis.tokens_of(until);
  const Places places(recipe.run.tokens);
  places.keep(recipe.training.batch);
  for (Phase &phase : recipe.phases) places.keep(phase);
  while (recipe.phases.size() > from + 2 && static_cast<double>(axis.phases()[recipe.phases.size() - 1].first_token) >= end)
    recipe.phases.pop_back();
  recipe.phases.back().until.reset();
  recipe.given.erase("phase." + std::to_string(recipe.phases.size() - 1) + ".until");
  std::erase_if(recipe.checkpoint.always_keep, [&](const std::string &text) {
    const std::optional<size_t> phase = phase_ending_at(recipe, text);
    return !phase || *phase + 1 == recipe.phases.size();
  });
  recipe.run.tokens = static_cast<uint64_t>(std::ceil(end));
}

}  // namespace

std::string to_string(const RecipeError &error) {
  const Position &position = error.position;
  const std::string place = position.line == 0 ? "" : ":" + std::to_string(position.line) + ":" + std::to_string(position.column);
  return position.file + place + ": " + error.message;
}

std::vector<uint64_t> Batch::sizes() const {
  std::vector<uint64_t> sizes;
  for (const Level &level : levels) sizes.push_back(level.tokens);
  if (levels.empty()) sizes.push_back(tokens);
  while (sizes.back() < most) sizes.push_back(rule == "ramp" ? sizes.back() + by : 2 * sizes.back());
  return sizes;
}

const Batch &batch_of(const Recipe &recipe, size_t phase) {
  const std::optional<Batch> &own = recipe.phases[phase].overrides.batch;
  return own ? *own : recipe.training.batch;
}

std::optional<size_t> phase_ending_at(const Recipe &recipe, const std::string &text) {
  for (size_t i = 0; i < recipe.phases.size(); ++i)
    if (text == "end of " + recipe.phases[i].name) return i;
  return std::nullopt;
}

Recipe branch_recipe(const Recipe &trunk, const Branch &branch) {
  Recipe recipe = trunk;
  recipe.run.directory += "/branches/" + branch.name;
  size_t index = 0;
  while (index < trunk.branches.size() && trunk.branches[index].name != branch.name) ++index;
  const std::optional<size_t> from = phase_ending_at(trunk, branch.from);
  for (size_t i = from ? *from + 1 : recipe.phases.size(); i < recipe.phases.size(); ++i) {
    lay_over(recipe.phases[i].overrides, branch.overrides);
    move_positions(recipe.given, "branch." + std::to_string(index) + ".", "phase." + std::to_string(i) + ".");
  }
  if (from && branch.until) end_at(*branch.until, *from, recipe);
  if (branch.seed) recipe.run.seed = *branch.seed;
  recipe.branches.clear();
  return recipe;
}

}  // namespace trainhost
