// Checkpoints of several processes: any number of them, any cut.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "checkpoint/checkpoint.h"
#include "support/faulty_file_system.h"
#include "support/forwarding_file_system.h"
#include "support/temporary_directory.h"
#include "support/thread_group.h"
#include "unit/checkpoint/rank_run.h"

namespace trainhost {
namespace {

using test::run_ranks;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kFolder = "/run/checkpoints";

TEST(CheckpointRanks, LoadsOnAnyNumberOfRanksInAnyCut) {
  uint64_t cases = 0;
  for (const bool bfloat16 : {false, true}) {
    for (uint32_t saving = 1; saving <= 4; ++saving) {
      for (const Cut cut : kCuts) {
        FaultyFileSystem files;
        save_by(files, kFolder, saving, 100, cut, 1, bfloat16);
        for (uint32_t loading = 1; loading <= 4; ++loading) {
          for (const Cut other : kCuts) {
            expect_loads(files, kFolder, loading, 100, other, std::to_string(saving) + " to " + std::to_string(loading) + ": ", 1,
                         bfloat16);
            ++cases;
          }
        }
        if (HasFailure()) return;
      }
    }
  }
  std::printf("%lu pairs of cuts, all bit-equal\n", cases);
}

// Each rank may want all of it, whatever the others want.
TEST(CheckpointRanks, LoadsReplicas) {
  FaultyFileSystem files;
  save_by(files, kFolder, 4, 100, Cut::kFlat);
  run_ranks(3, [&](ProcessGroup &group) {
    SmallRun run(7, 9);
    auto tensors = run.tensors();
    const auto directory = CheckpointDirectory::open(files, kFolder, group);
    ASSERT_TRUE(directory->load_newest(tensors, SmallRun::fingerprints()));
    EXPECT_TRUE(run == SmallRun(100));
  });
}

// A tensor of two and a half blocks, of which one rank wants a little: it reads the block in which that lies, besides its share of the
// verification, and no more.
TEST(CheckpointRanks, ReadsOnlyTheBlocksThatARankNeeds) {
  constexpr uint64_t kBlock = uint64_t{1} << 22, kElements = 5 * kBlock / 2, kBorder = 9 * kBlock / 4;
  std::vector<float> whole(kElements);
  fill_uniform(1, 2, 0, whole);
  const auto piece = [&](std::vector<float> &values, uint64_t begin, uint64_t end) {
    return NamedTensor{.name = "model.big",
                       .shape = {2, static_cast<int64_t>(kElements / 2)},
                       .values = std::span(values).subspan(begin, end - begin),
                       .begin = begin};
  };
  TemporaryDirectory temporary;
  run_ranks(2, [&](ProcessGroup &group) {
    const bool first = group.rank() == 0;
    CountingFileSystem files(posix_file_system());
    auto directory = *CheckpointDirectory::open(files, temporary.path(), group);
    const auto saved = directory.save({.step = 1,
                                       .label = {},
                                       .fingerprints = {},
                                       .trainer_state = {},
                                       .tensors = {first ? piece(whole, 0, kBorder) : piece(whole, kBorder, kElements)}});
    ASSERT_TRUE(saved) << saved.error().message;

    // Rank 0 wants all, rank 1 some elements on both sides of the border between the files.
    std::vector<float> loaded(kElements);
    std::vector<NamedTensor> wanted{first ? piece(loaded, 0, kElements) : piece(loaded, kBorder - 1000, kBorder + 1000)};
    const uint64_t before = files.bytes_read();
    const auto contents = directory.load_newest(wanted, {});
    ASSERT_TRUE(contents) << contents.error().message;
    EXPECT_TRUE(same_bits(wanted[0].values.bytes(), std::as_bytes(std::span(whole).subspan(wanted[0].begin, wanted[0].values.size()))));
    const uint64_t files_bytes = sizeof(float) * (kElements - kBorder), needed = sizeof(float) * (kBorder - 2 * kBlock) + files_bytes;
    if (!first) {
      EXPECT_LT(files.bytes_read() - before, files_bytes + needed + 10000);
    }
  });
}

TEST(CheckpointRanks, GoesFromOneToTwoToFourToThreeToOne) {
  TemporaryDirectory temporary;
  auto &files = posix_file_system();
  save_by(files, temporary.path(), 1, 100, Cut::kFirst);
  uint64_t step = 100;
  for (const auto &[size, cut] : {std::pair(2u, Cut::kFlat), {4u, Cut::kEven}, {3u, Cut::kScattered}, {1u, Cut::kFirst}}) {
    ++step;
    run_ranks(size, [&, size = size, cut = cut](ProcessGroup &group) {
      SmallRun run(7, 9);  // every later checkpoint holds what was loaded from the one before
      auto directory = CheckpointDirectory::open(files, temporary.path(), group);
      CheckpointContents contents = cut_contents(run, cut, group);
      ASSERT_TRUE(directory->load_newest(contents.tensors, SmallRun::fingerprints()));
      contents.step = step;
      ASSERT_TRUE(directory->save(contents));
      ASSERT_TRUE(directory->prune(1, {}));
    });
  }
  SmallRun run(7, 9);
  auto tensors = run.tensors();
  const auto loaded = open_alone(files, temporary.path())->load_newest(tensors, SmallRun::fingerprints());
  ASSERT_TRUE(loaded && *loaded);
  EXPECT_EQ((*loaded)->step, 104u);
  EXPECT_TRUE(run == SmallRun(100));
  EXPECT_THAT(*files.list(temporary.path()), ElementsAre("step-000000104"));
}

// What rank 0 saves alone has the files that one process writes; otherwise each rank has its own.
TEST(CheckpointRanks, NamesTheFiles) {
  TemporaryDirectory temporary;
  auto &files = posix_file_system();
  save_by(files, temporary / "one", 1, 100, Cut::kFirst);
  save_by(files, temporary / "first", 3, 100, Cut::kFirst);
  save_by(files, temporary / "even", 3, 100, Cut::kEven);
  EXPECT_THAT(*files.list(temporary / "first/step-000000100"),
              ElementsAre("SHA256SUMS", "manifest.json", "model.safetensors", "state.safetensors"));
  for (const std::string name : {"model.safetensors", "state.safetensors"})
    EXPECT_EQ(*files.read(temporary / "one/step-000000100/" + name), *files.read(temporary / "first/step-000000100/" + name));
  EXPECT_THAT(*files.list(temporary / "even/step-000000100"),
              ElementsAre("SHA256SUMS", "manifest.json", "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                          "model-00003-of-00003.safetensors", "state-00001-of-00003.safetensors", "state-00002-of-00003.safetensors",
                          "state-00003-of-00003.safetensors"));
  const auto processes = [&](const std::string &folder) { return (*open_alone(files, temporary / folder)->list())[0].processes; };
  EXPECT_EQ(processes("one"), 1u);
  EXPECT_EQ(processes("first"), 3u);
  EXPECT_EQ(processes("even"), 3u);
  const std::string command = "cd " + temporary / "even/step-000000100" + " && sha256sum --check --strict --quiet SHA256SUMS";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(CheckpointRanks, RefusesPiecesThatAreNotEachTensorOnce) {
  FaultyFileSystem files;
  save_by(files, kFolder, 3, 100, Cut::kEven);
  const auto error = [&](const std::function<void(CheckpointContents &, uint32_t rank)> &change) {
    Outcomes outcomes;
    run_ranks(3, [&](ProcessGroup &group) {
      SmallRun run(110);
      auto directory = CheckpointDirectory::open(files, kFolder, group);
      CheckpointContents contents = cut_contents(run, Cut::kEven, group);
      change(contents, group.rank());
      outcomes.add(directory->save(contents));
    });
    EXPECT_TRUE(outcomes.are_equal());
    EXPECT_THAT(*files.list(kFolder), ElementsAre("step-000000100"));
    return outcomes.error();
  };
  const std::string start = "71 what is to be saved is not each tensor once: ", name = " of tensor \"model.embedding.weight\" are ";
  EXPECT_EQ(error([](auto &contents, uint32_t rank) {
              if (rank == 1) contents.tensors.erase(contents.tensors.begin());
            }),
            start + "elements 5 to 9" + name + "missing");
  EXPECT_EQ(error([](auto &contents, uint32_t rank) {
              if (rank == 2) contents.tensors.erase(contents.tensors.begin());
            }),
            start + "elements 10 to 14" + name + "missing");
  EXPECT_EQ(error([](auto &contents, uint32_t rank) {
              if (rank == 1) contents.tensors[0].begin = 4;
            }),
            start + "elements 4 to 4" + name + "there twice");
  EXPECT_EQ(error([](auto &contents, uint32_t rank) {
              if (rank == 2) contents.tensors[0].shape = {3, 5};
            }),
            start + "tensor \"model.embedding.weight\" has shape [5, 3] in one place and [3, 5] in another");
  EXPECT_EQ(error([](auto &contents, uint32_t rank) {
              if (rank == 2) contents.tensors[0].begin = 11;
            }),
            "71 rank 2: tensor \"model.embedding.weight\" has 5 values from element 11 on, which do not fit its shape [5, 3]");
  EXPECT_EQ(error([](auto &contents, uint32_t rank) { contents.step += rank / 2; }),
            "71 rank 2 saves step 111 at 450560 tokens, rank 0 saves step 110 at 450560 tokens: all must stand at one step");
}

TEST(CheckpointRanks, RefusesToLoadAPartOrAnotherRunsTensors) {
  FaultyFileSystem files;
  save_by(files, kFolder, 3, 100, Cut::kEven);
  const std::string path = kFolder + "/step-000000100";
  const auto error = [&](const std::function<void(std::vector<NamedTensor> &, Fingerprints &, uint32_t rank)> &change) {
    Outcomes outcomes;
    run_ranks(2, [&](ProcessGroup &group) {
      SmallRun run(7, 9);
      auto pieces = cut_tensors(run, Cut::kFlat, group.rank(), group.size());
      Fingerprints prints = SmallRun::fingerprints();
      change(pieces, prints, group.rank());
      outcomes.add(CheckpointDirectory::open(files, kFolder, group)->load_newest(pieces, prints));
      EXPECT_TRUE(run == SmallRun(7, 9)) << "tensors were touched";
    });
    EXPECT_TRUE(outcomes.are_equal());
    return outcomes.error();
  };
  EXPECT_EQ(error([](auto &pieces, auto &, uint32_t rank) {
              if (rank == 0) pieces.erase(pieces.begin());
            }),
            "71 " + path + ": element 0 of tensor \"model.embedding.weight\" is wanted by none of the processes that load it");
  EXPECT_EQ(error([](auto &pieces, auto &, uint32_t) { pieces.pop_back(); }),
            "78 " + path + ": holds tensor \"optimizer.embedding.weight.first moment \"m\"\", which this run does not have");
  EXPECT_EQ(error([](auto &pieces, auto &, uint32_t rank) {
              if (rank == 1) pieces[0].name = "model.bias";
            }),
            "78 rank 1: " + path + ": lacks tensor \"model.bias\", which this run has");
  EXPECT_THAT(error([](auto &, auto &prints, uint32_t rank) { prints.data += rank == 1 ? "x" : ""; }),
              HasSubstr("78 rank 1: " + path + ": was made with another data"));
}

// The processes are not looking at one folder.
TEST(CheckpointRanks, NoticesThatTheFolderIsNotShared) {
  FaultyFileSystem here, there, nowhere;
  save_by(here, kFolder, 1, 100, Cut::kFirst, 1);
  save_by(there, kFolder, 1, 100, Cut::kFirst, 2);
  run_ranks(2, [&](ProcessGroup &group) {
    SmallRun run(7, 9);
    auto tensors = run.tensors();
    auto directory = *CheckpointDirectory::open(group.rank() == 0 ? here : there, kFolder, group);
    const auto loaded = directory.load_newest(tensors, {});
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().kind, ErrorKind::kUnavailable);
    EXPECT_THAT(loaded.error().message, HasSubstr("rank 1 finds another manifest there than rank 0; all processes need one common folder"));
    SmallRun next(110);
    const auto saved = directory.save(cut_contents(next, Cut::kEven, group));
    ASSERT_FALSE(saved);
    EXPECT_THAT(saved.error().message, HasSubstr("rank 1: " + kFolder));
    const auto absent = CheckpointDirectory::open(group.rank() == 0 ? here : nowhere, kFolder, group);
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().kind, ErrorKind::kUnavailable);
    EXPECT_EQ(absent.error().message,
              "rank 1: " + kFolder + ": is not there, although rank 0 made it; all processes need one common folder");
  });
}

// The files of a checkpoint by three ranks, damaged.
class ShardDamage : public testing::Test {
 protected:
  ShardDamage() {
    save_by(posix_file_system(), temporary_.path(), 2, 100, Cut::kEven);
    save_by(posix_file_system(), temporary_.path(), 3, 110, Cut::kEven);
    save_by(posix_file_system(), temporary_ / "other", 3, 110, Cut::kEven, 2);
  }

  // Why the newest cannot be loaded, once it is sure that one, two and four ranks take the older one instead.
  std::string fault() {
    testing::internal::CaptureStderr();
    for (const uint32_t size : {1u, 2u, 4u}) expect_loads(posix_file_system(), temporary_.path(), size, 100, Cut::kFlat);
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("; the checkpoint of step 100 is used instead, 10 steps are lost"));
    const auto directory = *open_alone(posix_file_system(), temporary_.path());
    EXPECT_THAT((*directory.list())[0].problem, "");
    return directory.verify(newest_).error().message;
  }

  TemporaryDirectory temporary_;
  std::string newest_ = temporary_ / "step-000000110", other_ = temporary_ / "other/step-000000110";
  std::string shard_ = newest_ + "/model-00002-of-00003.safetensors";
};

TEST_F(ShardDamage, NoticesAMissingShard) {
  std::filesystem::remove(shard_);
  EXPECT_EQ(fault(), shard_ + ": cannot be opened: No such file or directory");
}

TEST_F(ShardDamage, NoticesSwappedShards) {
  std::filesystem::rename(shard_, temporary_ / "x");
  std::filesystem::rename(newest_ + "/model-00003-of-00003.safetensors", shard_);
  std::filesystem::rename(temporary_ / "x", newest_ + "/model-00003-of-00003.safetensors");
  EXPECT_THAT(fault(), AllOf(HasSubstr(shard_), HasSubstr("of-00003.safetensors: ")));
}

TEST_F(ShardDamage, NoticesAShardOfAnotherStep) {
  std::filesystem::copy_file(other_ + "/model-00002-of-00003.safetensors", shard_, std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(fault(), shard_ + ": its SHA-256 is not the manifest's, so its contents are damaged");
}

TEST_F(ShardDamage, NoticesDamagedBytes) {
  std::fstream file(shard_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\7');
  file.close();
  EXPECT_EQ(fault(), shard_ + ": its SHA-256 is not the manifest's, so its contents are damaged");
}

}  // namespace
}  // namespace trainhost
