// A model as a class; the slots of kinds/model.h with references for pointers, failures thrown:
//   Model(const Host &, const Config &, const th_model_options &);
//   std::span<const th_parameter_info> parameters() const;
//   std::span<const th_unit_info> units() const;
//   th_saved *forward(uint32_t unit, const th_call &, const th_batch &, const th_tensor *parameters, const th_tensor &input,
//                     th_tensor &output);                                   // null: nothing kept
//   void backward(uint32_t unit, const th_call &, const th_batch &, const th_tensor *parameters, const th_tensor &input,
//                 th_saved *, const th_tensor &output_gradient, th_tensor &input_gradient, th_tensor *parameter_gradients,
//                 const uint32_t *gradient_modes);
//   void release(th_saved *);
//   void loss_and_backward(const th_call &, const th_batch &, const th_tensor *parameters, const th_tensor &input, th_tensor &loss,
//                          th_tensor &input_gradient, th_tensor *parameter_gradients, const uint32_t *gradient_modes);
//   static const void *extension(std::string_view id);                       // null: none
#pragma once

#include "../kinds/model.h"
#include "plugin.hpp"

namespace trainhost::sdk {
inline namespace [[gnu::visibility("hidden")]] v1_0 {

  template <class Model>
  constexpr th_model_api model_table = {
      .struct_size = sizeof(th_model_api),
      .reserved = 0,
      .create = [](const th_host *host, const th_config *config, const th_model_options *options, th_model **out) -> th_status {
        return Instance<Model>::create(host, out, Host(host), Config(host, config), *options);
      },
      .destroy = [](th_model *self) { Instance<Model>::destroy(self); },
      .parameter_count = [](const th_model *self) -> uint32_t {
        return static_cast<uint32_t>(Instance<Model>::of(self)->object.parameters().size());
      },
      .parameter_info = [](const th_model *self, uint32_t index, th_parameter_info *out) -> th_status {
        *out = Instance<Model>::of(self)->object.parameters()[index];
        return TH_OK;
      },
      .unit_count = [](const th_model *self) -> uint32_t {
        return static_cast<uint32_t>(Instance<Model>::of(self)->object.units().size());
      },
      .unit_info = [](const th_model *self, uint32_t unit, th_unit_info *out) -> th_status {
        *out = Instance<Model>::of(self)->object.units()[unit];
        return TH_OK;
      },
      .forward = [](th_model *self, uint32_t unit, const th_call *call, const th_batch *batch, const th_tensor *parameters,
                    const th_tensor *input, th_tensor *output, th_saved **saved) -> th_status {
        auto *instance = Instance<Model>::of(self);
        return guard(instance->host, [&] { *saved = instance->object.forward(unit, *call, *batch, parameters, *input, *output); });
      },
      .backward = [](th_model *self, uint32_t unit, const th_call *call, const th_batch *batch, const th_tensor *parameters,
                     const th_tensor *input, th_saved *saved, const th_tensor *output_gradient, th_tensor *input_gradient,
                     th_tensor *parameter_gradients, const uint32_t *gradient_modes) -> th_status {
        auto *instance = Instance<Model>::of(self);
        return guard(instance->host, [&] {
          instance->object.backward(unit, *call, *batch, parameters, *input, saved, *output_gradient, *input_gradient, parameter_gradients,
                                    gradient_modes);
        });
      },
      .release = [](th_model *self, th_saved *saved) { Instance<Model>::of(self)->object.release(saved); },
      .loss_and_backward = [](th_model *self, const th_call *call, const th_batch *batch, const th_tensor *parameters,
                              const th_tensor *input, th_tensor *loss, th_tensor *input_gradient, th_tensor *parameter_gradients,
                              const uint32_t *gradient_modes) -> th_status {
        auto *instance = Instance<Model>::of(self);
        return guard(instance->host, [&] {
          instance->object.loss_and_backward(*call, *batch, parameters, *input, *loss, *input_gradient, parameter_gradients,
                                             gradient_modes);
        });
      },
      .get_extension = [](const th_model *, th_string id) -> const void * { return Model::extension(view(id)); },
  };

}  // namespace v1_0
}  // namespace trainhost::sdk
