// One step with the bigram model and SGD, against closed forms.
#include "train/train_step.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "support/fixture_plugin.h"
#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

constexpr uint32_t kVocabulary = 5;

th_model_options options() {
  th_model_options options{};
  options.struct_size = sizeof options;
  options.vocabulary_size = kVocabulary;
  options.device_type = TH_DEVICE_CPU;
  options.compute_code = TH_DTYPE_FLOAT;
  options.compute_bits = 32;
  options.sequence_length = 4;
  options.tokens = 8;
  return options;
}

TokenBatch batch_of(std::vector<int32_t> tokens, std::vector<int32_t> targets, std::vector<float> weights) {
  TokenBatch batch;
  batch.sequences = static_cast<uint32_t>(tokens.size() / 4);
  batch.sequence_length = 4;
  batch.tokens = std::move(tokens);
  batch.targets = std::move(targets);
  batch.loss_weights = std::move(weights);
  for (uint32_t i = 0; i < batch.sequences; ++i) {
    batch.document_starts.push_back(static_cast<int32_t>(4 * i));
    for (int32_t position = 0; position < 4; ++position) batch.positions.push_back(position);
  }
  batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
  return batch;
}

class TrainStepTest : public testing::Test {
 protected:
  TrainStepTest() {
    optimizer = *Optimizer::create(plugin_under_test(PluginKind::kOptimizer, "sgd"));
    use(plugin_under_test(PluginKind::kModel, "bigram"));
  }

  void use(std::unique_ptr<PluginInstance> plugin) {
    runner.reset();
    gradients.reset();
    parameters.reset();
    model = *Model::create(std::move(plugin), options());
    parameters.emplace(*ParameterStore::create(*model, optimizer.get(), unspread(*model, *process)));
    parameters->initialise(3);
    gradients.emplace(*model, *parameters, Reduction::kFast);
    runner.emplace(ModelRunner::Parts{.model = *model, .parameters = *parameters, .gradients = &*gradients, .recomputed = {}});
  }

  TrainStep::Report run(const StepBatch &batch, double learning_rate = 0) {
    TrainStep step(*runner, *parameters, *gradients, settings, 1);
    ScheduleValues schedule;
    schedule.learning_rate = learning_rate;
    schedule.momentum = std::numeric_limits<double>::quiet_NaN();
    auto report = step.run(batch, *optimizer, schedule, state);
    EXPECT_TRUE(report) << (report ? "" : report.error().message);
    return report ? *report : TrainStep::Report{};
  }

  std::vector<float> values() {
    std::vector<float> all;
    for (const NamedTensor &tensor : parameters->tensors_to_load()) std::ranges::copy(tensor.values.floats(), std::back_inserter(all));
    return all;
  }

  Recipe::Training settings;
  TrainState state;
  std::unique_ptr<Model> model;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<ProcessGroup> process = single_process();
  std::optional<ParameterStore> parameters;
  std::optional<GradientStore> gradients;
  std::optional<ModelRunner> runner;
};

const std::vector<int32_t> kTokens = {0, 1, 2, 3, 4, 3, 2, 1}, kTargets = {1, 2, 3, 4, 3, 2, 1, 0};
const std::vector<float> kWeights = {1, 1, 0, 1, 1, 1, 1, 0};

TEST_F(TrainStepTest, FreshModelWithEqualLogitsHasTheLossOfAUniformGuess) {
  for (const NamedTensor &tensor : parameters->tensors_to_load()) std::ranges::fill(tensor.values.floats(), 0.0f);
  EXPECT_NEAR(run({.step = 0, .micro_batches = {batch_of(kTokens, kTargets, kWeights)}}).loss, std::log(kVocabulary), 1e-6);
}

TEST_F(TrainStepTest, LossAndNormDoNotDependOnTheMicroBatches) {
  const auto one = run({.step = 0, .micro_batches = {batch_of(kTokens, kTargets, kWeights)}});
  const auto half = [](const auto &values, size_t which) {
    return std::vector(values.begin() + 4 * static_cast<long>(which), values.begin() + 4 * static_cast<long>(which) + 4);
  };
  const auto two = run({.step = 0,
                        .micro_batches = {batch_of(half(kTokens, 0), half(kTargets, 0), half(kWeights, 0)),
                                          batch_of(half(kTokens, 1), half(kTargets, 1), half(kWeights, 1))}});
  EXPECT_NEAR(two.loss / one.loss, 1, 1e-6);
  EXPECT_NEAR(two.gradient_norm / one.gradient_norm, 1, 1e-6);
}

// A round of three sources; the batch's two sequences are of the third and the first one.
class LossesOfSources : public TrainStepTest {
 protected:
  LossesOfSources() {
    state.mix = MixProgress{.round = {}, .mixer_state = {}, .losses = std::vector<double>(3), .tokens = std::vector<uint64_t>(3)};
    TokenBatch both = batch_of(kTokens, kTargets, kWeights);
    both.samples = {{.source = 2}, {.source = 0}};
    batch.micro_batches = {both};
  }
  StepBatch batch{.step = 0, .micro_batches = {}};
};

TEST_F(LossesOfSources, AreSummedOverTheTokensThatCount) {
  for (const NamedTensor &tensor : parameters->tensors_to_load()) std::ranges::fill(tensor.values.floats(), 0.0f);
  run(batch);
  run(batch);
  EXPECT_EQ(state.mix->tokens, (std::vector<uint64_t>{6, 0, 6}));
  EXPECT_NEAR(state.mix->losses[0], 6 * std::log(kVocabulary), 1e-5);
  EXPECT_EQ(state.mix->losses[1], 0);
  EXPECT_NEAR(state.mix->losses[2], 6 * std::log(kVocabulary), 1e-5);
}

TEST_F(LossesOfSources, AddUpToTheLossOfTheStep) {
  const double loss = run(batch).loss;
  EXPECT_NEAR((state.mix->losses[0] + state.mix->losses[2]) / 6, loss, 1e-6);
  EXPECT_GT(std::abs(state.mix->losses[0] - state.mix->losses[2]), 1e-3) << "the two sources are told apart";
}

TEST_F(LossesOfSources, CountInASpikeAndNotWhereTheyAreNotFinite) {
  for (int i = 0; i < 40; ++i) state.spikes.judge(i % 2 == 0 ? 1e-3 : 2e-3, 1e3);
  EXPECT_EQ(run(batch).outcome, TrainStep::Outcome::kSpike);
  EXPECT_EQ(state.mix->tokens, (std::vector<uint64_t>{3, 0, 3}));
  // The bigram's row of token 0 is in the first sequence only.
  const auto spoilt = parameters->tensors_to_load().front().values.floats();
  std::fill_n(spoilt.begin(), spoilt.size() / kVocabulary, std::numeric_limits<float>::quiet_NaN());
  const auto before = state.mix->losses;
  EXPECT_EQ(run(batch).outcome, TrainStep::Outcome::kNotFinite);
  EXPECT_EQ(state.mix->tokens, (std::vector<uint64_t>{6, 0, 3}));
  EXPECT_GT(state.mix->losses[0], before[0]);
  EXPECT_EQ(state.mix->losses[2], before[2]);
}

TEST_F(LossesOfSources, AreMissedWhereTheModelLeavesThemOut) {
  use(plugin_under_test(PluginKind::kModel, fixture_plugin("rule_breaking_model"), {{"breaks", std::string("token losses")}}));
  TrainStep step(*runner, *parameters, *gradients, settings, 1);
  const auto report = step.run(batch, *optimizer, {}, state);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, ErrorKind::kPluginContract);
  EXPECT_TRUE(report.error().message.starts_with("model plugin \"rule_breaking_model\" 0.1.0 (")) << report.error().message;
  EXPECT_NE(report.error().message.find("but left the token loss at 0 of 8 at nan"), std::string::npos) << report.error().message;
  state.mix.reset();
  EXPECT_TRUE(step.run(batch, *optimizer, {}, state)) << "nobody asks for them";
}

TEST_F(TrainStepTest, ClipsTheUpdateToTheGivenNorm) {
  settings.gradient_clip = 1e-3;
  const auto before = values();
  const auto report = run({.step = 0, .micro_batches = {batch_of(kTokens, kTargets, kWeights)}}, 1.0);
  EXPECT_GT(report.gradient_norm, 1e-3);
  const auto after = values();
  double squares = 0;
  for (size_t i = 0; i < before.size(); ++i) squares += std::pow(double{after[i]} - before[i], 2);
  EXPECT_NEAR(std::sqrt(squares), 1e-3, 1e-6);
}

TEST_F(TrainStepTest, ANumberThatIsNotFiniteLeavesEverythingUntouched) {
  auto tensors = parameters->tensors_to_load();
  tensors.front().values.floats()[0] = std::numeric_limits<float>::infinity();
  const auto before = values();
  const auto report = run({.step = 0, .micro_batches = {batch_of(kTokens, kTargets, kWeights)}}, 1.0);
  EXPECT_EQ(report.outcome, TrainStep::Outcome::kNotFinite);
  EXPECT_TRUE(report.reason.starts_with("loss nan and gradient norm nan are not both finite, since update of optimizer plugin \"sgd\""))
      << report.reason;
  EXPECT_EQ(state.updates, 0u);
  EXPECT_EQ(values(), before);
}

TEST_F(TrainStepTest, ASpikeMakesNoUpdate) {
  const StepBatch batch{.step = 0, .micro_batches = {batch_of(kTokens, kTargets, kWeights)}};
  for (int i = 0; i < 40; ++i) state.spikes.judge(i % 2 == 0 ? 1e-3 : 2e-3, 1e3);
  const auto before = values();
  EXPECT_EQ(run(batch, 1.0).outcome, TrainStep::Outcome::kSpike);
  EXPECT_EQ(values(), before);
  settings.on_spike = "continue";
  EXPECT_EQ(run(batch, 1.0).outcome, TrainStep::Outcome::kUpdated);
  EXPECT_NE(values(), before);
}

TEST_F(TrainStepTest, LearnsABigramByHeart) {
  const StepBatch batch{.step = 0, .micro_batches = {batch_of({0, 1, 2, 3}, {1, 2, 3, 4}, {1, 1, 1, 1})}};
  settings.gradient_clip = 0;
  const double first = run(batch, 1.0).loss;
  double last = first;
  for (int i = 0; i < 2000; ++i) last = run(batch, 1.0).loss;
  EXPECT_LT(last, 0.05);
}

}  // namespace
}  // namespace trainhost
