// The control channel as the store through which c10d's ranks find each other.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include "collectives/control_channel.h"

namespace trainhost {

// Failures are thrown as c10::DistStoreError, which c10d expects. The channel outlives it.
class ControlStore : public c10d::Store {
 public:
  ControlStore(ControlChannel &channel, std::string prefix) : channel_(channel), prefix_(std::move(prefix)) {}

  c10::intrusive_ptr<Store> clone() override;
  void set(const std::string &key, const std::vector<uint8_t> &value) override;
  std::vector<uint8_t> get(const std::string &key) override;
  bool check(const std::vector<std::string> &keys) override;
  void wait(const std::vector<std::string> &keys) override;
  // The timeout is the channel's, whatever c10d gives.
  void wait(const std::vector<std::string> &keys, const std::chrono::milliseconds &timeout) override;

  // The rendezvous of gloo and NCCL does without these.
  int64_t add(const std::string &key, int64_t value) override;
  bool deleteKey(const std::string &key) override;
  int64_t getNumKeys() override;

 private:
  ControlChannel &channel_;
  std::string prefix_;
};

}  // namespace trainhost
