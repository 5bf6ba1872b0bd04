// Blocks of a small minicpm, with useless ones planted among them.
#include "evaluate/layer_probe.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "evaluate/layer_cosine.h"
#include "support/plugin_under_test.h"
#include "support/thread_group.h"

namespace trainhost {
namespace {

constexpr uint32_t kVocabulary = 23, kLength = 8, kSequences = 4;

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

template <class Value>
Value unwrap(Result<Value> result) {
  if (!result) throw std::runtime_error(result.error().message);
  if constexpr (!std::is_void_v<Value>) return *std::move(result);
}

// The parts of a block are scaled by scale_depth / sqrt(layers).
std::unique_ptr<Model> model_of(int64_t layers, double init_std = 0.1) {
  return unwrap(Model::create(plugin_under_test(PluginKind::kModel, "minicpm",
                                                {{"layers", layers},
                                                 {"width", int64_t{12}},
                                                 {"heads", int64_t{2}},
                                                 {"feed_forward", int64_t{20}},
                                                 {"scale_depth", 0.8 * std::sqrt(static_cast<double>(layers))},
                                                 {"init_std", init_std}}),
                              options()));
}

class Subject {
 public:
  explicit Subject(int64_t layers, double init_std = 0.1) : model_(model_of(layers, init_std)) {
    parameters_.emplace(unwrap(ParameterStore::create(*model_, nullptr, unspread(*model_, *process_))));
    parameters_->initialise(3);
    runner_.emplace(ModelRunner::Parts{.model = *model_, .parameters = *parameters_, .gradients = nullptr, .recomputed = {}});
  }

  // What the block adds becomes so many times as much.
  void scale_output(int block, float by) {
    for (const std::string part : {"attention.out", "feed_forward.down"}) {
      for (float &value : values("model.block." + std::to_string(block) + "." + part + ".weight")) value *= by;
    }
  }
  // Takes over the parameters of another one, its blocks in the given order.
  void take(Subject &from, const std::vector<int> &blocks) {
    for (const NamedTensor &tensor : parameters_->tensors_to_load()) {
      std::string name = tensor.name;
      for (size_t i = 0; i < blocks.size(); ++i) {
        const std::string own = ".block." + std::to_string(i) + ".";
        if (const size_t at = tensor.name.find(own); at != std::string::npos)
          name = tensor.name.substr(0, at) + ".block." + std::to_string(blocks[i]) + "." + tensor.name.substr(at + own.size());
      }
      std::ranges::copy(from.values(name), tensor.values.floats().begin());
    }
  }
  std::vector<float> token_losses(const TokenBatch &batch, const ModelRunner::Probe &probe = {}) {
    std::vector<float> losses(batch.tokens.size());
    unwrap(runner_->token_losses(batch, losses, probe));
    return losses;
  }
  ModelRunner &runner() { return *runner_; }
  std::span<float> values(const std::string &name) {
    for (const NamedTensor &tensor : parameters_->tensors_to_load()) {
      if (tensor.name == name) return tensor.values.floats();
    }
    throw std::out_of_range("no " + name);
  }

 private:
  std::unique_ptr<Model> model_;
  std::unique_ptr<ProcessGroup> process_ = single_process();
  std::optional<ParameterStore> parameters_;
  std::optional<ModelRunner> runner_;
};

// Random tokens and targets; some do not count.
TokenBatch random_batch(uint64_t number) {
  TokenBatch batch;
  batch.sequences = kSequences;
  batch.sequence_length = kLength;
  for (uint32_t i = 0; i < kSequences * kLength; ++i) {
    batch.tokens.push_back(static_cast<int32_t>(random_bits(1, number, i) % kVocabulary));
    batch.targets.push_back(static_cast<int32_t>(random_bits(2, number, i) % kVocabulary));
    batch.loss_weights.push_back(random_bits(3, number, i) % 5 == 0 ? 0.0f : 1.0f);
    batch.positions.push_back(static_cast<int32_t>(i % kLength));
    if (i % kLength == 0) batch.document_starts.push_back(static_cast<int32_t>(i));
  }
  batch.document_starts.push_back(kSequences * kLength);
  return batch;
}

std::vector<TokenBatch> random_batches(uint64_t first, uint64_t count) {
  std::vector<TokenBatch> batches;
  for (uint64_t i = 0; i < count; ++i) batches.push_back(random_batch(first + i));
  return batches;
}

LayerProbe probe(Subject &subject, const std::vector<HeldOutSource> &sources) {
  const std::vector<uint32_t> bytes(kVocabulary, 1);
  const std::atomic<bool> stop = false;
  std::vector<HeldOutLosses> whole;
  for (const HeldOutSource &source : sources) whole.push_back(unwrap(held_out_losses(subject.runner(), source, bytes, stop)));
  return unwrap(probe_layers(subject.runner(), sources, whole, bytes, stop, [](uint64_t, uint64_t) {}));
}

TEST(LayerCosine, IsOneOfABlockThatChangesNothing_A19) {
  Subject subject(3);
  subject.scale_output(1, 0);
  const auto cosines = unwrap(layer_cosines(subject.runner(), random_batches(1, 3)));
  ASSERT_EQ(cosines.size(), 3u);
  EXPECT_NEAR(cosines[1], 1, 1e-6);
  for (const size_t other : {0, 2}) EXPECT_LT(cosines[other], 1 - 1e-3);
}

// Against the angle between the unit vectors: cos(a, b) = 1 - |a/|a| - b/|b||^2 / 2.
TEST(LayerCosine, IsTheMeanOverTheTokensThatCount) {
  Subject subject(2);
  const TokenBatch batch = random_batch(1);
  std::vector<std::vector<float>> outputs;
  subject.token_losses(batch, {.without = {}, .watch = [&](uint32_t, std::span<const float> output) {
                                 outputs.emplace_back(output.begin(), output.end());
                               }});
  ASSERT_EQ(outputs.size(), 3u);  // the embedding and the blocks
  const auto cosines = unwrap(layer_cosines(subject.runner(), {&batch, 1}));
  const size_t width = outputs[0].size() / batch.tokens.size();
  for (size_t block = 0; block < 2; ++block) {
    double sum = 0, count = 0;
    for (size_t row = 0; row < batch.tokens.size(); ++row) {
      if (batch.loss_weights[row] == 0) continue;
      const float *const a = outputs[block].data() + row * width, *const b = outputs[block + 1].data() + row * width;
      double norm_a = 0, norm_b = 0, distance = 0;
      for (size_t i = 0; i < width; ++i) norm_a = std::hypot(norm_a, a[i]), norm_b = std::hypot(norm_b, b[i]);
      for (size_t i = 0; i < width; ++i) distance = std::hypot(distance, a[i] / norm_a - b[i] / norm_b);
      sum += 1 - distance * distance / 2;
      ++count;
    }
    EXPECT_NEAR(cosines[block], sum / count, 1e-12);
  }
}

// A model without its middle block is the model of the other two.
TEST(LeftOutBlock, LeavesTheModelOfTheOthers) {
  Subject three(3), two(2);
  two.take(three, {0, 2});
  const TokenBatch batch = random_batch(1);
  const auto expected = two.token_losses(batch), found = three.token_losses(batch, {.without = 2, .watch = {}});
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5);
  EXPECT_NE(found, three.token_losses(batch));
}

// Of a model that guesses about evenly, chance alone says whether noise helps or harms on random text: so in draw after draw of the text it
// is found within one sigma of zero as often as a normal variable is.
TEST(LayerProbe, FindsNoiseUseless_A20) {
  Subject subject(3, 0.01);
  subject.scale_output(1, 0.1f);
  constexpr int kDraws = 60;
  int within = 0;
  for (uint64_t draw = 0; draw < kDraws; ++draw) {
    const LayerProbe found = probe(subject, {{"a", random_batches(100 * draw, 3)}, {"b", random_batches(100 * draw + 50, 2)}});
    ASSERT_EQ(found.blocks.size(), 3u);
    const PairedDifference change = found.blocks[1].change;
    EXPECT_GT(change.sigma, 0);
    within += std::abs(change.mean) < change.sigma ? 1 : 0;
  }
  EXPECT_NEAR(within, 0.68 * kDraws, 3 * std::sqrt(0.68 * 0.32 * kDraws));
}

TEST(LayerProbe, CutsTheWindowsIntoThirdsByTheirLoss_A20) {
  Subject subject(2);
  const LayerProbe found = probe(subject, {{"a", random_batches(1, 4)}, {"b", random_batches(50, 1)}});
  EXPECT_EQ(found.all.windows, 5 * kSequences);
  EXPECT_EQ(found.by_difficulty[0].windows, 7u);
  EXPECT_EQ(found.by_difficulty[1].windows, 7u);
  EXPECT_EQ(found.by_difficulty[2].windows, 6u);
  EXPECT_LT(found.by_difficulty[0].loss_per_token, found.by_difficulty[1].loss_per_token);
  EXPECT_LT(found.by_difficulty[1].loss_per_token, found.by_difficulty[2].loss_per_token);
}

// Those of the thirds, weighted by their tokens, are that of all; here all tokens count, in windows of one length.
TEST(LayerProbe, ThirdsMakeUpTheWhole) {
  Subject subject(2);
  std::vector<TokenBatch> batches = random_batches(1, 3);
  for (TokenBatch &batch : batches) std::ranges::fill(batch.loss_weights, 1.0f);
  const LayerProbe found = probe(subject, {{"a", batches}});
  for (const ProbedBlock &block : found.blocks) {
    const auto &[easy, middle, hard] = block.change_by_difficulty;
    EXPECT_NEAR(block.change.mean, (easy.mean + middle.mean + hard.mean) / 3, 1e-12);
    EXPECT_NE(easy.mean, hard.mean);
  }
}

TEST(LayerProbe, CorrelatesCosineWithChange_A20) {
  Subject subject(2);
  const LayerProbe found = probe(subject, {{"a", random_batches(1, 3)}});
  const bool same_order = (found.blocks[0].cosine < found.blocks[1].cosine) == (found.blocks[0].change.mean < found.blocks[1].change.mean);
  EXPECT_NEAR(found.rank_correlation, same_order ? 1 : -1, 1e-12);
}

TEST(LayerProbe, NeedsABlock) {
  const auto model =
      unwrap(Model::create(plugin_under_test(PluginKind::kModel, "bigram"), options()));  // nothing between embedding and head
  EXPECT_TRUE(blocks_of(*model).empty());
}

// On each of four ranks, in two pipelines of two stages.
void on_pipelines(const std::function<void(ModelRunner &)> &body) {
  std::mutex mutex;
  test::run_ranks(4, [&](ProcessGroup &world) {
    std::unique_ptr<Model> model;
    {
      const std::lock_guard lock(mutex);  // a process loads its plugins one after the other
      model = model_of(3);
    }
    const StageGroups groups = unwrap(StageGroups::split(world, 2));
    ParameterStore parameters = unwrap(ParameterStore::create(*model, nullptr, unwrap(groups.spread(*model, Sharding::kNone))));
    parameters.initialise(3);
    ModelRunner runner({.model = *model, .parameters = parameters, .gradients = nullptr, .recomputed = {}});
    body(runner);
  });
}

// Each stage of a pipeline sees its own blocks.
TEST(LayerCosine, IsTheSameBitsOverPipelineStages) {
  Subject whole(3);
  const std::vector<TokenBatch> batches = random_batches(1, 2);
  const auto expected = unwrap(layer_cosines(whole.runner(), batches));
  on_pipelines([&](ModelRunner &runner) { EXPECT_EQ(unwrap(layer_cosines(runner, batches)), expected); });
}

// Of which one of the pipelines runs the first batch; where it is the only one the other runs it too.
TEST(LayerCosine, OfAnEvaluationIsThatOfItsFirstBatch) {
  Subject whole(3);
  const TokenBatch first = random_batch(1);
  const auto expected = unwrap(layer_cosines(whole.runner(), {&first, 1}));
  const std::vector<uint32_t> bytes(kVocabulary, 1);
  const std::atomic<bool> stop = false;
  on_pipelines([&](ModelRunner &runner) {
    for (const std::vector<TokenBatch> &batches :
         {std::vector{first}, {first, random_batch(2)}, {first, random_batch(2), random_batch(3)}}) {
      LayerCosines cosines(runner.model());
      unwrap(held_out_losses(runner, {"a", batches}, bytes, stop, {.without = {}, .watch = cosines.watch(first)}));
      EXPECT_EQ(unwrap(cosines.means(*runner.spread().world, first.weight())), expected) << batches.size();
    }
  });
}

}  // namespace
}  // namespace trainhost
