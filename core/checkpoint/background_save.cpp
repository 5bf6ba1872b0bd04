#include "checkpoint/background_save.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/log.h"

namespace trainhost {

BackgroundSave::BackgroundSave(CheckpointDirectory &directory, ProcessGroup &training, Announce announce,
                               std::function<uint64_t()> available_bytes)
    : directory_(&directory), training_(&training), announce_(std::move(announce)), available_bytes_(std::move(available_bytes)) {}

BackgroundSave::~BackgroundSave() {
  if (!writer_.joinable()) return;
  writer_.join();
  if (!outcome_.saved) log_error(outcome_.saved.error().message);
  if (!outcome_.pruned) log_error(outcome_.pruned.error().message);
}

Result<> BackgroundSave::save(const CheckpointContents &contents, Retention retention) {
  const auto called = Clock::now();
  TRAINHOST_CHECK(finish());
  started_ = called;
  step_ = contents.step;
  const double frozen = freeze(contents) ? 1 : 0;
  TRAINHOST_TRY(const auto all_frozen, training_->gather(std::span(&frozen, 1)));
  const bool in_background = std::find(all_frozen.begin(), all_frozen.end(), 0) == all_frozen.end();
  if (frozen == 0) log_warning("there is not enough memory for a copy of the state: training waits until the checkpoint is written");

  TRAINHOST_TRY(PreparedCheckpoint prepared, prepare_checkpoint(in_background ? frozen_ : contents, directory_->group()));
  const auto stalled = [called] { return std::chrono::duration<double>(Clock::now() - called).count(); };
  if (!in_background) {
    const Outcome outcome = write(prepared, retention);
    stalled_seconds_ = stalled();
    return report(outcome);
  }
  ended_ = false;
  writer_ = std::thread([this, prepared = std::move(prepared), retention = std::move(retention)] {
    outcome_ = write(prepared, retention);
    ended_ = true;
  });
  stalled_seconds_ = stalled();
  return {};
}

Result<> BackgroundSave::poll() {
  if (!writer_.joinable()) return {};
  const double ended = ended_ ? 1 : 0;
  TRAINHOST_TRY(const auto all_ended, training_->gather(std::span(&ended, 1)));
  if (std::find(all_ended.begin(), all_ended.end(), 0) != all_ended.end()) return {};
  return finish();
}

Result<> BackgroundSave::finish() {
  if (!writer_.joinable()) return {};
  writer_.join();
  return report(outcome_);
}

// Copies everything. False when there is no memory for it.
bool BackgroundSave::freeze(const CheckpointContents &contents) {
  const auto taken = [](const NamedTensor &tensor) {  // whole floats, where the next one may begin
    return (tensor.values.bytes().size() + sizeof(float) - 1) / sizeof(float) * sizeof(float);
  };
  size_t bytes = 0;
  for (const NamedTensor &tensor : contents.tensors) bytes += taken(tensor);
  if (!reserve(bytes)) return false;
  frozen_ = contents;
  std::byte *place = copy_.data();
  for (NamedTensor &tensor : frozen_.tensors) {
    std::ranges::copy(tensor.values.bytes(), place);
    tensor.values = {tensor.values.type(), std::exchange(place, place + taken(tensor)), tensor.values.size()};
  }
  return true;
}

// The system's promise of memory is checked against what it has, because it breaks the promise by ending processes.
bool BackgroundSave::reserve(size_t bytes) {
  if (copy_.size() >= bytes) return true;
  copy_ = Buffer<std::byte>();
  if (available_bytes_() < bytes) return false;
  try {
    copy_ = Buffer<std::byte>(bytes);
  } catch (const std::bad_alloc &) {  // the buffer's only way to say so
    return false;
  }
  return true;
}

BackgroundSave::Outcome BackgroundSave::write(const PreparedCheckpoint &prepared, const Retention &retention) {
  Outcome outcome{.saved = directory_->save(prepared), .pruned = {}};
  if (outcome.saved) outcome.pruned = directory_->prune(retention.keep, retention.always_keep);
  return outcome;
}

Result<> BackgroundSave::report(const Outcome &outcome) {
  if (!outcome.saved) return tl::unexpected(outcome.saved.error());
  const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
  announce_({.path = *outcome.saved, .step = step_, .seconds = seconds, .stalled_seconds = stalled_seconds_});
  return outcome.pruned;
}

}  // namespace trainhost
