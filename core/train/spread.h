// How a run is laid over its processes: pipeline stages, and in each the data-parallel ranks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "collectives/process_group.h"
#include "device/device.h"
#include "plugin_host/adapters/model.h"
#include "recipe/recipe.h"
#include "train/parameter_layout.h"

namespace trainhost {

// What is cut over the data-parallel ranks (ZeRO 0 to 3; Rajbhandari et al. 2020, arXiv 1910.02054). Each includes those before it.
enum class Sharding { kNone, kOptimizer, kGradients, kParameters };
Sharding sharding_of(const std::string &name);  // "none", "optimizer", "gradients", "parameters"

// Where and in which numbers a process computes. Gradients, optimizer states and what the optimizer updates are float32 in any case; with
// bfloat16 the model computes with rounded copies of the parameters, and activations are bfloat16.
struct Compute {
  Device *device = &cpu_device();
  bool bfloat16 = false;

  size_t bytes_per_item() const { return bfloat16 ? 2 : 4; }
  // How many floats have the room of so many items.
  size_t floats_for(size_t items) const { return bfloat16 ? (items + 1) / 2 : items; }
};

// This process's place. The groups and the model outlive it.
struct Spread {
  ProcessGroup *world = nullptr;   // all
  ProcessGroup *data = nullptr;    // those that hold the same units and train on other samples
  ProcessGroup *stages = nullptr;  // those that hold the other units for the same samples, in the order of the units
  ProcessGroup *ties = nullptr;    // the same as stages: what tied parameters exchange goes its own way
  UnitRange units;                 // of this process
  std::vector<uint32_t> stage_of;  // per unit of the model
  Sharding sharding = Sharding::kNone;
  Compute compute;
};

// Everything on one process, which `process` is.
Spread unspread(const Model &model, ProcessGroup &process);

// The groups of a world cut into pipeline stages: rank r of the world is in stage r / (size / stages), so that the data-parallel ranks of a
// stage are neighbours.
class StageGroups {
 public:
  // kRecipe when the world cannot be cut so. All ranks call it.
  static Result<StageGroups> split(ProcessGroup &world, uint32_t stages);
  // How many processes share each step's samples in a world cut so.
  static Result<uint32_t> data_ranks(uint32_t world_size, uint32_t stages);

  // The model's units cut with cut_into_stages(). kRecipe when there are more stages than units.
  Result<Spread> spread(const Model &model, Sharding sharding, Compute compute = {}) const;

 private:
  ProcessGroup *world_ = nullptr;
  std::unique_ptr<ProcessGroup> data_, stages_, ties_;
};

// The model's units cut into stages of nearly equal work. kRecipe when there are more stages than units.
Result<std::vector<UnitRange>> cut_into_stages(const Model &model, uint32_t stages);

// Stage `stage` of `stages` over units of the given work: contiguous, none empty, the most loaded one as light as can be.
UnitRange stage_units(const std::vector<double> &work, uint32_t stage, uint32_t stages);

}  // namespace trainhost
