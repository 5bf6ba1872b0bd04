// All keys of a recipe with their ranges, in the order in which a recipe is best read. The reader, the resolved recipe and the list
// of known keys are made from this one description: each is a visitor.
#pragma once

#include <cstdint>
#include <limits>

#include "recipe/recipe.h"

namespace trainhost {

// Longest token axis, highest step count and widest batch that are accepted; their products stay far below 2^63.
constexpr uint64_t kMostTokens = 1'000'000'000'000'000;
constexpr uint64_t kMostSteps = 1'000'000'000;
constexpr uint64_t kMostBatchTokens = uint64_t{1} << 31;
constexpr uint64_t kLongestSequence = uint64_t{1} << 20;
constexpr uint64_t kMostBytes = uint64_t{1} << 50;
constexpr uint64_t kMostParameters = 1'000'000'000'000'000;
constexpr uint64_t kMostOf = 256;  // sources, phases, branches
constexpr uint64_t kLargestInteger = std::numeric_limits<int64_t>::max();

template <class Fields, class Overrides>
void visit_overrides(Fields &fields, Overrides &overrides) {
  fields.mix("mix", overrides.mix, overrides.mix_by_size);
  fields.amount("mix_over", overrides.mix_over);
  fields.batch("batch", overrides.batch);
  fields.integer("sequence_length", overrides.sequence_length, 2, kLongestSequence);
  fields.choice("loss_on", overrides.loss_on, {"all", "answers"});
  fields.parameters("optimizer", overrides.optimizer);
  fields.parameters("schedule", overrides.schedule);
}

// Sections are visited with table(name, fields), tables(name, items, fields of one item) and plugin(name, choice).
template <class Sections, class Recipe>
void visit_recipe(Sections &sections, Recipe &recipe) {
  sections.table("run", [&](auto &fields) {
    fields.directory("directory", recipe.run.directory);
    fields.tokens("tokens", recipe.run.tokens, 1, kMostTokens);
    fields.integer("seed", recipe.run.seed, 0, kLargestInteger);
    fields.choice("device", recipe.run.device, {"auto", "cpu", "cuda"});
    fields.choice("precision", recipe.run.precision, {"auto", "fp32", "bf16"});
    fields.choice("reduction", recipe.run.reduction, {"fast", "fixed"});
    fields.boolean("deterministic", recipe.run.deterministic);
  });
  sections.table("plugins", [&](auto &fields) {
    fields.folders("path", recipe.plugins.folders);
    fields.pins("pin", recipe.plugins.pins);
  });
  sections.tables("source", recipe.sources, [](auto &fields, auto &source) {
    fields.name("name", source.name);
    fields.paths("paths", source.paths);
    fields.choice("format", source.format, {"auto", "text", "markdown", "jsonl", "chat", "tokens"});
    fields.text("language", source.language);
    fields.text("quality", source.quality);
    fields.text("licence", source.licence);
    fields.choice("loss_on", source.loss_on, {"all", "answers"});
    fields.share("held_out", source.held_out, 0, 0.5);
    fields.choice("on_bad_input", source.on_bad_input, {"skip", "refuse"});
    fields.number("epochs_at_most", source.epochs_at_most, 0);
    fields.choice("domain", source.domain, {"in", "out"});
  });
  sections.plugin("tokenizer", recipe.tokenizer);
  sections.table("packing", [&](auto &fields) {
    fields.choice("mode", recipe.packing.mode, {"best_fit", "concatenate"});
    fields.integer("sequence_length", recipe.packing.sequence_length, 2, kLongestSequence);
    fields.boolean("document_mask", recipe.packing.document_mask);
  });
  sections.plugin("model", recipe.model);
  sections.plugin("optimizer", recipe.optimizer);
  sections.plugin("schedule", recipe.schedule);
  sections.plugin("mixer", recipe.mixer);
  sections.tables("phase", recipe.phases, [](auto &fields, auto &phase) {
    fields.name("name", phase.name);
    fields.amount("until", phase.until);
    visit_overrides(fields, phase.overrides);
  });
  sections.table("training", [&](auto &fields) {
    fields.batch("batch", recipe.training.batch);
    fields.tokens_or_auto("micro_batch", recipe.training.micro_batch_tokens, 1, kMostBatchTokens);
    fields.number("gradient_clip", recipe.training.gradient_clip, 0);
    fields.choice("on_spike", recipe.training.on_spike, {"skip", "continue"});
    fields.choice("on_nan", recipe.training.on_nan, {"rollback", "skip", "stop"});
    fields.recompute("recompute", recipe.training.recompute);
    fields.bytes_or_auto("memory", recipe.training.memory_bytes);
  });
  sections.table("parallel", [&](auto &fields) {
    fields.choice("sharding", recipe.parallel.sharding, {"none", "optimizer", "gradients", "parameters"});
    fields.integer("pipeline_stages", recipe.parallel.pipeline_stages, 1, kMostOf);
    fields.number("heartbeat", recipe.parallel.heartbeat, 0.05, 3600);
    fields.number("timeout", recipe.parallel.timeout, 1, 86400);
  });
  sections.table("checkpoint", [&](auto &fields) {
    fields.amount("every", recipe.checkpoint.every);
    fields.integer("keep", recipe.checkpoint.keep, 1, 1'000'000);
    fields.texts("always_keep", recipe.checkpoint.always_keep);
    fields.boolean("asynchronous", recipe.checkpoint.asynchronous);
  });
  sections.table("evaluation", [&](auto &fields) {
    fields.amount("every", recipe.evaluation.every);
    fields.texts_or_all("sources", recipe.evaluation.sources);
    fields.tokens("tokens", recipe.evaluation.tokens, 1, kMostTokens);
  });
  sections.table("sampling", [&](auto &fields) {
    fields.amount("every", recipe.sampling.every);
    fields.texts("prompts", recipe.sampling.prompts);
    fields.tokens("tokens", recipe.sampling.tokens, 1, kLongestSequence);
    fields.number("temperature", recipe.sampling.temperature, 0, 100);
    fields.number("top_p", recipe.sampling.top_p, 0, 1);
  });
  sections.table("metrics", [&](auto &fields) {
    fields.boolean("console", recipe.metrics.console);
    fields.boolean("jsonl", recipe.metrics.jsonl);
    fields.boolean("tensorboard", recipe.metrics.tensorboard);
    fields.boolean("telemetry", recipe.metrics.telemetry);
    fields.amount("telemetry_every", recipe.metrics.telemetry_every);
  });
  sections.tables("branch", recipe.branches, [](auto &fields, auto &branch) {
    fields.name("name", branch.name);
    fields.reference("from", branch.from);
    fields.amount("until", branch.until);
    fields.integer("seed", branch.seed, 0, kLargestInteger);
    visit_overrides(fields, branch.overrides);
  });
}

}  // namespace trainhost
