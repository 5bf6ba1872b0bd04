#include "app/assemble_run.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/log.h"
#include "collectives/agreement.h"

namespace trainhost {
namespace {

// What must be equal on all ranks beside what a checkpoint's fingerprints compare.
std::string how_shared(const Recipe &recipe, const Compute &compute) {
  return fmt::format("on {} in {}, sharding {}, {} pipeline stages, recompute {}, asynchronous {}",
                     compute.device->type() == TH_DEVICE_CUDA ? "GPUs" : "CPUs", compute.bfloat16 ? "bf16" : "fp32",
                     recipe.parallel.sharding, recipe.parallel.pipeline_stages,
                     recipe.training.recompute ? std::to_string(*recipe.training.recompute) : "auto", recipe.checkpoint.asynchronous);
}

}  // namespace

th_model_options model_options(const TokenAxis &axis, uint32_t vocabulary_size, const Compute &compute) {
  th_model_options options{};
  options.struct_size = sizeof(th_model_options);
  options.vocabulary_size = vocabulary_size;
  options.device_type = compute.device->type();
  options.device_index = compute.device->index();
  options.compute_code = compute.bfloat16 ? TH_DTYPE_BFLOAT : TH_DTYPE_FLOAT;
  options.compute_bits = compute.bfloat16 ? 16 : 32;
  for (const StepShape &shape : axis.possible_shapes()) {
    options.sequence_length = std::max(options.sequence_length, shape.sequence_length);
    options.tokens = std::max(options.tokens, uint64_t{shape.micro_batch_sequences} * shape.sequence_length);
  }
  return options;
}

Result<std::unique_ptr<Device>> open_gpu(const Recipe &recipe, const Processes &processes) {
  if (!planned_device(recipe).gpu) return std::unique_ptr<Device>();
  return open_cuda_device(static_cast<int32_t>(processes.local_rank()), recipe.run.deterministic);
}

Result<std::unique_ptr<Run>> Run::assemble(CheckedRecipe checked, const StartOptions &options, Console *console,
                                           const std::atomic<bool> &stop, Processes &processes) {
  ProcessGroup &world = processes.world();
  TRAINHOST_TRY(const uint32_t data_ranks, StageGroups::data_ranks(world.size(), checked.recipe.parallel.pipeline_stages));
  TRAINHOST_CHECK(check_shares(checked.recipe, data_ranks));
  auto gpu = open_gpu(checked.recipe, processes);
  TRAINHOST_CHECK(agreed(world, gpu ? Result<>() : tl::unexpected(gpu.error())));
  TRAINHOST_TRY(const MemorySettings memory, decide_memory(checked, gpu->get(), processes));
  std::unique_ptr<Run> run(new Run(std::move(checked), console, stop, processes, data_ranks, memory, *std::move(gpu)));
  run->events_ = {.metric = [r = run.get()](std::string_view name, double value) { r->reporter_.metric(name, value); },
                  .progress =
                      [console](std::string_view what, uint64_t done, uint64_t total) {
                        if (console != nullptr) console->progress(what, done, total);
                      },
                  .cancelled = &stop};
  TRAINHOST_CHECK(agreed(world, run->lock_directory()));
  TRAINHOST_CHECK(processes.first_then_others("prepare the data", [&]() -> Result<> {
    TRAINHOST_TRY(run->corpus_, Corpus::assemble(run->checked_, run->axis_, run->events_));
    return {};
  }));
  processes.report_activity("making the model and loading the newest checkpoint");
  TRAINHOST_CHECK(run->check_same());
  TRAINHOST_CHECK(run->split_groups());
  TRAINHOST_CHECK(agreed(world, run->load_model()));
  TRAINHOST_CHECK(run->restore(options));
  TRAINHOST_CHECK(agreed(world, run->write_run_files()));
  run->add_stages();
  TRAINHOST_CHECK(agreed(world, run->open_reports()));
  run->add_telemetry();
  run->add_evaluation();
  return run;
}

Result<> Run::lock_directory() {
  if (!processes_.first()) return {};
  TRAINHOST_CHECK(posix_file_system().create_directories(recipe().run.directory));
  TRAINHOST_TRY(lock_, RunLock::acquire(recipe().run.directory));
  return {};
}

Result<> Run::split_groups() {
  if (gpu_) {
    TRAINHOST_TRY(gpu_world_, processes_.join_on(*gpu_));
  }
  TRAINHOST_TRY(groups_, StageGroups::split(gpu_world_ ? *gpu_world_ : processes_.world(), recipe().parallel.pipeline_stages));
  return {};
}

Result<> Run::load_model() {
  PluginEvents on_device = events_;
  on_device.device = compute_.device;
  TRAINHOST_TRY(phases_, PhaseParts::create(recipe(), checked_.plugins, axis_, on_device));
  TRAINHOST_TRY(auto instance, PluginInstance::create(checked_.plugins.model, recipe().model.parameters, &axis_, on_device));
  TRAINHOST_TRY(model_, Model::create(std::move(instance), model_options(axis_, corpus_->tokenizer().vocabulary_size(), compute_)));
  TRAINHOST_CHECK(phases_.check_states(recipe(), *model_));
  TRAINHOST_TRY(const Spread spread, groups_.spread(*model_, sharding_of(recipe().parallel.sharding), compute_));
  TRAINHOST_TRY(parameters_, ParameterStore::create(*model_, phases_.optimizers.front().get(), spread));
  TRAINHOST_TRY(const uint64_t workspace, phases_.workspace_bytes(parameters_->updated_parameters()));
  parameters_->reserve_workspace(workspace);
  gradients_.emplace(*model_, *parameters_, recipe().run.reduction == "fixed" ? Reduction::kFixed : Reduction::kFast);
  runner_.emplace(
      ModelRunner::Parts{.model = *model_,
                         .parameters = *parameters_,
                         .gradients = &*gradients_,
                         .recomputed = recomputed_units(model_->units().size(), recipe().training.recompute.value_or(memory_.recompute))});
  return {};
}

// Every process must train the same thing with the same programs on the same text.
Result<> Run::check_same() const {
  const Fingerprints prints = fingerprints();
  TRAINHOST_CHECK(processes_.check_same("recipe", prints.recipe));
  TRAINHOST_CHECK(processes_.check_same("schedule", prints.schedule));
  TRAINHOST_CHECK(processes_.check_same("way to share the work ([parallel] and [training])", how_shared(recipe(), compute_)));
  for (const auto &[kind, plugin] : prints.plugins) TRAINHOST_CHECK(processes_.check_same(kind + " plugin", plugin));
  TRAINHOST_CHECK(processes_.check_same("tokenizer", prints.tokenizer));
  return processes_.check_same("text", prints.data);
}

Fingerprints Run::fingerprints() const {
  Fingerprints prints{.recipe = training_fingerprint(recipe()),
                      .schedule = schedule_fingerprint(recipe()),
                      .data = corpus_->fingerprint(),
                      .tokenizer = corpus_->tokenizer().fingerprint(),
                      .plugins = {}};
  const RecipePlugins &plugins = checked_.plugins;
  for (const Manifest *manifest : {&plugins.tokenizer, &plugins.model, &plugins.optimizer, &plugins.schedule, &plugins.mixer}) {
    prints.plugins[std::string(to_string(manifest->kind))] = manifest->name + " " + manifest->version + " " + manifest->sha256;
  }
  return prints;
}

Result<> Run::restore(const StartOptions &options) {
  // A save that goes on beside the training talks over a group of its own.
  if (recipe().checkpoint.asynchronous) {
    TRAINHOST_TRY(saving_group_, processes_.world().split(0));
  }
  ProcessGroup &group = saving_group_ ? *saving_group_ : processes_.world();
  TRAINHOST_TRY(checkpoints_, CheckpointDirectory::open(posix_file_system(), recipe().run.directory + "/checkpoints", group));
  auto tensors = parameters_->tensors_to_load();
  const Fingerprints prints = fingerprints();
  Fingerprints demanded = prints;
  if (options.accept_changes) demanded = {.recipe = {}, .schedule = {}, .data = {}, .tokenizer = prints.tokenizer, .plugins = {}};
  TRAINHOST_TRY(const auto saved, checkpoints_->load_newest(tensors, demanded));
  if (saved) {
    parameters_->loaded();
    TRAINHOST_TRY(state_, TrainState::from_json(saved->trainer_state, saved->step));
    TRAINHOST_CHECK(follow_batches());
    log_info(fmt::format("resumed after step {} of {}", state_.step, axis_.total_steps()));
    changes_ = differences(saved->fingerprints, prints);
    return {};
  }
  if (!options.from.empty()) return restore_from(options.from);
  parameters_->initialise(recipe().run.seed);
  return {};
}

// The steps so far were of the batches that the run had grown to.
Result<> Run::follow_batches() {
  if (state_.batch.grown.empty()) return {};
  axis_.grow(state_.batch.grown);
  return corpus_->stream().follow_axis();
}

Result<> Run::restore_from(const std::string &checkpoint) {
  auto tensors = parameters_->tensors_to_load();
  TRAINHOST_TRY(const auto saved, checkpoints_->load(checkpoint, tensors, {}));
  if (saved.fingerprints.tokenizer != corpus_->tokenizer().fingerprint()) {
    return failure(ErrorKind::kRecipe,
                   checkpoint + ": was trained with another tokenizer than this recipe gives; name the same sources and tokenizer");
  }
  TRAINHOST_TRY(state_, TrainState::from_json(saved.trainer_state, saved.step));
  TRAINHOST_CHECK(follow_batches());
  const uint64_t step = axis_.step_reaching(static_cast<double>(saved.tokens));
  if (axis_.tokens_at_step(step) != saved.tokens) {
    return failure(ErrorKind::kRecipe, fmt::format("{}: stands at {} tokens, and no step of this recipe ends there; the nearest ends at {}",
                                                   checkpoint, saved.tokens, axis_.tokens_at_step(step)));
  }
  parameters_->loaded();
  TRAINHOST_TRY(state_, TrainState::from_json(saved.trainer_state, step));
  state_.evaluated_step = state_.sampled_step = step;  // done by the run that saved it
  log_info(fmt::format("begins with {} at step {} of {}", checkpoint, step, axis_.total_steps()));
  return {};
}

Result<> Run::write_run_files() {
  if (!processes_.first()) return {};
  const std::string &directory = recipe().run.directory;
  TRAINHOST_CHECK(posix_file_system().create_directories(directory + "/log"));
  TRAINHOST_CHECK(write_atomically(posix_file_system(), directory + "/recipe.toml", resolved_toml(recipe())));
  TRAINHOST_CHECK(write_atomically(posix_file_system(), memory_record(recipe()), to_json(memory_)));
  return write_atomically(posix_file_system(), directory + "/tokenizer.state", corpus_->tokenizer_state());
}

Result<> Run::open_reports() {
  if (!processes_.first()) return {};
  const std::string &directory = recipe().run.directory;
  if (recipe().metrics.jsonl) {
    std::vector<std::string> to_come{"change", "phase", "batch"};  // what is still to be said of the step at which the run stands
    if (state_.evaluated_step != state_.step) to_come.insert(to_come.end(), {"evaluation", "epochs", "panel", "layers"});
    if (state_.sampled_step != state_.step) to_come.push_back("sample");
    if (rounds_->begins(state_)) to_come.push_back("mix");
    TRAINHOST_TRY(auto sink, open_jsonl_sink(directory + "/log/metrics.jsonl", state_.step, to_come));
    reporter_.add(std::move(sink));
  }
  if (recipe().metrics.tensorboard) {
    TRAINHOST_TRY(auto sink, open_tensorboard_sink(directory, state_.step));
    reporter_.add(std::move(sink));
  }
  if (recipe().metrics.console) reporter_.show_on(console_);
  reporter_.begin_run({.recipe = recipe().file,
                       .directory = directory,
                       .model = model_->manifest().name,
                       .parameters = parameters_->parameter_count(),
                       .total_steps = axis_.total_steps(),
                       .total_tokens = axis_.total_tokens(),
                       .first_step = state_.step});
  for (const auto &[what, saved, now, may_go_on] : changes_) {
    log_info(fmt::format("goes on with another {}: {} in place of {}", what, now, saved));
    reporter_.change({.step = state_.step, .what = what, .before = saved, .after = now});
  }
  return {};
}

// What changes on the way.
void Run::add_stages() {
  growth_.emplace(BatchGrowth::Parts{recipe(), axis_, corpus_->stream(), phases_, processes_.world(), reporter_});
  phase_log_.emplace(recipe(), axis_, reporter_);
  rounds_.emplace(MixRounds::Parts{recipe(), axis_, corpus_->mixer(), corpus_->stream(), processes_.world(), reporter_});
  rounds_->resume(state_);
}

void Run::add_telemetry() {
  if (!recipe().metrics.telemetry) return;
  telemetry_.emplace(StepTelemetry::Parts{.every = recipe().metrics.telemetry_every,
                                          .checkpoint_every = recipe().checkpoint.every,
                                          .axis = axis_,
                                          .parameters = *parameters_,
                                          .gradients = *gradients_,
                                          .reporter = reporter_});
}

void Run::add_evaluation() {
  epochs_.emplace(EpochAccount::Parts{recipe(), axis_, corpus_->data(), corpus_->stream(), reporter_, processes_.first()});
  panel_.emplace(DomainPanel::Parts{recipe(), axis_, reporter_});
  const std::vector<HeldOutSource> sources = corpus_->held_out(recipe(), axis_);
  std::vector<HeldOutWatcher *> watchers{&*epochs_, &*panel_};
  if (recipe().metrics.telemetry) layers_.emplace(LayerTelemetry::Parts{axis_, *runner_, reporter_});
  evaluation_.emplace(HeldOutEvaluation::Parts{.recipe = recipe(),
                                               .axis = axis_,
                                               .runner = *runner_,
                                               .reporter = reporter_,
                                               .sources = sources,
                                               .bytes_per_id = corpus_->bytes_per_id(),
                                               .stop = stop_,
                                               .watchers = std::move(watchers),
                                               .layers = layers_ ? &*layers_ : nullptr});
  generator_.emplace(*runner_, corpus_->tokenizer(), axis_.phases().front().sequence_length);
  sampling_.emplace(recipe(), axis_, *generator_, reporter_, stop_);
}

Result<> Run::train() {
  ReportedObserver evaluating(processes_, "measuring held-out loss", *evaluation_), sampling(processes_, "writing samples", *sampling_);
  std::vector<TrainObserver *> observers{&activity_, &*phase_log_, &reporter_, &*epochs_};
  if (telemetry_) observers.push_back(&*telemetry_);
  observers.insert(observers.end(), {&evaluating, &sampling});
  Trainer trainer({.recipe = recipe(),
                   .axis = axis_,
                   .stream = corpus_->stream(),
                   .rounds = *rounds_,
                   .growth = *growth_,
                   .model = *model_,
                   .runner = *runner_,
                   .parameters = *parameters_,
                   .gradients = *gradients_,
                   .phases = phases_,
                   .checkpoints = *checkpoints_,
                   .fingerprints = fingerprints(),
                   .observers = std::move(observers),
                   .stop = stop_});
  return trainer.run(state_);
}

}  // namespace trainhost
