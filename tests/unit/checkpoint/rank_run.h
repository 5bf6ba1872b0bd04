// A tiny run's checkpoints saved and loaded by ranks that are threads.
#pragma once

#include <algorithm>
#include <cstring>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "support/thread_group.h"
#include "unit/checkpoint/cut_run.h"

namespace trainhost {

// Bit by bit.
inline bool same_bits(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

// Whether the pieces hold what the run's whole tensors hold there.
inline bool are_pieces_of(std::span<const NamedTensor> pieces, SmallRun run) {
  const auto wholes = run.tensors();
  return std::all_of(pieces.begin(), pieces.end(), [&](const NamedTensor &piece) {
    const auto whole = std::find_if(wholes.begin(), wholes.end(), [&](const auto &tensor) { return tensor.name == piece.name; });
    return same_bits(piece.values.bytes(), whole->values.subspan(piece.begin, piece.values.size()).bytes());
  });
}

// What the ranks of a group got, so that it can be seen whether all got the same.
class Outcomes {
 public:
  template <class Value>
  void add(const Result<Value> &outcome) {
    const std::lock_guard lock(mutex_);
    errors_.push_back(outcome ? "" : std::to_string(exit_code(outcome.error().kind)) + " " + outcome.error().message);
  }
  bool are_equal() const {
    return std::all_of(errors_.begin(), errors_.end(), [&](const auto &error) { return error.substr(0, 2) == errors_[0].substr(0, 2); });
  }
  bool succeeded() const { return errors_[0].empty(); }
  const std::string &error() const { return errors_[0]; }  // the exit code and the message

 private:
  std::mutex mutex_;
  std::vector<std::string> errors_;
};

inline void save_by(FileSystem &files, const std::string &folder, uint32_t size, uint64_t step, Cut cut, uint64_t seed = 1,
                    bool bfloat16_states = false) {
  test::run_ranks(size, [&](ProcessGroup &group) {
    SmallRun run(step, seed, bfloat16_states);
    auto directory = CheckpointDirectory::open(files, folder, group);
    ASSERT_TRUE(directory) << directory.error().message;
    const auto saved = directory->save(cut_contents(run, cut, group));
    ASSERT_TRUE(saved) << saved.error().message;
  });
}

// Loads the newest on `size` ranks and expects that it is of `step`, bit for bit.
inline void expect_loads(FileSystem &files, const std::string &folder, uint32_t size, uint64_t step, Cut cut, const std::string &where = "",
                         uint64_t seed = 1, bool bfloat16_states = false) {
  test::run_ranks(size, [&](ProcessGroup &group) {
    SmallRun run(7, 9, bfloat16_states);
    auto pieces = cut_tensors(run, cut, group.rank(), size);
    const auto directory = CheckpointDirectory::open(files, folder, group);
    ASSERT_TRUE(directory) << where << directory.error().message;
    const auto loaded = directory->load_newest(pieces, SmallRun::fingerprints());
    ASSERT_TRUE(loaded && *loaded) << where << loaded.error().message;
    EXPECT_EQ((*loaded)->step, step) << where;
    EXPECT_EQ((*loaded)->tokens, step * 4096) << where;
    EXPECT_EQ((*loaded)->trainer_state, "{\"spikes\":[1,2]}") << where;
    EXPECT_TRUE(are_pieces_of(pieces, SmallRun(step, seed, bfloat16_states))) << where << "rank " << group.rank() << " of " << size;
  });
}

}  // namespace trainhost
