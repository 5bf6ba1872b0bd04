#include "train/model_runner.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/random.h"
#include "tensor/tensor_view.h"
#include "train/pipeline_schedule.h"

namespace trainhost {
namespace {

// A batch as the plugin sees it; the views stay valid while this lives.
class BatchView {
 public:
  BatchView(const TokenBatch &batch, double loss_scale, float *token_losses)
      : tokens_(batch.tokens.data(), {batch.sequences, batch.sequence_length}),
        targets_(batch.targets.data(), {batch.sequences, batch.sequence_length}),
        loss_weights_(batch.loss_weights.data(), {batch.sequences, batch.sequence_length}),
        positions_(batch.positions.data(), {batch.sequences, batch.sequence_length}),
        document_starts_(batch.document_starts.data(), {static_cast<int64_t>(batch.document_starts.size())}),
        token_losses_(static_cast<const float *>(token_losses), {batch.sequences, batch.sequence_length}),
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
  TensorView tokens_, targets_, loss_weights_, positions_, document_starts_, token_losses_;
  th_batch batch_;
};

}  // namespace

// What is kept of a micro-batch between its forward and its backward. Units are counted from the stage's first.
struct ModelRunner::Pass {
  Pass(Model &owner, const TokenBatch &batch, double loss_scale, float *token_losses, const th_call &how, uint64_t at_step = 0,
       uint64_t its_number = 0)
      : model(owner), view(batch, loss_scale, token_losses), call(how), step(at_step), number(its_number) {}
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

  float *input_of(uint32_t place) { return place == 0 ? received.data() : outputs[place - 1].data(); }
};

namespace {

th_call make_call(bool training, int32_t lifetime, uint64_t seed) {
  return {.struct_size = sizeof(th_call),
          .training = training ? 1 : 0,
          .parameter_lifetime = lifetime,
          .keep = 0,
          .stream = nullptr,
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

// One unit's forward over what the unit before it gave.
Result<> ModelRunner::run_unit(Pass &pass, uint32_t unit, bool keep, const th_tensor *parameters, float *output) {
  const uint32_t place = unit - parts_.parameters.spread().units.begin;
  TensorView input;
  if (unit > 0) {
    input = TensorView(static_cast<const float *>(pass.input_of(place)), {pass.view.rows(), static_cast<int64_t>(width_before(unit))});
  }
  TensorView result(static_cast<const float *>(output), {pass.view.rows(), static_cast<int64_t>(parts_.model.units()[unit].output_width)});
  th_tensor result_view = result.view();
  TRAINHOST_TRY(th_saved *const saved,
                parts_.model.forward(unit, pass.call_of(unit, keep), pass.view.get(), parameters, input.view(), result_view));
  pass.saved.resize(std::max<size_t>(pass.saved.size(), place + 1));
  pass.saved[place] = saved;
  return {};
}

Result<> ModelRunner::forward(Pass &pass) {
  const UnitRange units = parts_.parameters.spread().units;
  const uint32_t end = end_of_hidden();
  if (units.begin > 0) {
    pass.received = Buffer<float>(static_cast<uint64_t>(pass.view.rows()) * width_before(units.begin));
    TRAINHOST_CHECK(stages().receive(pass.received.items(), stages().rank() - 1)->wait());
  }
  for (uint32_t unit = units.begin; unit < end; ++unit) {
    TRAINHOST_TRY(const th_tensor *const parameters, parts_.parameters.use(unit));
    if (unit + 1 < units.end) parts_.parameters.prefetch(unit + 1);
    pass.outputs.emplace_back(static_cast<uint64_t>(pass.view.rows()) * parts_.model.units()[unit].output_width);
    const bool recomputed = !parts_.recomputed.empty() && parts_.recomputed[unit];
    TRAINHOST_CHECK(run_unit(pass, unit, pass.call.training != 0 && !recomputed, parameters, pass.outputs.back().data()));
    parts_.parameters.release(unit);
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
Result<> ModelRunner::loss_and_backward(Pass &pass, Buffer<float> &gradient, ExactSum &loss) {
  const UnitRange units = parts_.parameters.spread().units;
  const uint32_t last = units.end - 1;
  const auto width = static_cast<int64_t>(width_before(last));
  TensorView input(static_cast<const float *>(pass.input_of(last - units.begin)), {pass.view.rows(), width});
  TensorView input_gradient(static_cast<const float *>(gradient.data()), {pass.view.rows(), width});
  float loss_value = 0;
  TensorView loss_tensor(static_cast<const float *>(&loss_value), {1});
  th_tensor loss_view = loss_tensor.view(), gradient_view = input_gradient.view();
  TRAINHOST_TRY(const th_tensor *const parameters, parts_.parameters.use(last));
  if (last > units.begin) parts_.parameters.prefetch(last - 1);
  const GradientStore::Target target = parts_.gradients->target(last);
  TRAINHOST_CHECK(parts_.model.loss_and_backward(pass.call_of(last, true), pass.view.get(), parameters, input.view(), loss_view,
                                                 gradient_view, target.tensors, target.modes));
  loss.add(loss_value);
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
      pass.outputs[place] = Buffer<float>(static_cast<uint64_t>(pass.view.rows()) * parts_.model.units()[unit].output_width);
    }
    TRAINHOST_CHECK(run_unit(pass, unit, true, parameters, pass.outputs[place].data()));  // the same bits into the same place
  }
  pass.outputs[place] = Buffer<float>();
  const int64_t rows = pass.view.rows();
  TensorView output_gradient(static_cast<const float *>(gradient.data()),
                             {rows, static_cast<int64_t>(parts_.model.units()[unit].output_width)});
  TensorView input, input_gradient;
  if (unit > 0) {
    const auto width = static_cast<int64_t>(width_before(unit));
    input = TensorView(static_cast<const float *>(pass.input_of(place)), {rows, width});
    input_gradient = TensorView(static_cast<const float *>(gradient.data()), {rows, width});
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

Result<> ModelRunner::backward(Pass &pass, ExactSum &loss) {
  const UnitRange units = parts_.parameters.spread().units;
  uint64_t width = width_before(units.begin);
  for (uint32_t unit = units.begin; unit < end_of_hidden(); ++unit) width = std::max(width, parts_.model.units()[unit].output_width);
  Buffer<float> gradient(static_cast<uint64_t>(pass.view.rows()) * width);
  const auto of_width = [&](uint64_t columns) { return gradient.items().first(static_cast<uint64_t>(pass.view.rows()) * columns); };
  if (gives_loss()) {
    TRAINHOST_CHECK(loss_and_backward(pass, gradient, loss));
  } else {
    TRAINHOST_CHECK(stages().receive(of_width(parts_.model.units()[units.end - 1].output_width), stages().rank() + 1)->wait());
  }
  for (uint32_t unit = end_of_hidden(); unit-- > units.begin;) TRAINHOST_CHECK(unit_backward(pass, unit, gradient));
  if (units.begin == 0) return {};
  return send(std::move(gradient), static_cast<uint64_t>(pass.view.rows()) * width_before(units.begin), stages().rank() - 1);
}

Result<> ModelRunner::settle_sent(size_t at_most) {
  for (; sent_.size() > at_most; sent_.pop_front()) TRAINHOST_CHECK(sent_.front().pending->wait());
  return {};
}

Result<> ModelRunner::forward_backward(std::span<const TokenBatch> batches, const StepContext &context, ExactSum &loss) {
  std::map<uint32_t, Pass> under_way;
  parts_.gradients->begin_step(static_cast<uint32_t>(batches.size()));
  for (const auto &[forwards, i] : one_forward_one_backward(stages().rank(), stages().size(), static_cast<uint32_t>(batches.size()))) {
    if (forwards) {
      const uint64_t number = context.first + uint64_t{i} * context.stride;
      const th_call call = make_call(true, parts_.parameters.lifetime(), context.seed);
      Pass &pass =
          under_way.try_emplace(i, parts_.model, batches[i], context.loss_scale, nullptr, call, context.step, number).first->second;
      TRAINHOST_CHECK(forward(pass));
    } else {
      TRAINHOST_CHECK(backward(under_way.at(i), loss));
      under_way.erase(i);
    }
  }
  TRAINHOST_CHECK(settle_sent(0));
  return parts_.gradients->finish_step();
}

std::vector<bool> recomputed_units(size_t units, uint32_t every) {
  std::vector<bool> recomputed(units, false);
  for (size_t unit = 0; every > 0 && unit + 1 < units; ++unit) recomputed[unit] = (unit + 1) % every == 0;
  return recomputed;
}

Result<> ModelRunner::token_losses(const TokenBatch &batch, std::span<float> losses) {
  Pass pass(parts_.model, batch, 1.0, losses.data(), make_call(false, parts_.parameters.lifetime(), 0));
  TRAINHOST_CHECK(forward(pass));
  TRAINHOST_CHECK(settle_sent(0));
  if (!gives_loss()) return {};
  const UnitRange units = parts_.parameters.spread().units;
  const uint32_t last = units.end - 1;
  TensorView input(static_cast<const float *>(pass.input_of(last - units.begin)),
                   {pass.view.rows(), static_cast<int64_t>(width_before(last))});
  float loss_value = 0;
  TensorView loss(static_cast<const float *>(&loss_value), {1});
  th_tensor loss_view = loss.view();
  TRAINHOST_TRY(const th_tensor *const parameters, parts_.parameters.use(last));
  TRAINHOST_CHECK(parts_.model.forward(last, pass.call_of(last, false), pass.view.get(), parameters, input.view(), loss_view));
  parts_.parameters.release(last);
  return {};
}

Result<> ModelRunner::logits(const TokenBatch &batch, std::span<const int32_t> rows, std::span<float> logits) {
  Pass pass(parts_.model, batch, 1.0, nullptr, make_call(false, parts_.parameters.lifetime(), 0));
  TRAINHOST_CHECK(forward(pass));
  TRAINHOST_CHECK(settle_sent(0));
  if (gives_loss()) {
    const UnitRange units = parts_.parameters.spread().units;
    const uint32_t last = units.end - 1;
    TensorView input(static_cast<const float *>(pass.input_of(last - units.begin)),
                     {pass.view.rows(), static_cast<int64_t>(width_before(last))});
    const auto count = static_cast<int64_t>(rows.size());
    TensorView output(static_cast<const float *>(logits.data()), {count, static_cast<int64_t>(logits.size()) / count});
    th_tensor output_view = output.view();
    TRAINHOST_TRY(const th_tensor *const parameters, parts_.parameters.use(last));
    TRAINHOST_CHECK(parts_.model.logits(pass.call_of(last, false), pass.view.get(), parameters, input.view(), rows, output_view));
    parts_.parameters.release(last);
  }
  std::vector<size_t> cuts(stages().size() + 1, 0);  // all of it is the last stage's
  cuts.back() = logits.size();
  return stages().all_gather(logits, cuts)->wait();
}

}  // namespace trainhost
