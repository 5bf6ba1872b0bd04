// A19: what a deeper model computes whose further layers are copies.
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "checkpoint/deepen.h"
#include "support/faulty_file_system.h"
#include "unit/checkpoint/small_run.h"
#include "unit/models/small_minicpm.h"

namespace trainhost {
namespace {

class DeepenedMinicpm : public testing::Test {
 protected:
  static constexpr int64_t kLayers = 3;
  static constexpr double kScaleDepth = 1.4;

  static ModelRunner runner(int64_t layers, double scale_depth) {
    auto parameters = kSmall;
    parameters["layers"] = layers;
    parameters["scale_depth"] = scale_depth;
    return ModelRunner("minicpm", parameters, {.vocabulary = kVocabulary, .sequence_length = 72, .tokens = kRows});
  }

  static std::vector<NamedTensor> tensors(ModelRunner &model) {
    std::vector<NamedTensor> result;
    for (size_t i = 0; i < model.parameter_count(); ++i) {
      const th_parameter_info &info = model.model().parameters()[i];
      result.push_back({.name = "model." + model.name(i), .shape = {info.shape, info.shape + info.rank}, .values = model.parameter(i)});
    }
    return result;
  }

  DeepenedMinicpm() {
    CheckpointContents contents = SmallRun(1).contents();
    contents.tensors = tensors(original_);
    EXPECT_TRUE(open_alone(files_, "/run")->save(contents));
  }

  // The logits of the model that is as much deeper, with copies of layers [begin, end).
  std::vector<float> logits(const Deepening &deepening, double scale_depth) {
    const StoredTensors stored = *StoredTensors::open(files_, "/run/step-000000001", LoadScope::kEverything);
    const auto made = *deepen(stored, *find_layers(stored, "/run"), deepening);
    EXPECT_TRUE(files_.remove_all("/deeper"));
    EXPECT_TRUE(files_.create_directories("/deeper"));
    EXPECT_TRUE(write_made_checkpoint(files_, "/deeper", stored.manifest(), made, [](uint64_t, uint64_t) {}));
    ModelRunner deeper = runner(kLayers + static_cast<int64_t>(deepening.copies()), scale_depth);
    auto wanted = tensors(deeper);
    const auto loaded = CheckpointDirectory::view(files_, "/deeper")->load_newest(wanted, {});
    EXPECT_TRUE(loaded) << loaded.error().message;
    TokenBatch batch = some_documents();
    return deeper.logits(batch);
  }

  bool same(const std::vector<float> &logits) {
    TokenBatch batch = some_documents();
    const auto expected = original_.logits(batch);
    return logits.size() == expected.size() && std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)) == 0;
  }

  ModelRunner original_ = runner(kLayers, kScaleDepth);
  FaultyFileSystem files_;
};

const std::vector<std::string> kOutputs{"attention.out.weight", "feed_forward.down.weight"};

TEST_F(DeepenedMinicpm, KeepsEveryBitOfTheLogitsWhenTheCopiesGiveNothing) {
  for (const auto &[begin, end] : {std::pair(0, 3), std::pair(1, 3), std::pair(1, 2)}) {
    const Deepening deepening{.begin = static_cast<uint64_t>(begin), .end = static_cast<uint64_t>(end), .zeroed = kOutputs};
    const double scale_depth = kScaleDepth * std::sqrt(static_cast<double>(kLayers + end - begin) / kLayers);
    EXPECT_TRUE(same(logits(deepening, scale_depth))) << "layers " << begin << "-" << end;
  }
}

// What makes it so: outputs of zero, of both parts, and the old factor before what a part adds.
TEST_F(DeepenedMinicpm, ComputesSomethingElseOtherwise) {
  const double scale_depth = kScaleDepth * std::sqrt(5.0 / 3);
  EXPECT_FALSE(same(logits({.begin = 1, .end = 3, .zeroed = {}}, scale_depth)));
  EXPECT_FALSE(same(logits({.begin = 1, .end = 3, .zeroed = {kOutputs[0]}}, scale_depth)));
  EXPECT_FALSE(same(logits({.begin = 1, .end = 3, .zeroed = kOutputs}, kScaleDepth)));
}

}  // namespace
}  // namespace trainhost
