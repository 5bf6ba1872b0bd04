#include "train/model_runner.h"

#include <algorithm>

#include "base/random.h"
#include "tensor/tensor_view.h"

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

 private:
  TensorView tokens_, targets_, loss_weights_, positions_, document_starts_, token_losses_;
  th_batch batch_;
};

th_call make_call(bool training, uint64_t seed, uint64_t offset) {
  return {.struct_size = sizeof(th_call),
          .training = training ? 1 : 0,
          .parameter_lifetime = TH_KEEP_UNTIL_BACKWARD,
          .reserved = 0,
          .stream = nullptr,
          .seed = seed,
          .offset = offset};
}

uint64_t token_count(const TokenBatch &batch) { return uint64_t{batch.sequences} * batch.sequence_length; }

}  // namespace

float *ModelRunner::activation(uint32_t unit, uint64_t tokens) {
  if (activations_.size() <= unit) activations_.resize(unit + 1);
  const uint64_t count = tokens * model_.units()[unit].output_width;
  if (activations_[unit].size() < count) activations_[unit] = Buffer<float>(count);
  return activations_[unit].data();
}

Result<> ModelRunner::forward_hidden(const th_call &call, const th_batch &batch, uint64_t tokens, bool keep) {
  const auto last = static_cast<uint32_t>(model_.units().size() - 1);
  TensorView input;
  for (uint32_t unit = 0; unit < last; ++unit) {
    const auto width = static_cast<int64_t>(model_.units()[unit].output_width);
    const uint32_t place = keep ? unit : unit % 2;
    TensorView output(static_cast<const float *>(activation(place, tokens)), {static_cast<int64_t>(tokens), width});
    th_tensor output_view = output.view();
    TRAINHOST_TRY(th_saved *const saved, model_.forward(unit, call, batch, parameters_.parameters(unit), input.view(), output_view));
    if (keep) saved_.push_back(saved);
    input = output;
  }
  return {};
}

void ModelRunner::release_saved() {
  for (th_saved *saved : saved_) {
    if (saved != nullptr) model_.release(saved);
  }
  saved_.clear();
}

Result<> ModelRunner::backward_hidden(const th_call &call, const th_batch &batch, uint64_t tokens) {
  const auto last = static_cast<uint32_t>(model_.units().size() - 1);
  const auto rows = static_cast<int64_t>(tokens);
  for (uint32_t unit = last; unit-- > 0;) {
    const auto width = static_cast<int64_t>(model_.units()[unit].output_width);
    TensorView output_gradient(static_cast<const float *>(gradient_.data()), {rows, width});
    TensorView input, input_gradient;
    if (unit > 0) {
      const auto input_width = static_cast<int64_t>(model_.units()[unit - 1].output_width);
      input = TensorView(static_cast<const float *>(activations_[unit - 1].data()), {rows, input_width});
      input_gradient = TensorView(static_cast<const float *>(gradient_.data()), {rows, input_width});
    }
    th_tensor input_gradient_view = input_gradient.view();
    th_saved *const saved = saved_.back();
    saved_.pop_back();  // backward consumes it, also when it fails
    TRAINHOST_CHECK(model_.backward(unit, call, batch, parameters_.parameters(unit), input.view(), saved, output_gradient.view(),
                                    input_gradient_view, parameters_.gradients(unit), parameters_.gradient_modes(unit)));
  }
  return {};
}

Result<double> ModelRunner::forward_backward(const TokenBatch &batch, double loss_scale, uint64_t seed, uint64_t step,
                                             uint32_t micro_batch) {
  const uint64_t tokens = token_count(batch);
  const auto last = static_cast<uint32_t>(model_.units().size() - 1);
  const BatchView view(batch, loss_scale, nullptr);
  const th_call call = make_call(true, seed, random_stream(RandomPurpose::kModel, step << 16 | micro_batch));

  const auto outcome = [&]() -> Result<double> {
    TRAINHOST_CHECK(forward_hidden(call, view.get(), tokens, true));
    uint64_t width = 0;
    for (const th_unit_info &unit : model_.units()) width = std::max(width, unit.output_width);
    if (gradient_.size() < tokens * width) gradient_ = Buffer<float>(tokens * width);
    const auto input_width = static_cast<int64_t>(model_.units()[last - 1].output_width);
    TensorView input(static_cast<const float *>(activations_[last - 1].data()), {static_cast<int64_t>(tokens), input_width});
    TensorView input_gradient(static_cast<const float *>(gradient_.data()), {static_cast<int64_t>(tokens), input_width});
    float loss_value = 0;
    TensorView loss(static_cast<const float *>(&loss_value), {1});
    th_tensor loss_view = loss.view(), input_gradient_view = input_gradient.view();
    TRAINHOST_CHECK(model_.loss_and_backward(call, view.get(), parameters_.parameters(last), input.view(), loss_view, input_gradient_view,
                                             parameters_.gradients(last), parameters_.gradient_modes(last)));
    TRAINHOST_CHECK(backward_hidden(call, view.get(), tokens));
    return double{loss_value};
  }();
  release_saved();  // what a failure left
  return outcome;
}

Result<> ModelRunner::token_losses(const TokenBatch &batch, std::span<float> losses) {
  const uint64_t tokens = token_count(batch);
  const auto last = static_cast<uint32_t>(model_.units().size() - 1);
  const BatchView view(batch, 1.0, losses.data());
  const th_call call = make_call(false, 0, 0);
  TRAINHOST_CHECK(forward_hidden(call, view.get(), tokens, false));
  const auto input_width = static_cast<int64_t>(model_.units()[last - 1].output_width);
  TensorView input(static_cast<const float *>(activations_[(last - 1) % 2].data()), {static_cast<int64_t>(tokens), input_width});
  float loss_value = 0;
  TensorView loss(static_cast<const float *>(&loss_value), {1});
  th_tensor loss_view = loss.view();
  TRAINHOST_TRY(th_saved *const saved, model_.forward(last, call, view.get(), parameters_.parameters(last), input.view(), loss_view));
  if (saved != nullptr) model_.release(saved);
  return {};
}

Result<> ModelRunner::logits(const TokenBatch &batch, std::span<const int32_t> rows, std::span<float> logits) {
  const uint64_t tokens = token_count(batch);
  const auto last = static_cast<uint32_t>(model_.units().size() - 1);
  const BatchView view(batch, 1.0, nullptr);
  const th_call call = make_call(false, 0, 0);
  TRAINHOST_CHECK(forward_hidden(call, view.get(), tokens, false));
  const auto input_width = static_cast<int64_t>(model_.units()[last - 1].output_width);
  TensorView input(static_cast<const float *>(activations_[(last - 1) % 2].data()), {static_cast<int64_t>(tokens), input_width});
  const auto count = static_cast<int64_t>(rows.size());
  TensorView output(static_cast<const float *>(logits.data()), {count, static_cast<int64_t>(logits.size()) / count});
  th_tensor output_view = output.view();
  return model_.logits(call, view.get(), parameters_.parameters(last), input.view(), rows, output_view);
}

}  // namespace trainhost
