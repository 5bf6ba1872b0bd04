#include "checkpoint/checkpoint.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "checkpoint/manifest.h"
#include "checkpoint/process_identity.h"
#include "support/temporary_directory.h"
#include "unit/checkpoint/python_reader.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAreArray;

constexpr uint64_t kMilliard = 1'000'000'000;

// A folder of checkpoints on the machine's own file system.
class CheckpointTest : public testing::Test {
 protected:
  CheckpointDirectory open() { return *open_alone(posix_file_system(), folder_); }

  std::string save(uint64_t step, const std::string &label = "", uint64_t seed = 1) {
    SmallRun run(step, seed);
    const auto path = directory_.save(run.contents(label));
    EXPECT_TRUE(path) << path.error().message;
    return path.value_or("");
  }

  // Flips a bit in the last byte of a file.
  static void damage(const std::string &path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto last = static_cast<std::streamoff>(std::filesystem::file_size(path) - 1);
    file.seekg(last);
    const int byte = file.get();
    file.seekp(last);
    file.put(static_cast<char>(byte ^ 1));
  }

  std::vector<uint64_t> steps() {
    std::vector<uint64_t> result;
    const auto checkpoints = directory_.list();
    for (const CheckpointInfo &info : *checkpoints) result.push_back(info.step);
    return result;
  }

  TemporaryDirectory temporary_;
  std::string folder_ = temporary_ / "run/checkpoints";
  CheckpointDirectory directory_ = open();
};

TEST_F(CheckpointTest, GivesEveryBitBack) {
  SmallRun saved(1000);
  const auto path = directory_.save(saved.contents("end of stable"));
  ASSERT_TRUE(path) << path.error().message;
  EXPECT_EQ(*path, folder_ + "/step-000001000");

  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  const auto contents = open().load_newest(tensors, SmallRun::fingerprints());
  ASSERT_TRUE(contents) << contents.error().message;
  ASSERT_TRUE(*contents);
  EXPECT_TRUE(loaded == saved);
  EXPECT_EQ((*contents)->step, 1000u);
  EXPECT_EQ((*contents)->tokens, 4096000u);
  EXPECT_EQ((*contents)->label, "end of stable");
  EXPECT_EQ((*contents)->trainer_state, "{\"spikes\":[1,2]}");
  EXPECT_EQ((*contents)->fingerprints, SmallRun::fingerprints());
}

TEST_F(CheckpointTest, LoadsTheModelAlone) {
  SmallRun saved(10), loaded(7, 9);
  const auto path = *directory_.save(saved.contents());
  auto tensors = loaded.tensors();
  tensors.pop_back();  // the optimizer's
  EXPECT_TRUE(directory_.load(path, tensors, {}, LoadScope::kModel));
  EXPECT_EQ(tensors[0].values.floats()[0], saved.tensors()[0].values.floats()[0]);
  const auto all = directory_.load(path, tensors, {});
  ASSERT_FALSE(all);
  EXPECT_THAT(all.error().message, HasSubstr("holds tensor \"optimizer.embedding.weight.first moment"));
}

TEST_F(CheckpointTest, FindsNothingInAnEmptyFolder) {
  SmallRun run;
  auto tensors = run.tensors();
  const auto contents = directory_.load_newest(tensors, SmallRun::fingerprints());
  ASSERT_TRUE(contents);
  EXPECT_FALSE(*contents);
}

TEST_F(CheckpointTest, OrdersByNumberAcrossTheTenthDigit) {
  for (const uint64_t step : {kMilliard, uint64_t{2}, kMilliard - 1, uint64_t{10}}) save(step);
  EXPECT_THAT(steps(), ElementsAre(2, 10, kMilliard - 1, kMilliard));
  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  EXPECT_EQ((*directory_.load_newest(tensors, SmallRun::fingerprints()))->step, kMilliard);
  ASSERT_TRUE(directory_.prune(2, {}));
  EXPECT_THAT(steps(), ElementsAre(kMilliard - 1, kMilliard));
}

TEST_F(CheckpointTest, FallsBackToTheNewestWholeOneAndSaysSo) {
  const std::string middle = save(200), newest = save(300);
  save(100);
  damage(newest + "/model.safetensors");
  std::filesystem::resize_file(middle + "/state.safetensors", 10);

  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  testing::internal::CaptureStderr();
  const auto contents = directory_.load_newest(tensors, SmallRun::fingerprints());
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ((*contents)->step, 100u);
  EXPECT_TRUE(loaded == SmallRun(100));
  EXPECT_THAT(log, HasSubstr(newest + "/model.safetensors: its SHA-256 is not the manifest's, so its contents are damaged; "
                                      "the checkpoint of step 100 is used instead, 200 steps are lost\n"));
  EXPECT_THAT(log, HasSubstr(middle + "/state.safetensors: has 10 bytes, the manifest says "));
  EXPECT_THAT(log, HasSubstr("; the checkpoint of step 100 is used instead, 100 steps are lost\n"));
}

TEST_F(CheckpointTest, NeverStartsOverInAUsedFolder) {
  damage(save(100) + "/model.safetensors");
  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  const auto contents = directory_.load_newest(tensors, SmallRun::fingerprints());
  ASSERT_FALSE(contents);
  EXPECT_EQ(contents.error().kind, ErrorKind::kData);
  EXPECT_THAT(contents.error().message,
              AllOf(HasSubstr(folder_ + ": none of the 1 checkpoints can be used, and a run is never started over in a used directory"),
                    HasSubstr("model.safetensors: its SHA-256 is not the manifest's"), HasSubstr("start in another run directory")));
  EXPECT_TRUE(loaded == SmallRun(7, 9)) << "tensors were touched before they were verified";
}

TEST_F(CheckpointTest, RefusesWhatIsOfAnotherRun) {
  save(90);
  const std::string path = save(100);
  const auto message = [&](auto change) {
    Fingerprints other = SmallRun::fingerprints();
    change(other);
    SmallRun loaded(7, 9);
    auto tensors = loaded.tensors();
    const auto contents = directory_.load_newest(tensors, other);
    if (contents) return std::string("loaded");
    EXPECT_EQ(contents.error().kind, ErrorKind::kRecipe);
    EXPECT_TRUE(loaded == SmallRun(7, 9));
    return contents.error().message;
  };
  const std::string end = " of that run, start in another run directory, or go on all the same with --accept-changes";
  EXPECT_EQ(message([](Fingerprints &other) { other.recipe = std::string(64, 'x'); }),
            path + ": was made with another recipe: it has aaaaaaaaaaaa..., this run has xxxxxxxxxxxx...; use the recipe" + end);
  EXPECT_EQ(message([](Fingerprints &other) { other.data = "short"; }),
            path + ": was made with another data: it has bbbbbbbbbbbb..., this run has short; use the data" + end);
  EXPECT_EQ(message([](Fingerprints &other) { other.tokenizer = "x"; }),
            path +
                ": was made with another tokenizer: it has cccccccccccc..., this run has x; use the tokenizer of that run, or start in "
                "another run directory");
  EXPECT_EQ(message([](Fingerprints &other) { other.plugins["optimizer"] = "adamw 1.0.1 " + std::string(64, 'f'); }),
            path +
                ": was made with another optimizer plugin: it has adamw 1.0.0 eeeeeeeeeeee..., this run has adamw 1.0.1 ffffffffffff...; "
                "use the optimizer plugin" +
                end);
  EXPECT_EQ(message([](Fingerprints &other) { other.plugins["tokenizer"] = "byte 1"; }),
            path + ": was made with another tokenizer plugin: it has none, this run has byte 1; use the tokenizer plugin" + end);
  EXPECT_EQ(message([](Fingerprints &other) { other = {}; }), "loaded");
  EXPECT_EQ(message([](Fingerprints &other) { other.schedule = "x", other.plugins["lr_scheduler"] = "cosine 1"; }), "loaded");
  // The cause is named, not what follows from it.
  EXPECT_THAT(message([](Fingerprints &other) { other.data = other.recipe = other.plugins["model"] = "x"; }),
              HasSubstr("another model plugin"));
}

TEST_F(CheckpointTest, RefusesTensorsThatDoNotFit) {
  const std::string path = save(100);
  const auto message = [&](auto change) {
    SmallRun loaded(7, 9);
    auto tensors = loaded.tensors();
    change(tensors);
    const auto contents = directory_.load(path, tensors, SmallRun::fingerprints());
    return contents ? "loaded" : contents.error().message;
  };
  EXPECT_EQ(message([](auto &tensors) { tensors[1].name = "model.bias"; }), path + ": lacks tensor \"model.bias\", which this run has");
  EXPECT_EQ(message([](auto &tensors) { tensors.pop_back(); }),
            path + ": holds tensor \"optimizer.embedding.weight.first moment \"m\"\", which this run does not have");
  EXPECT_EQ(message([](auto &tensors) {
              tensors[0].shape = {3, 5};
            }),
            path + ": tensor \"model.embedding.weight\" has shape [5, 3], in this run it has [3, 5]");
  EXPECT_EQ(message([](auto &tensors) { tensors.push_back({.name = "model.bias", .shape = {}, .values = tensors[1].values}); }),
            path + ": lacks tensor \"model.bias\", which this run has");
  EXPECT_EQ(message([](auto &tensors) { tensors[0].values = tensors[0].values.first(3); }),
            path + ": element 3 of tensor \"model.embedding.weight\" is wanted by none of the processes that load it");
  EXPECT_EQ(message([](auto &tensors) { tensors[0].begin = 3; }),
            "tensor \"model.embedding.weight\" has 15 values from element 3 on, which do not fit its shape [5, 3]");
}

TEST_F(CheckpointTest, RefusesContentsThatNoFileCanHold) {
  const auto message = [&](auto change) {
    SmallRun run(100);
    CheckpointContents contents = run.contents();
    change(contents);
    const auto saved = directory_.save(contents);
    EXPECT_FALSE(saved);
    EXPECT_EQ(saved.error().kind, ErrorKind::kInternal);
    return saved.error().message;
  };
  EXPECT_EQ(message([](auto &contents) { contents.tensors[1].name = contents.tensors[0].name; }),
            "two tensors are named \"model.embedding.weight\"");
  EXPECT_EQ(message([](auto &contents) { contents.tensors[0].shape = {5}; }),
            "tensor \"model.embedding.weight\" has 15 values, which do not fit its shape [5]");
  EXPECT_THAT(message([](auto &contents) { contents.label = "\xff"; }), HasSubstr("is not UTF-8"));
  EXPECT_TRUE(steps().empty());
}

TEST_F(CheckpointTest, TakesAnEqualCheckpointOfTheStepForSaved) {
  const std::string path = save(100);
  const auto written = std::filesystem::last_write_time(path + "/model.safetensors");
  save(100);
  EXPECT_EQ(std::filesystem::last_write_time(path + "/model.safetensors"), written);
}

TEST_F(CheckpointTest, ReplacesADamagedOrDifferentCheckpointOfTheStep) {
  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  damage(save(100) + "/model.safetensors");
  save(100);
  EXPECT_TRUE(directory_.load_newest(tensors, SmallRun::fingerprints()));
  EXPECT_TRUE(loaded == SmallRun(100));
  save(100, "", 2);
  EXPECT_TRUE(directory_.load_newest(tensors, SmallRun::fingerprints()));
  EXPECT_TRUE(loaded == SmallRun(100, 2));
  EXPECT_THAT(*posix_file_system().list(folder_), ElementsAre("step-000000100"));
}

TEST_F(CheckpointTest, WarnsWhenNothingChanged) {
  SmallRun run(100);
  CheckpointContents contents = run.contents();
  ASSERT_TRUE(directory_.save(contents));
  contents.step = 110;
  testing::internal::CaptureStderr();
  ASSERT_TRUE(directory_.save(contents));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("every tensor at step 110 is bit for bit that of the checkpoint of step 100"));
  testing::internal::CaptureStderr();
  save(120);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(CheckpointTest, LeavesUnknownNamesAloneAndRemovesWhatItLeftItself) {
  save(100);
  const std::string here = this_process().host;
  for (const std::string name : {"notes", "step-100", "step-0000000100", "step-000000100.old", "xstep-000000100", "step-000000100x",
                                 "step-99999999999999999999", "step-000000200.partial-", "step-000000200.partial-x@y"}) {
    std::filesystem::create_directories(folder_ + "/" + name);
  }
  const auto before = *posix_file_system().list(folder_);
  const std::string living = "/step-000000200.partial-1@" + here;  // process 1 is always there
  std::filesystem::create_directories(folder_ + living);
  for (const std::string &process : {std::to_string(::getpid()) + "@" + here, "4194304@" + here, std::string("1@elsewhere")}) {
    for (const std::string kind : {".partial-", ".removed-", ".replaced-"})
      std::filesystem::create_directories(folder_ + "/step-000000100" + kind + process + "/x");
  }
  open();
  auto after = before;
  after.push_back(living.substr(1));
  EXPECT_THAT(*posix_file_system().list(folder_), UnorderedElementsAreArray(after));
  EXPECT_THAT(steps(), ElementsAre(100));
}

TEST_F(CheckpointTest, PutsBackWhatSteppedAside) {
  const std::string path = save(100);
  std::filesystem::rename(path, path + ".replaced-4194304@" + this_process().host);
  EXPECT_TRUE(steps().empty());
  open();
  EXPECT_THAT(steps(), ElementsAre(100));
}

TEST_F(CheckpointTest, PutsBackWhatSteppedAsideForADamagedOne) {
  const std::string path = save(100), aside = path + ".replaced-4194304@" + this_process().host;
  std::filesystem::copy(path, aside);
  damage(path + "/model.safetensors");
  open();
  EXPECT_TRUE(directory_.verify(path));
  EXPECT_FALSE(std::filesystem::exists(aside));
}

TEST_F(CheckpointTest, OnlyLooksWhenItIsAView) {
  std::filesystem::create_directories(folder_ + "/step-000000100.partial-4194304@" + this_process().host);
  ASSERT_TRUE(CheckpointDirectory::view(posix_file_system(), folder_));
  EXPECT_FALSE(std::filesystem::is_empty(folder_));
  const auto absent = CheckpointDirectory::view(posix_file_system(), temporary_ / "absent");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().kind, ErrorKind::kData);
  EXPECT_FALSE(std::filesystem::exists(temporary_ / "absent"));
}

TEST_F(CheckpointTest, NeverPrunesTheNewestVerifiedOne) {
  const std::string good = save(100);
  const std::string bad = save(110), worse = save(120);
  damage(bad + "/model.safetensors");
  damage(worse + "/model.safetensors");
  directory_ = open();  // it has verified nothing yet
  ASSERT_TRUE(directory_.prune(1, {}));
  EXPECT_THAT(steps(), ElementsAre(100, 120));
}

TEST_F(CheckpointTest, KeepsLabelledOnes) {
  save(100, "end of stable");
  for (const uint64_t step : {110, 120, 130, 140}) save(step);
  ASSERT_TRUE(directory_.prune(2, {"end of stable"}));
  EXPECT_THAT(steps(), ElementsAre(100, 130, 140));
  ASSERT_TRUE(directory_.prune(0, {}));
  EXPECT_THAT(steps(), ElementsAre(140));
}

TEST_F(CheckpointTest, ListsWhatStandsThere) {
  save(100, "end of warm-up");
  damage(save(110) + "/manifest.json");
  const auto checkpoints = *directory_.list();
  ASSERT_EQ(checkpoints.size(), 2u);
  EXPECT_EQ(checkpoints[0].label, "end of warm-up");
  EXPECT_EQ(checkpoints[0].tokens, 409600u);
  EXPECT_EQ(checkpoints[0].problem, "");
  EXPECT_EQ(checkpoints[0].bytes, std::filesystem::file_size(checkpoints[0].path + "/model.safetensors") +
                                      std::filesystem::file_size(checkpoints[0].path + "/state.safetensors"));
  EXPECT_THAT(checkpoints[1].problem, HasSubstr("manifest.json: its SHA-256 is not the one in "));
}

// Made by the first version of the format; see its README.
TEST_F(CheckpointTest, LoadsAndStillWritesVersion1) {
  const std::string golden = TRAINHOST_SOURCE_DIR "/tests/golden/checkpoint_version_1/step-000000100";
  EXPECT_TRUE(directory_.verify(golden));
  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  const auto contents = directory_.load(golden, tensors, SmallRun::fingerprints());
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_TRUE(loaded == SmallRun(100));
  EXPECT_EQ(contents->label, "end of stable");

  // What one process writes of whole tensors is the same today, but for the time.
  const std::string today = save(100, "end of stable");
  for (const std::string name : {"/model.safetensors", "/state.safetensors"})
    EXPECT_EQ(*posix_file_system().read(today + name), *posix_file_system().read(golden + name));
  const auto without_time = [](const std::string &path) {
    const std::string text = *posix_file_system().read(path + "/manifest.json");
    const size_t begin = text.find("\"created\"");
    return text.substr(0, begin) + text.substr(text.find(',', begin));
  };
  EXPECT_EQ(without_time(today), without_time(golden));
}

// The bits and their type, as the package that the format comes from reads them.
TEST_F(CheckpointTest, HoldsStatesOfBfloat16) {
  SmallRun run(100, 1, true), loaded(7, 9, true);
  const auto path = directory_.save(run.contents());
  ASSERT_TRUE(path) << path.error().message;
  EXPECT_TRUE(directory_.verify(*path));
  const NamedTensor moment = run.tensors()[3];
  EXPECT_EQ(ask_python("raw", *path + "/state.safetensors"),
            moment.name + " BF16 [5, 3] " + Sha256().update(moment.values.bytes()).finish() + "\n");
  const auto manifest = read_manifest(posix_file_system(), *path);
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->version(), 3u);  // which a trainhost that knows float32 alone refuses by name

  auto tensors = loaded.tensors();
  const auto contents = directory_.load(*path, tensors, SmallRun::fingerprints());
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_TRUE(loaded == run);
}

TEST_F(CheckpointTest, RefusesStatesOfAnotherType) {
  for (const bool bfloat16 : {false, true}) {
    SmallRun run(100, 1, bfloat16), other(7, 9, !bfloat16), untouched(7, 9, !bfloat16);
    const auto path = directory_.save(run.contents());
    auto tensors = other.tensors();
    const auto contents = directory_.load(*path, tensors, SmallRun::fingerprints());
    ASSERT_FALSE(contents);
    EXPECT_EQ(contents.error().kind, ErrorKind::kRecipe);
    EXPECT_EQ(contents.error().message, *path + ": tensor \"optimizer.embedding.weight.first moment \"m\"\" is " +
                                            (bfloat16 ? "BF16, in this run it is F32" : "F32, in this run it is BF16") +
                                            "; use the optimizer settings of that run");
    EXPECT_TRUE(other == untouched);
  }
}

// Whoever wrote it: parameters are float32, and other types are not known.
TEST_F(CheckpointTest, ReadsNoManifestOfOtherTypes) {
  SmallRun run(100, 1, true);
  const auto path = directory_.save(run.contents());
  const std::string text = *posix_file_system().read(*path + "/manifest.json");
  const auto fault = [&](const std::string &what, const std::string &by, size_t from) {
    std::string changed = text;
    changed.replace(changed.find(what, from), what.size(), by);
    const auto manifest = decode_manifest(changed, "here");
    return manifest ? "" : manifest.error().message;
  };
  ASSERT_TRUE(decode_manifest(text, "here"));
  EXPECT_EQ(fault("BF16", "F16", 0), "here: \"dtype\" of a tensor is \"F16\", expected F32 or BF16");
  EXPECT_EQ(fault("\"dtype\": \"F32\"", "\"dtype\": \"BF16\"", 0), "here: parameter \"model.embedding.weight\" is not F32");
  EXPECT_EQ(fault("\"dtype\": \"F32\",", "", 0), "here: \"dtype\" of a tensor is missing or of the wrong type");
}

// SHA256SUMS is what the name says: a checkpoint can be checked without trainhost.
TEST_F(CheckpointTest, IsCheckedBySha256sum) {
  const std::string path = save(100);
  const std::string command = "cd " + path + " && sha256sum --check --strict --quiet SHA256SUMS >/dev/null 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
  damage(path + "/state.safetensors");
  EXPECT_NE(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace trainhost
