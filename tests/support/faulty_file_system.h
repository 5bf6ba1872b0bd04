// A file system in memory that fails, forgets and tears as a test tells it. It knows what was synced, so it can show what a machine finds
// after a power cut; after LevelDB's fault_injection_test and the findings of Rebello et al., "Can Applications Recover from fsync
// Failures?" (USENIX ATC 2020).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/file_system.h"

namespace trainhost {

class FaultyFileSystem final : public FileSystem {
 public:
  enum class Fault {
    kError,       // the call has no effect and fails; a failed sync leaves pages that count as clean although they were never written
    kShortWrite,  // half of an append lands, then it fails; half of a removal is done, then it fails; other calls as kError
    kWrongBytes,  // a read gives, or an append leaves, one flipped bit and no error; other calls as kError
    kPowerCut,    // this call and all after it have no effect and fail, until restart()
  };
  // What a machine finds when it starts again.
  enum class Survival {
    kEverything,  // only the process died: what was not synced is still there, and still not on the disk
    kSynced,      // what was synced and nothing else
    kTorn,        // what was synced, and of the rest any part in any order, by `seed`
  };

  FaultyFileSystem();
  // Another process's way to the same disk, with faults and a count of calls of its own. The two may be used at the same time.
  explicit FaultyFileSystem(const FaultyFileSystem &disk);
  ~FaultyFileSystem() override;

  // Call number `call` from now on, counted from 1, fails with `reason`, and so do those after it until `times` have. 0: none does.
  static constexpr uint64_t kForEver = UINT64_MAX;
  void fail(uint64_t call, Fault fault, uint64_t times = 1, std::string reason = "Input/output error");
  uint64_t calls() const { return calls_; }  // since the last fail() or restart()
  bool failed() const { return failed_; }    // whether a fault was met since then
  const std::string &failed_call() const { return failed_call_; }
  void restart(Survival survival, uint64_t seed = 0);

  // Appends that would pass it fail with "No space left on device" after writing what fits. free_bytes gives `reported`.
  void set_capacity(uint64_t capacity, uint64_t reported);

  Result<std::unique_ptr<WritableFile>> create(const std::string &path) override;
  Result<> create_directories(const std::string &path) override;
  Result<> rename(const std::string &from, const std::string &to) override;
  Result<> sync_directory(const std::string &path) override;
  Result<> remove_all(const std::string &path) override;
  Result<std::unique_ptr<ReadableFile>> open(const std::string &path) override;
  Result<std::string> read(const std::string &path) override;
  Result<std::vector<std::string>> list(const std::string &path) override;
  bool exists(const std::string &path) override;
  bool is_directory(const std::string &path) override;
  Result<uint64_t> free_bytes(const std::string &path) override;

 private:
  struct Node;
  class Writer;
  class Reader;
  using NodePointer = std::shared_ptr<Node>;

  // Counts a call and says whether and how it fails.
  std::unique_lock<std::recursive_mutex> lock() const { return std::unique_lock(*mutex_); }
  Result<> meet(ErrorKind kind, const std::string &call, const std::string &path);
  bool half() const { return fault_ == Fault::kShortWrite; }
  NodePointer find(const std::string &path) const;
  NodePointer find_parent(const std::string &path) const;
  static uint64_t used(const Node &node);
  static void unlink_all(Node &directory);
  static void survive(Node &node, Survival survival, uint64_t &seed);

  std::shared_ptr<std::recursive_mutex> mutex_;  // of the disk
  NodePointer root_;
  uint64_t calls_ = 0, fail_at_ = 0, times_ = 1;
  Fault fault_ = Fault::kError;
  bool failed_ = false, off_ = false;
  std::string reason_, failed_call_;
  uint64_t capacity_ = UINT64_MAX, reported_free_ = uint64_t{1} << 40;
};

}  // namespace trainhost
