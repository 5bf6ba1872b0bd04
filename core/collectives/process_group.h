// Processes that train one model together, and how they exchange numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace trainhost {

// Where each rank's piece of a buffer lies: rank r has the items [at(r), at(r + 1)). size() + 1 numbers that do not fall; pieces may be
// empty and of different lengths.
using Cuts = std::span<const size_t>;

// An operation under way. Its buffers must stay untouched until wait() has returned; it must be waited for once.
class Pending {
 public:
  virtual ~Pending() = default;
  // kUnavailable names the ranks that did not take part in time.
  virtual Result<> wait() = 0;
};

// Every rank calls the same operations in the same order with buffers of the same lengths. No operation does arithmetic: sums are taken
// by the caller in rank order, so that every rank has the same bits. One thread. Buffers of floats are in the memory of the group's device
// (the host's, but for a group made for a GPU); what gather() takes is in the host's.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  virtual uint32_t rank() const = 0;
  virtual uint32_t size() const = 0;

  // Each rank's piece of `whole` goes into the `whole` of every rank, in place; the own piece is there already.
  virtual std::unique_ptr<Pending> all_gather(std::span<float> whole, Cuts cuts) = 0;
  // Piece r of `whole` goes to rank r. `received` gets what each rank sent here: size() pieces of the own length, in rank order, the
  // own among them.
  virtual std::unique_ptr<Pending> exchange(std::span<const float> whole, Cuts cuts, std::span<float> received) = 0;
  // From one rank to another; a pair of ranks sends and receives in the same order. Sending may return before the other receives.
  virtual std::unique_ptr<Pending> send(std::span<const float> values, uint32_t to) = 0;
  virtual std::unique_ptr<Pending> receive(std::span<float> values, uint32_t from) = 0;
  // What each rank gives, in rank order: values.size() numbers each.
  virtual Result<std::vector<double>> gather(std::span<const double> values) = 0;
  // Likewise texts, of any length each.
  virtual Result<std::vector<std::string>> gather(const std::string &text) = 0;

  // Those of the ranks that give the same colour, in the order of their ranks here. All ranks call it. The parent outlives it.
  virtual Result<std::unique_ptr<ProcessGroup>> split(uint32_t colour) = 0;
};

// The group of a process that trains alone. Nothing is waited for.
std::unique_ptr<ProcessGroup> single_process();

}  // namespace trainhost
