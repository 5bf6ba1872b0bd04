#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/random.h"
#include "device/device.h"
#include "plugin_host/adapters/optimizer.h"
#include "validate/child.h"
#include "validate/guarded_memory.h"
#include "validate/rules.h"

namespace trainhost::validator {
namespace {

using OptimizerObject = std::unique_ptr<Optimizer>;

constexpr uint64_t kValueStream = 3, kGradientStream = 4;
constexpr uint64_t kSteps = 4;

th_string name(std::string_view text) { return {text.data(), text.size()}; }

// Parameters of every role, with shapes that no vector width divides.
const std::array<th_parameter_info, 5> kParameters{
    th_parameter_info{sizeof(th_parameter_info), TH_ROLE_MATRIX, 2, 1, name("matrix"), {33, 17, 0, 0}, 0, 0.1, 1},
    th_parameter_info{sizeof(th_parameter_info), TH_ROLE_EMBEDDING, 2, 1, name("embedding"), {7, 64, 0, 0}, 0, 0.1, 1},
    th_parameter_info{sizeof(th_parameter_info), TH_ROLE_HEAD, 2, 1, name("head"), {64, 5, 0, 0}, 0, 0.1, 0.5},
    th_parameter_info{sizeof(th_parameter_info), TH_ROLE_NORM, 1, 0, name("norm"), {129, 0, 0, 0}, 1, 0, 1},
    th_parameter_info{sizeof(th_parameter_info), TH_ROLE_BIAS, 1, 0, name("bias"), {1, 0, 0, 0}, 0, 0, 1}};

int64_t element_count(const th_parameter_info &info) {
  int64_t count = 1;
  for (int32_t i = 0; i < info.rank; ++i) count *= info.shape[i];
  return count;
}

th_tensor view_of(void *data, const int64_t *shape, int32_t rank, bool bfloat16 = false) {
  return {.data = data,
          .device_type = TH_DEVICE_CPU,
          .device_index = 0,
          .rank = rank,
          .dtype_code = bfloat16 ? uint8_t{TH_DTYPE_BFLOAT} : uint8_t{TH_DTYPE_FLOAT},
          .dtype_bits = bfloat16 ? uint8_t{16} : uint8_t{32},
          .dtype_lanes = 1,
          .shape = const_cast<int64_t *>(shape),
          .strides = nullptr,
          .byte_offset = 0};
}

// A parameter, or elements [begin, end) of it, with its gradient and states, each between forbidden pages.
struct Held {
  const th_parameter_info *info;
  int64_t begin, length;
  bool whole;
  GuardedArray<float> master, gradient;
  GuardedArray<uint16_t> compute_copy;
  std::vector<OptimizerState> described;
  std::vector<GuardedArray<std::byte>> states;
  std::vector<th_tensor> state_views;

  int32_t rank() const { return whole ? info->rank : 1; }
  const int64_t *shape() const { return whole ? info->shape : &length; }
};

GuardedArray<std::byte> initial_state(const OptimizerState &state, size_t parameter_elements) {
  const size_t count = state.element_count(parameter_elements);
  const std::vector<float> values(count, static_cast<float>(state.initial));
  GuardedArray<std::byte> memory(count * bytes_per_element(state.type));
  if (state.type == ElementType::kBfloat16) {
    cpu_device().round_to_bfloat16(reinterpret_cast<uint16_t *>(memory.data()), values.data(), count);
  } else {
    std::ranges::copy(std::as_bytes(std::span(values)), memory.data());
  }
  return memory;
}

// What a process holds, and updates of it.
class Holding {
 public:
  // cuts: every so many elements; 0: whole parameters.
  static Result<std::unique_ptr<Holding>> create(const Trial &trial, const Optimizer &optimizer, int64_t cuts, bool with_copy) {
    auto holding = std::make_unique<Holding>();
    for (size_t i = 0; i < kParameters.size(); ++i) {
      const int64_t all = element_count(kParameters[i]), at_a_time = cuts > 0 ? cuts : all;
      for (int64_t begin = 0; begin < all; begin += at_a_time)
        TRAINHOST_CHECK(holding->add(trial, optimizer, i, begin, std::min(at_a_time, all - begin), with_copy));
    }
    return holding;
  }

  Result<> update(const Trial &trial, Optimizer &optimizer, uint64_t step) {
    std::vector<th_update> updates;
    for (Held &held : held_) updates.push_back(prepare(trial, held, step));
    gradient_scale_.items()[0] = 0.5f;
    gradient_scale_.memory().allow_writing(false);
    TRAINHOST_CHECK(renew_workspace(optimizer, updates));
    const th_update_call call{.struct_size = sizeof(th_update_call),
                              .reserved = 0,
                              .step = step,
                              .gradient_scale = gradient_scale_.data(),
                              .momentum = std::numeric_limits<double>::quiet_NaN(),
                              .stream = nullptr,
                              .workspace = workspace_.data()};
    doing(fmt::format("update number {} of {} parameters or pieces", step, updates.size()));
    const auto result = optimizer.update(call, updates);
    gradient_scale_.memory().allow_writing(true);
    for (Held &held : held_) held.gradient.memory().allow_writing(true);
    TRAINHOST_CHECK(result);
    return check_borders();
  }

  Result<> update_all(const Trial &trial, Optimizer &optimizer) {
    for (uint64_t step = 0; step < kSteps; ++step) TRAINHOST_CHECK(update(trial, optimizer, step));
    return {};
  }

  Result<> move_to(const Trial &trial, Optimizer &optimizer, ParameterPoint point) {
    std::vector<th_update> parameters;
    for (Held &held : held_) {
      th_update &parameter = parameters.emplace_back(prepare(trial, held, 0));
      parameter.gradient.data = nullptr;
      parameter.learning_rate = parameter.weight_decay_multiplier = 0;
    }
    doing(point == ParameterPoint::kTraining ? "to_training" : "to_evaluation");
    const auto result = optimizer.move_to(point, parameters, nullptr);
    for (Held &held : held_) held.gradient.memory().allow_writing(true);
    TRAINHOST_CHECK(result);
    return check_borders();
  }

  // All that update is given is elsewhere from now on, and where it was nobody may look.
  void move() {
    for (Held &held : held_) {
      move(held.master);
      move(held.gradient);
      for (auto &state : held.states) move(state);
    }
    move(gradient_scale_);
  }

  // Of all parameters in their order, wherever they are cut: masters, then states that have the parameter's shape.
  std::string values() const {
    std::string values;
    for (const Held &held : held_) values.append(reinterpret_cast<const char *>(held.master.data()), held.master.size() * sizeof(float));
    for (const th_parameter_info &info : kParameters) append_states(info, values);
    return values;
  }
  std::vector<Held> &held() { return held_; }
  // What every byte of the workspace is before an update.
  void fill_workspace_with(uint8_t byte) { workspace_byte_ = byte; }

 private:
  Result<> renew_workspace(const Optimizer &optimizer, const std::vector<th_update> &updates) {
    constexpr size_t kAlignment = 64;
    std::vector<const th_parameter_info *> infos;
    for (const th_update &update : updates) infos.push_back(update.info);
    TRAINHOST_TRY(const uint64_t bytes, optimizer.workspace_bytes(infos));
    workspace_ = GuardedMemory(bytes, kAlignment);
    std::memset(workspace_.data(), workspace_byte_, bytes);
    return {};
  }

  Result<> add(const Trial &trial, const Optimizer &optimizer, size_t number, int64_t begin, int64_t length, bool with_copy) {
    const th_parameter_info &info = kParameters[number];
    const auto count = static_cast<size_t>(length);
    doing(fmt::format("describe_states of \"{}\"", std::string_view(info.name.data, info.name.length)));
    TRAINHOST_TRY(auto described, optimizer.describe_states(info));
    Held held{.info = &info,
              .begin = begin,
              .length = length,
              .whole = length == element_count(info),
              .master = GuardedArray<float>(count),
              .gradient = GuardedArray<float>(count),
              .compute_copy = GuardedArray<uint16_t>(with_copy ? count : 0),
              .described = std::move(described),
              .states = {},
              .state_views = {}};
    fill_normal(trial.seed(), kValueStream + number * 16, static_cast<uint64_t>(begin), held.master.items());
    for (const OptimizerState &state : held.described) held.states.push_back(initial_state(state, count));
    held_.push_back(std::move(held));
    return {};
  }

  static th_update prepare(const Trial &trial, Held &held, uint64_t step) {
    const auto number = static_cast<uint64_t>(held.info - kParameters.data());
    fill_normal(trial.seed(), kGradientStream + number * 16 + step * 1024, static_cast<uint64_t>(held.begin), held.gradient.items());
    held.gradient.memory().allow_writing(false);
    held.state_views.clear();
    for (size_t i = 0; i < held.states.size(); ++i) {
      const OptimizerState &state = held.described[i];
      const bool bfloat16 = state.type == ElementType::kBfloat16;
      held.state_views.push_back(
          state.like_parameter ? view_of(held.states[i].data(), held.shape(), held.rank(), bfloat16)
                               : view_of(held.states[i].data(), state.shape.data(), static_cast<int32_t>(state.shape.size()), bfloat16));
    }
    return {.info = held.info,
            .master = view_of(held.master.data(), held.shape(), held.rank()),
            .gradient = view_of(held.gradient.data(), held.shape(), held.rank()),
            .compute_copy = view_of(held.compute_copy.size() > 0 ? held.compute_copy.data() : nullptr, held.shape(), held.rank(), true),
            .states = held.state_views.data(),
            .learning_rate = 0.01 * held.info->lr_scale,
            .weight_decay_multiplier = held.info->weight_decay != 0 ? 1.0 : 0.0};
  }

  Result<> check_borders() const {
    if (!workspace_.border_intact()) return broken("update writes outside its workspace");
    for (const Held &held : held_) {
      const std::string_view parameter(held.info->name.data, held.info->name.length);
      if (!held.master.memory().border_intact()) return broken(fmt::format("update writes before parameter \"{}\"", parameter));
      if (!held.compute_copy.memory().border_intact()) return broken(fmt::format("update writes before the copy of \"{}\"", parameter));
      for (size_t i = 0; i < held.states.size(); ++i) {
        if (!held.states[i].memory().border_intact())
          return broken(fmt::format("update writes before state \"{}\" of \"{}\"", held.described[i].name, parameter));
      }
      for (const float value : held.master.items()) {
        if (!std::isfinite(value)) return broken(fmt::format("parameter \"{}\" is not finite after an update", parameter));
      }
    }
    return {};
  }

  void append_states(const th_parameter_info &info, std::string &values) const {
    for (size_t i = 0;; ++i) {
      bool any = false;
      for (const Held &held : held_) {
        if (held.info != &info || i >= held.states.size()) continue;
        any = true;
        if (!held.described[i].like_parameter && held.begin > 0) continue;
        values.append(reinterpret_cast<const char *>(held.states[i].data()), held.states[i].size());
      }
      if (!any) return;
    }
  }

  template <class Item>
  void move(GuardedArray<Item> &array) {
    GuardedArray<Item> elsewhere(array.size());
    std::ranges::copy(array.items(), elsewhere.data());
    array.memory().forbid();
    gone_.push_back(std::move(std::exchange(array, std::move(elsewhere)).memory()));
  }

  std::vector<Held> held_;
  GuardedArray<float> gradient_scale_{1};
  GuardedMemory workspace_;
  uint8_t workspace_byte_ = 0xa5;
  std::vector<GuardedMemory> gone_;
};

Result<OptimizerObject> create(const Trial &trial, const SharedRecord &record = std::make_shared<HostRecord>()) {
  TRAINHOST_TRY(auto instance, trial.instance(record));
  return Optimizer::create(std::move(instance));
}

// After some updates by one instance.
Result<std::string> updated(const Trial &trial, const SharedRecord &record, int64_t cuts = 0) {
  TRAINHOST_TRY(const OptimizerObject optimizer, create(trial, record));
  TRAINHOST_TRY(const auto holding, Holding::create(trial, *optimizer, cuts, false));
  TRAINHOST_CHECK(holding->update_all(trial, *optimizer));
  return holding->values();
}

Result<std::string> live(const Trial &trial, const SharedRecord &record) { return updated(trial, record); }

Result<> cuts_as_it_says(const Trial &trial) {
  TRAINHOST_TRY(const OptimizerObject optimizer, create(trial));
  if (optimizer->granularity() != TH_GRANULARITY_ELEMENT)
    return not_concerned("its granularity is not element, so parameters are never cut");
  TRAINHOST_TRY(const std::string whole, updated(trial, std::make_shared<HostRecord>()));
  for (const int64_t cuts : {256, 64, 16, 7, 1}) {
    TRAINHOST_TRY(const std::string pieces, updated(trial, std::make_shared<HostRecord>(), cuts));
    if (pieces != whole)
      return broken(fmt::format("its granularity is element, but cut into pieces of {} elements parameters get other values", cuts));
  }
  return {};
}

// Each parameter updated by a call of its own, as another process may hold it.
Result<> alone_or_together(const Trial &trial) {
  TRAINHOST_TRY(const std::string together, updated(trial, std::make_shared<HostRecord>()));
  TRAINHOST_TRY(const OptimizerObject optimizer, create(trial));
  TRAINHOST_TRY(const auto holding, Holding::create(trial, *optimizer, 0, false));
  std::vector<Held> all = std::move(holding->held());
  for (Held &one : all) {
    holding->held().clear();
    holding->held().push_back(std::move(one));
    TRAINHOST_CHECK(holding->update_all(trial, *optimizer));
    one = std::move(holding->held().front());
  }
  holding->held() = std::move(all);
  if (holding->values() != together) return broken("a parameter gets other values when it is updated without the others");
  return {};
}

// States are the host's, so another instance goes on with them.
Result<> instances_hold_no_state(const Trial &trial) {
  TRAINHOST_TRY(const std::string one_instance, updated(trial, std::make_shared<HostRecord>()));
  TRAINHOST_TRY(const OptimizerObject first, create(trial));
  TRAINHOST_TRY(const auto holding, Holding::create(trial, *first, 0, false));
  for (uint64_t step = 0; step < kSteps; ++step) {
    TRAINHOST_TRY(const OptimizerObject another, create(trial));
    TRAINHOST_CHECK(holding->update(trial, *another, step));
  }
  if (holding->values() != one_instance) return broken("an instance that goes on with the states of another gets other values");
  return {};
}

Result<> check_copies(Holding &holding) {
  for (const Held &held : holding.held()) {
    for (size_t i = 0; i < held.master.size(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, held.master.data() + i, sizeof bits);
      const auto rounded = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // to nearest, ties to even
      if (held.compute_copy.data()[i] != rounded) {
        return broken(fmt::format("the bfloat16 copy of \"{}\"[{}] is {:#06x}, but its value rounds to {:#06x}",
                                  std::string_view(held.info->name.data, held.info->name.length), i, held.compute_copy.data()[i], rounded));
      }
    }
  }
  return {};
}

Result<> writes_the_copy(const Trial &trial) {
  TRAINHOST_TRY(const OptimizerObject optimizer, create(trial));
  TRAINHOST_TRY(const auto holding, Holding::create(trial, *optimizer, 0, true));
  TRAINHOST_CHECK(holding->update_all(trial, *optimizer));
  return check_copies(*holding);
}

// Where a run goes on from a checkpoint, another instance moves the parameters back.
Result<> comes_back_from_its_evaluation_point(const Trial &trial) {
  TRAINHOST_TRY(const OptimizerObject optimizer, create(trial));
  if (!optimizer->has_evaluation_point()) return not_concerned("it has no " TH_EXT_OPTIMIZER_EVALUATION_POINT);
  TRAINHOST_TRY(const auto holding, Holding::create(trial, *optimizer, 0, true));
  for (uint64_t step = 0; step < kSteps; ++step) {
    TRAINHOST_CHECK(holding->update(trial, *optimizer, step));
    const std::string before = holding->values();
    TRAINHOST_CHECK(holding->move_to(trial, *optimizer, ParameterPoint::kEvaluation));
    TRAINHOST_CHECK(check_copies(*holding));
    TRAINHOST_TRY(const OptimizerObject another, create(trial));
    TRAINHOST_CHECK(holding->move_to(trial, *another, ParameterPoint::kTraining));
    TRAINHOST_CHECK(check_copies(*holding));
    if (holding->values() != before) return broken("to_training after to_evaluation gives other parameters or states");
  }
  return {};
}

Result<> allocates_nothing(const Trial &trial) {
  const auto record = std::make_shared<HostRecord>();
  TRAINHOST_TRY(const OptimizerObject optimizer, create(trial, record));
  TRAINHOST_TRY(const auto holding, Holding::create(trial, *optimizer, 0, false));
  const uint64_t before = record->allocations;
  TRAINHOST_CHECK(holding->update_all(trial, *optimizer));
  if (record->allocations != before) return broken("update takes memory from the host; it may not allocate");
  return {};
}

// Where sharded states and parameters are moved, an update finds them elsewhere than the one before.
Result<> keeps_no_pointer(const Trial &trial) {
  TRAINHOST_TRY(const std::string unmoved, updated(trial, std::make_shared<HostRecord>()));
  TRAINHOST_TRY(const OptimizerObject optimizer, create(trial));
  TRAINHOST_TRY(const auto holding, Holding::create(trial, *optimizer, 0, false));
  for (uint64_t step = 0; step < kSteps; ++step) {
    TRAINHOST_CHECK(holding->update(trial, *optimizer, step));
    holding->move();
  }
  if (holding->values() != unmoved) return broken("parameters that are moved between updates get other values");
  return {};
}

Result<> describes_the_same(const Trial &trial) {
  TRAINHOST_TRY(const OptimizerObject first, create(trial));
  TRAINHOST_TRY(const OptimizerObject second, create(trial));
  if (first->granularity() != second->granularity()) return broken("two instances have different granularities");
  for (const th_parameter_info &info : kParameters) {
    TRAINHOST_TRY(const auto once, first->describe_states(info));
    TRAINHOST_TRY(const auto again, second->describe_states(info));
    if (once != again)
      return broken(fmt::format("the states of \"{}\" are described differently by two instances",
                                std::string_view(info.name.data, info.name.length)));
    for (const OptimizerState &state : once) {
      if (first->granularity() == TH_GRANULARITY_ELEMENT && !state.like_parameter)
        return broken(fmt::format("its granularity is element, but state \"{}\" has a shape of its own, so it cannot be cut", state.name));
    }
  }
  return {};
}

// Its contents are undefined at every update.
Result<> relies_on_no_workspace(const Trial &trial) {
  std::vector<std::string> values;
  for (const uint8_t byte : {0x00, 0x7f, 0xff}) {
    TRAINHOST_TRY(const OptimizerObject optimizer, create(trial));
    TRAINHOST_TRY(const auto holding, Holding::create(trial, *optimizer, 0, false));
    holding->fill_workspace_with(byte);
    TRAINHOST_CHECK(holding->update_all(trial, *optimizer));
    values.push_back(holding->values());
  }
  if (values[0] != values[1] || values[0] != values[2]) return broken("other contents of the workspace give other values");
  return {};
}

constexpr std::array kRules{
    Rule{"TH-OPT-01", "describes the same states in every instance, of shapes that its granularity allows", describes_the_same},
    Rule{"TH-OPT-02", "of granularity element: pieces of parameters get the values of whole ones, bit for bit", cuts_as_it_says},
    Rule{"TH-OPT-03", "a parameter's values do not depend on what is updated with it", alone_or_together},
    Rule{"TH-OPT-04", "keeps no state of its own: another instance goes on with the host's states", instances_hold_no_state},
    Rule{"TH-OPT-05", "writes the bfloat16 copy, rounded to nearest", writes_the_copy},
    Rule{"TH-OPT-06", "takes no memory while it updates", allocates_nothing},
    Rule{"TH-OPT-07", "keeps no pointer to what a call is given", keeps_no_pointer},
    Rule{"TH-OPT-08", "stays within its workspace and finds nothing in it", relies_on_no_workspace},
    Rule{"TH-OPT-09", "comes back from its evaluation point to the same bits, and writes the copies at both points",
         comes_back_from_its_evaluation_point},
};
constexpr KindRules kKind{kRules, live};

}  // namespace

const KindRules &optimizer_rules() { return kKind; }

}  // namespace trainhost::validator
