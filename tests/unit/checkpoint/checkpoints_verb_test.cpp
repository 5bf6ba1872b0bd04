#include "app/checkpoints_verb.h"

#include <filesystem>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "support/temporary_directory.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class CheckpointsVerb : public testing::Test {
 protected:
  CheckpointsVerb() {
    auto directory = *open_alone(posix_file_system(), temporary_.path());
    EXPECT_TRUE(directory.save(SmallRun(100).contents("end of stable")));
    newest_ = *directory.save(SmallRun(1110).contents());
  }

  std::string print(bool verify, bool json, bool sound = true) {
    std::ostringstream out;
    const auto printed = print_checkpoints({.folder = temporary_.path(), .verify = verify, .json = json}, posix_file_system(), out);
    EXPECT_EQ(printed.has_value(), sound);
    if (!printed) {
      EXPECT_EQ(printed.error().message, temporary_.path() + ": 1 of 2 checkpoints cannot be used");
    }
    return out.str();
  }

  // One byte of a tensor; the manifest does not show it.
  void damage() {
    std::filesystem::copy_file(temporary_ / "step-000000100/model.safetensors", newest_ + "/model.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
  }

  TemporaryDirectory temporary_;
  std::string newest_;
};

TEST_F(CheckpointsVerb, PrintsATable) {
  EXPECT_THAT(print(false, false), MatchesRegex("step   tokens  label           size  processes  age  state\n"
                                                " 100   409600  end of stable  [0-9]+ B          1  [0-9]+ s  present\n"
                                                "1110  4546560  -              [0-9]+ B          1  [0-9]+ s  present\n"));
}

TEST_F(CheckpointsVerb, VerifiesEveryByteWhenAsked) {
  damage();
  EXPECT_THAT(print(false, false), HasSubstr("present\n"));
  const std::string table = print(true, false, false);
  EXPECT_THAT(table, HasSubstr("verified\n"));
  EXPECT_THAT(table, HasSubstr("damaged\n" + newest_ + "/model.safetensors: its SHA-256 is not the manifest's"));
}

TEST_F(CheckpointsVerb, PrintsJson) {
  damage();
  const auto json = nlohmann::json::parse(print(true, true, false));
  EXPECT_EQ(json["folder"], temporary_.path());
  ASSERT_EQ(json["checkpoints"].size(), 2u);
  const auto &first = json["checkpoints"][0], &second = json["checkpoints"][1];
  EXPECT_EQ(first["step"], 100);
  EXPECT_EQ(first["tokens"], 409600);
  EXPECT_EQ(first["label"], "end of stable");
  EXPECT_EQ(first["state"], "verified");
  EXPECT_EQ(first["problem"], "");
  EXPECT_EQ(first["processes"], 1);
  EXPECT_EQ(second["state"], "damaged");
  EXPECT_THAT(second["problem"].get<std::string>(), HasSubstr("model.safetensors"));
}

class ConsolidateVerb : public CheckpointsVerb {
 protected:
  ConsolidateVerb() {
    std::filesystem::create_directory(temporary_ / "run");
    std::filesystem::create_directory_symlink(temporary_.path(), run_ + "/checkpoints");
  }
  std::string consolidate(const std::string &source, const std::string &file) {
    std::ostringstream out;
    const auto written = consolidate_checkpoint({.source = source, .output = temporary_ / file}, posix_file_system(), out);
    return written ? out.str() : std::to_string(exit_code(written.error().kind)) + " " + written.error().message;
  }

  std::string run_ = temporary_ / "run";
};

TEST_F(ConsolidateVerb, TakesTheNewestOfARunOrAGivenOne) {
  EXPECT_THAT(consolidate(run_, "a"), MatchesRegex(temporary_ / "a" + ": 16 parameters in 3 tensors, [0-9]+ B, of step 1110\n"));
  EXPECT_THAT(consolidate(newest_, "b"), HasSubstr("of step 1110\n"));
  EXPECT_THAT(consolidate(temporary_ / "step-000000100/", "c"), HasSubstr("of step 100\n"));
  EXPECT_THAT(consolidate(run_, "a"), HasSubstr("64 " + temporary_ / "a" + ": is there already"));
}

TEST_F(ConsolidateVerb, StepsBackOverADamagedOneAndSaysSo) {
  damage();
  testing::internal::CaptureStderr();
  EXPECT_THAT(consolidate(run_, "a"), HasSubstr("of step 100\n"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("; the checkpoint of step 100 is used instead, 1010 steps are lost"));
  EXPECT_THAT(consolidate(newest_, "b"), HasSubstr("65 " + newest_ + "/model.safetensors: "));
}

TEST_F(ConsolidateVerb, SaysWhatItDoesNotFind) {
  EXPECT_EQ(
      consolidate(temporary_ / "step-000000100/x", "a"),
      "64 " + temporary_ / "step-000000100/x" + ": is neither a run directory, with checkpoints in it, nor the directory of a checkpoint");
  TemporaryDirectory empty;
  std::filesystem::create_directory(empty / "checkpoints");
  EXPECT_EQ(consolidate(empty.path(), "a"), "65 " + empty / "checkpoints" + ": there is no checkpoint yet");
}

TEST(CheckpointsVerbWithout, SaysSoWhenThereAreNone) {
  TemporaryDirectory empty;
  std::ostringstream out;
  EXPECT_TRUE(print_checkpoints({.folder = empty.path()}, posix_file_system(), out));
  EXPECT_EQ(out.str(), "no checkpoints in " + empty.path() + "\n");
  EXPECT_EQ(print_checkpoints({.folder = empty / "absent"}, posix_file_system(), out).error().kind, ErrorKind::kData);
}

}  // namespace
}  // namespace trainhost
