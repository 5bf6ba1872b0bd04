#include "checkpoint/consolidate.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "support/faulty_file_system.h"
#include "support/temporary_directory.h"
#include "support/thread_group.h"
#include "unit/checkpoint/cut_run.h"
#include "unit/checkpoint/python_reader.h"

namespace trainhost {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A checkpoint by `size` ranks.
std::string save(FileSystem &files, const std::string &folder, uint32_t size, Cut cut) {
  test::run_ranks(size, [&](ProcessGroup &group) {
    SmallRun run(100);
    ASSERT_TRUE(CheckpointDirectory::open(files, folder, group)->save(cut_contents(run, cut, group)));
  });
  return folder + "/step-000000100";
}

const auto kSilent = [](uint64_t, uint64_t) {};

TEST(Consolidate, IsReadBitEqualByTheReference) {
  TemporaryDirectory temporary;
  auto &files = posix_file_system();
  SmallRun run(100);
  std::string expected;
  for (const NamedTensor &tensor : run.tensors()) {
    if (!tensor.name.starts_with("model.")) continue;
    const std::string shape = tensor.shape.empty() ? "[]" : tensor.shape[0] == 0 ? "[0, 4]" : "[5, 3]";
    expected += tensor.name.substr(6) + " float32 " + shape + " " + Sha256().update(tensor.values.bytes()).finish() + "\n";
  }
  const std::string reference = temporary / "reference";
  for (uint32_t size = 4; size >= 1; --size) {
    for (const Cut cut : kCuts) {
      const std::string output = temporary / "whole.safetensors";
      std::filesystem::remove_all(temporary / "checkpoints");
      const std::string path = save(files, temporary / "checkpoints", size, cut);
      uint64_t last = 0;
      const auto written = consolidate(files, path, output, [&](uint64_t done, uint64_t total) {
        EXPECT_GT(done, last);
        EXPECT_LE(done, total);
        last = done;
      });
      ASSERT_TRUE(written) << written.error().message;
      EXPECT_EQ(written->step, 100u);
      EXPECT_EQ(written->tensors, 3u);
      EXPECT_EQ(written->parameters, 16u);
      EXPECT_EQ(written->bytes, std::filesystem::file_size(output));
      EXPECT_EQ(last, written->bytes);
      if (!files.exists(reference)) {
        EXPECT_EQ(ask_python("tensors", output), expected + "same bytes\n");
        std::filesystem::rename(output, reference);
      } else {
        EXPECT_EQ(*files.read(output), *files.read(reference)) << size << " ranks";
        std::filesystem::remove(output);
      }
    }
  }
}

TEST(Consolidate, DoesNotOverwrite) {
  FaultyFileSystem files;
  const std::string path = save(files, "/run/checkpoints", 1, Cut::kFirst);
  ASSERT_TRUE(files.create("/run/there"));
  const auto written = consolidate(files, path, "/run/there", kSilent);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind, ErrorKind::kUsage);
  EXPECT_EQ(written.error().message, "/run/there: is there already and is not overwritten; name another file, or remove it");
  EXPECT_EQ(*files.read("/run/there"), "");
}

TEST(Consolidate, RefusesDamage) {
  TemporaryDirectory temporary;
  const std::string path = save(posix_file_system(), temporary / "checkpoints", 3, Cut::kFlat);
  const std::string shard = path + "/model-00002-of-00003.safetensors";
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\7');
  file.close();
  const auto written = consolidate(posix_file_system(), path, temporary / "whole", kSilent);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind, ErrorKind::kData);
  EXPECT_THAT(written.error().message, HasSubstr(shard + ": the SHA-256 of tensor "));
  EXPECT_THAT(*posix_file_system().list(temporary.path()), ElementsAre("checkpoints"));
}

TEST(Consolidate, AsksForSpaceFirst) {
  FaultyFileSystem files;
  const std::string path = save(files, "/run/checkpoints", 2, Cut::kFlat);
  files.set_capacity(UINT64_MAX, 100);
  const auto written = consolidate(files, path, "/run/whole", kSilent);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind, ErrorKind::kCheckpointWrite);
  EXPECT_EQ(written.error().message, "/run/whole: needs 296 bytes, and 100 are free");
}

// Whatever fails, the file is whole or not there, and nothing else is left.
TEST(Consolidate, LeavesNothingWhenACallFails) {
  FaultyFileSystem files;
  const std::string path = save(files, "/run/checkpoints", 2, Cut::kFlat);
  ASSERT_TRUE(consolidate(files, path, "/run/reference", kSilent));
  const std::string reference = *files.read("/run/reference");
  uint64_t cases = 0;
  using Fault = FaultyFileSystem::Fault;
  for (const Fault fault : {Fault::kError, Fault::kShortWrite, Fault::kWrongBytes}) {
    uint64_t call = 0;
    for (bool failed = true; failed; ++cases) {
      files.fail(++call, fault);
      const auto written = consolidate(files, path, "/run/whole", kSilent);
      failed = files.failed();
      const std::string where = "fault " + std::to_string(static_cast<int>(fault)) + " at call " + files.failed_call();
      EXPECT_EQ(written.has_value(), !failed) << where;
      files.restart(FaultyFileSystem::Survival::kSynced);
      EXPECT_EQ(files.exists("/run/whole"), written.has_value()) << where;
      if (written) {
        EXPECT_EQ(*files.read("/run/whole"), reference) << where;
      }
      EXPECT_FALSE(files.exists("/run/whole.partial")) << where;
      ASSERT_TRUE(files.remove_all("/run/whole"));
      ASSERT_TRUE(files.sync_directory("/run"));
    }
  }
  EXPECT_GT(cases, 30u);
}

}  // namespace
}  // namespace trainhost
