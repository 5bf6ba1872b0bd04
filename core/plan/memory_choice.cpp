#include "plan/memory_choice.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "metrics/quantities.h"
#include "recipe/fields.h"

namespace trainhost {
namespace {

constexpr uint64_t kFewestEfficientTokens = 1024;  // fewer at a time slow matrix products down

class Search {
 public:
  Search(const PlannedRun &run, const MemoryBudget &budget)
      : run_(run),
        budget_(budget),
        micro_batch_is_auto_(run.recipe.training.micro_batch_tokens == 0 && run.recipe.run.reduction != "fixed"),
        recompute_is_auto_(!run.recipe.training.recompute) {
    const TokenAxis axis(run.recipe);
    for (const PhaseSpan &phase : axis.phases()) sequence_ = std::max<uint64_t>(sequence_, phase.sequence_length);
  }

  Result<MemoryChoice> choose(const std::optional<MemorySettings> &recorded) {
    const uint64_t most = std::max<uint64_t>(1, kAutoMicroBatchTokens / sequence_);
    const uint64_t efficient = micro_batch_is_auto_ ? std::clamp<uint64_t>(kFewestEfficientTokens / sequence_, 1, most) : most;
    if (recorded) TRAINHOST_CHECK(try_out(*recorded));
    if (!found_) TRAINHOST_CHECK(try_micro_batches(efficient, most, 0));
    const uint32_t units = recompute_is_auto_ ? static_cast<uint32_t>(run_.model.units().size()) : 1;
    for (uint32_t every = units - 1; !found_ && every >= 1; --every) TRAINHOST_CHECK(try_out({efficient * sequence_, every}));
    if (!found_ && micro_batch_is_auto_) TRAINHOST_CHECK(try_micro_batches(1, efficient, 1));
    if (found_) return *std::move(found_);
    return failure(ErrorKind::kRecipe, refusal());
  }

 private:
  // They are found when they fit. Returns whether they do.
  Result<bool> try_out(const MemorySettings &settings) {
    TRAINHOST_TRY(MemoryPlan plan, plan_memory(run_, settings));
    const uint64_t bytes = plan.fullest().peak.total();
    const bool fits = bytes <= budget_.bytes;
    if (fits)
      found_ = MemoryChoice{settings, std::move(plan)};
    else if (least_.stages.empty() || bytes < least_.fullest().peak.total())
      least_ = std::move(plan);
    return fits;
  }

  // The most sequences at a time from `fewest` to `most` that fit are found: the more, the more memory.
  Result<> try_micro_batches(uint64_t fewest, uint64_t most, uint32_t recompute) {
    for (uint64_t sequences = most; fewest <= most; sequences = (fewest + most) / 2) {
      TRAINHOST_TRY(const bool fits, try_out({sequences * sequence_, recompute}));
      fits ? fewest = sequences + 1 : most = sequences - 1;
    }
    return {};
  }

  std::string refusal() const {
    const MemoryUse &peak = least_.fullest().peak;
    const auto place = run_.recipe.given.find("training.memory");
    const RecipeError error{
        place != run_.recipe.given.end() ? place->second : Position{run_.recipe.file, 1, 1},
        fmt::format("`training.memory`: a process would need at least {} and may use {}{}, which is {} too little; the largest part is {} "
                    "with {}; allow more, share the model by more processes (parallel.sharding = \"parameters\"), or make it or the "
                    "sequences smaller (trainhost plan --memory shows all parts)",
                    bytes_text(peak.total()), bytes_text(budget_.bytes), budget_.given ? "" : ", as no more is free",
                    bytes_text(peak.total() - budget_.bytes), to_string(peak.largest()), bytes_text(peak.of(peak.largest())))};
    return to_string(error);
  }

  const PlannedRun &run_;
  const MemoryBudget &budget_;
  const bool micro_batch_is_auto_, recompute_is_auto_;
  uint64_t sequence_ = 1;  // the longest of any phase, in tokens
  std::optional<MemoryChoice> found_;
  MemoryPlan least_;  // of what did not fit
};

}  // namespace

Result<MemoryChoice> choose_memory(const PlannedRun &run, const MemoryBudget &budget, const std::optional<MemorySettings> &recorded) {
  if (run.model.tells_memory()) return Search(run, budget).choose(recorded);
  const bool is_auto = !run.recipe.training.recompute || run.recipe.training.micro_batch_tokens == 0;
  if (!budget.given || !is_auto) return MemoryChoice{};
  const RecipeError error{
      run.recipe.given.at("training.memory"),
      fmt::format("`training.memory`: model \"{}\" does not tell how much memory it takes, so nothing can be fitted to it; "
                  "set training.recompute and training.micro_batch",
                  run.model.manifest().name)};
  return failure(ErrorKind::kRecipe, to_string(error));
}

std::string describe(const Recipe &recipe, const MemoryChoice &choice, const MemoryBudget &budget) {
  const uint32_t recompute = recipe.training.recompute.value_or(choice.settings.recompute);
  std::string text = choice.plan ? fmt::format("memory: {} planned of {} that a process may use; ",
                                               bytes_text(choice.plan->fullest().peak.total()), bytes_text(budget.bytes))
                                 : "memory: not known, as the model does not tell how much it takes; ";
  const uint64_t tokens = recipe.training.micro_batch_tokens;
  text += fmt::format("micro-batches of at most {} tokens, ", tokens > 0 ? tokens : choice.settings.micro_batch_tokens);
  if (recompute == 0) return text + "no unit recomputed";
  return text + (recompute == 1 ? "all units recomputed" : fmt::format("one unit of every {} recomputed", recompute));
}

std::string to_json(const MemorySettings &settings) {
  return nlohmann::ordered_json{{"micro_batch_tokens", settings.micro_batch_tokens}, {"recompute", settings.recompute}}.dump(2) + "\n";
}

std::optional<MemorySettings> memory_settings_from_json(const std::string &text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto tokens = json.find("micro_batch_tokens"), recompute = json.find("recompute");
  if (tokens == json.end() || recompute == json.end() || !tokens->is_number_unsigned() || !recompute->is_number_unsigned())
    return std::nullopt;
  const MemorySettings settings{tokens->get<uint64_t>(), recompute->get<uint32_t>()};
  return settings.micro_batch_tokens > 0 && settings.micro_batch_tokens <= kMostBatchTokens ? std::optional(settings) : std::nullopt;
}

}  // namespace trainhost
