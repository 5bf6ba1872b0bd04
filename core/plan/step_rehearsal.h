// A training step and an evaluation gone through as ModelRunner, ParameterStore and GradientStore do, with every buffer counted and none
// allocated. Where these change what they hold and when, this changes with them; tests/unit/plan and tests/integration/memory_plan_test.py
// hold the two together.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/status.h"
#include "plan/memory_timeline.h"
#include "plugin_host/adapters/model.h"
#include "train/gradient_store.h"
#include "train/parameter_layout.h"
#include "train/spread.h"

namespace trainhost {

// One process of a run: its place and how the run is shared.
struct RehearsedProcess {
  uint32_t stage = 0, stages = 1;
  UnitRange units;                 // of its stage
  std::vector<uint32_t> stage_of;  // per unit of the model
  uint32_t rank = 0, ranks = 1;    // among those of its stage
  Sharding sharding = Sharding::kNone;
  Reduction reduction = Reduction::kFast;
  std::vector<bool> recomputed;  // per unit, as in ModelRunner::Parts
  size_t bytes_per_item = 4;     // of parameters and activations, as the model computes with them
};

// Micro-batches as they go through the model.
struct RehearsedBatches {
  uint32_t sequences = 0, sequence_length = 0;  // of one
  uint32_t count = 0;                           // of a step, in this process
  bool operator==(const RehearsedBatches &) const = default;
};

class StepRehearsal {
 public:
  // The arguments outlive the rehearsal. Takes the gradients' sums, which stay.
  StepRehearsal(const Model &model, const ParameterLayout &layout, const RehearsedProcess &process, MemoryTimeline &timeline);

  // Errors: the model's. A model that does not tell its memory counts as taking none.
  Result<> train(const RehearsedBatches &batches);
  Result<> evaluate(const RehearsedBatches &batches);

  // Floats that the process answers for in an update of the group.
  FloatRange updated(uint32_t group) const;
  bool borrowed(uint32_t group) const;

 private:
  struct Pass {  // see ModelRunner::Pass
    RehearsedBatches batches;
    bool training = true;
    CountedBlock received;
    std::vector<CountedBlock> outputs, saved;
  };
  struct Gathered {
    CountedBlock whole;
    uint32_t uses = 0;
  };
  struct Exchange {
    CountedBlock sent, received;
    uint32_t group = 0;
  };
  struct Leaf {
    uint64_t leaves = 1;
    CountedBlock sum;
  };
  struct Group {
    std::vector<CountedBlock> now;
    uint32_t finished_users = 0;
    std::vector<Leaf> tree;
  };

  CountedBlock floats(MemoryPart part, uint64_t count) { return {timeline_, part, count * sizeof(float)}; }
  // What the model computes with.
  CountedBlock items(MemoryPart part, uint64_t count) { return {timeline_, part, (count * process_.bytes_per_item + 3) / 4 * 4}; }
  CountedBlock activations(const Pass &pass, uint64_t width) {
    return items(MemoryPart::kActivations, uint64_t{pass.batches.sequences} * pass.batches.sequence_length * width);
  }
  uint64_t width_before(uint32_t unit) const { return unit == 0 ? 0 : model_.units()[unit - 1].output_width; }
  bool gives_loss() const { return process_.units.end == model_.units().size(); }
  uint32_t end_of_hidden() const;

  Result<> forward(Pass &pass);
  Result<> run_unit(Pass &pass, uint32_t unit, bool keep);
  Result<> backward(Pass &pass);
  Result<> unit_backward(Pass &pass, uint32_t unit);
  Result<Model::UnitMemory> memory_of(const Pass &pass, uint32_t unit, bool keep) const;
  void send(CountedBlock values);

  void prefetch(uint32_t unit);
  void use(uint32_t unit);
  void release(uint32_t unit);

  bool reduces_each_micro_batch() const;
  FloatRange own(uint32_t group) const { return layout_.groups()[group].piece(process_.rank); }
  void target(uint32_t unit);
  void finished(uint32_t unit);
  void group_finished(uint32_t group);
  void give_back(uint32_t group);
  void collect_lent(uint32_t group);
  void complete_oldest();
  void add_leaf(uint32_t group, CountedBlock leaf);
  void finish_step();
  size_t users_here(uint32_t group) const;

  const Model &model_;
  const ParameterLayout &layout_;
  const RehearsedProcess process_;
  MemoryTimeline &timeline_;
  std::vector<CountedBlock> sums_;  // per group
  std::vector<Gathered> gathered_;
  std::vector<Group> groups_;
  std::deque<Exchange> exchanges_;
  std::vector<CountedBlock> given_back_;
  std::deque<CountedBlock> sent_;
  uint32_t micro_batches_ = 0, done_ = 0;
};

}  // namespace trainhost
