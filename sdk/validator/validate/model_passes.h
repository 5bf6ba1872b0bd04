// Forward and backward of a model under validation, every buffer between forbidden pages. B sequences, T tokens each, R = B T rows, C width
// between units.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "plugin_host/adapters/model.h"
#include "validate/guarded_memory.h"
#include "validate/trial.h"

namespace trainhost::validator {

// What every model is tried with: vocabulary, T, B.
constexpr uint32_t kVocabulary = 64, kLength = 16, kSequences = 4;

// A micro-batch of some of the trial's sequences. In each the second document begins at its middle, and its last target does not count.
class Batch {
 public:
  // Sequences [first, first + sequences).
  Batch(uint64_t seed, uint32_t first, uint32_t sequences, uint32_t length, double loss_scale);
  Batch(const Batch &) = delete;
  Batch &operator=(const Batch &) = delete;

  size_t rows() const { return tokens_.size(); }
  const th_batch &get() const { return batch_; }
  std::span<int32_t> tokens() { return tokens_.items(); }
  std::span<int32_t> targets() { return targets_.items(); }
  std::span<const float> token_losses() const { return losses_.items(); }
  void without_token_losses() { batch_.token_losses.data = nullptr; }
  Result<> check() const;  // of what may have been written outside
  void forbid();           // nobody may look at it any more
  static uint32_t middle(uint32_t length) { return length > 2 ? length / 2 : length; }

 private:
  int64_t shape_[2];
  int64_t starts_shape_;
  GuardedArray<int32_t> tokens_, targets_;
  GuardedArray<float> weights_;
  GuardedArray<int32_t> positions_;
  GuardedArray<float> losses_;
  GuardedArray<int32_t> starts_;
  th_batch batch_{};
};

// For a step of so many sequences: 1 / (tokens that count).
double loss_scale(uint32_t sequences, uint32_t length);

// How a pass is done.
struct Way {
  bool recompute = false;     // every unit forward without keeping, and again before its backward
  bool move = false;          // parameters and inputs are elsewhere in backward, and where they were nobody may look
  bool two_calls = false;     // the last unit by forward and backward, also where it has loss_and_backward
  bool token_losses = false;  // asked for
  bool forbid = false;        // afterwards nobody may look at the activations any more
};

using Gradients = std::vector<GuardedArray<float>>;  // per parameter

class Passes {
 public:
  // With parameters as their infos begin them.
  static Result<std::unique_ptr<Passes>> create(const Trial &trial, const SharedRecord &record = std::make_shared<HostRecord>());

  Model &model() { return *model_; }
  std::vector<GuardedArray<float>> &parameters() { return parameters_; }
  Gradients zero_gradients() const;
  uint32_t last() const { return static_cast<uint32_t>(model_->units().size()) - 1; }

  // The same values at other addresses; what was there before cannot be read any more.
  void move_parameters();
  void move(GuardedArray<float> &array);

  // Loss and gradients, which are added to where add is true.
  Result<double> train(Batch &batch, Gradients &gradients, bool add, const Way &way = {});
  // The loss with training = 0.
  Result<double> evaluate(Batch &batch, bool token_losses = false);
  // Of rows of the batch, [rows, kVocabulary]. The model must have th.model.logits/1.
  Result<std::vector<float>> logits(const Batch &batch, std::span<const int32_t> rows);

 private:
  using Outputs = std::vector<GuardedArray<float>>;  // per unit
  struct Pass;                                       // one that is under way

  explicit Passes(const Trial &trial) : trial_(trial) {}
  void add(const th_parameter_info &info);
  uint64_t width(uint32_t unit) const { return unit == 0 ? 0 : model_->units()[unit - 1].output_width; }  // of its input
  th_call call_of(uint32_t unit, int32_t training, bool keep, const Way &way) const;
  std::vector<th_tensor> views(uint32_t unit);
  std::pair<std::vector<th_tensor>, std::vector<uint32_t>> targets(uint32_t unit, Pass &pass);
  Result<Outputs> hidden(const Batch &batch, const th_call &call);
  Result<> check_finite(const Pass &pass) const;
  Result<> run_forward(uint32_t unit, const Batch &batch, Outputs &outputs, const th_call &call, th_saved *&saved);
  Result<> forward(uint32_t unit, Pass &pass, bool keep);
  Result<> recompute(uint32_t unit, Pass &pass);
  Result<> loss_and_backward(Pass &pass);
  Result<> backward(uint32_t unit, Pass &pass);

  const Trial &trial_;
  std::unique_ptr<Model> model_;
  std::vector<GuardedArray<float>> parameters_, gone_;
};

}  // namespace trainhost::validator
