#include "tensors/tensor_model.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "tensors/tensor_block.h"
#include "tensors/tensor_embedding.h"
#include "tensors/tensor_head.h"

namespace trainhost::minicpm {

using libtorch::with_operators;

namespace {

at::ScalarType compute_dtype(const th_model_options &options) {
  const at::ScalarType dtype = libtorch::dtype_of(options.compute_code, options.compute_bits);
  if (dtype != at::kInt) return dtype;
  throw sdk::Failure(TH_UNSUPPORTED, "this model computes in float32 or bfloat16; set precision = \"fp32\" or \"bf16\"");
}

// The tensors of a unit.
struct Tensors {
  Tensors(const th_tensor *views, uint32_t count) : count(count) {
    for (uint32_t i = 0; i < count; ++i) items[i] = wrap(views[i]);
  }
  operator std::span<const at::Tensor>() const { return std::span(items).first(count); }

  std::array<at::Tensor, kBlockParameters> items;
  uint32_t count;
};

struct AddFlags {
  AddFlags(const uint32_t *modes, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) items[i] = modes[i] == TH_GRADIENT_ADD;
  }
  std::array<bool, kBlockParameters> items{};
};

th_saved *to_handle(TensorBlock::Saved saved) { return reinterpret_cast<th_saved *>(new TensorBlock::Saved(std::move(saved))); }
std::unique_ptr<TensorBlock::Saved> from_handle(th_saved *saved) {
  return std::unique_ptr<TensorBlock::Saved>(reinterpret_cast<TensorBlock::Saved *>(saved));
}

}  // namespace

struct TensorModel::Units {
  Units(const Configuration &configuration, at::Device device, at::ScalarType dtype, int64_t piece_logits)
      : device(device), dtype(dtype), embedding(configuration), block(configuration, device, dtype), head(configuration, piece_logits) {}

  static std::unique_ptr<const Units> make(const Configuration &configuration, const th_model_options &options, int64_t piece_logits) {
    const bool outline = options.outline != 0;  // then nothing of the device is needed
    const at::Device device = outline ? at::Device(at::kCPU) : libtorch::device_of(options.device_type, options.device_index);
    libtorch::check_device(device);
    const at::ScalarType dtype = compute_dtype(options);
    return with_operators(device, nullptr, [&] { return std::make_unique<const Units>(configuration, device, dtype, piece_logits); });
  }

  at::Device device;
  at::ScalarType dtype;
  TensorEmbedding embedding;
  TensorBlock block;  // all layers have the same shape, and a layer is a function of its parameters
  TensorHead head;
};

TensorModel::TensorModel(const sdk::Host &, const sdk::Config &config, const th_model_options &options, int64_t piece_logits)
    : configuration_(config, options), list_(configuration_), parts_(Units::make(configuration_, options, piece_logits)) {}

TensorModel::~TensorModel() = default;

th_saved *TensorModel::forward(uint32_t unit, const th_call &call, const th_batch &th_batch, const th_tensor *parameters,
                               const th_tensor &input, th_tensor &output) {
  return with_operators(parts_->device, call.stream, [&]() -> th_saved * {
    const TensorBatch batch(th_batch);
    const Tensors weights(parameters, units()[unit].parameter_count);
    if (unit == 0) {
      parts_->embedding.forward(batch, weights.items[0], wrap(output));
      return nullptr;
    }
    if (unit == last_unit()) {
      parts_->head.loss(batch, weights, wrap(input), wrap(output), nullptr);
      return nullptr;
    }
    TensorBlock::Saved saved = parts_->block.forward(batch, weights, wrap(input), wrap(output));
    return call.training && call.keep ? to_handle(std::move(saved)) : nullptr;
  });
}

void TensorModel::backward(uint32_t unit, const th_call &call, const th_batch &th_batch, const th_tensor *parameters,
                           const th_tensor &input, th_saved *saved, const th_tensor &output_gradient, th_tensor &input_gradient,
                           th_tensor *parameter_gradients, const uint32_t *gradient_modes) {
  const auto kept = from_handle(saved);
  with_operators(parts_->device, call.stream, [&] {
    const TensorBatch batch(th_batch);
    const uint32_t count = units()[unit].parameter_count;
    const Tensors weights(parameters, count), gradients(parameter_gradients, count);
    const AddFlags add(gradient_modes, count);
    if (unit == 0) return parts_->embedding.backward(batch, wrap(output_gradient), gradients.items[0], add.items[0]);
    if (unit == last_unit()) {
      const TensorHead::Gradients wanted{wrap(input_gradient), gradients, add.items.data()};
      const at::Tensor loss = at::empty({1}, batch.loss_weights.options());  // known from forward
      parts_->head.loss(batch, weights, wrap(input), loss, &wanted);
    } else {
      parts_->block.backward(batch, weights, wrap(input), std::move(*kept), wrap(output_gradient),
                             {wrap(input_gradient), gradients, add.items.data()});
    }
  });
}

void TensorModel::release(th_saved *saved) { from_handle(saved); }

void TensorModel::loss_and_backward(const th_call &call, const th_batch &th_batch, const th_tensor *parameters, const th_tensor &input,
                                    th_tensor &loss, th_tensor &input_gradient, th_tensor *parameter_gradients,
                                    const uint32_t *gradient_modes) {
  with_operators(parts_->device, call.stream, [&] {
    const Tensors weights(parameters, kHeadParameters), gradients(parameter_gradients, kHeadParameters);
    const AddFlags add(gradient_modes, kHeadParameters);
    const TensorHead::Gradients wanted{wrap(input_gradient), gradients, add.items.data()};
    parts_->head.loss(TensorBatch(th_batch), weights, wrap(input), wrap(loss), &wanted);
  });
}

// The indices come from the CPU: here the stream is waited for.
void TensorModel::logits(const th_call &call, const th_tensor *parameters, const th_tensor &input, std::span<const int32_t> rows,
                         th_tensor &output) {
  with_operators(parts_->device, call.stream, [&] {
    const at::Tensor chosen = at::from_blob(const_cast<int32_t *>(rows.data()), {static_cast<int64_t>(rows.size())}, at::kInt);
    parts_->head.logits(Tensors(parameters, kHeadParameters), wrap(input).index_select(0, chosen.to(parts_->device)), wrap(output));
  });
}

MemoryUse TensorModel::unit_memory(uint32_t unit, int64_t rows) const {
  if (unit == 0) return parts_->embedding.memory(rows);
  return unit == last_unit() ? parts_->head.memory(rows, parts_->dtype) : parts_->block.memory(rows, parts_->dtype);
}

// Products of large matrices, enqueued one after the other, in about a quarter of a second.
double TensorModel::measure_peak() {
  using Clock = std::chrono::steady_clock;
  return with_operators(parts_->device, nullptr, [&] {
    const auto wait = [&] {
      if (!parts_->device.is_cpu()) c10::impl::VirtualGuardImpl(parts_->device.type()).synchronizeDevice(parts_->device.index());
    };
    const int64_t n = parts_->device.is_cpu() ? 1024 : 8192;
    const at::Tensor a = at::ones({n, n}, at::TensorOptions(parts_->dtype).device(parts_->device));
    at::Tensor c = at::mm(a, a);
    const auto seconds_for = [&](int products) {
      wait();
      const auto started = Clock::now();
      for (int i = 0; i < products; ++i) at::mm_out(c, a, a);
      wait();
      return std::chrono::duration<double>(Clock::now() - started).count();
    };
    const int products = static_cast<int>(std::clamp(0.2 / seconds_for(1), 1.0, 1000.0));
    return 2.0 * static_cast<double>(n * n * n) * products / seconds_for(products);
  });
}

}  // namespace trainhost::minicpm
