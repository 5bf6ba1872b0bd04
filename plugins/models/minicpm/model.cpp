#include "model.h"

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "matrix.h"
#include "scratch.h"
#include "trainhost/ext/model_logits.h"
#include "trainhost/ext/model_memory.h"
#include "trainhost/ext/model_peak.h"

namespace trainhost::minicpm {
namespace {

// The data of up to six tensors, as the units take parameters and their gradients.
template <class Item>
struct Pointers {
  Pointers(const th_tensor *tensors, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) items[i] = data<Item>(tensors[i]);
  }
  std::array<Item *, kBlockParameters> items{};
};

struct AddFlags {
  AddFlags(const uint32_t *modes, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) items[i] = modes[i] == TH_GRADIENT_ADD;
  }
  std::array<bool, kBlockParameters> items{};
};

// What runs there: null is the CPU kernels.
std::unique_ptr<TensorModel> make_tensors(const sdk::Host &host, const sdk::Config &config, const th_model_options &options) {
  if (options.device_type == TH_DEVICE_CUDA) return std::make_unique<TensorModel>(host, config, options);
  if (options.device_type != TH_DEVICE_CPU) {
    throw sdk::Failure(TH_UNSUPPORTED, "this model runs on CPUs and CUDA only; set device = \"cpu\" or \"cuda\"");
  }
  if (options.compute_code != TH_DTYPE_FLOAT || options.compute_bits != 32) {
    throw sdk::Failure(TH_UNSUPPORTED, "on CPUs this model computes in float32 only; set precision = \"fp32\"");
  }
  return nullptr;
}

th_saved *to_handle(Block::Saved saved) { return reinterpret_cast<th_saved *>(new Block::Saved(std::move(saved))); }
std::unique_ptr<Block::Saved> from_handle(th_saved *saved) {
  return std::unique_ptr<Block::Saved>(reinterpret_cast<Block::Saved *>(saved));
}

}  // namespace

Model::Model(const sdk::Host &host, const sdk::Config &config, const th_model_options &options)
    : host_(host),
      configuration_(config, options),
      list_(configuration_),
      embedding_(host, configuration_),
      block_(host, configuration_),
      head_(host, configuration_),
      tensors_(make_tensors(host, config, options)) {}

th_saved *Model::forward(uint32_t unit, const th_call &call, const th_batch &th_batch, const th_tensor *parameters, const th_tensor &input,
                         th_tensor &output) {
  if (tensors_ != nullptr) return tensors_->forward(unit, call, th_batch, parameters, input, output);
  const Batch batch(th_batch);
  const Pointers<const float> weights(parameters, units()[unit].parameter_count);
  if (unit == 0) {
    embedding_.forward(batch, weights.items[0], data<float>(output));
    return nullptr;
  }
  const float *const x = data<const float>(input);
  if (unit == last_unit()) {
    *data<float>(output) = static_cast<float>(head_.loss(batch, weights.items.data(), x, nullptr));
    return nullptr;
  }
  check_positions(batch);
  Block::Saved saved = block_.forward(batch, weights.items.data(), x, data<float>(output));
  return call.training && call.keep ? to_handle(std::move(saved)) : nullptr;
}

void Model::backward(uint32_t unit, const th_call &call, const th_batch &th_batch, const th_tensor *parameters, const th_tensor &input,
                     th_saved *saved, const th_tensor &output_gradient, th_tensor &input_gradient, th_tensor *parameter_gradients,
                     const uint32_t *gradient_modes) {
  if (tensors_ != nullptr) {
    return tensors_->backward(unit, call, th_batch, parameters, input, saved, output_gradient, input_gradient, parameter_gradients,
                              gradient_modes);
  }
  const auto kept = from_handle(saved);
  const Batch batch(th_batch);
  const uint32_t count = units()[unit].parameter_count;
  const Pointers<const float> weights(parameters, count);
  const Pointers<float> gradients(parameter_gradients, count);
  const AddFlags add(gradient_modes, count);
  if (unit == 0) return embedding_.backward(batch, data<const float>(output_gradient), gradients.items[0], add.items[0]);
  const float *const x = data<const float>(input);
  float *const dx = data<float>(input_gradient);
  if (unit == last_unit()) {
    const Head::Gradients wanted{dx, gradients.items.data(), add.items.data()};
    head_.loss(batch, weights.items.data(), x, &wanted);
  } else {
    block_.backward(batch, weights.items.data(), x, std::move(*kept), data<const float>(output_gradient), dx, gradients.items.data(),
                    add.items.data());
  }
}

void Model::release(th_saved *saved) {
  if (tensors_ != nullptr) return tensors_->release(saved);
  from_handle(saved);
}

void Model::loss_and_backward(const th_call &call, const th_batch &th_batch, const th_tensor *parameters, const th_tensor &input,
                              th_tensor &loss, th_tensor &input_gradient, th_tensor *parameter_gradients, const uint32_t *gradient_modes) {
  if (tensors_ != nullptr) {
    return tensors_->loss_and_backward(call, th_batch, parameters, input, loss, input_gradient, parameter_gradients, gradient_modes);
  }
  const Pointers<const float> weights(parameters, kHeadParameters);
  const Pointers<float> gradients(parameter_gradients, kHeadParameters);
  const AddFlags add(gradient_modes, kHeadParameters);
  const Head::Gradients wanted{data<float>(input_gradient), gradients.items.data(), add.items.data()};
  *data<float>(loss) = static_cast<float>(head_.loss(Batch(th_batch), weights.items.data(), data<const float>(input), &wanted));
}

void Model::check_positions(const Batch &batch) const {
  for (int64_t t = 0; t < batch.rows; ++t) {
    if (batch.positions[t] < 0 || batch.positions[t] >= configuration_.sequence_length) {
      throw sdk::Failure(TH_INVALID, "token " + std::to_string(t) + " has position " + std::to_string(batch.positions[t]) +
                                         ", but the model was created for a sequence_length of " +
                                         std::to_string(configuration_.sequence_length));
    }
  }
}

void Model::logits(const th_call &call, const th_tensor *parameters, const th_tensor &input, std::span<const int32_t> rows,
                   th_tensor &output) {
  if (tensors_ != nullptr) return tensors_->logits(call, parameters, input, rows, output);
  head_.logits(Pointers<const float>(parameters, kHeadParameters).items.data(), data<const float>(input), rows, data<float>(output));
}

// The best of several products of 1024 x 1024 matrices in a quarter of a second.
double Model::measure_peak() {
  if (tensors_ != nullptr) return tensors_->measure_peak();
  using Clock = std::chrono::steady_clock;
  constexpr int64_t n = 1024;
  const Scratch<3> memory(host_, {n * n, n * n, n * n});
  for (int operand = 0; operand < 2; ++operand) std::fill_n(memory[operand], n * n, 1.0f);
  double best = 0;
  const auto stop = Clock::now() + std::chrono::milliseconds(250);
  while (Clock::now() < stop) {
    const auto started = Clock::now();
    multiply(Matrix(memory[0], n, n), Matrix(memory[1], n, n), Matrix(memory[2], n, n));
    const std::chrono::duration<double> seconds = Clock::now() - started;
    best = std::max(best, 2.0 * n * n * n / seconds.count());
  }
  return best;
}

MemoryUse Model::memory_of(uint32_t unit, const BatchShape &shape) const {
  if (tensors_ != nullptr) return tensors_->unit_memory(unit, shape.rows);
  if (unit == 0) return {};
  return unit == last_unit() ? head_.memory(shape) : block_.memory(shape);
}

MemoryUse Model::unit_memory(uint32_t unit, const th_call &call, int64_t sequences, int64_t sequence_length) const {
  const BatchShape shape{.rows = sequences * sequence_length, .longest_document = sequence_length};
  MemoryUse use = memory_of(unit, shape);
  if (!call.training || !call.keep) use.forward += std::exchange(use.saved, 0);  // it is given back when forward ends
  return use;
}

const void *Model::extension(std::string_view id) {
  static constexpr th_model_logits logits{
      .struct_size = sizeof(th_model_logits),
      .reserved = 0,
      .logits = [](th_model *self, const th_call *call, const th_batch *, const th_tensor *parameters, const th_tensor *input,
                   const int32_t *rows, uint32_t count, th_tensor *output) -> th_status {
        auto *const instance = sdk::Instance<Model>::of(self);
        return sdk::guard(instance->host, [&] { instance->object.logits(*call, parameters, *input, {rows, count}, *output); });
      }};
  static constexpr th_model_peak peak{
      .struct_size = sizeof(th_model_peak), .reserved = 0, .measure = [](th_model *self, double *flops_per_second) -> th_status {
        auto *const instance = sdk::Instance<Model>::of(self);
        return sdk::guard(instance->host, [&] { *flops_per_second = instance->object.measure_peak(); });
      }};
  static constexpr th_model_memory memory{
      .struct_size = sizeof(th_model_memory),
      .reserved = 0,
      .unit_memory = [](const th_model *self, uint32_t unit, const th_call *call, uint32_t sequences, uint32_t sequence_length,
                        th_unit_memory *out) -> th_status {
        const MemoryUse use = sdk::Instance<Model>::of(self)->object.unit_memory(unit, *call, sequences, sequence_length);
        *out = {.struct_size = sizeof(th_unit_memory), .reserved = 0, .saved = use.saved, .forward = use.forward, .backward = use.backward};
        return TH_OK;
      }};
  if (id == TH_EXT_MODEL_LOGITS) return &logits;
  if (id == TH_EXT_MODEL_MEMORY) return &memory;
  if (id == TH_EXT_MODEL_PEAK) return &peak;
  return nullptr;
}

}  // namespace trainhost::minicpm
