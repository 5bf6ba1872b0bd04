// An optimizer as a class:
//   Optimizer(const Host &, const Config &);
//   static constexpr int32_t granularity = TH_GRANULARITY_ELEMENT;
//   void describe_states(const th_parameter_info &, StateList &) const;
//   void update(const th_update_call &, std::span<const th_update>);
// and where update needs memory for itself, in th_update_call::workspace:
//   uint64_t workspace(std::span<const th_parameter_info *const>) const;
// With these two besides it offers th.optimizer.evaluation_point/1, to be evaluated at another point than it trains at:
//   void to_evaluation(std::span<const th_update>, void *stream) const;
//   void to_training(std::span<const th_update>, void *stream) const;
#pragma once

#include "../ext/optimizer_evaluation_point.h"
#include "../kinds/optimizer.h"
#include "plugin.hpp"

namespace trainhost::sdk {
inline namespace [[gnu::visibility("hidden")]] v1_0 {

  // What a state is stored as. bfloat16 takes half the memory; hosts before ABI 1.1 refuse it.
  enum class StateType { kFloat32, kBfloat16 };

  // Collects the states of one parameter; names must be string literals.
  class StateList {
   public:
    StateList(th_state_info *out, uint32_t capacity) : out_(out), capacity_(capacity) {}
    // Of the parameter's own shape.
    void like_parameter(std::string_view name, double initial = 0, StateType type = StateType::kFloat32) { add(name, -1, {}, initial, type); }
    // float32, one number.
    void scalar(std::string_view name, double initial = 0) { add(name, 0, {}, initial, StateType::kFloat32); }
    // [rows, columns], whatever the parameter's shape; needs a granularity that leaves parameters whole.
    void matrix(std::string_view name, int64_t rows, int64_t columns, double initial = 0, StateType type = StateType::kFloat32) {
      add(name, 2, {rows, columns}, initial, type);
    }
    uint32_t count() const { return count_; }

   private:
    struct Shape {
      int64_t rows, columns;
    };
    void add(std::string_view name, int32_t rank, Shape shape, double initial, StateType type) {
      const bool bfloat16 = type == StateType::kBfloat16;
      if (count_ < capacity_) {
        out_[count_] = th_state_info{.struct_size = sizeof(th_state_info),
                                     .rank = rank,
                                     .name = to_string(name),
                                     .shape = {shape.rows, shape.columns},
                                     .dtype_code = bfloat16 ? uint8_t{TH_DTYPE_BFLOAT} : uint8_t{TH_DTYPE_FLOAT},
                                     .dtype_bits = bfloat16 ? uint8_t{16} : uint8_t{32},
                                     .reserved = 0,
                                     .reserved2 = 0,
                                     .initial = initial};
      }
      ++count_;
    }
    th_state_info *out_;
    uint32_t capacity_, count_ = 0;
  };

  template <class Optimizer>
  constexpr auto workspace_slot() -> decltype(th_optimizer_api::workspace) {
    if constexpr (requires(const Optimizer &optimizer) { optimizer.workspace(std::span<const th_parameter_info *const>()); }) {
      return [](const th_optimizer *self, const th_parameter_info *const *parameters, uint32_t count, uint64_t *bytes) -> th_status {
        auto *instance = Instance<Optimizer>::of(self);
        return guard(instance->host, [&] { *bytes = instance->object.workspace(std::span(parameters, count)); });
      };
    } else {
      return nullptr;
    }
  }

  template <class Optimizer>
  constexpr th_optimizer_evaluation_point optimizer_evaluation_point_table = {
      .struct_size = sizeof(th_optimizer_evaluation_point),
      .reserved = 0,
      .to_evaluation = [](th_optimizer *self, const th_update *parameters, uint32_t count, void *stream) -> th_status {
        auto *instance = Instance<Optimizer>::of(self);
        return guard(instance->host, [&] { instance->object.to_evaluation(std::span(parameters, count), stream); });
      },
      .to_training = [](th_optimizer *self, const th_update *parameters, uint32_t count, void *stream) -> th_status {
        auto *instance = Instance<Optimizer>::of(self);
        return guard(instance->host, [&] { instance->object.to_training(std::span(parameters, count), stream); });
      },
  };

  template <class Optimizer>
  constexpr th_optimizer_api optimizer_table = {
      .struct_size = sizeof(th_optimizer_api),
      .reserved = 0,
      .create = [](const th_host *host, const th_config *config, th_optimizer **out) -> th_status {
        return Instance<Optimizer>::create(host, out, Host(host), Config(host, config));
      },
      .destroy = [](th_optimizer *self) { Instance<Optimizer>::destroy(self); },
      .granularity = [](const th_optimizer *) -> int32_t { return Optimizer::granularity; },
      .describe_states = [](const th_optimizer *self, const th_parameter_info *parameter, th_state_info *out, uint32_t capacity,
                            uint32_t *count) -> th_status {
        auto *instance = Instance<Optimizer>::of(self);
        return guard(instance->host, [&] {
          StateList states(out, capacity);
          instance->object.describe_states(*parameter, states);
          *count = states.count();
        });
      },
      .update = [](th_optimizer *self, const th_update_call *call, const th_update *updates, uint32_t count) -> th_status {
        auto *instance = Instance<Optimizer>::of(self);
        return guard(instance->host, [&] { instance->object.update(*call, std::span(updates, count)); });
      },
      .get_extension = [](const th_optimizer *, [[maybe_unused]] th_string id) -> const void * {
        if constexpr (requires { &Optimizer::to_evaluation; }) {
          if (view(id) == TH_EXT_OPTIMIZER_EVALUATION_POINT) return &optimizer_evaluation_point_table<Optimizer>;
        }
        return nullptr;
      },
      .workspace = workspace_slot<Optimizer>(),
  };

}  // namespace v1_0
}  // namespace trainhost::sdk
