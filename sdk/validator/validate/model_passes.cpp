#include "validate/model_passes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "base/random.h"
#include "validate/child.h"

namespace trainhost::validator {
namespace {

constexpr uint64_t kTokenStream = 5, kParameterStream = 1 << 20;
constexpr int64_t kOne = 1;

std::string_view view(th_string text) { return {text.data, text.length}; }

th_tensor tensor(void *data, const int64_t *shape, int32_t rank, uint8_t code = TH_DTYPE_FLOAT) {
  return {.data = data,
          .device_type = TH_DEVICE_CPU,
          .device_index = 0,
          .rank = rank,
          .dtype_code = code,
          .dtype_bits = 32,
          .dtype_lanes = 1,
          .shape = const_cast<int64_t *>(shape),
          .strides = nullptr,
          .byte_offset = 0};
}

// [rows, width]
struct Shape {
  Shape(size_t rows, uint64_t width) : extents{static_cast<int64_t>(rows), static_cast<int64_t>(width)} {}
  th_tensor view(float *data) const { return tensor(data, extents, 2); }
  int64_t extents[2];
};

size_t element_count(const th_parameter_info &info) {
  size_t count = 1;
  for (int32_t i = 0; i < info.rank; ++i) count *= static_cast<size_t>(info.shape[i]);
  return count;
}

std::vector<int32_t> document_starts(uint32_t sequences, uint32_t length) {
  std::vector<int32_t> starts;
  for (uint32_t s = 0; s < sequences; ++s) {
    starts.push_back(static_cast<int32_t>(s * length));
    if (Batch::middle(length) < length) starts.push_back(static_cast<int32_t>(s * length + Batch::middle(length)));
  }
  starts.push_back(static_cast<int32_t>(sequences * length));
  return starts;
}

}  // namespace

Batch::Batch(uint64_t seed, uint32_t first, uint32_t sequences, uint32_t length, double loss_scale)
    : shape_{sequences, length},
      starts_shape_{0},
      tokens_(size_t{sequences} * length),
      targets_(tokens_.size()),
      weights_(tokens_.size(), 1.0f),
      positions_(tokens_.size()),
      losses_(tokens_.size()),
      starts_(document_starts(sequences, length).size()) {
  for (uint32_t s = 0; s < sequences; ++s) {
    for (uint32_t t = 0; t < length; ++t) {
      const size_t row = size_t{s} * length + t;
      const auto token = [&](uint32_t at) {
        return static_cast<int32_t>(random_bits(seed, kTokenStream, uint64_t{first + s} << 32 | at) % kVocabulary);
      };
      tokens_.items()[row] = token(t);
      targets_.items()[row] = token(t + 1);
      positions_.items()[row] = static_cast<int32_t>(t < middle(length) ? t : t - middle(length));
      if (t + 1 == length && length > 1) weights_.items()[row] = 0;
    }
  }
  std::ranges::copy(document_starts(sequences, length), starts_.items().begin());
  starts_shape_ = static_cast<int64_t>(starts_.size());
  batch_ = {.struct_size = sizeof(th_batch),
            .sequences = sequences,
            .sequence_length = length,
            .document_count = static_cast<uint32_t>(starts_.size()) - 1,
            .tokens = tensor(tokens_.data(), shape_, 2, TH_DTYPE_INT),
            .targets = tensor(targets_.data(), shape_, 2, TH_DTYPE_INT),
            .loss_weights = tensor(weights_.data(), shape_, 2),
            .positions = tensor(positions_.data(), shape_, 2, TH_DTYPE_INT),
            .document_starts = tensor(starts_.data(), &starts_shape_, 1, TH_DTYPE_INT),
            .loss_scale = loss_scale,
            .token_losses = tensor(losses_.data(), shape_, 2)};
}

Result<> Batch::check() const { return losses_.memory().border_intact() ? Result<>() : broken("writes before the token losses"); }

void Batch::forbid() {
  for (auto *integers : {&tokens_, &targets_, &positions_, &starts_}) integers->memory().forbid();
  for (auto *floats : {&weights_, &losses_}) floats->memory().forbid();
}

double loss_scale(uint32_t sequences, uint32_t length) { return 1.0 / (sequences * (length > 1 ? length - 1.0 : 1.0)); }

// Gives back what units keep when the pass ends early.
struct Passes::Pass {
  Pass(Passes &passes, Batch &batch, Gradients &gradients, bool add, const Way &way)
      : passes(passes), batch(batch), gradients(gradients), way(way), written(gradients.size(), add), saved(passes.last() + 1, nullptr) {}
  Pass(const Pass &) = delete;
  Pass &operator=(const Pass &) = delete;
  ~Pass() {
    for (th_saved *one : saved) passes.model_->release(one);
    if (!way.forbid) return;
    outputs.push_back(std::move(gradient));
    for (auto &activations : outputs) {
      activations.memory().forbid();
      passes.gone_.push_back(std::move(activations));
    }
  }

  Passes &passes;
  Batch &batch;
  Gradients &gradients;
  const Way way;
  std::vector<bool> written;  // per parameter, whether its gradient has something to add to
  Outputs outputs;
  std::vector<th_saved *> saved;  // per unit
  GuardedArray<float> loss{1};
  GuardedArray<float> gradient;  // of the output of the unit whose backward is next
};

Result<std::unique_ptr<Passes>> Passes::create(const Trial &trial, const SharedRecord &record) {
  std::unique_ptr<Passes> passes(new Passes(trial));
  TRAINHOST_TRY(auto instance, trial.instance(record));
  const th_model_options options{.struct_size = sizeof(th_model_options),
                                 .vocabulary_size = kVocabulary,
                                 .device_type = TH_DEVICE_CPU,
                                 .device_index = 0,
                                 .compute_code = TH_DTYPE_FLOAT,
                                 .compute_bits = 32,
                                 .outline = 0,
                                 .sequence_length = kLength,
                                 .tokens = kSequences * kLength};
  doing("create");
  TRAINHOST_TRY(passes->model_, Model::create(std::move(instance), options));
  for (const th_parameter_info &info : passes->model_->parameters()) passes->add(info);
  return passes;
}

Gradients Passes::zero_gradients() const {
  Gradients gradients;
  for (const auto &parameter : parameters_) gradients.emplace_back(parameter.size());
  return gradients;
}

Result<double> Passes::train(Batch &batch, Gradients &gradients, bool add, const Way &way) {
  if (!way.token_losses) batch.without_token_losses();
  Pass pass(*this, batch, gradients, add, way);
  for (uint32_t unit = 0; unit < last(); ++unit) {
    pass.outputs.emplace_back(batch.rows() * model_->units()[unit].output_width);
    TRAINHOST_CHECK(forward(unit, pass, !way.recompute));
  }
  TRAINHOST_CHECK(loss_and_backward(pass));
  for (uint32_t unit = last(); unit-- > 0;) {
    if (way.recompute) TRAINHOST_CHECK(recompute(unit, pass));
    if (way.move) {
      move_parameters();
      if (unit > 0) move(pass.outputs[unit - 1]);
    }
    TRAINHOST_CHECK(backward(unit, pass));
  }
  TRAINHOST_CHECK(batch.check());
  for (const auto &one : gradients) {
    if (!one.memory().border_intact()) return broken("writes before a gradient");
  }
  TRAINHOST_CHECK(check_finite(pass));
  return double{pass.loss.items()[0]};
}

Result<double> Passes::evaluate(Batch &batch, bool token_losses) {
  if (!token_losses) batch.without_token_losses();
  const th_call call = call_of(0, 0, false, {});
  TRAINHOST_TRY(const Outputs outputs, hidden(batch, call));
  GuardedArray<float> loss(1);
  const Shape input(batch.rows(), width(last()));
  const th_tensor x = input.view(outputs.back().data());
  th_tensor out = tensor(loss.data(), &kOne, 1);
  const auto parameters = views(last());
  doing("forward of the last unit in an evaluation");
  TRAINHOST_CHECK(model_->forward(last(), call, batch.get(), parameters.data(), x, out));
  TRAINHOST_CHECK(batch.check());
  return double{loss.items()[0]};
}

Result<std::vector<float>> Passes::logits(const Batch &batch, std::span<const int32_t> rows) {
  const th_call call = call_of(0, 0, false, {});
  TRAINHOST_TRY(const Outputs outputs, hidden(batch, call));
  const GuardedArray<float> values(rows.size() * kVocabulary);
  const Shape input(batch.rows(), width(last())), shape(rows.size(), kVocabulary);
  th_tensor out = shape.view(values.data());
  const auto parameters = views(last());
  doing("logits");
  TRAINHOST_CHECK(model_->logits(call, batch.get(), parameters.data(), input.view(outputs.back().data()), rows, out));
  if (!values.memory().border_intact()) return broken("logits writes before its output");
  return std::vector<float>(values.items().begin(), values.items().end());
}

void Passes::add(const th_parameter_info &info) {
  auto &values = parameters_.emplace_back(element_count(info));
  fill_normal(trial_.seed(), kParameterStream + parameters_.size(), 0, values.items());
  for (float &value : values.items()) value = static_cast<float>(info.init_mean + info.init_std * double{value});
}

th_call Passes::call_of(uint32_t unit, int32_t training, bool keep, const Way &way) const {
  return {.struct_size = sizeof(th_call),
          .training = training,
          .parameter_lifetime = way.move ? TH_KEEP_DURING_CALL : TH_KEEP_UNTIL_BACKWARD,
          .keep = keep ? 1 : 0,
          .stream = nullptr,
          .seed = trial_.seed(),
          .random_stream = random_stream(RandomPurpose::kModel, unit)};
}

// The unit's parameters, which nobody may write to from now on.
std::vector<th_tensor> Passes::views(uint32_t unit) {
  std::vector<th_tensor> views;
  const th_unit_info &info = model_->units()[unit];
  for (const uint32_t index : std::span(info.parameters, info.parameter_count)) {
    const th_parameter_info &parameter = model_->parameters()[index];
    views.push_back(tensor(parameters_[index].data(), parameter.shape, parameter.rank));
    parameters_[index].memory().allow_writing(false);
  }
  return views;
}

void Passes::move_parameters() {
  for (auto &parameter : parameters_) move(parameter);
}

void Passes::move(GuardedArray<float> &array) {
  GuardedArray<float> elsewhere(array.size());
  std::ranges::copy(array.items(), elsewhere.items().begin());
  array.memory().forbid();
  gone_.push_back(std::exchange(array, std::move(elsewhere)));
}

// The unit's gradients and their modes, which are then written.
std::pair<std::vector<th_tensor>, std::vector<uint32_t>> Passes::targets(uint32_t unit, Pass &pass) {
  std::pair<std::vector<th_tensor>, std::vector<uint32_t>> result;
  const th_unit_info &info = model_->units()[unit];
  for (const uint32_t index : std::span(info.parameters, info.parameter_count)) {
    const th_parameter_info &parameter = model_->parameters()[index];
    GuardedArray<float> &gradient = pass.gradients[index];
    result.first.push_back(tensor(gradient.data(), parameter.shape, parameter.rank));
    result.second.push_back(pass.written[index] ? TH_GRADIENT_ADD : TH_GRADIENT_OVERWRITE);
    if (!pass.written[index]) std::ranges::fill(gradient.items(), std::nanf(""));  // what is overwritten may be anything
    pass.written[index] = true;
  }
  return result;
}

// The outputs of all units but the last.
Result<Passes::Outputs> Passes::hidden(const Batch &batch, const th_call &call) {
  Outputs outputs;
  for (uint32_t unit = 0; unit < last(); ++unit) {
    outputs.emplace_back(batch.rows() * model_->units()[unit].output_width);
    th_saved *none = nullptr;
    TRAINHOST_CHECK(run_forward(unit, batch, outputs, call, none));
  }
  return outputs;
}

Result<> Passes::check_finite(const Pass &pass) const {
  if (!std::isfinite(pass.loss.items()[0])) return broken(fmt::format("the loss is {}", pass.loss.items()[0]));
  for (size_t i = 0; i < pass.gradients.size(); ++i) {
    for (const float value : pass.gradients[i].items()) {
      if (!std::isfinite(value)) return broken(fmt::format("{} is in the gradient of \"{}\"", value, view(model_->parameters()[i].name)));
    }
  }
  return {};
}

Result<> Passes::run_forward(uint32_t unit, const Batch &batch, Outputs &outputs, const th_call &call, th_saved *&saved) {
  const Shape in(batch.rows(), width(unit)), out(batch.rows(), model_->units()[unit].output_width);
  const th_tensor input = in.view(unit == 0 ? nullptr : outputs[unit - 1].data());
  if (unit > 0) outputs[unit - 1].memory().allow_writing(false);
  outputs[unit].memory().allow_writing(true);
  th_tensor output = out.view(outputs[unit].data());
  const auto parameters = views(unit);
  doing(fmt::format("forward of unit {} \"{}\"", unit, view(model_->units()[unit].name)));
  TRAINHOST_TRY(saved, model_->forward(unit, call, batch.get(), parameters.data(), input, output));
  if (!outputs[unit].memory().border_intact()) return broken(fmt::format("forward of unit {} writes before its output", unit));
  return {};
}

Result<> Passes::forward(uint32_t unit, Pass &pass, bool keep) {
  return run_forward(unit, pass.batch, pass.outputs, call_of(unit, 1, keep, pass.way), pass.saved[unit]);
}

// Forward again, to the same output.
Result<> Passes::recompute(uint32_t unit, Pass &pass) {
  const auto output = pass.outputs[unit].items();
  const std::vector<float> before(output.begin(), output.end());
  TRAINHOST_CHECK(forward(unit, pass, true));
  if (std::memcmp(before.data(), output.data(), output.size_bytes()) == 0) return {};
  return broken(fmt::format("forward of unit {} \"{}\" gives other bits when it is called again", unit, view(model_->units()[unit].name)));
}

Result<> Passes::loss_and_backward(Pass &pass) {
  const Shape shape(pass.batch.rows(), width(last()));
  const th_call call = call_of(last(), 1, true, pass.way);
  const auto parameters = views(last());
  GuardedArray<float> &x = pass.outputs.back();
  x.memory().allow_writing(false);
  pass.gradient = GuardedArray<float>(x.size());
  const th_tensor input = shape.view(x.data());
  th_tensor input_gradient = shape.view(pass.gradient.data()), loss = tensor(pass.loss.data(), &kOne, 1);
  auto [gradients, modes] = targets(last(), pass);
  if (!pass.way.two_calls) {
    doing("loss_and_backward of the last unit");
    return model_->loss_and_backward(call, pass.batch.get(), parameters.data(), input, loss, input_gradient, gradients.data(),
                                     modes.data());
  }
  doing("forward of the last unit");
  TRAINHOST_TRY(th_saved * saved, model_->forward(last(), call, pass.batch.get(), parameters.data(), input, loss));
  th_tensor one = loss;
  one.data = nullptr;
  doing("backward of the last unit");
  return model_->backward(last(), call, pass.batch.get(), parameters.data(), input, saved, one, input_gradient, gradients.data(),
                          modes.data());
}

Result<> Passes::backward(uint32_t unit, Pass &pass) {
  const size_t rows = pass.batch.rows();
  const Shape in(rows, width(unit)), out(rows, model_->units()[unit].output_width);
  const th_tensor input = in.view(unit == 0 ? nullptr : pass.outputs[unit - 1].data()), output_gradient = out.view(pass.gradient.data());
  GuardedArray<float> input_gradient(unit == 0 ? 0 : rows * width(unit));
  th_tensor input_gradient_view = in.view(unit == 0 ? nullptr : input_gradient.data());
  const auto parameters = views(unit);
  auto [gradients, modes] = targets(unit, pass);
  const th_call call = call_of(unit, 1, true, pass.way);
  doing(fmt::format("backward of unit {} \"{}\"", unit, view(model_->units()[unit].name)));
  TRAINHOST_CHECK(model_->backward(unit, call, pass.batch.get(), parameters.data(), input, std::exchange(pass.saved[unit], nullptr),
                                   output_gradient, input_gradient_view, gradients.data(), modes.data()));
  if (!input_gradient.memory().border_intact()) return broken(fmt::format("backward of unit {} writes before its input's gradient", unit));
  if (unit > 0) pass.gradient = std::move(input_gradient);
  return {};
}

}  // namespace trainhost::validator
