#include "checkpoint/deepen.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/faulty_file_system.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {
namespace {

using testing::HasSubstr;

// A checkpoint of tensors of one element, which is their number in the list, from 1 on.
class Deepen : public testing::Test {
 protected:
  void save(const std::vector<std::string> &names) {
    std::vector<float> values(names.size());
    CheckpointContents contents = SmallRun().contents();
    contents.tensors.clear();
    for (size_t i = 0; i < names.size(); ++i) {
      values[i] = static_cast<float>(i + 1);
      contents.tensors.push_back({.name = names[i], .shape = {1}, .values = std::span(values).subspan(i, 1)});
    }
    ASSERT_TRUE(open_alone(files_, "/run/checkpoints")->save(contents));
    stored_ = *StoredTensors::open(files_, "/run/checkpoints/step-000000000", LoadScope::kEverything);
  }

  // "NAME = VALUE" of each tensor made, or the error.
  std::vector<std::string> made(const Deepening &deepening) {
    const auto names = find_layers(stored_, "here");
    if (!names) return {names.error().message};
    const auto tensors = deepen(stored_, *names, deepening);
    if (!tensors) return {tensors.error().message};
    std::vector<std::string> texts;
    for (const MadeTensor &tensor : *tensors) {
      float value = -1;
      EXPECT_TRUE(tensor.read()(std::as_writable_bytes(std::span(&value, 1))));
      texts.push_back(tensor.name + " = " + std::to_string(static_cast<int>(value)));
    }
    std::ranges::sort(texts);
    return texts;
  }

  std::string problem(const std::vector<std::string> &names) {
    save(names);
    const auto layers = find_layers(stored_, "here");
    if (layers) return "";
    EXPECT_EQ(layers.error().kind, ErrorKind::kUsage);
    return layers.error().message;
  }

  FaultyFileSystem files_;
  StoredTensors stored_;
};

// A19: layers 1 and 2 of 4 come again after them, their states too; what is no layer stays.
TEST_F(Deepen, CopiesLayersWithTheirStates) {
  save({"model.embedding.weight", "model.block.0.a", "model.block.1.a", "model.block.2.a", "model.block.3.a", "optimizer.block.0.a.m",
        "optimizer.block.1.a.m", "optimizer.block.2.a.m", "optimizer.block.3.a.m", "optimizer.embedding.weight.m"});
  EXPECT_THAT(made({.begin = 1, .end = 3, .zeroed = {}}),
              testing::ElementsAre("model.block.0.a = 2", "model.block.1.a = 3", "model.block.2.a = 4", "model.block.3.a = 3",
                                   "model.block.4.a = 4", "model.block.5.a = 5", "model.embedding.weight = 1", "optimizer.block.0.a.m = 6",
                                   "optimizer.block.1.a.m = 7", "optimizer.block.2.a.m = 8", "optimizer.block.3.a.m = 7",
                                   "optimizer.block.4.a.m = 8", "optimizer.block.5.a.m = 9", "optimizer.embedding.weight.m = 10"));
}

TEST_F(Deepen, ZeroesOutputsAndTheirStatesInTheCopiesAlone) {
  save({"model.h.0.mlp.out", "model.h.0.mlp.out.bias", "optimizer.h.0.mlp.out.m", "optimizer.h.0.mlp.out.bias.m"});
  EXPECT_THAT(made({.begin = 0, .end = 1, .zeroed = {"mlp.out"}}),
              testing::ElementsAre("model.h.0.mlp.out = 1", "model.h.0.mlp.out.bias = 2", "model.h.1.mlp.out = 0",
                                   "model.h.1.mlp.out.bias = 2", "optimizer.h.0.mlp.out.bias.m = 4", "optimizer.h.0.mlp.out.m = 3",
                                   "optimizer.h.1.mlp.out.bias.m = 4", "optimizer.h.1.mlp.out.m = 0"));
}

TEST_F(Deepen, CopiesAndZeroesStatesOfBfloat16AsTheyAre) {
  std::vector<float> parameter{1, 2};
  std::vector<uint16_t> moment{0x3f81, 0xbf82};
  CheckpointContents contents = SmallRun().contents();
  contents.tensors = {{.name = "model.block.0.a", .shape = {2}, .values = parameter},
                      {.name = "model.block.0.b", .shape = {2}, .values = parameter},
                      {.name = "optimizer.block.0.a.m", .shape = {2}, .values = moment},
                      {.name = "optimizer.block.0.b.m", .shape = {2}, .values = moment}};
  ASSERT_TRUE(open_alone(files_, "/run/checkpoints")->save(contents));
  stored_ = *StoredTensors::open(files_, "/run/checkpoints/step-000000000", LoadScope::kEverything);
  const auto tensors = deepen(stored_, *find_layers(stored_, "here"), {.begin = 0, .end = 1, .zeroed = {"b"}});
  ASSERT_TRUE(tensors) << tensors.error().message;
  const std::vector<uint16_t> zeros(2);
  std::map<std::string, std::vector<uint16_t>> moments{{"optimizer.block.0.a.m", moment},
                                                       {"optimizer.block.1.a.m", moment},
                                                       {"optimizer.block.0.b.m", moment},
                                                       {"optimizer.block.1.b.m", zeros}};
  for (const MadeTensor &tensor : *tensors) {
    const bool is_moment = tensor.name.starts_with("optimizer.");
    EXPECT_EQ(tensor.type, is_moment ? ElementType::kBfloat16 : ElementType::kFloat32) << tensor.name;
    if (!is_moment) continue;
    std::vector<uint16_t> bits(2, 7);
    EXPECT_TRUE(tensor.read()(std::as_writable_bytes(std::span(bits))));
    EXPECT_EQ(bits, moments.at(tensor.name)) << tensor.name;
    moments.erase(tensor.name);
  }
  EXPECT_TRUE(moments.empty());
}

TEST_F(Deepen, CountsTwoDigitLayersAsNumbers) {
  std::vector<std::string> names;
  for (int layer = 0; layer < 11; ++layer) names.push_back("model.model.layers." + std::to_string(layer) + ".self_attn.experts.0.w");
  save(names);
  const LayerNames found = *find_layers(stored_, "here");
  EXPECT_EQ(found.prefix, "model.layers.");
  EXPECT_EQ(found.count, 11u);
  EXPECT_THAT(found.parameters, testing::ElementsAre(testing::Pair(".self_attn.experts.0.w", testing::ElementsAre(1))));
  EXPECT_THAT(made({.begin = 9, .end = 11, .zeroed = {}}), testing::Contains("model.model.layers.12.self_attn.experts.0.w = 11"));
}

TEST_F(Deepen, RefusesNamesThatNumberNoLayers) {
  EXPECT_EQ(problem({"model.table", "model.v2.weight", "model.block.01.a"}),
            "here: its parameters are not numbered by layer, as \"block.0.norm.weight\", so no layer can be copied");
  EXPECT_EQ(problem({"model.encoder.0.a", "model.decoder.0.a"}),
            "here: has several series of layers, as decoder.0 and encoder.0; one was expected");
  EXPECT_EQ(problem({"model.block.0.a", "model.block.2.a"}), "here: its layers are numbered block.2, and block.1 is missing");
  EXPECT_EQ(problem({"model.block.0.a", "model.block.1.b"}), "here: block.1 has not the same parameters as block.0");
}

TEST_F(Deepen, RefusesLayersAndParametersThatAreNotThere) {
  save({"model.block.0.a", "model.block.0.norm.b", "model.block.1.a", "model.block.1.norm.b"});
  for (const auto &[begin, end] : {std::pair(1, 3), std::pair(1, 1), std::pair(2, 1)}) {
    EXPECT_THAT(made({.begin = static_cast<uint64_t>(begin), .end = static_cast<uint64_t>(end), .zeroed = {}})[0],
                HasSubstr(", and the model has the layers 0-2: the first is copied, the last is not"));
  }
  EXPECT_EQ(made({.begin = 0, .end = 2, .zeroed = {"c"}})[0], "--zero-output names \"c\"; a layer's parameters are a, norm.b");
}

}  // namespace
}  // namespace trainhost
