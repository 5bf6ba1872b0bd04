#include "train/step_telemetry.h"

#include <algorithm>
#include <cmath>

#include "collectives/agreement.h"

namespace trainhost {
namespace {

// The sums of one measurement, as they are added over the ranks: the fields in order, then those by unit.
enum Sum : size_t { kGradients, kGradientAlong, kNextAlong, kWeight, kMeasured, kInverseWeights, kSquares, kByUnit };

// Adds what the micro-batches show; unknown where they show nothing, as one alone does.
void add_noise(std::span<const ExactSum> sums, double gradient_norm, TrainState &state, TelemetryReport &telemetry) {
  const double weight = sums[kWeight].value(), measured = sums[kMeasured].value();
  const double small_batch = measured / sums[kInverseWeights].value();  // the harmonic mean, as noise goes with 1 / weight
  if (!(small_batch < weight)) return;
  const NoiseEstimate estimate = estimate_noise({.small_batch = small_batch,
                                                 .small_square = sums[kSquares].value() * weight * weight / measured,
                                                 .big_batch = weight,
                                                 .big_square = gradient_norm * gradient_norm});
  if (!std::isfinite(estimate.trace)) return;
  state.noise.add(estimate);
  telemetry.gradient_square = estimate.gradient_square;
  telemetry.gradient_variance = estimate.trace;
}

}  // namespace

StepTelemetry::StepTelemetry(const Parts &parts) : parts_(parts) {
  const ParameterStore &parameters = parts_.parameters;
  size_t floats = 0;
  for (uint32_t group = 0; group < parameters.layout().groups().size(); ++group) {
    if (parameters.borrowed(group)) continue;
    groups_.push_back(group);
    offsets_.push_back(floats);
    floats += aligned(own(group).size());
  }
  change_ = Buffer<float>(device(), floats);
  gradient_ = Buffer<float>(device(), floats);
}

// Each float of the model is one rank's own, also where all ranks update all.
FloatRange StepTelemetry::own(uint32_t group) const {
  return parts_.parameters.layout().groups()[group].piece(parts_.parameters.spread().data->rank());
}

const float *StepTelemetry::values_of(uint32_t group) const {
  return parts_.parameters.values(group) + (own(group).begin - parts_.parameters.updated(group).begin);
}

const float *StepTelemetry::gradient_of(uint32_t group) const {
  return parts_.gradients.reduced(group) + (own(group).begin - parts_.parameters.updated(group).begin);
}

void StepTelemetry::add_products(uint32_t group, const float *a, const float *b, ExactSum &sum) const {
  auto blocks = parts_.parameters.layout().blocks(group, own(group));
  for (FloatRange &block : blocks) block = {block.begin - own(group).begin, block.end - own(group).begin};
  std::vector<double> products(blocks.size());
  device().sum_products(a, b, blocks, products);
  for (const double product : products) sum.add(product);
}

void StepTelemetry::add_squares_by_unit(const Buffer<float> &values, std::vector<ExactSum> &sums) const {
  for (size_t i = 0; i < groups_.size(); ++i) {
    const float *own_values = values.data() + offsets_[i];
    add_products(groups_[i], own_values, own_values, sums[parts_.parameters.layout().groups()[groups_[i]].users.front()]);
  }
}

// Whether the recipe wants a checkpoint after the step.
bool StepTelemetry::saved(uint64_t step) const {
  return parts_.axis.due_at(parts_.checkpoint_every, step) ||
         std::ranges::any_of(parts_.axis.phases(), [&](const PhaseSpan &phase) { return phase.end_step == step; });
}

// Whether the step after is measured in the place of this one, before which a checkpoint is due. The last step is not, for it is saved.
bool StepTelemetry::put_off(uint64_t step) const { return planned(step) && saved(step - 1) && !saved(step) && !planned(step + 2); }

void StepTelemetry::before_step(const TrainState &state) {
  parts_.gradients.measure_micro_batches(measured(state.step + 1));
  wanted_ = measured(state.step + 2) && !saved(state.step + 1);
  if (!wanted_) return;
  for (size_t i = 0; i < groups_.size(); ++i)
    device().copy(change_.data() + offsets_[i], values_of(groups_[i]), own(groups_[i]).size() * sizeof(float));
}

Result<> StepTelemetry::after_step(TrainState &state, const StepReport &report) {
  if (state.step != report.step) {  // training went back
    update_.reset();
    return {};
  }
  if (measured(report.step)) TRAINHOST_CHECK(measure(state, report));
  update_.reset();
  if (wanted_) update_ = finish_update(report);
  return {};
}

StepTelemetry::Update StepTelemetry::finish_update(const StepReport &report) {
  const size_t units = parts_.parameters.spread().stage_of.size();
  Update update{.gradient_norm = report.gradient_norm, .weights = std::vector<ExactSum>(units), .changes = std::vector<ExactSum>(units)};
  add_squares_by_unit(change_, update.weights);
  for (size_t i = 0; i < groups_.size(); ++i) {
    const size_t count = own(groups_[i]).size();
    device().subtract_from(change_.data() + offsets_[i], values_of(groups_[i]), count);
    device().copy(gradient_.data() + offsets_[i], gradient_of(groups_[i]), count * sizeof(float));
  }
  add_squares_by_unit(change_, update.changes);
  return update;
}

// What this rank knows of the sums.
std::vector<ExactSum> StepTelemetry::own_sums() const {
  const GradientStore::MicroBatchSums &micro_batches = parts_.gradients.micro_batches();
  std::vector<ExactSum> sums(kByUnit);
  sums[kWeight] = micro_batches.weight;
  sums[kMeasured] = micro_batches.measured;
  sums[kInverseWeights] = micro_batches.inverse_weights;
  sums[kSquares] = micro_batches.squares;
  if (!update_) return sums;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const float *next = gradient_of(groups_[i]);
    const float *gradient = gradient_.data() + offsets_[i], *change = change_.data() + offsets_[i];
    add_products(groups_[i], gradient, next, sums[kGradients]);
    add_products(groups_[i], gradient, change, sums[kGradientAlong]);
    add_products(groups_[i], next, change, sums[kNextAlong]);
  }
  sums.insert(sums.end(), update_->weights.begin(), update_->weights.end());
  sums.insert(sums.end(), update_->changes.begin(), update_->changes.end());
  return sums;
}

// Adds what the update shows. next_norm: of the gradient after it.
void StepTelemetry::add_update(std::span<const ExactSum> sums, double next_norm, TelemetryReport &telemetry) const {
  const size_t units = update_->weights.size();
  ExactSum weight, change;
  double largest = 0;
  for (size_t unit = 0; unit < units; ++unit) {
    const ExactSum &weights = sums[kByUnit + unit], &changes = sums[kByUnit + units + unit];
    weight.add(weights.limbs());
    change.add(changes.limbs());
    if (weights.value() > 0) largest = std::max(largest, changes.value() / weights.value());
  }
  telemetry.update_ratio = std::sqrt(change.value() / weight.value());
  telemetry.largest_update_ratio = std::sqrt(largest);
  const DecayTelemetry decay = decay_telemetry({.gg = update_->gradient_norm * update_->gradient_norm,
                                                .gh = sums[kGradients].value(),
                                                .hh = next_norm * next_norm,
                                                .gv = sums[kGradientAlong].value(),
                                                .hv = sums[kNextAlong].value(),
                                                .vv = change.value()});
  telemetry.gradient_cosine = decay.gradient_cosine;
  telemetry.d1 = decay.d1;
  telemetry.d2 = decay.d2;
  telemetry.curvature = decay.curvature;
}

Result<> StepTelemetry::measure(TrainState &state, const StepReport &report) {
  TRAINHOST_TRY(const auto sums, sum_over(*parts_.parameters.spread().world, own_sums()));
  TelemetryReport telemetry{.step = report.step, .tokens = report.tokens, .phase = report.phase};
  add_noise(sums, report.gradient_norm, state, telemetry);
  telemetry.noise_scale = state.noise.value();
  if (update_) add_update(sums, report.gradient_norm, telemetry);
  parts_.reporter.telemetry(telemetry);
  return {};
}

}  // namespace trainhost
