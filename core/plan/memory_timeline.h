// How much memory a process has in use over time, by what it is for, and what it was when it was the most.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "device/cpu_memory.h"

namespace trainhost {

// In the order in which they are shown.
enum class MemoryPart {
  kProgram,      // code, libraries, their tables and threads
  kData,         // batches built ahead, held-out windows, the tokenizer
  kParameters,   // as the process keeps them
  kMasters,      // precision = "bf16": the float32 values that are updated
  kGathered,     // sharding = "parameters": those of a unit, whole, while it is used
  kGradients,    // sums over micro-batches
  kExchange,     // what is on its way between processes
  kReduction,    // reduction = "fixed": sums not yet added
  kOptimizer,    // its states
  kActivations,  // between units, and their gradient
  kSaved,        // what units keep from forward for backward
  kWorking,      // what units take while they run
  kCheckpoint,   // checkpoint.asynchronous: the copy being written
  kTelemetry,    // metrics.telemetry: an update and its gradient, to be measured
};
constexpr size_t kMemoryParts = 14;
std::string_view to_string(MemoryPart part);      // for people: "saved activations"
std::string_view identifier_of(MemoryPart part);  // for programs: "saved"

struct MemoryUse {
  std::array<uint64_t, kMemoryParts> bytes{};
  uint64_t &of(MemoryPart part) { return bytes[static_cast<size_t>(part)]; }
  uint64_t of(MemoryPart part) const { return bytes[static_cast<size_t>(part)]; }
  uint64_t total() const;
  MemoryPart largest() const;
};

// One thread.
class MemoryTimeline {
 public:
  // block_bytes: what a block takes of the memory of its kind, given what it was asked for.
  explicit MemoryTimeline(uint64_t (*block_bytes)(uint64_t bytes) = cpu_block_bytes) : block_bytes_(block_bytes) {}

  uint64_t block_bytes(uint64_t bytes) const { return block_bytes_(bytes); }
  void begin(std::string moment) { moment_ = std::move(moment); }
  void take(MemoryPart part, uint64_t bytes);
  void give_back(MemoryPart part, uint64_t bytes);

  const MemoryUse &peak() const { return peak_; }
  const std::string &peak_moment() const { return peak_moment_; }  // as begun

 private:
  uint64_t (*block_bytes_)(uint64_t);
  MemoryUse now_, peak_;
  uint64_t total_ = 0, peak_total_ = 0;
  std::string moment_, peak_moment_;
};

// A block of memory that is only counted: what Buffer is where it is allocated. The timeline outlives it.
class CountedBlock {
 public:
  CountedBlock() = default;
  CountedBlock(MemoryTimeline &timeline, MemoryPart part, uint64_t bytes);
  CountedBlock(CountedBlock &&other) noexcept { swap(other); }
  CountedBlock &operator=(CountedBlock &&other) noexcept {
    CountedBlock gone(std::move(other));  // so that what this had is given back now
    swap(gone);
    return *this;
  }
  ~CountedBlock() {
    if (timeline_ != nullptr) timeline_->give_back(part_, bytes_);
  }
  bool empty() const { return timeline_ == nullptr; }

 private:
  void swap(CountedBlock &other) noexcept {
    std::swap(timeline_, other.timeline_);
    std::swap(part_, other.part_);
    std::swap(bytes_, other.bytes_);
  }

  MemoryTimeline *timeline_ = nullptr;
  MemoryPart part_ = MemoryPart::kProgram;
  uint64_t bytes_ = 0;  // as the machine gives them
};

}  // namespace trainhost
