#include "checkpoint/average.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "checkpoint/averaging_weights.h"
#include "support/temporary_directory.h"
#include "support/thread_group.h"
#include "unit/checkpoint/cut_run.h"
#include "unit/checkpoint/python_reader.h"
#include "unit/checkpoint/walking_run.h"

namespace trainhost {
namespace {

using testing::HasSubstr;

const auto kSilent = [](uint64_t, uint64_t) {};

// A run that saved after each of its steps, with any number of ranks.
class Average : public testing::Test {
 protected:
  static constexpr uint64_t kSteps = 5;

  // Trains from the start; returns the paths of the checkpoints.
  std::vector<std::string> train(const std::string &name, uint32_t ranks, Cut cut, std::vector<int64_t> shape = {7, 5},
                                 uint64_t steps = kSteps, bool bfloat16_states = false) {
    run_ = WalkingRun(std::move(shape), bfloat16_states);
    thetas_.clear();
    std::vector<std::string> paths;
    for (uint64_t step = 0; step < steps; ++step) {
      if (step > 0) run_.step();
      thetas_.push_back(run_.parameters());
      test::run_ranks(ranks, [&](ProcessGroup &group) {
        ASSERT_TRUE(CheckpointDirectory::open(files_, temporary_ / name, group)->save(cut_contents(run_, cut, group)));
      });
      paths.push_back(temporary_ / name + "/step-000000" + std::to_string(step) + "00");
    }
    return paths;
  }

  Result<CheckpointManifest> average(const std::vector<std::string> &paths, const std::vector<double> &weights, const std::string &folder) {
    std::filesystem::create_directory(temporary_ / folder);
    std::vector<WeightedCheckpoint> checkpoints;
    for (size_t i = 0; i < paths.size(); ++i) checkpoints.push_back({paths[i], weights[i]});
    return average_checkpoints(files_, checkpoints, "a test", temporary_ / folder, kSilent);
  }

  // The parameters and states of the one checkpoint in a folder, read as a run reads them.
  CheckpointContents load(const std::string &folder, std::vector<float> &parameters, std::vector<float> &states) {
    parameters.resize(run_.parameters().size());
    states.resize(run_.states().size());
    auto tensors = run_.tensors();
    tensors[0].values = parameters;
    tensors[2].values = states;
    const auto loaded = CheckpointDirectory::view(files_, temporary_ / folder)->load_newest(tensors, SmallRun::fingerprints());
    EXPECT_TRUE(loaded) << loaded.error().message;
    return loaded ? **loaded : CheckpointContents{};
  }

  std::string problem(const std::vector<std::string> &paths) {
    const auto made = average(paths, std::vector<double>(paths.size(), 0.5), "refused");
    return made ? "" : std::to_string(exit_code(made.error().kind)) + " " + made.error().message;
  }

  FileSystem &files_ = posix_file_system();
  TemporaryDirectory temporary_;
  WalkingRun run_;
  std::vector<std::vector<float>> thetas_;
};

// A32b: the sum of c_j x_j is x_0 less the sum of w_i u_i, the updates weighted as by the decay.
TEST_F(Average, OfWsmIsWhatADecayWouldHaveMadeOfTheUpdates) {
  const auto paths = train("checkpoints", 1, Cut::kFirst);
  const std::pair<const char *, double (*)(double)> decays[] = {{"linear", [](double x) { return 1 - x; }},
                                                                {"one_minus_sqrt", [](double x) { return 1 - std::sqrt(x); }},
                                                                {"square", [](double x) { return 1 - x * x; }}};
  for (const auto &[shape, decay] : decays) {
    ASSERT_TRUE(average(paths, *averaging_weights({.method = "wsm", .shape = shape}, kSteps), shape));
    std::vector<float> parameters, states;
    load(shape, parameters, states);
    for (size_t e = 0; e < parameters.size(); ++e) {
      double expected = static_cast<double>(thetas_[0][e]);
      for (uint64_t i = 1; i < kSteps; ++i) expected -= decay(static_cast<double>(i) / kSteps) * run_.updates()[i - 1][e];
      ASSERT_NEAR(parameters[e], expected, 1e-6) << shape << ", element " << e;
    }
  }
}

// A32b: against NumPy, which reads the checkpoints' files and goes through e <- a e + (1 - a) x, or takes the mean.
TEST_F(Average, IsWhatNumpyComputesOfTheFiles) {
  const auto paths = train("checkpoints", 2, Cut::kScattered);
  std::string sources;
  for (const std::string &path : paths) sources += " " + path;
  ASSERT_TRUE(average(paths, *averaging_weights({.method = "ema", .alpha = 0.6}, kSteps), "ema"));
  EXPECT_EQ(ask_python("ema", "0.6 " + temporary_ / "ema/step-000000400" + sources), "equal\n");
  ASSERT_TRUE(average(paths, *averaging_weights({.method = "mean"}, kSteps), "mean"));
  EXPECT_EQ(ask_python("mean", "0 " + temporary_ / "mean/step-000000400" + sources), "equal\n");
}

TEST_F(Average, DoesNotDependOnHowTheCheckpointsWereCut) {
  const auto shape = run_.tensors()[0].shape;
  const std::vector<double> weights{0.36, 0.24, 0.4};
  ASSERT_TRUE(average(train("whole", 1, Cut::kFirst, shape, 3), weights, "reference"));
  for (uint32_t ranks = 2; ranks <= 4; ++ranks) {
    for (const Cut cut : kCuts) {
      const std::string name = std::to_string(ranks) + "-" + std::to_string(static_cast<int>(cut));
      ASSERT_TRUE(average(train(name, ranks, cut, shape, 3), weights, name + "-average"));
      for (const char *file : {"/step-000000200/model.safetensors", "/step-000000200/state.safetensors"})
        EXPECT_EQ(*files_.read(temporary_ / (name + "-average" + file)), *files_.read(temporary_ / "reference" + file)) << name << file;
    }
  }
}

// Tensors longer than the parts in which they are summed and the blocks in which they are hashed.
TEST_F(Average, GoesThroughLongTensorsInParts) {
  const auto paths = train("checkpoints", 2, Cut::kEven, {2, 4'300'000}, 2);
  ASSERT_TRUE(average({paths[0], paths[1]}, {0.25, 0.75}, "average"));
  std::vector<float> parameters, states;
  load("average", parameters, states);
  for (size_t e = 0; e < parameters.size(); ++e) {
    const double expected = 0.25 * static_cast<double>(thetas_[0][e]) + 0.75 * static_cast<double>(thetas_[1][e]);
    ASSERT_EQ(parameters[e], static_cast<float>(expected)) << "element " << e;
  }
}

// Tensors of more than two of the blocks that are hashed.
TEST_F(Average, TakesStatesOfBfloat16FromTheLastBitByBit) {
  const auto paths = train("checkpoints", 2, Cut::kEven, {2, 4'300'000}, 3, true);
  ASSERT_TRUE(average({paths[0], paths[1], paths[2]}, {0.25, 0.25, 0.5}, "average"));
  const std::vector<uint16_t> last = run_.state_bits();
  for (const std::string &path : {paths[1], temporary_ / "average/step-000000200"}) {  // overwrites what is to be loaded
    auto tensors = run_.tensors();
    const auto loaded = CheckpointDirectory::view(files_, temporary_ / "average")->load(path, tensors, SmallRun::fingerprints());
    ASSERT_TRUE(loaded) << loaded.error().message;
  }
  EXPECT_EQ(run_.state_bits(), last);
  for (size_t e = 0; e < last.size(); e += 1001) {
    const double expected = 0.25 * double{thetas_[0][e]} + 0.25 * double{thetas_[1][e]} + 0.5 * double{thetas_[2][e]};
    ASSERT_EQ(run_.parameters()[e], static_cast<float>(expected)) << "element " << e;
  }
  const auto manifest = read_manifest(files_, temporary_ / "average/step-000000200");
  EXPECT_EQ(manifest->version(), 3u);
  EXPECT_EQ(manifest->tensors.back().sha256.size(), 3u);
}

TEST_F(Average, TakesAllElseFromTheLastAndSaysOfWhatItIs) {
  const auto paths = train("checkpoints", 3, Cut::kFlat);
  uint64_t last = 0;
  std::filesystem::create_directory(temporary_ / "average");
  ASSERT_TRUE(average_checkpoints(files_, {{paths[1], 0.25}, {paths[4], 0.75}}, "mine", temporary_ / "average", [&](auto done, auto total) {
    EXPECT_GT(done, last);
    EXPECT_LE(done, total);
    last = done;
  }));
  std::vector<float> parameters, states;
  const CheckpointContents loaded = load("average", parameters, states);
  EXPECT_EQ(states, run_.states());
  EXPECT_EQ(loaded.step, 400u);
  EXPECT_EQ(loaded.tokens, 4 * 409600u);
  EXPECT_EQ(loaded.label, "average");
  EXPECT_EQ(loaded.trainer_state, "{\"updates\":4}");

  const auto manifest = read_manifest(files_, temporary_ / "average/step-000000400");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(last, manifest->bytes());
  EXPECT_EQ(manifest->version(), 1u);
  EXPECT_EQ(manifest->origin.how, "mine");
  const auto digest = [&](const std::string &path) { return sha256(*files_.read(path + "/manifest.json")); };
  using Part = CheckpointOrigin::Part;
  EXPECT_THAT(manifest->origin.parts,
              testing::ElementsAre(Part{paths[1], 100, 0.25, digest(paths[1])}, Part{paths[4], 400, 0.75, digest(paths[4])}));
}

TEST_F(Average, RefusesOtherModels) {
  const auto paths = train("checkpoints", 1, Cut::kFirst), others = train("others", 1, Cut::kFirst, {5, 7});
  EXPECT_EQ(problem({others[0], paths[1]}), "78 tensor \"model.block.0.weight\" has shape [5, 7] in " + others[0] + ", and [7, 5] in " +
                                                paths[1] + "; only checkpoints of one model can be averaged");
  const auto small = open_alone(files_, temporary_ / "small")->save(SmallRun(100).contents());
  EXPECT_THAT(problem({paths[0], *small}), HasSubstr(paths[0] + " has tensor \"model.block.0.weight\", and " + *small + " has not"));
  EXPECT_THAT(problem({*small, paths[0]}), HasSubstr(*small + " has tensor \"model.embedding.weight\", and " + paths[0] + " has not"));
  CheckpointContents foreign = run_.contents();
  foreign.fingerprints.tokenizer = std::string(64, 'f');
  const auto other = open_alone(files_, temporary_ / "foreign")->save(foreign);
  EXPECT_THAT(problem({*other, others[1]}), HasSubstr("78 " + *other + " was trained with another tokenizer than " + others[1]));
}

TEST_F(Average, NamesWhatIsDamaged) {
  const auto paths = train("checkpoints", 3, Cut::kFlat);
  const std::string shard = paths[2] + "/model-00002-of-00003.safetensors";
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\7');
  file.close();
  EXPECT_THAT(problem({paths[1], paths[2], paths[3]}), HasSubstr("65 " + shard + ": the SHA-256 of tensor "));
  std::filesystem::resize_file(shard, 10);
  EXPECT_THAT(problem({paths[1], paths[2], paths[3]}), HasSubstr("65 " + shard + ": has 10 bytes, the manifest says "));
}

}  // namespace
}  // namespace trainhost
