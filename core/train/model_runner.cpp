#include "train/model_runner.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/random.h"
#include "tensor/tensor_view.h"
#include "train/pipeline_schedule.h"

namespace trainhost {
namespace {

// The arrays of a batch on a device: the host's own on CPUs, else copies.
class DeviceArrays {
 public:
  explicit DeviceArrays(Device &device) : device_(device) {}

  template <class Item>
  TensorView place(const std::vector<Item> &items, std::initializer_list<int64_t> shape) {
    const Item *data = items.data();
    if (device_.type() != TH_DEVICE_CPU) {
      static_assert(sizeof(Item) == sizeof(float));
      Buffer<float> &copy = copies_.emplace_back(device_, items.size());
      device_.upload(copy.data(), items.data(), items.size() * sizeof(Item));
      data = reinterpret_cast<const Item *>(copy.data());
    }
    return TensorView(data, shape).on_device(device_.type(), device_.index());
  }

 private:
  Device &device_;
  std::deque<Buffer<float>> copies_;
};

// A batch as the plugin sees it; the views stay valid while this lives. token_losses: on the device, or null.
class BatchView {
 public:
  BatchView(Device &device, const TokenBatch &batch, double loss_scale, float *token_losses)
      : arrays_(device),
        tokens_(arrays_.place(batch.tokens, {batch.sequences, batch.sequence_length})),
        targets_(arrays_.place(batch.targets, {batch.sequences, batch.sequence_length})),
        loss_weights_(arrays_.place(batch.loss_weights, {batch.sequences, batch.sequence_length})),
        positions_(arrays_.place(batch.positions, {batch.sequences, batch.sequence_length})),
        document_starts_(arrays_.place(batch.document_starts, {static_cast<int64_t>(batch.document_starts.size())})),
        token_losses_(TensorView(static_cast<const float *>(token_losses), {batch.sequences, batch.sequence_length})
                          .on_device(device.type(), device.index())),
        batch_{.struct_size = sizeof(th_batch),
               .sequences = batch.sequences,
               .sequence_length = batch.sequence_length,
               .document_count = static_cast<uint32_t>(batch.document_starts.size()) - 1,
               .tokens = tokens_.view(),
               .targets = targets_.view(),
               .loss_weights = loss_weights_.view(),
               .positions = positions_.view(),
               .document_starts = document_starts_.view(),
               .loss_scale = loss_scale,
               .token_losses = token_losses_.view()} {}
  BatchView(const BatchView &) = delete;
  BatchView &operator=(const BatchView &) = delete;
  const th_batch &get() const { return batch_; }
  int64_t rows() const { return int64_t{batch_.sequences} * batch_.sequence_length; }

 private:
  DeviceArrays arrays_;
  TensorView tokens_, targets_, loss_weights_, positions_, document_starts_, token_losses_;
  th_batch batch_;
};

}  // namespace

// What is kept of a micro-batch between its forward and its backward. Units are counted from the stage's first.
struct ModelRunner::Pass {
  Pass(Model &owner, Device &device, const TokenBatch &batch, double loss_scale, float *token_losses, const th_call &how,
       uint64_t at_step = 0, uint64_t its_number = 0)
      : model(owner), view(device, batch, loss_scale, token_losses), call(how), step(at_step), number(its_number) {}
  ~Pass() {
    for (th_saved *one : saved) model.release(one);
  }

  Model &model;
  BatchView view;
  th_call call;
  Buffer<float> received;              // the input of a stage that is not the first
  std::vector<Buffer<float>> outputs;  // of each unit
  std::vector<th_saved *> saved;       // of each unit whose backward has not consumed it
  uint64_t step, number;               // of the micro-batch, whose randomness they give

  // How a unit is called: with a random stream of its own.
  th_call call_of(uint32_t unit, bool keep) const {
    th_call own = call;
    own.keep = keep ? 1 : 0;
    own.random_stream = random_bits(step, random_stream(RandomPurpose::kModel, unit), number);
    return own;
  }

  Buffer<float> &before(uint32_t place) { return place == 0 ? received : outputs[place - 1]; }
  float *input_of(uint32_t place) { return before(place).data(); }
};

namespace {

th_call make_call(const ParameterStore &parameters, bool training, uint64_t seed) {
  return {.struct_size = sizeof(th_call),
          .training = training ? 1 : 0,
          .parameter_lifetime = parameters.lifetime(),
          .keep = 0,
          .stream = parameters.spread().compute.device->stream(),
          .seed = seed,
          .random_stream = 0};
}

}  // namespace

ModelRunner::ModelRunner(Parts parts) : parts_(std::move(parts)) {}
ModelRunner::~ModelRunner() = default;

bool ModelRunner::gives_loss() const { return parts_.parameters.spread().units.end == parts_.model.units().size(); }

uint32_t ModelRunner::end_of_hidden() const {
  return std::min(parts_.parameters.spread().units.end, static_cast<uint32_t>(parts_.model.units().size()) - 1);
}

uint64_t ModelRunner::width_before(uint32_t unit) const { return unit == 0 ? 0 : parts_.model.units()[unit - 1].output_width; }

Buffer<float> ModelRunner::activations(const Pass &pass, uint64_t width) const {
  return Buffer<float>(device(), spread().compute.floats_for(static_cast<uint64_t>(pass.view.rows()) * width));
}

TensorView ModelRunner::activation_view(const Pass &pass, const float *data, uint64_t width) const {
  const std::initializer_list<int64_t> shape{pass.view.rows(), static_cast<int64_t>(width)};
  TensorView view = spread().compute.bfloat16 ? TensorView::bfloat16(data, shape) : TensorView(data, shape);
  return view.on_device(device().type(), device().index());
}

// One unit's forward over what the unit before it gave.
Result<> ModelRunner::run_unit(Pass &pass, uint32_t unit, bool keep, const th_tensor *parameters, float *output) {
  const uint32_t place = unit - parts_.parameters.spread().units.begin;
  TensorView input;
  if (unit > 0) {
    input = activation_view(pass, pass.input_of(place), width_before(unit));
  }
  TensorView result = activation_view(pass, output, parts_.model.units()[unit].output_width);
  th_tensor result_view = result.view();
  TRAINHOST_TRY(th_saved *const saved,
                parts_.model.forward(unit, pass.call_of(unit, keep), pass.view.get(), parameters, input.view(), result_view));
  pass.saved.resize(std::max<size_t>(pass.saved.size(), place + 1));
  pass.saved[place] = saved;
  return {};
}

void ModelRunner::show(const Probe &probe, const Pass &pass, uint32_t unit, const Buffer<float> &output) const {
  if (!probe.watch) return;
  const size_t count = static_cast<size_t>(pass.view.rows()) * parts_.model.units()[unit].output_width;
  if (device().type() == TH_DEVICE_CPU) return probe.watch(unit, output.items().first(count));
  std::vector<float> values(count);
  if (spread().compute.bfloat16) {
    std::vector<uint16_t> halves(values.size());  // the upper ones of floats
    device().download(halves.data(), output.data(), halves.size() * sizeof(uint16_t));
    std::ranges::transform(halves, values.begin(), [](uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); });
  } else {
    device().download(values.data(), output.data(), values.size() * sizeof(float));
  }
  probe.watch(unit, values);
}

Result<> ModelRunner::forward(Pass &pass, const Probe &probe) {
  const UnitRange units = parts_.parameters.spread().units;
  const uint32_t end = end_of_hidden();
  if (units.begin > 0) {
    pass.received = activations(pass, width_before(units.begin));
    TRAINHOST_CHECK(stages().receive(pass.received.items(), stages().rank() - 1)->wait());
    show(probe, pass, units.begin - 1, pass.received);
  }
  for (uint32_t unit = units.begin; unit < end; ++unit) {
    TRAINHOST_TRY(const th_tensor *const parameters, parts_.parameters.use(unit));
    if (unit + 1 < units.end) parts_.parameters.prefetch(unit + 1);
    const bool left_out = probe.without == unit, recomputed = !parts_.recomputed.empty() && parts_.recomputed[unit];
    pass.outputs.push_back(left_out ? std::move(pass.before(unit - units.begin))
                                    : activations(pass, parts_.model.units()[unit].output_width));
    if (!left_out) TRAINHOST_CHECK(run_unit(pass, unit, pass.call.training != 0 && !recomputed, parameters, pass.outputs.back().data()));
    parts_.parameters.release(unit);
    show(probe, pass, unit, pass.outputs.back());
    // Without a backward to come, what the unit before gave has done its work.
    if (pass.call.training == 0 && pass.outputs.size() > 1) pass.outputs[pass.outputs.size() - 2] = Buffer<float>();
  }
  if (gives_loss()) return {};
  return send(std::move(pass.outputs.back()), pass.outputs.back().size(), stages().rank() + 1);
}

Result<> ModelRunner::send(Buffer<float> values, uint64_t count, uint32_t to) {
  auto pending = stages().send(values.items().first(count), to);
  sent_.push_back({std::move(values), std::move(pending)});
  return settle_sent(kSendsAtOnce);
}

// The last unit: loss, and the gradient of its input into `gradient`.
Result<> ModelRunner::loss_and_backward(Pass &pass, Buffer<float> &gradient, float *loss) {
  const UnitRange units = parts_.parameters.spread().units;
  const uint32_t last = units.end - 1;
  TensorView input = activation_view(pass, pass.input_of(last - units.begin), width_before(last));
  TensorView input_gradient = activation_view(pass, gradient.data(), width_before(last));
  TensorView loss_tensor = TensorView(static_cast<const float *>(loss), {1}).on_device(device().type(), device().index());
  th_tensor loss_view = loss_tensor.view(), gradient_view = input_gradient.view();
  TRAINHOST_TRY(const th_tensor *const parameters, parts_.parameters.use(last));
  if (last > units.begin) parts_.parameters.prefetch(last - 1);
  const GradientStore::Target target = parts_.gradients->target(last);
  TRAINHOST_CHECK(parts_.model.loss_and_backward(pass.call_of(last, true), pass.view.get(), parameters, input.view(), loss_view,
                                                 gradient_view, target.tensors, target.modes));
  parts_.parameters.release(last);
  return parts_.gradients->finished(last);
}

// `gradient` is that of the unit's output before, and of its input after.
Result<> ModelRunner::unit_backward(Pass &pass, uint32_t unit, Buffer<float> &gradient) {
  const UnitRange units = parts_.parameters.spread().units;
  const uint32_t place = unit - units.begin;
  TRAINHOST_TRY(const th_tensor *const parameters, parts_.parameters.use(unit));
  if (unit > units.begin) parts_.parameters.prefetch(unit - 1);
  if (!parts_.recomputed.empty() && parts_.recomputed[unit]) {
    if (pass.outputs[place].size() == 0) {  // was sent away
      pass.outputs[place] = activations(pass, parts_.model.units()[unit].output_width);
    }
    TRAINHOST_CHECK(run_unit(pass, unit, true, parameters, pass.outputs[place].data()));  // the same bits into the same place
  }
  pass.outputs[place] = Buffer<float>();
  TensorView output_gradient = activation_view(pass, gradient.data(), parts_.model.units()[unit].output_width);
  TensorView input, input_gradient;
  if (unit > 0) {
    input = activation_view(pass, pass.input_of(place), width_before(unit));
    input_gradient = activation_view(pass, gradient.data(), width_before(unit));
  }
  th_tensor input_gradient_view = input_gradient.view();
  const GradientStore::Target target = parts_.gradients->target(unit);
  // backward consumes what was saved, also when it fails
  TRAINHOST_CHECK(parts_.model.backward(unit, pass.call_of(unit, true), pass.view.get(), parameters, input.view(),
                                        std::exchange(pass.saved[place], nullptr), output_gradient.view(), input_gradient_view,
                                        target.tensors, target.modes));
  parts_.parameters.release(unit);
  return parts_.gradients->finished(unit);
}

Result<> ModelRunner::backward(Pass &pass, float *loss) {
  const UnitRange units = parts_.parameters.spread().units;
  uint64_t width = width_before(units.begin);
  for (uint32_t unit = units.begin; unit < end_of_hidden(); ++unit) width = std::max(width, parts_.model.units()[unit].output_width);
  Buffer<float> gradient = activations(pass, width);
  const auto of_width = [&](uint64_t columns) {
    return gradient.items().first(spread().compute.floats_for(static_cast<uint64_t>(pass.view.rows()) * columns));
  };
  if (gives_loss()) {
    TRAINHOST_CHECK(loss_and_backward(pass, gradient, loss));
  } else {
    TRAINHOST_CHECK(stages().receive(of_width(parts_.model.units()[units.end - 1].output_width), stages().rank() + 1)->wait());
  }
  for (uint32_t unit = end_of_hidden(); unit-- > units.begin;) TRAINHOST_CHECK(unit_backward(pass, unit, gradient));
  if (units.begin == 0) return {};
  const uint64_t count = of_width(width_before(units.begin)).size();
  return send(std::move(gradient), count, stages().rank() - 1);
}

Result<> ModelRunner::settle_sent(size_t at_most) {
  for (; sent_.size() > at_most; sent_.pop_front()) TRAINHOST_CHECK(sent_.front().pending->wait());
  return {};
}

// The losses of a step's micro-batches on the device: read when all is done, so that nothing waits for one of them.
class ModelRunner::DeviceLosses {
 public:
  DeviceLosses(Device &device, std::span<const TokenBatch> batches, bool by_token) : device_(device), sums_(device, batches.size()) {
    // A model that leaves token losses alone shows by what they begin with.
    for (size_t i = 0; by_token && i < batches.size(); ++i) {
      const std::vector<float> unknown(batches[i].tokens.size(), std::numeric_limits<float>::quiet_NaN());
      of_tokens_.emplace_back(device, unknown.size());
      device.upload(of_tokens_[i].data(), unknown.data(), unknown.size() * sizeof(float));
    }
  }

  float *sum(uint32_t i) { return sums_.data() + i; }
  float *of_tokens(uint32_t i) { return of_tokens_.empty() ? nullptr : of_tokens_[i].data(); }

  std::vector<float> sums() const { return on_host(sums_); }
  void read_tokens(std::vector<std::vector<float>> &out) const {
    for (const Buffer<float> &losses : of_tokens_) out.push_back(on_host(losses));
  }

 private:
  std::vector<float> on_host(const Buffer<float> &buffer) const {
    std::vector<float> values(buffer.size());
    device_.download(values.data(), buffer.data(), values.size() * sizeof(float));
    return values;
  }

  Device &device_;
  Buffer<float> sums_;
  std::vector<Buffer<float>> of_tokens_;
};

Result<> ModelRunner::check_token_losses(const TokenBatch &batch, float loss, std::span<const float> token_losses) const {
  for (size_t i = 0; std::isfinite(loss) && i < token_losses.size(); ++i) {
    if (batch.loss_weights[i] == 0 || std::isfinite(token_losses[i])) continue;
    return failure(ErrorKind::kPluginContract,
                   fmt::format("{}: loss_and_backward: gave the loss {}, but left the token loss at {} of {} at {}; expected "
                               "batch.token_losses to be filled with the losses that were summed",
                               describe(parts_.model.manifest()), loss, i, token_losses.size(), token_losses[i]));
  }
  return {};
}

Result<> ModelRunner::forward_backward(std::span<const TokenBatch> batches, const StepContext &context, StepLosses &losses) {
  std::map<uint32_t, Pass> under_way;
  DeviceLosses on_device(device(), batches, losses.by_token && gives_loss());
  parts_.gradients->begin_step(batches);
  for (const auto &[forwards, i] : one_forward_one_backward(stages().rank(), stages().size(), static_cast<uint32_t>(batches.size()))) {
    if (forwards) {
      const uint64_t number = context.first + uint64_t{i} * context.stride;
      const th_call call = make_call(parts_.parameters, true, context.seed);
      Pass &pass =
          under_way
              .try_emplace(i, parts_.model, device(), batches[i], context.loss_scale, on_device.of_tokens(i), call, context.step, number)
              .first->second;
      TRAINHOST_CHECK(forward(pass));
    } else {
      TRAINHOST_CHECK(backward(under_way.at(i), on_device.sum(i)));
      under_way.erase(i);
    }
  }
  TRAINHOST_CHECK(settle_sent(0));
  TRAINHOST_CHECK(parts_.gradients->finish_step());
  if (!gives_loss()) return {};
  const std::vector<float> sums = on_device.sums();
  for (const float sum : sums) losses.sum.add(sum);
  on_device.read_tokens(losses.of_tokens);
  for (size_t i = 0; i < losses.of_tokens.size(); ++i) TRAINHOST_CHECK(check_token_losses(batches[i], sums[i], losses.of_tokens[i]));
  return {};
}

std::vector<bool> recomputed_units(size_t units, uint32_t every) {
  std::vector<bool> recomputed(units, false);
  for (size_t unit = 0; every > 0 && unit + 1 < units; ++unit) recomputed[unit] = (unit + 1) % every == 0;
  return recomputed;
}

Result<> ModelRunner::token_losses(const TokenBatch &batch, std::span<float> losses, const Probe &probe) {
  Buffer<float> token_losses(device(), losses.size()), loss_value(device(), 1);
  Pass pass(parts_.model, device(), batch, 1.0, token_losses.data(), make_call(parts_.parameters, false, 0));
  TRAINHOST_CHECK(forward(pass, probe));
  TRAINHOST_CHECK(settle_sent(0));
  if (!gives_loss()) return {};
  const UnitRange units = spread().units;
  const uint32_t last = units.end - 1;
  TensorView input = activation_view(pass, pass.input_of(last - units.begin), width_before(last));
  TensorView loss = TensorView(static_cast<const float *>(loss_value.data()), {1}).on_device(device().type(), device().index());
  th_tensor loss_view = loss.view();
  TRAINHOST_TRY(const th_tensor *const parameters, parts_.parameters.use(last));
  TRAINHOST_CHECK(parts_.model.forward(last, pass.call_of(last, false), pass.view.get(), parameters, input.view(), loss_view));
  parts_.parameters.release(last);
  device().download(losses.data(), token_losses.data(), losses.size() * sizeof(float));
  return {};
}

Result<> ModelRunner::logits(const TokenBatch &batch, std::span<const int32_t> rows, std::span<float> logits) {
  Buffer<float> values(device(), logits.size());
  Pass pass(parts_.model, device(), batch, 1.0, nullptr, make_call(parts_.parameters, false, 0));
  TRAINHOST_CHECK(forward(pass));
  TRAINHOST_CHECK(settle_sent(0));
  if (gives_loss()) {
    const UnitRange units = spread().units;
    const uint32_t last = units.end - 1;
    TensorView input = activation_view(pass, pass.input_of(last - units.begin), width_before(last));
    const auto count = static_cast<int64_t>(rows.size());
    TensorView output = TensorView(static_cast<const float *>(values.data()), {count, static_cast<int64_t>(logits.size()) / count})
                            .on_device(device().type(), device().index());
    th_tensor output_view = output.view();
    TRAINHOST_TRY(const th_tensor *const parameters, parts_.parameters.use(last));
    TRAINHOST_CHECK(parts_.model.logits(pass.call_of(last, false), pass.view.get(), parameters, input.view(), rows, output_view));
    parts_.parameters.release(last);
  }
  std::vector<size_t> cuts(stages().size() + 1, 0);  // all of it is the last stage's
  cuts.back() = logits.size();
  TRAINHOST_CHECK(stages().all_gather(values.items(), cuts)->wait());
  device().download(logits.data(), values.data(), logits.size() * sizeof(float));
  return {};
}

}  // namespace trainhost
