// A33: where wcsd raises the learning rate again, the loss rises with it; the spike guard takes that for no spike, but a bad batch for one.
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "plugin_host/adapters/lr_scheduler.h"
#include "support/plugin_under_test.h"
#include "train/train_step.h"

namespace trainhost {
namespace {

constexpr uint32_t kVocabulary = 16, kLength = 32, kSequences = 8;
constexpr uint64_t kSteps = 1000, kRise = 360, kRiseSteps = 40;  // the wave of 400 steps ends half way, after a warm-up of 160

TokenAxis axis_of_run() {
  Recipe recipe;
  recipe.run.tokens = kSteps * kSequences * kLength;
  recipe.training.batch = Batch::constant(kSequences * kLength);
  recipe.packing.sequence_length = kLength;
  recipe.phases.push_back({.name = "all", .until = {}, .overrides = {}, .position = {}});
  return TokenAxis(recipe);
}

th_model_options options() {
  th_model_options options{};
  options.struct_size = sizeof options;
  options.vocabulary_size = kVocabulary;
  options.device_type = TH_DEVICE_CPU;
  options.compute_code = TH_DTYPE_FLOAT;
  options.compute_bits = 32;
  options.sequence_length = kLength;
  options.tokens = kSequences * kLength;
  return options;
}

// Text in which three of four tokens are followed by the next one, and the fourth by any; of a bad batch all by the one before.
TokenBatch batch_of(uint64_t step, bool bad) {
  TokenBatch batch;
  batch.sequences = kSequences;
  batch.sequence_length = kLength;
  for (uint32_t i = 0; i < kSequences * kLength; ++i) {
    const uint64_t bits = random_bits(5, step, i), token = bits % kVocabulary, any = (bits >> 8) % kVocabulary;
    const uint64_t next = (bits >> 16) % 4 > 0 ? token + 1 : any;
    batch.tokens.push_back(static_cast<int32_t>(token));
    batch.targets.push_back(static_cast<int32_t>((bad ? token + kVocabulary - 1 : next) % kVocabulary));
    batch.loss_weights.push_back(1);
    batch.positions.push_back(static_cast<int32_t>(i % kLength));
  }
  for (uint32_t i = 0; i <= kSequences; ++i) batch.document_starts.push_back(static_cast<int32_t>(i * kLength));
  return batch;
}

class SpikesOnTheRise : public testing::Test {
 protected:
  SpikesOnTheRise() { parameters.initialise(3); }

  // A run up to `end`; the batch of step `bad` is a bad one.
  std::vector<TrainStep::Report> train(uint64_t end, uint64_t bad = kSteps) {
    TrainStep step(runner, parameters, gradients, settings, 1);
    TrainState state;
    std::vector<TrainStep::Report> reports;
    for (uint64_t i = 0; i < end; ++i) {
      const auto values = schedule->values(axis.progress(i));
      reports.push_back(step.run({.step = i, .micro_batches = {batch_of(i, i == bad)}}, *optimizer, values.value(), state).value());
    }
    return reports;
  }

  double rate(uint64_t step) const { return schedule->values(axis.progress(step))->learning_rate; }

  const TokenAxis axis = axis_of_run();
  const std::unique_ptr<LrScheduler> schedule = *LrScheduler::create(plugin_under_test(PluginKind::kLrScheduler, "wcsd",
                                                                                       {{"peak_lr", 20.0},
                                                                                        {"warmup", std::string("160 steps")},
                                                                                        {"period", std::string("400 steps")},
                                                                                        {"trough", 0.01},
                                                                                        {"rise", std::string("40 steps")}},
                                                                                       &axis),
                                                                     axis.progress(0));
  const std::unique_ptr<Optimizer> optimizer = *Optimizer::create(plugin_under_test(PluginKind::kOptimizer, "sgd"));
  const std::unique_ptr<ProcessGroup> process = single_process();
  const std::unique_ptr<Model> model = *Model::create(plugin_under_test(PluginKind::kModel, "bigram"), options());
  ParameterStore parameters = *ParameterStore::create(*model, optimizer.get(), unspread(*model, *process));
  GradientStore gradients{*model, parameters, Reduction::kFast};
  ModelRunner runner{{.model = *model, .parameters = parameters, .gradients = &gradients, .recomputed = {}}};
  Recipe::Training settings;
};

double mean_loss(const std::vector<TrainStep::Report> &reports, uint64_t begin, uint64_t end) {
  double sum = 0;
  for (uint64_t i = begin; i < end; ++i) sum += reports[i].loss;
  return sum / static_cast<double>(end - begin);
}

TEST_F(SpikesOnTheRise, A33APlannedRiseIsNone) {
  settings.gradient_clip = 0;
  EXPECT_GT(rate(kRise + kRiseSteps), 50 * rate(kRise));
  const auto reports = train(kRise + 3 * kRiseSteps);
  const double before = mean_loss(reports, kRise - kRiseSteps, kRise), after = mean_loss(reports, kRise + kRiseSteps, reports.size());
  EXPECT_GT(after, before + 0.1) << "the loss rises";
  for (uint64_t i = kRise; i < reports.size(); ++i) EXPECT_EQ(reports[i].outcome, TrainStep::Outcome::kUpdated) << i << reports[i].reason;
}

TEST_F(SpikesOnTheRise, A33ABadBatchIsOne) {
  settings.gradient_clip = 0;
  for (const uint64_t bad : {kRise + kRiseSteps / 2, kRise + kRiseSteps}) {
    parameters.initialise(3);
    const auto reports = train(bad + 10, bad);
    for (uint64_t i = kRise; i < reports.size(); ++i)
      EXPECT_EQ(reports[i].outcome, i == bad ? TrainStep::Outcome::kSpike : TrainStep::Outcome::kUpdated) << i << reports[i].reason;
  }
}

}  // namespace
}  // namespace trainhost
