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
    : device_(*options.device),
      vocabulary_(options.vocabulary),
      compute_(options.bfloat16 ? DeviceArray::Type::kBfloat16 : DeviceArray::Type::kFloat32),
      loss_(device_, DeviceArray::Type::kFloat32, 1) {
  const th_model_options model_options{.struct_size = sizeof(th_model_options),
                                       .vocabulary_size = static_cast<uint32_t>(options.vocabulary),
                                       .device_type = device_.type(),
                                       .device_index = device_.index(),
                                       .compute_code = static_cast<uint8_t>(options.bfloat16 ? TH_DTYPE_BFLOAT : TH_DTYPE_FLOAT),
                                       .compute_bits = static_cast<uint8_t>(options.bfloat16 ? 16 : 32),
                                       .outline = 0,
                                       .sequence_length = static_cast<uint32_t>(options.sequence_length),
                                       .tokens = static_cast<uint64_t>(options.tokens)};
  model_ = unwrap(Model::create(plugin_under_test(PluginKind::kModel, plugin, parameters), model_options));
  width_ = static_cast<int64_t>(model_->units()[0].output_width);
  for (const auto &info : model_->parameters()) {
    size_t count = 1;
    shapes_.emplace_back(info.shape, info.shape + info.rank);
    for (const int64_t extent : shapes_.back()) count *= static_cast<size_t>(extent);
    parameters_.push_back(mirrored(compute_, count));
    gradients_.push_back(mirrored(DeviceArray::Type::kFloat32, count));
    fill_normal(seed, shapes_.size(), 0, parameters_.back().host);
    for (float &value : parameters_.back().host) value = static_cast<float>(info.init_mean + info.init_std * double{value});
  }
  const auto between = static_cast<size_t>(options.tokens * width_);
  for (size_t unit = 0; unit + 1 < model_->units().size(); ++unit) activations_.emplace_back(device_, compute_, between);
  flowing_.emplace_back(device_, compute_, between);
}

ModelRunner::Mirrored ModelRunner::mirrored(DeviceArray::Type type, size_t count) {
  return {std::vector<float>(count), DeviceArray(device_, type, count)};
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

// The batch goes to the device, and the parameters as they are now.
th_batch ModelRunner::describe(TokenBatch &batch, double loss_scale) {
  for (Mirrored &parameter : parameters_) parameter.device.upload(std::span<const float>(parameter.host));
  row_shapes_.assign(1, {batch.sequences, batch.sequence_length});
  row_shapes_.push_back({static_cast<int64_t>(batch.document_starts.size()), 0});
  row_shapes_.push_back({static_cast<int64_t>(batch.tokens.size()), width_});
  batch_.clear();
  const auto integers = [&](const std::vector<int32_t> &items, std::span<int64_t> shape) {
    batch_.emplace_back(device_, DeviceArray::Type::kInt32, items.size()).upload(std::span(items));
    return batch_.back().view(shape);
  };
  const auto floats = [&](const std::vector<float> &items) {
    batch_.emplace_back(device_, DeviceArray::Type::kFloat32, items.size()).upload(std::span(items));
    return batch_.back().view(row_shapes_[0]);
  };
  return {.struct_size = sizeof(th_batch),
          .sequences = batch.sequences,
          .sequence_length = batch.sequence_length,
          .document_count = static_cast<uint32_t>(batch.document_starts.size()) - 1,
          .tokens = integers(batch.tokens, row_shapes_[0]),
          .targets = integers(batch.targets, row_shapes_[0]),
          .loss_weights = floats(batch.loss_weights),
          .positions = integers(batch.positions, row_shapes_[0]),
          .document_starts = integers(batch.document_starts, std::span(row_shapes_[1]).first(1)),
          .loss_scale = loss_scale,
          .token_losses = nothing()};
}

th_call ModelRunner::call_of(uint32_t unit, bool training) const {
  return {.struct_size = sizeof(th_call),
          .training = training,
          .parameter_lifetime = TH_KEEP_UNTIL_BACKWARD,
          .keep = training,
          .stream = device_.stream(),
          .seed = 1,
          .random_stream = unit};
}

th_tensor ModelRunner::nothing() const { return {nullptr, device_.type(), device_.index(), 0, TH_DTYPE_FLOAT, 32, 1, nullptr, nullptr, 0}; }

std::vector<th_tensor> ModelRunner::tensors(std::span<const Mirrored> arrays, uint32_t unit) const {
  std::vector<th_tensor> result;
  const th_unit_info &info = model_->units()[unit];
  for (uint32_t i = 0; i < info.parameter_count; ++i) {
    const uint32_t p = info.parameters[i];
    result.push_back(arrays[p].device.view(const_cast<std::vector<int64_t> &>(shapes_[p])));
  }
  return result;
}

th_tensor ModelRunner::rows(const DeviceArray &array) { return array.view(row_shapes_[2]); }
th_tensor ModelRunner::loss_tensor() { return loss_.view(one_); }

float ModelRunner::loss() const {
  float value = 0;
  loss_.download({&value, 1});
  return value;
}

th_saved *ModelRunner::forward(uint32_t unit, const th_batch &batch, bool training) {
  const bool last = unit + 1 == model_->units().size();
  const th_call call = call_of(unit, training);
  const auto parameters = tensors(parameters_, unit);
  const th_tensor input = unit == 0 ? nothing() : rows(activations_[unit - 1]);
  th_tensor output = last ? loss_tensor() : rows(activations_[unit]);
  return unwrap(model_->forward(unit, call, batch, parameters.data(), input, output));
}

void ModelRunner::backward(uint32_t unit, const th_batch &batch, th_saved *saved, std::span<const uint32_t> modes) {
  const bool last = unit + 1 == model_->units().size();
  const th_call call = call_of(unit, true);
  const auto parameters = tensors(parameters_, unit);
  auto gradients = tensors(gradients_, unit);
  const th_tensor input = unit == 0 ? nothing() : rows(activations_[unit - 1]);
  const th_tensor output_gradient = last ? nothing() : rows(flowing_[0]);
  th_tensor input_gradient = unit == 0 ? nothing() : rows(flowing_[0]);
  unwrap(model_->backward(unit, call, batch, parameters.data(), input, saved, output_gradient, input_gradient, gradients.data(),
                          modes.data()));
}

void ModelRunner::forward(TokenBatch &batch) {
  const th_batch described = describe(batch, 1);
  for (uint32_t unit = 0; unit + 1 < model_->units().size(); ++unit) forward(unit, described, false);
}

float ModelRunner::evaluate(TokenBatch &batch, double loss_scale, std::vector<float> *token_losses) {
  th_batch described = describe(batch, loss_scale);
  const DeviceArray losses(device_, DeviceArray::Type::kFloat32, batch.tokens.size());
  if (token_losses != nullptr) described.token_losses = losses.view(row_shapes_[0]);
  for (uint32_t unit = 0; unit < model_->units().size(); ++unit) forward(unit, described, false);
  if (token_losses != nullptr) {
    token_losses->resize(batch.tokens.size());
    losses.download(*token_losses);
  }
  return loss();
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
      th_tensor loss = loss_tensor(), input_gradient = rows(flowing_[0]);
      unwrap(model_->loss_and_backward(call, described, parameters.data(), rows(activations_[unit - 1]), loss, input_gradient,
                                       gradients.data(), modes.data()));
    } else {
      if (last || way.recompute) saved[unit] = forward(unit, described, true);
      backward(unit, described, saved[unit], modes);
    }
  }
  for (Mirrored &gradient : gradients_) gradient.device.download(gradient.host);
  return loss();
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
  const DeviceArray logits(device_, DeviceArray::Type::kFloat32, result.size());
  th_tensor output = logits.view(shape);
  unwrap(model_->logits(call, described, parameters.data(), rows(activations_[last - 1]), chosen, output));
  logits.download(result);
  return result;
}

}  // namespace trainhost
