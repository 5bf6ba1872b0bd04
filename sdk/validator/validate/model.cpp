// B sequences, T tokens each, R = B T rows, C width between units.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "base/random.h"
#include "plugin_host/adapters/model.h"
#include "validate/child.h"
#include "validate/guarded_memory.h"
#include "validate/rules.h"

namespace trainhost::validator {
namespace {

constexpr uint32_t kVocabulary = 64, kLength = 16, kSequences = 4;
constexpr uint64_t kTokenStream = 5, kParameterStream = 1 << 20, kDirectionStream = 2 << 20;

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

size_t element_count(const th_parameter_info &info) {
  size_t count = 1;
  for (int32_t i = 0; i < info.rank; ++i) count *= static_cast<size_t>(info.shape[i]);
  return count;
}

// A micro-batch of some of the trial's sequences. In each the second document begins at its middle, and its last target does not count.
class Batch {
 public:
  Batch(uint64_t seed, uint32_t first, uint32_t sequences, uint32_t length, double loss_scale)
      : shape_{sequences, length},
        starts_shape_{0},
        tokens_(size_t{sequences} * length),
        targets_(tokens_.size()),
        weights_(tokens_.size(), 1.0f),
        positions_(tokens_.size()),
        losses_(tokens_.size()),
        starts_(starts(sequences, length).size()) {
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
    std::ranges::copy(starts(sequences, length), starts_.items().begin());
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
  Batch(const Batch &) = delete;
  Batch &operator=(const Batch &) = delete;

  size_t rows() const { return tokens_.size(); }
  const th_batch &get() const { return batch_; }
  std::span<int32_t> tokens() { return tokens_.items(); }
  std::span<int32_t> targets() { return targets_.items(); }
  std::span<const float> token_losses() const { return losses_.items(); }
  void without_token_losses() { batch_.token_losses.data = nullptr; }
  Result<> check() const { return losses_.memory().border_intact() ? Result<>() : broken("writes before the token losses"); }
  static uint32_t middle(uint32_t length) { return length > 2 ? length / 2 : length; }

 private:
  static std::vector<int32_t> starts(uint32_t sequences, uint32_t length) {
    std::vector<int32_t> starts;
    for (uint32_t s = 0; s < sequences; ++s) {
      starts.push_back(static_cast<int32_t>(s * length));
      if (middle(length) < length) starts.push_back(static_cast<int32_t>(s * length + middle(length)));
    }
    starts.push_back(static_cast<int32_t>(sequences * length));
    return starts;
  }

  int64_t shape_[2];
  int64_t starts_shape_;
  GuardedArray<int32_t> tokens_, targets_;
  GuardedArray<float> weights_;
  GuardedArray<int32_t> positions_;
  GuardedArray<float> losses_;
  GuardedArray<int32_t> starts_;
  th_batch batch_{};
};

double loss_scale(uint32_t sequences, uint32_t length) { return 1.0 / (sequences * (length > 1 ? length - 1.0 : 1.0)); }

// How a pass is done.
struct Way {
  bool recompute = false;  // every unit forward without keeping, and again before its backward
  bool move = false;       // parameters are elsewhere in backward, and where they were nobody may look
  bool two_calls = false;  // the last unit by forward and backward, also where it has loss_and_backward
  bool token_losses = false;
};

using Gradients = std::vector<GuardedArray<float>>;  // per parameter

class Passes {
 public:
  static Result<std::unique_ptr<Passes>> create(const Trial &trial, const SharedRecord &record = std::make_shared<HostRecord>(),
                                                uint32_t length = kLength, uint64_t tokens = kSequences * kLength) {
    std::unique_ptr<Passes> passes(new Passes(trial, record));
    TRAINHOST_TRY(auto instance, trial.instance(record));
    const th_model_options options{.struct_size = sizeof(th_model_options),
                                   .vocabulary_size = kVocabulary,
                                   .device_type = TH_DEVICE_CPU,
                                   .device_index = 0,
                                   .compute_code = TH_DTYPE_FLOAT,
                                   .compute_bits = 32,
                                   .outline = 0,
                                   .sequence_length = length,
                                   .tokens = tokens};
    doing("create");
    passes->table_ = static_cast<const th_model_api *>(instance->table());
    TRAINHOST_TRY(passes->model_, Model::create(std::move(instance), options));
    for (const th_parameter_info &info : passes->model_->parameters()) passes->add(info);
    return passes;
  }

  Model &model() { return *model_; }
  std::vector<GuardedArray<float>> &parameters() { return parameters_; }
  Gradients zero_gradients() const {
    Gradients gradients;
    for (const auto &parameter : parameters_) gradients.emplace_back(parameter.size());
    return gradients;
  }

  // Loss and gradients, which are added to where add is true.
  Result<double> train(Batch &batch, Gradients &gradients, bool add, const Way &way = {}) {
    if (!way.token_losses) batch.without_token_losses();
    std::vector<bool> written(parameters_.size(), add);
    std::vector<GuardedArray<float>> outputs;
    std::vector<th_saved *> saved(last() + 1, nullptr);
    const Releaser releaser{*this, saved};
    for (uint32_t unit = 0; unit < last(); ++unit) {
      outputs.emplace_back(batch.rows() * model_->units()[unit].output_width);
      TRAINHOST_CHECK(forward(unit, batch, outputs, !way.recompute, way, saved[unit]));
    }
    GuardedArray<float> loss(1);
    GuardedArray<float> gradient(outputs.back().size());
    TRAINHOST_CHECK(loss_and_backward(batch, outputs.back(), loss, gradient, gradients, written, way));
    for (uint32_t unit = last(); unit-- > 0;) {
      if (way.recompute) TRAINHOST_CHECK(recompute(unit, batch, outputs, way, saved[unit]));
      if (way.move) move_parameters();
      TRAINHOST_CHECK(backward(unit, batch, outputs, gradient, gradients, written, way, saved[unit]));
    }
    TRAINHOST_CHECK(batch.check());
    for (const auto &one : gradients) {
      if (!one.memory().border_intact()) return broken("writes before a gradient");
    }
    return double{loss.items()[0]};
  }

  // The loss with training = 0.
  Result<double> evaluate(Batch &batch, bool token_losses = false) {
    if (!token_losses) batch.without_token_losses();
    const th_call call = call_of(0, 0, false, {});
    std::vector<GuardedArray<float>> outputs;
    for (uint32_t unit = 0; unit < last(); ++unit) {
      outputs.emplace_back(batch.rows() * model_->units()[unit].output_width);
      th_saved *none = nullptr;
      TRAINHOST_CHECK(run_forward(unit, batch, outputs, call, none));
    }
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

  uint32_t last() const { return static_cast<uint32_t>(model_->units().size()) - 1; }

 private:
  static constexpr int64_t kOne = 1;
  struct Shape {
    Shape(size_t rows, uint64_t width) : extents{static_cast<int64_t>(rows), static_cast<int64_t>(width)} {}
    th_tensor view(float *data) const { return tensor(data, extents, 2); }
    int64_t extents[2];
  };
  struct Releaser {  // of what is saved when a pass ends early
    Passes &passes;
    std::vector<th_saved *> &saved;
    ~Releaser() {
      for (th_saved *one : saved) passes.model_->release(one);
    }
  };

  Passes(const Trial &trial, SharedRecord record) : trial_(trial), record_(std::move(record)) {}

  void add(const th_parameter_info &info) {
    auto &values = parameters_.emplace_back(element_count(info));
    fill_normal(trial_.seed(), kParameterStream + parameters_.size(), 0, values.items());
    for (float &value : values.items()) value = static_cast<float>(info.init_mean + info.init_std * double{value});
  }

  // Input width of a unit.
  uint64_t width(uint32_t unit) const { return unit == 0 ? 0 : model_->units()[unit - 1].output_width; }

  th_call call_of(uint32_t unit, int32_t training, bool keep, const Way &way) const {
    return {.struct_size = sizeof(th_call),
            .training = training,
            .parameter_lifetime = way.move ? TH_KEEP_DURING_CALL : TH_KEEP_UNTIL_BACKWARD,
            .keep = keep ? 1 : 0,
            .stream = nullptr,
            .seed = trial_.seed(),
            .random_stream = random_stream(RandomPurpose::kModel, unit)};
  }

  std::vector<th_tensor> views(uint32_t unit) {
    std::vector<th_tensor> views;
    const th_unit_info &info = model_->units()[unit];
    for (const uint32_t index : std::span(info.parameters, info.parameter_count)) {
      const th_parameter_info &parameter = model_->parameters()[index];
      views.push_back(tensor(parameters_[index].data(), parameter.shape, parameter.rank));
      parameters_[index].memory().allow_writing(false);
    }
    return views;
  }

  // The same values at other addresses; what was there before cannot be read any more.
  void move_parameters() {
    for (auto &parameter : parameters_) {
      GuardedArray<float> elsewhere(parameter.size());
      std::ranges::copy(parameter.items(), elsewhere.items().begin());
      parameter.memory().forbid();
      gone_.push_back(std::exchange(parameter, std::move(elsewhere)));
    }
  }

  Result<> forward(uint32_t unit, const Batch &batch, std::vector<GuardedArray<float>> &outputs, bool keep, const Way &way,
                   th_saved *&saved) {
    const th_call call = call_of(unit, 1, keep, way);
    return run_forward(unit, batch, outputs, call, saved);
  }

  // Forward again, to the same output.
  Result<> recompute(uint32_t unit, const Batch &batch, std::vector<GuardedArray<float>> &outputs, const Way &way, th_saved *&saved) {
    const std::vector<float> before(outputs[unit].items().begin(), outputs[unit].items().end());
    TRAINHOST_CHECK(forward(unit, batch, outputs, true, way, saved));
    if (std::memcmp(before.data(), outputs[unit].data(), before.size() * sizeof(float)) == 0) return {};
    return broken(
        fmt::format("forward of unit {} \"{}\" gives other bits when it is called again", unit, view(model_->units()[unit].name)));
  }

  Result<> run_forward(uint32_t unit, const Batch &batch, std::vector<GuardedArray<float>> &outputs, const th_call &call,
                       th_saved *&saved) {
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

  // The unit's gradients and their modes, which are then written.
  std::pair<std::vector<th_tensor>, std::vector<uint32_t>> targets(uint32_t unit, Gradients &gradients, std::vector<bool> &written) {
    std::pair<std::vector<th_tensor>, std::vector<uint32_t>> result;
    const th_unit_info &info = model_->units()[unit];
    for (const uint32_t index : std::span(info.parameters, info.parameter_count)) {
      const th_parameter_info &parameter = model_->parameters()[index];
      result.first.push_back(tensor(gradients[index].data(), parameter.shape, parameter.rank));
      result.second.push_back(written[index] ? TH_GRADIENT_ADD : TH_GRADIENT_OVERWRITE);
      if (!written[index]) std::ranges::fill(gradients[index].items(), std::nanf(""));  // what is overwritten may be anything
      written[index] = true;
    }
    return result;
  }

  Result<> loss_and_backward(const Batch &batch, GuardedArray<float> &x, GuardedArray<float> &loss, GuardedArray<float> &gradient,
                             Gradients &gradients, std::vector<bool> &written, const Way &way) {
    const Shape shape(batch.rows(), width(last()));
    const th_call call = call_of(last(), 1, true, way);
    const auto parameters = views(last());
    x.memory().allow_writing(false);
    const th_tensor input = shape.view(x.data());
    th_tensor input_gradient = shape.view(gradient.data()), loss_view = tensor(loss.data(), &kOne, 1);
    auto [gradient_views, modes] = targets(last(), gradients, written);
    if (!way.two_calls) {
      doing("loss_and_backward of the last unit");
      return model_->loss_and_backward(call, batch.get(), parameters.data(), input, loss_view, input_gradient, gradient_views.data(),
                                       modes.data());
    }
    doing("forward of the last unit");
    TRAINHOST_TRY(th_saved * saved, model_->forward(last(), call, batch.get(), parameters.data(), input, loss_view));
    th_tensor one = loss_view;
    one.data = nullptr;
    doing("backward of the last unit");
    return model_->backward(last(), call, batch.get(), parameters.data(), input, saved, one, input_gradient, gradient_views.data(),
                            modes.data());
  }

  Result<> backward(uint32_t unit, const Batch &batch, std::vector<GuardedArray<float>> &outputs, GuardedArray<float> &gradient,
                    Gradients &gradients, std::vector<bool> &written, const Way &way, th_saved *&saved) {
    const Shape in(batch.rows(), width(unit)), out(batch.rows(), model_->units()[unit].output_width);
    const th_tensor input = in.view(unit == 0 ? nullptr : outputs[unit - 1].data()), output_gradient = out.view(gradient.data());
    GuardedArray<float> input_gradient(unit == 0 ? 0 : batch.rows() * width(unit));
    th_tensor input_gradient_view = in.view(unit == 0 ? nullptr : input_gradient.data());
    const auto parameters = views(unit);
    auto [gradient_views, modes] = targets(unit, gradients, written);
    const th_call call = call_of(unit, 1, true, way);
    doing(fmt::format("backward of unit {} \"{}\"", unit, view(model_->units()[unit].name)));
    TRAINHOST_CHECK(model_->backward(unit, call, batch.get(), parameters.data(), input, std::exchange(saved, nullptr), output_gradient,
                                     input_gradient_view, gradient_views.data(), modes.data()));
    if (!input_gradient.memory().border_intact())
      return broken(fmt::format("backward of unit {} writes before its input's gradient", unit));
    if (unit > 0) gradient = std::move(input_gradient);
    return {};
  }

  const Trial &trial_;
  const SharedRecord record_;
  const th_model_api *table_ = nullptr;
  std::unique_ptr<Model> model_;
  std::vector<GuardedArray<float>> parameters_, gone_;
};

std::string bytes_of(double loss, const Gradients &gradients) {
  std::string bytes;
  append(bytes, loss);
  for (const auto &gradient : gradients) bytes.append(reinterpret_cast<const char *>(gradient.data()), gradient.size() * sizeof(float));
  return bytes;
}

// Loss and gradients of the whole batch.
Result<std::string> pass(const Trial &trial, const SharedRecord &record, const Way &way = {}) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial, record));
  Batch batch(trial.seed(), 0, kSequences, kLength, loss_scale(kSequences, kLength));
  Gradients gradients = passes->zero_gradients();
  TRAINHOST_TRY(const double loss, passes->train(batch, gradients, false, way));
  return bytes_of(loss, gradients);
}

Result<std::string> live(const Trial &trial, const SharedRecord &record) { return pass(trial, record); }

Result<> same_bits(const Trial &trial, const Way &way, const std::string &how) {
  TRAINHOST_TRY(const std::string once, pass(trial, std::make_shared<HostRecord>()));
  TRAINHOST_TRY(const std::string again, pass(trial, std::make_shared<HostRecord>(), way));
  if (once != again) return broken(how + " the loss or a gradient has other bits");
  return {};
}

Result<> recomputes(const Trial &trial) { return same_bits(trial, {.recompute = true}, "with every unit recomputed"); }
Result<> moves(const Trial &trial) { return same_bits(trial, {.move = true}, "with parameters that move between forward and backward"); }

// Sqrt of the sum of squares, over all parameters.
double norm_of(const Gradients &gradients) {
  double sum = 0;
  for (const auto &gradient : gradients) {
    for (const float value : gradient.items()) sum += double{value} * double{value};
  }
  return std::sqrt(sum);
}

// The loss at parameters + t direction, with dropout and the like as in training.
Result<double> loss_along(Passes &passes, const Trial &trial, const std::vector<std::vector<float>> &origin, const Gradients &direction,
                          double t) {
  for (size_t i = 0; i < origin.size(); ++i) {
    auto &parameter = passes.parameters()[i];
    parameter.memory().allow_writing(true);
    for (size_t j = 0; j < origin[i].size(); ++j)
      parameter.items()[j] = static_cast<float>(double{origin[i][j]} + t * double{direction[i].items()[j]});
  }
  Batch batch(trial.seed(), 0, kSequences, kLength, loss_scale(kSequences, kLength));
  Gradients unused = passes.zero_gradients();
  TRAINHOST_TRY([[maybe_unused]] const double loss, passes.train(batch, unused, false, {.token_losses = true}));
  double sum = 0;  // the single losses in double precision have less noise than their sum in float32
  for (size_t row = 0; row < batch.rows(); ++row) sum += row % kLength == kLength - 1 ? 0 : double{batch.token_losses()[row]};
  return sum * loss_scale(kSequences, kLength);
}

// Central differences along directions: (L(t) - L(-t)) / 2t, with the error's leading term removed by halving t (Richardson).
Result<> differences(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  Batch batch(trial.seed(), 0, kSequences, kLength, loss_scale(kSequences, kLength));
  Gradients gradients = passes->zero_gradients();
  TRAINHOST_CHECK(passes->train(batch, gradients, false));
  std::vector<std::vector<float>> origin;
  for (const auto &parameter : passes->parameters()) origin.emplace_back(parameter.items().begin(), parameter.items().end());
  const double whole = norm_of(gradients);
  if (!(whole > 0)) return broken(fmt::format("the norm of all gradients is {}", whole));
  for (size_t i = 0; i < gradients.size(); ++i) {
    const std::string parameter(view(passes->model().parameters()[i].name));
    Gradients direction = passes->zero_gradients();
    double slope = 0, length = 0;
    for (size_t j = 0; j < direction[i].size(); ++j) {
      const double g = double{gradients[i].items()[j]};
      // Mostly along the gradient, where the slope is steepest, and somewhat across.
      const double along = g + 0.3 * whole / std::sqrt(static_cast<double>(direction[i].size())) *
                                   (random_uniform(trial.seed(), kDirectionStream + i, j) - 0.5);
      direction[i].items()[j] = static_cast<float>(along);
      slope += g * double{direction[i].items()[j]};
      length += along * along;
    }
    length = std::sqrt(length);
    const double t = 0.03 / std::max(whole, length) / std::max(length, 1e-30) * length;
    doing(fmt::format("losses along a direction of parameter \"{}\"", parameter));
    std::array<double, 2> estimates{};
    for (size_t half = 0; half < 2; ++half) {
      const double step = t / (half + 1.0);
      TRAINHOST_TRY(const double above, loss_along(*passes, trial, origin, direction, step));
      TRAINHOST_TRY(const double below, loss_along(*passes, trial, origin, direction, -step));
      estimates[half] = (above - below) / (2 * step);
    }
    const double measured = (4 * estimates[1] - estimates[0]) / 3, noise = 2e-6 / t;
    if (std::abs(measured - slope) > 0.02 * std::abs(slope) + noise) {
      return broken(fmt::format("parameter \"{}\": along a direction the loss changes by {:.6g}, but the gradient says {:.6g}", parameter,
                                measured, slope));
    }
  }
  return {};
}

Result<> close(double found, double expected, double scale, const std::string &what) {
  if (std::abs(found - expected) <= 2e-5 * scale) return {};
  return broken(fmt::format("{} is {:.9g}, expected {:.9g}", what, found, expected));
}

Result<> close(const Gradients &found, const Gradients &expected, const Model &model, const std::string &how) {
  const double scale = norm_of(expected);
  for (size_t i = 0; i < found.size(); ++i) {
    for (size_t j = 0; j < found[i].size(); ++j)
      TRAINHOST_CHECK(close(double{found[i].items()[j]}, double{expected[i].items()[j]}, scale,
                            fmt::format("{} the gradient of \"{}\"[{}]", how, view(model.parameters()[i].name), j)));
  }
  return {};
}

// The same sequences one at a time, adding.
Result<> cut_into_micro_batches(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  const double scale = loss_scale(kSequences, kLength);
  Batch whole(trial.seed(), 0, kSequences, kLength, scale);
  Gradients expected = passes->zero_gradients(), found = passes->zero_gradients();
  TRAINHOST_TRY(const double loss, passes->train(whole, expected, false));
  TRAINHOST_TRY(const double evaluated, passes->evaluate(whole));
  double sum = 0, evaluated_sum = 0;
  for (uint32_t s = 0; s < kSequences; ++s) {
    Batch one(trial.seed(), s, 1, kLength, scale);
    TRAINHOST_TRY(const double part, passes->train(one, found, s > 0));
    TRAINHOST_TRY(const double evaluated_part, passes->evaluate(one));
    sum += part;
    evaluated_sum += evaluated_part;
  }
  TRAINHOST_CHECK(
      close(evaluated_sum, evaluated, std::abs(evaluated), "cut into micro-batches of one sequence, the loss of an evaluation"));
  if (loss != evaluated) return {};  // it draws random numbers in training, for each micro-batch its own
  TRAINHOST_CHECK(close(sum, loss, std::abs(loss), "cut into micro-batches of one sequence, the loss"));
  return close(found, expected, passes->model(), "cut into micro-batches of one sequence,");
}

// Token losses sum to the loss; what has weight 0 does not count in the gradients.
Result<> losses(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  const double scale = loss_scale(kSequences, kLength);
  Batch batch(trial.seed(), 0, kSequences, kLength, scale);
  TRAINHOST_TRY(const double loss, passes->evaluate(batch, true));
  double sum = 0;
  for (size_t row = 0; row < batch.rows(); ++row) sum += row % kLength == kLength - 1 ? 0 : double{batch.token_losses()[row]};
  TRAINHOST_CHECK(close(loss, sum * scale, std::abs(loss), "the loss"));
  Gradients expected = passes->zero_gradients(), found = passes->zero_gradients();
  Batch first(trial.seed(), 0, kSequences, kLength, scale), second(trial.seed(), 0, kSequences, kLength, scale);
  for (size_t row = kLength - 1; row < second.rows(); row += kLength) second.targets()[row] = (second.targets()[row] + 1) % kVocabulary;
  TRAINHOST_CHECK(passes->train(first, expected, false));
  TRAINHOST_CHECK(passes->train(second, found, false));
  return close(found, expected, passes->model(), "with another target at a token of weight 0,");
}

// A model that looks back at most sees, in the second document of each sequence, nothing of the first; and never the tokens to come.
Result<> documents(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  const auto losses_with = [&](uint32_t changed) -> Result<std::vector<float>> {
    Batch batch(trial.seed(), 0, 1, kLength, 1);
    if (changed < kLength) batch.tokens()[changed] = (batch.tokens()[changed] + 1) % kVocabulary;
    TRAINHOST_CHECK(passes->evaluate(batch, true));
    return std::vector<float>(batch.token_losses().begin(), batch.token_losses().end());
  };
  const uint32_t middle = Batch::middle(kLength);
  TRAINHOST_TRY(const auto expected, losses_with(kLength));
  for (const uint32_t changed : {0u, middle - 1, middle, kLength - 1}) {
    TRAINHOST_TRY(const auto found, losses_with(changed));
    for (uint32_t t = 0; t < kLength; ++t) {
      const bool may_see = t >= changed && (t < middle) == (changed < middle);
      if (!may_see && std::abs(found[t] - expected[t]) > 1e-5f * std::abs(expected[t]))
        return broken(fmt::format("the loss of token {} depends on token {}, which {}", t, changed,
                                  t < changed ? "comes after it" : "is of another document"));
    }
  }
  return {};
}

Result<> two_calls(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  const double scale = loss_scale(kSequences, kLength);
  Batch first(trial.seed(), 0, kSequences, kLength, scale), second(trial.seed(), 0, kSequences, kLength, scale);
  Gradients expected = passes->zero_gradients(), found = passes->zero_gradients();
  TRAINHOST_TRY(const double loss, passes->train(first, expected, false));
  TRAINHOST_TRY(const double by_two, passes->train(second, found, false, {.two_calls = true}));
  TRAINHOST_CHECK(close(by_two, loss, std::abs(loss), "by forward and backward of the last unit, the loss"));
  return close(found, expected, passes->model(), "by forward and backward of the last unit,");
}

Result<> shapes(const Trial &trial) {
  for (const auto &[sequences, length] : {std::pair{1u, 1u}, std::pair{1u, kLength}, std::pair{7u, 1u}, std::pair{3u, 5u}}) {
    TRAINHOST_TRY(const auto passes, Passes::create(trial));
    Batch batch(trial.seed(), 0, sequences, length, loss_scale(sequences, length));
    Gradients gradients = passes->zero_gradients();
    TRAINHOST_TRY(const double loss, passes->train(batch, gradients, false));
    if (!std::isfinite(loss) || !std::isfinite(norm_of(gradients)))
      return broken(fmt::format("with {} sequences of {} tokens loss or gradients are not finite", sequences, length));
  }
  return {};
}

Result<> memory_as_told(const Trial &trial) {
  const auto record = std::make_shared<HostRecord>();
  TRAINHOST_TRY(const auto passes, Passes::create(trial, record));
  const Model &model = passes->model();
  if (!model.tells_memory()) return not_concerned("it has no extension th.model.memory/1");
  uint64_t saved = 0, working = 0;
  for (uint32_t unit = 0; unit <= passes->last(); ++unit) {
    doing(fmt::format("unit_memory of unit {}", unit));
    TRAINHOST_TRY(const auto memory, model.unit_memory(unit, true, true, kSequences, kLength));
    saved += unit < passes->last() ? memory.saved : 0;
    working = std::max({working, memory.forward, memory.backward + (unit == passes->last() ? memory.saved : 0)});
  }
  const uint64_t before = record->bytes_in_use();
  record->restart_peak();
  Batch batch(trial.seed(), 0, kSequences, kLength, loss_scale(kSequences, kLength));
  Gradients gradients = passes->zero_gradients();
  TRAINHOST_CHECK(passes->train(batch, gradients, false));
  const uint64_t taken = record->peak_bytes() - before;
  if (taken > saved + working) return broken(fmt::format("it took {} bytes of the host at once, but tells of {}", taken, saved + working));
  return {};
}

constexpr std::array kRules{
    Rule{"TH-MOD-01", "gradients agree with finite differences of the loss, for every parameter", differences},
    Rule{"TH-MOD-02", "recomputed units give the same loss and gradients, bit for bit", recomputes},
    Rule{"TH-MOD-03", "under TH_KEEP_DURING_CALL backward does not look where the parameters were in forward", moves},
    Rule{"TH-MOD-04", "loss and gradients do not depend on how a batch is cut into micro-batches, and are added where asked",
         cut_into_micro_batches},
    Rule{"TH-MOD-05", "token losses sum to the loss, and tokens of weight 0 do not count", losses},
    Rule{"TH-MOD-06", "a token's loss depends on its own document up to itself only", documents},
    Rule{"TH-MOD-07", "loss_and_backward is the last unit's forward and backward", two_calls},
    Rule{"TH-MOD-08", "works for a single token, for one sequence and for many", shapes},
    Rule{"TH-MOD-09", "takes no more memory of the host than th.model.memory/1 tells", memory_as_told},
};
constexpr KindRules kKind{kRules, live};

}  // namespace

const KindRules &model_rules() { return kKind; }

}  // namespace trainhost::validator
