// Damaged and hostile checkpoints: each is refused naming the file, and the one before it is used.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "checkpoint/checkpoint.h"
#include "support/temporary_directory.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {
namespace {

using nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;

std::string read(const std::string &path) { return *posix_file_system().read(path); }
// Over the old contents, so that a file is never absent or empty in between.
void write(const std::string &path, const std::string &contents) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  if (!file) file.open(path, std::ios::out | std::ios::binary);
  file << contents;
  file.close();
  std::filesystem::resize_file(path, contents.size());
}

class DamageTest : public testing::Test {
 protected:
  DamageTest() {
    EXPECT_TRUE(directory_.save(SmallRun(100).contents()));
    newest_ = *directory_.save(SmallRun(110).contents());
  }

  // Why the newest cannot be loaded; whether it can or not, what is loaded is bit-equal to what was saved.
  std::string fault() {
    SmallRun loaded(7, 9);
    auto tensors = loaded.tensors();
    const auto contents = directory_.load(newest_, tensors, SmallRun::fingerprints());
    if (contents) {
      EXPECT_TRUE(loaded == SmallRun(110)) << "other bits were loaded as if they were sound";
      return "";
    }
    EXPECT_EQ(contents.error().kind, ErrorKind::kData) << contents.error().message;
    EXPECT_TRUE(loaded == SmallRun(7, 9)) << "tensors were touched";
    return contents.error().message;
  }

  // The fault, once it is sure that the checkpoint before is used instead and the fault named.
  std::string fault_and_fallback() {
    SmallRun loaded(7, 9);
    auto tensors = loaded.tensors();
    testing::internal::CaptureStderr();
    const auto contents = directory_.load_newest(tensors, SmallRun::fingerprints());
    const std::string log = testing::internal::GetCapturedStderr();
    if (!contents) return contents.error().message;
    EXPECT_TRUE(loaded == SmallRun((*contents)->step));
    EXPECT_EQ((*contents)->step, 100u);
    EXPECT_THAT(log, AllOf(HasSubstr(newest_), HasSubstr("; the checkpoint of step 100 is used instead, 10 steps are lost")));
    return fault();
  }

  // Changes the manifest and makes its checksum right again, as somebody with bad intent would.
  std::string forge(const std::function<void(ordered_json &)> &change) {
    const std::string path = newest_ + "/manifest.json";
    const std::string sound = read(path);
    ordered_json manifest = ordered_json::parse(sound);
    change(manifest);
    const std::string found = forge_text(manifest.dump());
    return found;
  }

  std::string forge_text(const std::string &text) {
    const std::string path = newest_ + "/manifest.json", checksums_path = newest_ + "/SHA256SUMS";
    const std::string sound = read(path), sound_checksums = read(checksums_path);
    write(path, text);
    write(checksums_path, sha256(text) + sound_checksums.substr(64));
    const std::string found = fault();
    write(path, sound);
    write(checksums_path, sound_checksums);
    return found;
  }

  TemporaryDirectory temporary_;
  CheckpointDirectory directory_ = *open_alone(posix_file_system(), temporary_.path());
  std::string newest_;
};

TEST_F(DamageTest, NoticesEveryFlippedByteAndEveryLength) {
  uint64_t cases = 0;
  for (const std::string name : {"manifest.json", "SHA256SUMS", "model.safetensors", "state.safetensors"}) {
    const std::string path = newest_ + "/" + name, sound = read(path);
    for (size_t place = 0; place < sound.size() && !HasFailure(); ++place) {
      std::string flipped = sound;
      flipped[place] = static_cast<char>(flipped[place] ^ 1 << place % 8);
      write(path, flipped);
      EXPECT_THAT(fault(), HasSubstr(newest_)) << name << ", byte " << place;
      ++cases;
    }
    for (size_t size = 0; size < sound.size() && !HasFailure(); size += 1) {
      write(path, sound.substr(0, size));
      EXPECT_THAT(fault(), HasSubstr(newest_)) << name << " cut to " << size;
      ++cases;
    }
    write(path, sound + " ");
    EXPECT_THAT(fault_and_fallback(), HasSubstr(newest_));
    write(path, sound);
    ASSERT_EQ(fault(), "");
    ++cases;
  }
  std::printf("%lu damages, all noticed\n", cases);
}

TEST_F(DamageTest, NamesWhatIsMissingOrNotAFile) {
  for (const std::string name : {"manifest.json", "SHA256SUMS", "model.safetensors", "state.safetensors"}) {
    const std::string path = newest_ + "/" + name, elsewhere = temporary_ / "elsewhere";
    std::filesystem::rename(path, elsewhere);
    EXPECT_EQ(fault_and_fallback(), path + ": cannot be opened: No such file or directory");
    std::filesystem::create_symlink(elsewhere, path);
    EXPECT_EQ(fault_and_fallback(), path + ": is a symbolic link, which is not followed here");
    std::filesystem::remove(path);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);  // opening it the plain way would wait for ever
    EXPECT_EQ(fault_and_fallback(), path + ": is not a regular file");
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    EXPECT_EQ(fault_and_fallback(), path + ": is not a regular file");
    std::filesystem::remove(path);
    std::filesystem::rename(elsewhere, path);
  }
  std::filesystem::rename(newest_, temporary_ / "elsewhere");
  std::filesystem::create_directory_symlink(temporary_ / "elsewhere", newest_);
  EXPECT_EQ(fault_and_fallback(), newest_ + ": is not a directory");
  std::filesystem::remove(newest_);
  write(newest_, "");
  EXPECT_EQ(fault_and_fallback(), newest_ + ": is not a directory");
}

TEST_F(DamageTest, NoticesFilesOfAnotherStep) {
  const std::string other = temporary_ / "step-000000100";
  for (const std::string name : {"model.safetensors", "state.safetensors"}) {
    const std::string path = newest_ + "/" + name, sound = read(path);
    write(path, read(other + "/" + name));
    EXPECT_EQ(fault_and_fallback(), path + ": its SHA-256 is not the manifest's, so its contents are damaged");
    write(path, sound);
  }
  std::filesystem::remove_all(newest_);
  std::filesystem::copy(other, newest_);
  EXPECT_EQ(fault_and_fallback(), newest_ + "/manifest.json: is of step 100, not of the step in the directory's name");
}

TEST_F(DamageTest, NoticesSwappedShards) {
  std::filesystem::rename(newest_ + "/model.safetensors", temporary_ / "x");
  std::filesystem::rename(newest_ + "/state.safetensors", newest_ + "/model.safetensors");
  std::filesystem::rename(temporary_ / "x", newest_ + "/state.safetensors");
  EXPECT_THAT(fault_and_fallback(), HasSubstr("/model.safetensors: has "));
}

TEST_F(DamageTest, RefusesForgedManifests) {
  const std::string path = newest_ + "/manifest.json: ";
  for (const std::string name :
       {"../step-000000100/model.safetensors", "/etc/passwd", "manifest.json", "", ".", "model.safetensors/../../x"}) {
    EXPECT_EQ(forge([&](auto &manifest) { manifest["files"][0]["name"] = name; }),
              path + "the file name \"" + name + "\" is not one that a checkpoint has");
  }
  EXPECT_EQ(forge([](auto &manifest) { manifest["files"][1]["name"] = "model.safetensors"; }),
            path + "the file model.safetensors is listed twice");
  EXPECT_EQ(forge([](auto &manifest) { manifest["tensors"][1]["name"] = manifest["tensors"][0]["name"]; }),
            path + "tensor \"model.embedding.weight\" is listed twice");
  EXPECT_EQ(forge([](auto &manifest) { manifest["tensors"][0]["file"] = "other"; }),
            path + "tensor \"model.embedding.weight\" is in a file that is not listed");
  EXPECT_EQ(forge([](auto &manifest) { manifest["files"][0]["sha256"] = std::string(64, 'A'); }),
            path + "\"sha256\" of a file is not a SHA-256");
  EXPECT_EQ(forge([](auto &manifest) { manifest["tensors"][0]["shape"][0] = -5; }), path + "\"shape\" of a tensor is not a shape");
  EXPECT_EQ(forge([](auto &manifest) { manifest["step"] = "110"; }), path + "\"step\" of the manifest is missing or of the wrong type");
  EXPECT_EQ(forge([](auto &manifest) { manifest["step"] = -1; }), path + "\"step\" of the manifest is missing or of the wrong type");
  EXPECT_EQ(forge([](auto &manifest) { manifest["files"] = 5; }), path + "\"files\" of the manifest is missing or of the wrong type");
  EXPECT_EQ(forge([](auto &manifest) { manifest["files"][0] = 5; }), path + "\"name\" of a file is missing or of the wrong type");
  EXPECT_EQ(forge([](auto &manifest) { manifest["fingerprints"]["plugins"]["model"] = 5; }),
            path + "\"model\" of the plugins is missing or of the wrong type");
  EXPECT_EQ(forge([](auto &manifest) { manifest["world_size"] = 2; }), path + "it was written by 2 processes, and 1 was expected");
  EXPECT_EQ(forge([](auto &manifest) { manifest["step"] = 120; }), path + "is of step 120, not of the step in the directory's name");
  EXPECT_EQ(forge([](auto &manifest) { manifest["format"] = "other"; }), path + "is not a manifest of trainhost");
  EXPECT_EQ(forge([](auto &manifest) { manifest["files"][0]["bytes"] = 5; }),
            newest_ + "/model.safetensors: has 320 bytes, the manifest says 5");
  EXPECT_EQ(forge([](auto &manifest) { manifest["files"][0]["sha256"] = std::string(64, '0'); }),
            newest_ + "/SHA256SUMS: does not agree with " + newest_ + "/manifest.json");
  EXPECT_EQ(forge([](auto &manifest) { manifest["tensors"].erase(1); }),
            newest_ + "/model.safetensors: tensor \"model.unused\" is not in it as the manifest says");
  EXPECT_EQ(forge([](auto &manifest) { manifest["tensors"].erase(2); }),
            newest_ + "/model.safetensors: holds tensor \"model.unused\", which the manifest does not name");
}

TEST_F(DamageTest, RefusesForgedJson) {
  const std::string path = newest_ + "/manifest.json: ";
  EXPECT_EQ(forge_text(R"({"step":1,"step":2})"), path + "has the key \"step\" twice in one object");
  EXPECT_EQ(forge_text(std::string(1000000, '[')), path + "is nested deeper than 16 levels");
  EXPECT_EQ(forge_text(R"({"step":)"), path + "is not JSON at byte 9");
  EXPECT_EQ(forge_text(std::string("{}\0", 3)), path + "holds a zero byte, which JSON does not allow");
  EXPECT_EQ(forge_text("[]"), path + "is not a manifest of trainhost");
  EXPECT_EQ(forge_text("{\"step\":1e999}"), path + "is not JSON at byte 13");
}

// A tensor whose own hash is not right although its file's is: only a faulty writer does that. The tensors are touched then, and the load
// fails all the same.
TEST_F(DamageTest, ComparesEachTensorAsItArrives) {
  const std::string path = newest_ + "/manifest.json", checksums_path = newest_ + "/SHA256SUMS";
  ordered_json manifest = ordered_json::parse(read(path));
  manifest["tensors"][0]["sha256"] = std::string(64, '0');
  write(checksums_path, sha256(manifest.dump()) + read(checksums_path).substr(64));
  write(path, manifest.dump());
  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  const std::string fault = newest_ + "/model.safetensors: the SHA-256 of tensor \"model.embedding.weight\" is not the manifest's";
  EXPECT_EQ(directory_.load(newest_, tensors, SmallRun::fingerprints()).error().message, fault);
  EXPECT_EQ(directory_.verify(newest_).error().message, fault);
  EXPECT_TRUE(directory_.load_newest(tensors, SmallRun::fingerprints()));
  EXPECT_TRUE(loaded == SmallRun(100));
}

// Whole, but beyond this program: stepping back over it would throw work away.
TEST_F(DamageTest, DoesNotStepOverACheckpointOfANewerTrainhost) {
  const std::string path = newest_ + "/manifest.json", checksums_path = newest_ + "/SHA256SUMS";
  const std::string text = R"({"format":"trainhost checkpoint","version":4})";
  write(path, text);
  write(checksums_path, sha256(text) + "  manifest.json\n");
  SmallRun loaded(7, 9);
  auto tensors = loaded.tensors();
  const auto contents = directory_.load_newest(tensors, SmallRun::fingerprints());
  ASSERT_FALSE(contents);
  EXPECT_EQ(contents.error().kind, ErrorKind::kRecipe);
  EXPECT_EQ(contents.error().message,
            path + ": is of version 4, and this trainhost reads versions up to 3; use the trainhost that wrote it, or a newer one");
}

}  // namespace
}  // namespace trainhost
