// The parameters and optimizer states that this process holds, in flat buffers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "device/buffer.h"
#include "plugin_host/adapters/model.h"
#include "plugin_host/adapters/optimizer.h"
#include "train/parameter_layout.h"
#include "train/spread.h"

namespace trainhost {

class GradientStore;

// Views stay valid as long as the store, except those of use(). One thread; with several ranks all call the same functions in the same
// order.
class ParameterStore {
 public:
  // Parameters, zero; states only with an optimizer (null: for evaluation and generation). The model, the groups and the
  // optimizer outlive the store. Errors: the optimizer's; kPluginContract when it cannot be cut as wanted; kInternal when memory runs out.
  static Result<ParameterStore> create(const Model &model, const Optimizer *optimizer, const Spread &spread);

  // Fills the parameters as the model describes, from the counter-based generator: a function of (seed, parameter index, element).
  void initialise(uint64_t seed);

  // The parameters of a unit, whole, in the order of its info; valid until release(unit). Waits for what other ranks hold of them.
  Result<const th_tensor *> use(uint32_t unit);
  // Begins to fetch what use(unit) will need. Only one that will be used.
  void prefetch(uint32_t unit);
  void release(uint32_t unit);
  // As in th_call: whether parameters stay where they are between a unit's forward and its backward.
  int32_t lifetime() const { return cuts_parameters() ? TH_KEEP_DURING_CALL : TH_KEEP_UNTIL_BACKWARD; }

  // One entry for each parameter, or piece of one, that this process updates, with its gradient and the given rates.
  std::span<const th_update> updates(const GradientStore &gradients, double learning_rate, double weight_decay_multiplier);
  // What they are of, in the same order.
  std::vector<const th_parameter_info *> updated_parameters() const;
  // Memory for what the optimizer needs beside that; optimizers of other phases may need more. Throws std::bad_alloc.
  void reserve_workspace(uint64_t bytes) {
    if (bytes > workspace_.size()) workspace_ = Buffer<std::byte>(device(), bytes);
  }
  std::byte *workspace() { return workspace_.data(); }
  // After an update: lets the other ranks have what they do not update themselves. use() waits for it. kUnavailable as with Pending.
  Result<> share_updated();
  // Has the optimizer move the parameters, which are at its other point, and shares them likewise. Only with has_evaluation_point() and
  // after an update. Errors: the optimizer's; those of share_updated.
  Result<> move_to(ParameterPoint point, Optimizer &optimizer);

  // What a checkpoint holds, "model.NAME" and "optimizer.NAME.STATE": the pieces that this process is to save, which with those of all
  // ranks are everything once; and those that it must load. They are in the host's memory, and valid until the next call of either; after
  // loading, loaded() takes them over.
  std::vector<NamedTensor> tensors_to_save();
  std::vector<NamedTensor> tensors_to_load();
  void loaded();

  const ParameterLayout &layout() const { return layout_; }
  const Spread &spread() const { return spread_; }
  // Whether another pipeline stage owns the group.
  bool borrowed(uint32_t group) const { return !spread_.units.contains(layout_.groups()[group].users.front()); }
  // The stages that use a group, in their order; the first one owns it.
  std::vector<uint32_t> stages_of(uint32_t group) const;
  // The floats of a group whose gradients, summed over all ranks, this process needs for its update.
  FloatRange updated(uint32_t group) const;
  // The float32 values of these.
  const float *values(uint32_t group) { return master_at(group, updated(group).begin); }
  uint64_t parameter_count() const { return elements_; }  // of the whole model

 private:
  ParameterStore(const Model &model, const Spread &spread, int32_t granularity);

  struct State {
    std::string name;
    std::vector<int64_t> shape;  // of the whole
    bool like_parameter = true;
    ElementType type = ElementType::kFloat32;
    size_t offset = 0, begin = 0, count = 0;  // in floats of states_; elements [begin, begin + count) of the whole
  };
  // A parameter, or the piece of it, that this process updates.
  struct Piece {
    uint32_t parameter = 0, group = 0;
    FloatRange range;  // in the group
    int64_t length = 0;
    std::vector<State> states;
    std::vector<th_tensor> state_views;
  };
  struct Gathered {
    Buffer<float> whole;
    uint32_t uses = 0;
    std::unique_ptr<Pending> pending;
  };

  // What of a tensor in the host's memory belongs where on the device.
  struct Staged {
    Buffer<float> values;
    std::byte *state = nullptr;  // where a state belongs; null: a parameter
    size_t state_bytes = 0;
    uint32_t group = 0;
    FloatRange range;  // of a parameter, in its group
  };

  Device &device() const { return *spread_.compute.device; }
  bool cuts_parameters() const { return spread_.sharding == Sharding::kParameters; }
  // Masters in the host's memory are read and written in place.
  bool in_place() const { return device().type() == TH_DEVICE_CPU && !spread_.compute.bfloat16; }
  FloatRange held(uint32_t group) const;      // of the parameters that the model computes with
  FloatRange mastered(uint32_t group) const;  // of their float32 values
  // Item `at` of a group, as the model computes with it.
  std::byte *computed_at(uint32_t group, size_t at);
  std::byte *whole_at(uint32_t group, size_t at);
  float *master_at(uint32_t group, size_t at);
  // So many of the model's items as the floats that collectives move.
  std::span<float> as_floats(std::byte *items, size_t count) const {
    return {reinterpret_cast<float *>(items), spread_.compute.floats_for(count)};
  }
  void set_values(uint32_t group, FloatRange range, const float *host_values);
  std::span<float> staged_parameter(uint32_t group, FloatRange range, bool to_save);
  ElementSpan staged_state(const State &state, bool to_save);
  Result<> wait_for_shared();
  Result<> lend_updated();
  void find_pieces();
  Result<> lay_out_states(const Optimizer &optimizer);
  ElementSpan elements(const State &state) {
    return {state.type, reinterpret_cast<std::byte *>(states_.data() + state.offset), state.count};
  }
  void begin_with(double value, const State &state);
  void make_updates();
  void fetch(uint32_t group);
  std::vector<NamedTensor> tensors(bool to_save);

  const Model *model_;
  Spread spread_;
  ParameterLayout layout_;
  std::vector<size_t> held_offsets_, master_offsets_;  // of each group's, in floats of the buffers
  std::vector<std::vector<size_t>> compute_cuts_;      // of each group, in floats of the computed parameters
  Buffer<float> computed_;                             // what the model computes with; in float32 these are the masters too
  Buffer<float> masters_, states_;                     // states of other types lie in the memory of floats
  Buffer<std::byte> workspace_;
  std::vector<Staged> staged_;
  std::vector<Gathered> gathered_;                    // per group
  std::vector<std::vector<th_tensor>> unit_tensors_;  // per unit
  std::vector<Piece> pieces_;
  std::vector<th_update> updates_;
  uint64_t elements_ = 0;
};

}  // namespace trainhost
