// The recipe: everything a run is, as typed values. Immutable once read; each value that a check may still refuse keeps its position.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace trainhost {

// 1-based. Line 0 for what the command line set (file is then "--set KEY=VALUE") and for a file that cannot be read.
struct Position {
  std::string file;
  int line = 0, column = 0;
  auto operator<=>(const Position &) const = default;
};

// One mistake of the user. Shown as "file:line:column: message".
struct RecipeError {
  Position position;
  std::string message;
};
std::string to_string(const RecipeError &error);

// A length on the run's token axis: "500 steps", "2M tokens" or "10%".
struct Amount {
  enum class Unit { kSteps, kTokens, kShare };
  double value = 0;  // kShare: 0.1 for "10%"
  Unit unit = Unit::kTokens;
  std::string text;  // as written
  Position position;
};

// A parameter of a plugin, as written or as its manifest's default. Amounts stay text ("2%"); the manifest knows the type.
using ParameterValue = std::variant<bool, int64_t, double, std::string>;
struct Parameter {
  ParameterValue value;
  bool given = true;  // false: the manifest's default
  Position position;
};
using Parameters = std::map<std::string, Parameter>;

std::string to_toml(const ParameterValue &value);  // as in a recipe: text in quotation marks

// A [table] that names a plugin, with all its other keys. `plugin` is a shipped name, a reverse-DNS id or a path (absolute here).
struct PluginChoice {
  std::string plugin;
  Position position;  // of the table
  Parameters parameters;
};

struct Source {
  std::string name;
  std::vector<std::string> paths;  // absolute, globs kept, ${NAME} expanded
  std::string format = "auto";     // auto, text, markdown, jsonl, chat, tokens (an existing Megatron store)
  std::string language, quality = "ordinary", licence;
  std::string loss_on = "all";        // all, answers
  double held_out = 0.01;             // share of the documents kept for evaluation
  std::string on_bad_input = "skip";  // skip (counted and named), refuse
  double epochs_at_most = 4;          // how often it may be read before the run warns
  std::string domain = "in";          // in, out: what the model is meant for, or what it must not lose meanwhile
  Position position;
};

// How many tokens a step has: always as many, or more as the run goes on.
struct Batch {
  struct Level {
    uint64_t tokens = 0;
    std::optional<Amount> until;  // end on the run's token axis; the last level has none
  };
  // constant; levels: as listed; ramp: from `tokens` to `most` in equal lengths. Three grow by themselves, doubling from `tokens` to
  // `most`: loss: up to what a law makes of the training loss; stall: when the loss stands still; seesaw: where the learning rate has
  // halved.
  std::string rule = "constant";
  uint64_t tokens = 8192, most = 8192;  // the first and the last; equal for constant
  std::vector<Level> levels = {};       // of levels
  uint64_t by = 0;                      // ramp: how much it grows at a time
  std::optional<Amount> until = {};     // ramp: where it reaches `most`
  std::optional<Amount> every = {};     // loss, stall: how often to look
  double scale = 1.21e9;                // loss: tokens = scale / loss^exponent (MiniCPM, arXiv 2404.06395, A.2)
  double exponent = 6.24;
  double improvement = 0.01;  // stall: the loss falls by a smaller share from one look to the next

  static Batch constant(uint64_t tokens) { return {.tokens = tokens, .most = tokens}; }
  bool grows_by_itself() const { return rule == "loss" || rule == "stall" || rule == "seesaw"; }
  // All that a step may have, from the first to the last.
  std::vector<uint64_t> sizes() const;
};

// A row of a table of mixes: the one for models of so many parameters, without those of embeddings.
struct SizedMix {
  uint64_t parameters = 0;
  std::map<std::string, double> shares;  // as Overrides::mix
};

// What a phase or branch changes; what it does not name stays as it stands above.
struct Overrides {
  std::optional<std::map<std::string, double>> mix;  // source name -> share, sums to 1 after normalising
  std::vector<SizedMix> mix_by_size;                 // in place of `mix` until the model's size is known; rows ascend, see mix_by_size.h
  std::optional<Amount> mix_over;                    // length over which the mix moves from that of the phase before to this one
  std::optional<Batch> batch;
  std::optional<uint32_t> sequence_length;
  std::optional<std::string> loss_on;  // all: every token counts; answers: as each source says
  Parameters optimizer, schedule;
};

struct Phase {
  std::string name;
  std::optional<Amount> until;  // end on the run's token axis; the last phase has none
  Overrides overrides;
  Position position;
};

// After the trunk: the phases from `from` on, again, with overrides, from the trunk's checkpoint there.
struct Branch {
  std::string name;
  std::string from;              // "end of PHASE"
  std::optional<Amount> until;   // end on the trunk's token axis; absent: the trunk's end
  std::optional<uint64_t> seed;  // absent: the trunk's
  Overrides overrides;
  Position position;
};

struct Recipe {
  std::string file;                 // absolute path of the recipe
  std::vector<std::string> layers;  // the files that it is made of, as Position names them, each laid over those before it

  struct Run {
    std::string directory = "runs/NAME";  // default: runs/<recipe's stem>; absolute once read
    uint64_t tokens = 10'000'000;
    uint64_t seed = 42;
    std::string device = "auto";     // auto, cpu, cuda
    std::string precision = "auto";  // auto, fp32, bf16
    std::string reduction = "fast";  // fast, fixed: the same bits for any number of processes
    bool deterministic = true;       // false: GPUs may give other bits each time
  } run;
  struct Plugins {
    std::vector<std::string> folders;         // absolute; looked into before all others
    std::map<std::string, std::string> pins;  // a plugin's id -> the SHA-256 that its file must have, 64 hexadecimal digits
  } plugins;
  std::vector<Source> sources;
  PluginChoice tokenizer, model, optimizer, schedule, mixer;
  struct Packing {
    std::string mode = "best_fit";  // best_fit, concatenate
    uint32_t sequence_length = 256;
    bool document_mask = true;
  } packing;
  std::vector<Phase> phases;  // at least one; they tile the token axis
  struct Training {
    Batch batch;
    uint64_t micro_batch_tokens = 0;    // 0: auto
    double gradient_clip = 1.0;         // 0: none
    std::string on_spike = "skip";      // skip, continue
    std::string on_nan = "rollback";    // rollback, skip, stop
    std::optional<uint32_t> recompute;  // every how many units' activations are computed again; 0: none, 1: all; absent: auto
    uint64_t memory_bytes = 0;          // what a process may use; 0: what the machine has free
  } training;
  struct Parallel {
    std::string sharding = "none";  // none, optimizer, gradients, parameters: what is cut over the processes
    uint32_t pipeline_stages = 1;
    double heartbeat = 5;  // seconds between two signs of life of a process
    double timeout = 600;  // seconds that a process waits for another
  } parallel;
  struct Checkpoint {
    Amount every{0.1, Amount::Unit::kShare, "10%", {}};
    uint32_t keep = 3;
    std::vector<std::string> always_keep;  // "end of PHASE"
    bool asynchronous = false;             // written while training goes on, from a copy
  } checkpoint;
  struct Evaluation {
    Amount every{0.05, Amount::Unit::kShare, "5%", {}};
    std::vector<std::string> sources;  // empty: all
    uint64_t tokens = 65536;           // at most, per source
  } evaluation;
  struct Sampling {
    std::optional<Amount> every;  // absent: only at the end
    std::vector<std::string> prompts;
    uint32_t tokens = 64;
    double temperature = 0.8;
    double top_p = 0.95;
  } sampling;
  struct Metrics {
    bool console = true, jsonl = true, tensorboard = true;
    bool telemetry = true;
    Amount telemetry_every{20, Amount::Unit::kSteps, "20 steps", {}};
  } metrics;
  std::vector<Branch> branches;

  // Where each written value stands, by its path: "run.tokens", "phase.1.batch", "source.0.paths.2", "phase.0.mix.NAME" (arrays are
  // counted from 0). What is absent here has its default. Parameters keep their own positions.
  std::map<std::string, Position> given;
};

// What the steps of the phase have: as it says itself, or as [training] does.
const Batch &batch_of(const Recipe &recipe, size_t phase);

// The index of PHASE for the text "end of PHASE"; nothing when the text is not of this form or names no phase.
std::optional<size_t> phase_ending_at(const Recipe &recipe, const std::string &text);

// The recipe of a branch: the trunk's, with the branch's overrides laid over each phase that begins at or after `from`, the branch's end
// and seed, and the directory <trunk's>/branches/<name>. Where the branch ends before or after the trunk, its phases, batches and mixes
// keep their places on the trunk's axis, in tokens, without the phases that would begin at its end or later; shares in schedules,
// checkpoints and evaluations are those of the branch's own length.
Recipe branch_recipe(const Recipe &trunk, const Branch &branch);

// The whole recipe as TOML that reads back with equal values; a comment "default" beside each key that was not given. Paths absolute.
std::string resolved_toml(const Recipe &recipe);

// Equal fingerprints: the same training, but for its learning rates. Covers everything but run.directory, schedules, parallel, recompute
// and memory, metrics, evaluation, sampling, checkpoint, branches, the epochs_at_most and domain of sources, and where sources and plugins
// lie (what they are has a fingerprint of its own); plugin parameters as they stand in `recipe`, so take it after the manifests' defaults
// were added. 64 hexadecimal digits.
std::string training_fingerprint(const Recipe &recipe);
// Likewise of the schedule and what phases change of it.
std::string schedule_fingerprint(const Recipe &recipe);

}  // namespace trainhost
