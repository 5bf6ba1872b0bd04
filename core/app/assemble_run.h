// Builds the parts of a run in the order of the flow: recipe, plugins, data, model, checkpoint, metrics.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "app/corpus.h"
#include "app/processes.h"
#include "app/run_outline.h"
#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "collectives/process_group.h"
#include "evaluate/domain_panel.h"
#include "evaluate/epoch_account.h"
#include "evaluate/held_out_loss.h"
#include "evaluate/layer_telemetry.h"
#include "evaluate/text_generator.h"
#include "metrics/metrics.h"
#include "plan/memory_plan.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/phase_log.h"
#include "train/step_telemetry.h"
#include "train/trainer.h"

namespace trainhost {

// What decides how a run starts, beside its recipe.
struct StartOptions {
  std::string from;             // a checkpoint to begin with when the run has none of its own; empty: fresh parameters
  bool accept_changes = false;  // go on although recipe, data or plugins differ from the checkpoint's; never with another tokenizer
};

// Everything of one run, in the order in which it is built; each part uses those before it.
class Run {
 public:
  // Locks the run directory, prepares the data, loads the plugins, restores the newest checkpoint. `stop` outlives the run.
  // On an error nothing of an earlier run is changed.
  // With several processes all call it, and all fail when one does; only rank 0 locks, prepares, and writes logs. console: null on the
  // others.
  static Result<std::unique_ptr<Run>> assemble(CheckedRecipe checked, const StartOptions &options, Console *console,
                                               const std::atomic<bool> &stop, Processes &processes);

  // Trains to the end of the token axis; see Trainer::run.
  Result<> train();
  // Held-out loss of where the run stands.
  Result<EvaluationReport> measure() { return evaluation_->measure(state_); }

  const Recipe &recipe() const { return checked_.recipe; }
  bool finished() const { return state_.step == axis_.total_steps(); }

 private:
  Run(CheckedRecipe checked, Console *console, const std::atomic<bool> &stop, Processes &processes, uint32_t data_ranks,
      const MemorySettings &memory, std::unique_ptr<Device> gpu)
      : checked_(std::move(checked)),
        console_(console),
        stop_(stop),
        processes_(processes),
        memory_(memory),
        axis_(checked_.recipe, data_ranks, memory.micro_batch_tokens),
        gpu_(std::move(gpu)),
        compute_{.device = gpu_ ? gpu_.get() : &cpu_device(), .bfloat16 = planned_device(checked_.recipe).bfloat16},
        activity_(processes) {}
  Result<> lock_directory();
  Result<> check_same() const;
  Result<> split_groups();
  Result<> load_model();
  Result<> restore(const StartOptions &options);
  Result<> restore_from(const std::string &checkpoint);
  Result<> follow_batches();
  Result<> write_run_files();
  Result<> open_reports();
  void add_stages();
  void add_telemetry();
  void add_evaluation();
  Fingerprints fingerprints() const;

  CheckedRecipe checked_;
  Console *console_;
  const std::atomic<bool> &stop_;
  Processes &processes_;
  PluginEvents events_;
  const MemorySettings memory_;
  TokenAxis axis_;
  std::optional<RunLock> lock_;
  std::unique_ptr<Corpus> corpus_;
  std::unique_ptr<Device> gpu_;              // before all that has memory there
  std::unique_ptr<ProcessGroup> gpu_world_;  // all processes, with floats on the GPU
  Compute compute_;
  PhaseParts phases_;
  std::unique_ptr<Model> model_;
  StageGroups groups_;
  std::optional<ParameterStore> parameters_;
  std::optional<GradientStore> gradients_;
  std::optional<ModelRunner> runner_;
  std::unique_ptr<ProcessGroup> saving_group_;
  std::optional<CheckpointDirectory> checkpoints_;
  TrainState state_;
  std::vector<FingerprintDifference> changes_;  // since the checkpoint was saved
  ActivityReport activity_;
  Reporter reporter_;
  std::optional<TextGenerator> generator_;
  std::optional<MixRounds> rounds_;
  std::optional<BatchGrowth> growth_;
  std::optional<PhaseLog> phase_log_;
  std::optional<EpochAccount> epochs_;
  std::optional<DomainPanel> panel_;
  std::optional<StepTelemetry> telemetry_;
  std::optional<LayerTelemetry> layers_;
  std::optional<HeldOutEvaluation> evaluation_;
  std::optional<TextSampling> sampling_;
};

// What the model is asked to be able to do for this recipe: the longest sequence and the largest micro-batch of any phase.
th_model_options model_options(const TokenAxis &axis, uint32_t vocabulary_size, const Compute &compute = {});
// The GPU on which the recipe wants this process to compute; none: its CPUs. Errors as of open_cuda_device.
Result<std::unique_ptr<Device>> open_gpu(const Recipe &recipe, const Processes &processes);

}  // namespace trainhost
