#include "recipe/contradictions.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "recipe/quotation.h"
#include "recipe/token_axis.h"

namespace trainhost {
namespace {

constexpr uint64_t kMostLevels = 1024;  // of a ramp

template <class Items>
std::vector<std::string> names_of(const Items &items) {
  std::vector<std::string> names;
  for (const auto &item : items) names.push_back(item.name);
  return names;
}

class Search {
 public:
  Search(const Recipe &recipe, const Position &start, Mistakes &mistakes)
      : recipe_(recipe), start_(start), mistakes_(mistakes), source_names_(names_of(recipe.sources)) {
    for (size_t i = 0; i + 1 < recipe.phases.size(); ++i) references_.push_back("end of " + recipe.phases[i].name);
  }

  void in_everything() {
    if (recipe_.sources.empty() && !refused("source"))
      mistakes_.add(start_, "there is no [[source]]: a recipe needs at least one, with `name` and `paths`");
    in_names("source", recipe_.sources);
    in_names("phase", recipe_.phases);
    in_names("branch", recipe_.branches);
    for (size_t i = 0; i < recipe_.sources.size(); ++i) in_source(recipe_.sources[i], fmt::format("source.{}", i));
    if (recipe_.run.reduction == "fixed" && !recipe_.run.deterministic)
      mistakes_.add(position({"run.deterministic"}), "`run.deterministic`: reduction = \"fixed\" needs true, found false");
    in_phases();
    for (size_t i = 0; i < recipe_.checkpoint.always_keep.size(); ++i)
      in_reference(recipe_.checkpoint.always_keep[i], fmt::format("checkpoint.always_keep.{}", i));
    in_evaluation();
    for (size_t i = 0; i < recipe_.branches.size(); ++i)
      if (in_reference(recipe_.branches[i].from, fmt::format("branch.{}.from", i)) && in_length(recipe_.branches[i]))
        Search(branch_recipe(recipe_, recipe_.branches[i]), start_, mistakes_).in_phases();
  }

 private:
  bool given(const std::string &path) const { return recipe_.given.contains(path); }
  bool refused(const std::string &path) const { return given(path) && mistakes_.at(recipe_.given.at(path)); }
  bool refused_within(const std::string &path) const {
    return std::ranges::any_of(recipe_.given, [&](const auto &entry) {
      return (entry.first == path || entry.first.starts_with(path + ".")) && mistakes_.at(entry.second);
    });
  }

  // The first of the paths that was written: where the user can mend what is wrong between them.
  Position position(std::initializer_list<std::string> paths) const {
    for (const std::string &path : paths)
      if (given(path)) return recipe_.given.at(path);
    return start_;
  }

  template <class Items>
  void in_names(const std::string &table, const Items &items) {
    std::set<std::string> seen;
    for (size_t i = 0; i < items.size(); ++i) {
      const std::string path = fmt::format("{}.{}.name", table, i);
      if (given(path) && !refused(path) && !seen.insert(items[i].name).second)
        mistakes_.add(position({path}), fmt::format("`{}.name`: {} is taken by an earlier [[{}]]", table, quotation(items[i].name), table));
    }
  }

  void in_source(const Source &source, const std::string &path) {
    if (source.loss_on == "answers" && source.format != "chat" && !refused(path + ".format"))
      mistakes_.add(position({path + ".loss_on"}),
                    fmt::format("`source.loss_on`: \"answers\" needs format = \"chat\", found format = {}", quotation(source.format)));
  }

  // Whether the text names the end of a phase that others follow.
  bool in_reference(const std::string &text, const std::string &path) {
    if (!given(path) || refused(path)) return false;
    const std::optional<size_t> phase = phase_ending_at(recipe_, text);
    if (phase && *phase + 1 < recipe_.phases.size()) return true;
    const std::string why = phase                 ? "that is the end of the run"
                            : references_.empty() ? "there is only one phase"
                                                  : mistakes_.did_you_mean(text, references_, "\"");
    const char *separator = why.empty() || why.front() == ';' ? "" : ": ";
    mistakes_.add(position({path}), fmt::format("expected \"end of PHASE\" with a phase that others follow, found {}{}{}",
                                                short_quotation(text), separator, why));
    return false;
  }

  void in_phases() {
    placed_ = !refused("run.tokens");
    for (size_t i = 0; i < recipe_.phases.size(); ++i) {
      const std::string path = fmt::format("phase.{}", i);
      in_mixes(recipe_.phases[i].overrides, path + ".mix");
      placed_ &= has_end(i, path);
      placed_ &= has_batch(i, path);
      in_mix_over(i, path + ".mix_over");
      in_loss_on(recipe_.phases[i].overrides, path + ".loss_on");
    }
    if (placed_) in_order();
  }

  // A branch with an end of its own must have a place to end at.
  bool in_length(const Branch &branch) {
    if (!branch.until) return true;
    if (!placed_) return false;
    const TokenAxis axis(recipe_);
    const uint64_t begin = axis.phases()[*phase_ending_at(recipe_, branch.from)].end_token;
    if (axis.tokens_of(*branch.until) > static_cast<double>(begin)) return true;
    mistakes_.add(branch.until->position,
                  fmt::format("`branch.until`: expected more than the {} tokens at which the branch begins ({}), found {}", begin,
                              quotation(branch.from), quotation(branch.until->text)));
    return false;
  }

  void in_mix_over(size_t phase, const std::string &path) {
    if (phase > 0 || !given(path) || refused(path)) return;
    mistakes_.add(position({path}), "`phase.mix_over`: before the first phase there is no mix that this one's could come from");
  }

  void in_loss_on(const Overrides &overrides, const std::string &path) {
    if (overrides.loss_on != "answers" || refused(path)) return;
    if (std::ranges::any_of(recipe_.sources, [](const Source &source) { return source.loss_on == "answers"; })) return;
    mistakes_.add(position({path}), "`phase.loss_on`: \"answers\" needs a [[source]] with loss_on = \"answers\"");
  }

  void in_mixes(const Overrides &overrides, const std::string &path) {
    if (overrides.mix) in_mix(*overrides.mix, path);
    for (size_t i = 0; i < overrides.mix_by_size.size(); ++i) in_mix(overrides.mix_by_size[i].shares, fmt::format("{}.{}.shares", path, i));
  }

  void in_mix(const std::map<std::string, double> &mix, const std::string &path) {
    if (!given(path) || refused(path)) return;
    double sum = 0;
    for (const auto &[name, share] : mix) {
      if (std::find(source_names_.begin(), source_names_.end(), name) == source_names_.end()) refuse_source(name, path + "." + name);
      sum += share;
    }
    if (sum <= 0) mistakes_.add(position({path}), "at least one share of a mix must be above 0");
  }

  void refuse_source(const std::string &name, const std::string &path) {
    const std::string hint = mistakes_.did_you_mean(name, source_names_, "\"");
    mistakes_.add(position({path}), fmt::format("there is no source {}{}", short_quotation(name), hint));
  }

  bool has_end(size_t phase, const std::string &path) {
    const bool last = phase + 1 == recipe_.phases.size();
    const std::string until = path + ".until";
    if (refused(until)) return false;
    if (last && given(until))
      mistakes_.add(position({until}), "`phase.until`: the last phase ends with the run (run.tokens), so it has no `until`");
    if (!last && !given(until))
      mistakes_.add(recipe_.phases[phase].position, "`until` is missing in this [[phase]]: only the last phase ends with the run");
    return last != given(until);
  }

  bool has_batch(size_t phase, const std::string &path) {
    const Overrides &overrides = recipe_.phases[phase].overrides;
    const std::string own_batch = path + ".batch", own_length = path + ".sequence_length";
    const std::string batch_path = overrides.batch ? own_batch : "training.batch";
    if (refused_within(batch_path) || refused(given(own_length) ? own_length : "packing.sequence_length")) return false;
    const Batch &batch = batch_of(recipe_, phase);
    const uint64_t length = overrides.sequence_length.value_or(recipe_.packing.sequence_length);
    const Position where = position({own_batch, own_length, "training.batch", "packing.sequence_length", "run.tokens"});
    if (!can_grow(batch, where)) return false;
    const bool whole = are_whole_sequences(batch, length, where);
    const bool fits = refused("run.tokens") || batch.tokens <= recipe_.run.tokens;
    if (!fits)
      mistakes_.add(position({"run.tokens", own_batch, "training.batch"}),
                    fmt::format("a run of {} tokens is shorter than one batch of {} tokens", recipe_.run.tokens, batch.tokens));
    const uint64_t micro_batch = recipe_.training.micro_batch_tokens;
    if (micro_batch != 0 && micro_batch < length)
      mistakes_.add(position({"training.micro_batch"}),
                    fmt::format("`training.micro_batch`: {} tokens hold no sequence of {} tokens", micro_batch, length));
    return whole && fits;
  }

  // Whether the batch gets from the first of its sizes to the largest.
  bool can_grow(const Batch &batch, const Position &where) {
    if (batch.rule == "constant" || batch.rule == "levels") return true;
    if (batch.most <= batch.tokens) {
      mistakes_.add(where, fmt::format("a batch that grows from {} to {} tokens does not grow; expected `to` above `from`", batch.tokens,
                                       batch.most));
      return false;
    }
    if (batch.rule == "ramp") {
      if ((batch.most - batch.tokens) % batch.by == 0 && (batch.most - batch.tokens) / batch.by < kMostLevels) return true;
      mistakes_.add(where, fmt::format("a batch does not get from {} to {} tokens by {} at a time; expected a number that divides {}, at "
                                       "most {} times",
                                       batch.tokens, batch.most, batch.by, batch.most - batch.tokens, kMostLevels - 1));
      return false;
    }
    uint64_t doubled = batch.tokens;
    while (doubled < batch.most) doubled *= 2;
    if (doubled == batch.most) return true;
    mistakes_.add(where, fmt::format("a batch that doubles from {} tokens does not get to {}; the nearest that it gets to: {} and {}",
                                     batch.tokens, batch.most, doubled / 2, doubled));
    return false;
  }

  bool are_whole_sequences(const Batch &batch, uint64_t length, const Position &where) {
    const std::vector<uint64_t> sizes = batch.sizes();
    const auto cut = std::ranges::find_if(sizes, [&](uint64_t size) { return size % length != 0; });
    if (cut == sizes.end()) return true;
    const uint64_t below = *cut / length * length;
    mistakes_.add(where, fmt::format("a batch of {} tokens is not made of whole sequences of {} tokens; the nearest that are: {}{}", *cut,
                                     length, below == 0 ? "" : fmt::format("{} and ", below), below + length));
    return false;
  }

  void in_order() {
    const TokenAxis axis(recipe_);
    for (size_t i = 0; i < recipe_.phases.size(); ++i) {
      in_levels(i, axis);
      in_mix_length(i, axis.phases()[i]);
    }
    for (size_t i = 0; i < axis.phases().size(); ++i) {
      const PhaseSpan &span = axis.phases()[i];
      if (span.end_step > span.first_step || i == 0) continue;
      const bool last = i + 1 == axis.phases().size();
      const Position where = position({fmt::format("phase.{}.until", last ? i - 1 : i)});
      if (mistakes_.at(where)) continue;
      mistakes_.add(where, fmt::format("phase {} has no step: {} before it goes up to token {} of {}", quotation(recipe_.phases[i].name),
                                       quotation(recipe_.phases[i - 1].name), span.first_token, recipe_.run.tokens));
    }
  }

  // A mix must arrive before its phase ends.
  void in_mix_length(size_t phase, const PhaseSpan &span) {
    const std::optional<Amount> &over = recipe_.phases[phase].overrides.mix_over;
    if (!over || phase == 0) return;
    const bool in_steps = over->unit == Amount::Unit::kSteps;
    const double share = over->unit == Amount::Unit::kShare ? static_cast<double>(recipe_.run.tokens) : 1;
    const uint64_t room = in_steps ? span.end_step - span.first_step : span.end_token - span.first_token;
    if (over->value * share <= static_cast<double>(room)) return;
    mistakes_.add(over->position, fmt::format("`phase.mix_over`: {} is longer than the phase, which has {} {}", quotation(over->text), room,
                                              in_steps ? "steps" : "tokens"));
  }

  // Levels must follow one another, and a ramp must begin before it ends.
  void in_levels(size_t phase, const TokenAxis &axis) {
    const std::optional<Batch> &own = recipe_.phases[phase].overrides.batch;
    const Batch &batch = batch_of(recipe_, phase);
    double before = own ? static_cast<double>(axis.phases()[phase].first_token) : 0;
    const auto follows = [&](const Amount &until) {
      const double end = axis.tokens_of(until);
      if (end > before) return before = end, true;
      mistakes_.add(until.position, fmt::format("expected more than the {:.0f} tokens at which {} begins, found {}", before,
                                                batch.rule == "ramp" ? "the ramp" : "the level", quotation(until.text)));
      return false;
    };
    if (batch.until) follows(*batch.until);
    for (const Batch::Level &level : batch.levels)
      if (level.until && !follows(*level.until)) return;
  }

  void in_evaluation() {
    for (size_t i = 0; i < recipe_.evaluation.sources.size(); ++i) {
      const std::string &name = recipe_.evaluation.sources[i], path = fmt::format("evaluation.sources.{}", i);
      if (refused(path)) continue;
      const auto source = std::find_if(recipe_.sources.begin(), recipe_.sources.end(), [&](const Source &one) { return one.name == name; });
      if (source == recipe_.sources.end())
        refuse_source(name, path);
      else if (source->held_out == 0)
        mistakes_.add(position({path}), fmt::format("source {} keeps nothing for evaluation: its held_out is 0", quotation(name)));
    }
  }

  const Recipe &recipe_;
  const Position &start_;
  Mistakes &mistakes_;
  const std::vector<std::string> source_names_;
  std::vector<std::string> references_;  // that a branch can begin at
  bool placed_ = true;                   // every phase has an end and a batch to get there
};

}  // namespace

void find_contradictions(const Recipe &recipe, const Position &start, Mistakes &mistakes) {
  Search(recipe, start, mistakes).in_everything();
}

}  // namespace trainhost
