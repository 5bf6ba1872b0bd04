#include "support/model_runner.h"

#include <stdexcept>

#include "base/random.h"

namespace trainhost {
namespace {

template <class Value>
Value unwrap(Result<Value> result) {
  if (!result) throw std::runtime_error(result.error().message);
  if constexpr (!std::is_void_v<Value>) return *std::move(result);
}

th_tensor tensor(void *data, std::span<int64_t> shape, uint8_t code = TH_DTYPE_FLOAT) {
  return {data, TH_DEVICE_CPU, 0, static_cast<int32_t>(shape.size()), code, 32, 1, shape.data(), nullptr, 0};
}

th_call call_of(uint32_t unit, bool training) {
  return {.struct_size = sizeof(th_call),
          .training = training,
          .parameter_lifetime = TH_KEEP_UNTIL_BACKWARD,
          .keep = training,
          .stream = nullptr,
          .seed = 1,
          .random_stream = unit};
}

constexpr th_tensor kNothing{nullptr, TH_DEVICE_CPU, 0, 0, TH_DTYPE_FLOAT, 32, 1, nullptr, nullptr, 0};

}  // namespace

TokenBatch random_documents(const std::vector<std::vector<int32_t>> &lengths, int32_t vocabulary, uint64_t seed) {
  TokenBatch batch;
  batch.document_starts.push_back(0);
  for (const auto &sequence : lengths) {
    for (const int32_t length : sequence) {
      batch.document_starts.push_back(batch.document_starts.back() + length);
      for (int32_t position = 0; position < length; ++position) batch.positions.push_back(position);
    }
  }
  const size_t rows = batch.positions.size();
  batch.sequences = static_cast<uint32_t>(lengths.size());
  batch.sequence_length = static_cast<uint32_t>(rows / lengths.size());
  for (size_t i = 0; i < rows; ++i) {
    batch.tokens.push_back(static_cast<int32_t>(random_bits(seed, 1, i) % static_cast<uint64_t>(vocabulary)));
    batch.targets.push_back(static_cast<int32_t>(random_bits(seed, 2, i) % static_cast<uint64_t>(vocabulary)));
  }
  batch.loss_weights.assign(rows, 1.0f);
  return batch;
}

ModelRunner::ModelRunner(const std::string &plugin, const std::map<std::string, ParameterValue> &parameters, const Options &options,
                         uint64_t seed)
    : vocabulary_(options.vocabulary) {
  const th_model_options model_options{.struct_size = sizeof(th_model_options),
                                       .vocabulary_size = static_cast<uint32_t>(options.vocabulary),
                                       .device_type = TH_DEVICE_CPU,
                                       .device_index = 0,
                                       .compute_code = TH_DTYPE_FLOAT,
                                       .compute_bits = 32,
                                       .reserved = 0,
                                       .sequence_length = static_cast<uint32_t>(options.sequence_length),
                                       .tokens = static_cast<uint64_t>(options.tokens)};
  model_ = unwrap(Model::create(plugin_under_test(PluginKind::kModel, plugin, parameters), model_options));
  width_ = static_cast<int64_t>(model_->units()[0].output_width);
  for (const auto &info : model_->parameters()) {
    size_t count = 1;
    shapes_.emplace_back(info.shape, info.shape + info.rank);
    for (const int64_t extent : shapes_.back()) count *= static_cast<size_t>(extent);
    parameters_.emplace_back(count);
    gradients_.emplace_back(count);
    fill_normal(seed, shapes_.size(), 0, parameters_.back().items());
    for (float &value : parameters_.back().items()) value = static_cast<float>(info.init_mean + info.init_std * double{value});
  }
  const auto between = static_cast<size_t>(options.tokens * width_);
  for (size_t unit = 0; unit + 1 < model_->units().size(); ++unit) activations_.emplace_back(between);
  flowing_ = Buffer<float>(between);
}

std::string ModelRunner::name(size_t parameter) const {
  const th_string name = model_->parameters()[parameter].name;
  return {name.data, name.length};
}

size_t ModelRunner::index(std::string_view wanted) const {
  for (size_t i = 0; i < parameter_count(); ++i) {
    if (name(i) == wanted) return i;
  }
  throw std::out_of_range("no parameter " + std::string(wanted));
}

th_batch ModelRunner::describe(TokenBatch &batch, double loss_scale) {
  row_shapes_.assign(1, {batch.sequences, batch.sequence_length});
  row_shapes_.push_back({static_cast<int64_t>(batch.document_starts.size()), 0});
  row_shapes_.push_back({static_cast<int64_t>(batch.tokens.size()), width_});
  const auto integers = [&](std::vector<int32_t> &items) { return tensor(items.data(), row_shapes_[0], TH_DTYPE_INT); };
  return {.struct_size = sizeof(th_batch),
          .sequences = batch.sequences,
          .sequence_length = batch.sequence_length,
          .document_count = static_cast<uint32_t>(batch.document_starts.size()) - 1,
          .tokens = integers(batch.tokens),
          .targets = integers(batch.targets),
          .loss_weights = tensor(batch.loss_weights.data(), row_shapes_[0]),
          .positions = integers(batch.positions),
          .document_starts = tensor(batch.document_starts.data(), std::span(row_shapes_[1]).first(1), TH_DTYPE_INT),
          .loss_scale = loss_scale,
          .token_losses = kNothing};
}

std::vector<th_tensor> ModelRunner::tensors(std::span<Buffer<float>> buffers, uint32_t unit) const {
  std::vector<th_tensor> result;
  const th_unit_info &info = model_->units()[unit];
  for (uint32_t i = 0; i < info.parameter_count; ++i) {
    const uint32_t p = info.parameters[i];
    result.push_back(tensor(buffers[p].data(), const_cast<std::vector<int64_t> &>(shapes_[p])));
  }
  return result;
}

th_tensor ModelRunner::rows(Buffer<float> &buffer) { return tensor(buffer.data(), row_shapes_[2]); }
th_tensor ModelRunner::loss_tensor() { return tensor(&loss_, one_); }

th_saved *ModelRunner::forward(uint32_t unit, const th_batch &batch, bool training) {
  const bool last = unit + 1 == model_->units().size();
  const th_call call = call_of(unit, training);
  const auto parameters = tensors(parameters_, unit);
  const th_tensor input = unit == 0 ? kNothing : rows(activations_[unit - 1]);
  th_tensor output = last ? loss_tensor() : rows(activations_[unit]);
  return unwrap(model_->forward(unit, call, batch, parameters.data(), input, output));
}

void ModelRunner::backward(uint32_t unit, const th_batch &batch, th_saved *saved, std::span<const uint32_t> modes) {
  const bool last = unit + 1 == model_->units().size();
  const th_call call = call_of(unit, true);
  const auto parameters = tensors(parameters_, unit);
  auto gradients = tensors(gradients_, unit);
  const th_tensor input = unit == 0 ? kNothing : rows(activations_[unit - 1]);
  const th_tensor output_gradient = last ? kNothing : rows(flowing_);
  th_tensor input_gradient = unit == 0 ? kNothing : rows(flowing_);
  unwrap(model_->backward(unit, call, batch, parameters.data(), input, saved, output_gradient, input_gradient, gradients.data(),
                          modes.data()));
}

void ModelRunner::forward(TokenBatch &batch) {
  const th_batch described = describe(batch, 1);
  for (uint32_t unit = 0; unit + 1 < model_->units().size(); ++unit) forward(unit, described, false);
}

float ModelRunner::evaluate(TokenBatch &batch, double loss_scale, std::vector<float> *token_losses) {
  th_batch described = describe(batch, loss_scale);
  if (token_losses != nullptr) {
    token_losses->resize(batch.tokens.size());
    described.token_losses = tensor(token_losses->data(), row_shapes_[0]);
  }
  for (uint32_t unit = 0; unit < model_->units().size(); ++unit) forward(unit, described, false);
  return loss_;
}

float ModelRunner::train(TokenBatch &batch, double loss_scale, const Way &way) {
  const th_batch described = describe(batch, loss_scale);
  const auto units = static_cast<uint32_t>(model_->units().size());
  std::vector<th_saved *> saved(units, nullptr);
  for (uint32_t unit = 0; unit + 1 < units; ++unit) {
    saved[unit] = forward(unit, described, true);
    if (way.recompute && saved[unit] != nullptr) model_->release(saved[unit]);
  }
  std::vector<bool> touched(parameter_count(), way.add);
  for (uint32_t unit = units; unit-- > 0;) {
    std::vector<uint32_t> modes;
    for (const uint32_t p : std::span(model_->units()[unit].parameters, model_->units()[unit].parameter_count)) {
      modes.push_back(touched[p] ? TH_GRADIENT_ADD : TH_GRADIENT_OVERWRITE);
      touched[p] = true;
    }
    const bool last = unit + 1 == units;
    if (last && !way.split_head) {
      const th_call call = call_of(unit, true);
      const auto parameters = tensors(parameters_, unit);
      auto gradients = tensors(gradients_, unit);
      th_tensor loss = loss_tensor(), input_gradient = rows(flowing_);
      unwrap(model_->loss_and_backward(call, described, parameters.data(), rows(activations_[unit - 1]), loss, input_gradient,
                                       gradients.data(), modes.data()));
    } else {
      if (last || way.recompute) saved[unit] = forward(unit, described, true);
      backward(unit, described, saved[unit], modes);
    }
  }
  return loss_;
}

std::vector<float> ModelRunner::logits(TokenBatch &batch) {
  forward(batch);
  const th_batch described = describe(batch, 1);
  const auto last = static_cast<uint32_t>(model_->units().size()) - 1;
  const th_call call = call_of(last, false);
  const auto parameters = tensors(parameters_, last);
  std::vector<int32_t> chosen(batch.tokens.size());
  for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = static_cast<int32_t>(i);
  std::vector<float> result(chosen.size() * static_cast<size_t>(vocabulary_));
  std::array<int64_t, 2> shape{static_cast<int64_t>(chosen.size()), vocabulary_};
  th_tensor output = tensor(result.data(), shape);
  unwrap(model_->logits(call, described, parameters.data(), rows(activations_[last - 1]), chosen, output));
  return result;
}

}  // namespace trainhost
