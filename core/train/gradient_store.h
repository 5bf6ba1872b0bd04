// The gradients of a step: filled by the backward of units, added over micro-batches, users and ranks.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/exact_sum.h"
#include "base/status.h"
#include "collectives/process_group.h"
#include "data/batch.h"
#include "device/buffer.h"
#include "train/parameter_layout.h"
#include "train/parameter_store.h"
#include "train/reduction_tree.h"

namespace trainhost {

// kFast: micro-batches of a rank are added as they come, ranks in rank order. kFixed: all micro-batches of the step, of all ranks, are
// added in one binary tree over their numbers, so that any number of ranks gives the same bits; it takes more memory and exchanges every
// micro-batch.
enum class Reduction { kFast, kFixed };

constexpr size_t kExchangesAtOnce = 2;  // each has a group's gradients in memory once more

// One thread; all ranks call the same functions in the same order.
class GradientStore {
 public:
  // The parameters outlive it. Throws std::bad_alloc.
  GradientStore(const Model &model, const ParameterStore &parameters, Reduction reduction);

  // Before a step of these micro-batches on this rank.
  void begin_step(std::span<const TokenBatch> micro_batches);

  // Where the backward of a unit puts its gradients, as backward takes them; valid until finished(unit).
  struct Target {
    th_tensor *tensors;
    const uint32_t *modes;
  };
  Target target(uint32_t unit);
  // The unit's backward of this micro-batch is done. Exchanges what is complete while the next units' backward runs.
  Result<> finished(uint32_t unit);
  // After the last micro-batch: waits for the sums.
  Result<> finish_step();

  // The summed gradient of the floats ParameterStore::updated(group), after finish_step.
  const float *reduced(uint32_t group) const;
  // Adds the squares of the whole model's gradient that this rank answers for; those of all ranks together are each element once.
  void add_squares(ExactSum &sum) const;

  // Of gradients of single micro-batches, as the noise scale needs them. Those of all ranks add up.
  struct MicroBatchSums {
    ExactSum weight;                     // tokens that count in the loss, of all micro-batches of the step
    ExactSum measured, inverse_weights;  // how many were measured, and 1 / weight of each
    ExactSum squares;                    // of each one's part of the step's gradient, divided by the square of its weight
  };
  // Whether the steps that follow measure micro-batches: all, or where they are added as they come only each rank's first; none where
  // moreover pipeline stages share a parameter. Those without a token that counts are left out.
  void measure_micro_batches(bool measures) { measures_ = measures; }
  // Of the last step, after finish_step.
  const MicroBatchSums &micro_batches() const { return micro_batch_sums_; }

 private:
  // An exchange under way: pieces of other ranks come into `received`.
  struct Exchange {
    uint32_t group = 0;
    Buffer<float> sent, received;  // sent: empty when the sum itself was sent
    std::unique_ptr<Pending> pending;
  };
  struct Group {
    Buffer<float> sum;               // over micro-batches: whole, or the part that this rank updates
    bool has_sum = false;            // since begin_step
    std::vector<Buffer<float>> now;  // of this micro-batch: one, or one per user
    uint32_t finished_users = 0;     // of this micro-batch
    ReductionTree tree;              // kFixed

    explicit Group(Device &device) : tree(device) {}
  };

  Device &device() const { return *parameters_->spread().compute.device; }
  bool reduces_each_micro_batch() const;
  FloatRange own(uint32_t group) const;     // this rank's piece of the cut
  FloatRange summed(uint32_t group) const;  // what Group::sum holds
  float *sum_at(uint32_t group, size_t begin) { return groups_[group].sum.data() + (begin - summed(group).begin); }
  float *place(uint32_t unit, uint32_t group);
  bool adds(uint32_t group) const;
  Result<> group_finished(uint32_t group);
  Result<> give_back(uint32_t group);
  Result<> collect_lent(uint32_t group);
  size_t users_here(uint32_t group) const;
  Result<> complete_oldest();
  void add_pieces(uint32_t group, std::span<const float> pieces);
  bool shows(uint32_t micro_batch) const;
  void measure(uint32_t group, const float *gradient);
  Result<> share_sums();

  const Model *model_;
  const ParameterStore *parameters_;
  Reduction reduction_;
  const bool stages_share_parameters_;
  std::vector<Group> groups_;
  std::vector<std::vector<th_tensor>> unit_tensors_;
  std::vector<std::vector<uint32_t>> unit_modes_;
  std::deque<Exchange> exchanges_;
  std::deque<Exchange> given_back_;        // gradients of borrowed groups on their way to the owner
  uint32_t micro_batches_ = 0, done_ = 0;  // of this step; whole backward passes among them
  bool measures_ = false;
  std::vector<double> weights_;  // of this step's micro-batches, when it measures
  MicroBatchSums micro_batch_sums_;
};

}  // namespace trainhost
