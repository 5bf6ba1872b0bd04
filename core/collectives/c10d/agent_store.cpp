#include "collectives/c10d/agent_store.h"

#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "collectives/c10d/thrown_failure.h"

namespace trainhost {
namespace {

class TorchrunStore : public AgentStore {
 public:
  TorchrunStore(const LaunchEnvironment &launch, std::chrono::milliseconds timeout)
      : place_(fmt::format("{} port {}", launch.master_address, launch.master_port)) {
    c10d::TCPStoreOptions options;
    options.port = launch.master_port;
    options.isServer = false;
    options.waitWorkers = false;
    options.timeout = timeout;
    store_ = c10::make_intrusive<c10d::TCPStore>(launch.master_address, options);
  }

  Result<> set(const std::string &key, const std::string &value) override try {
    store_->set(key, std::vector<uint8_t>(value.begin(), value.end()));
    return {};
  } catch (const std::exception &problem) {
    return broken(problem);
  }

  Result<std::optional<std::string>> look(const std::string &key) override try {
    if (!store_->check({key})) return std::nullopt;
    return store_->get_to_str(key);
  } catch (const std::exception &problem) {
    return broken(problem);
  }

 private:
  tl::unexpected<Error> broken(const std::exception &problem) const {
    return failure(ErrorKind::kUnavailable, fmt::format("torchrun's store at {} failed: {}", place_, text_of(problem)));
  }

  std::string place_;
  c10::intrusive_ptr<c10d::TCPStore> store_;
};

}  // namespace

Result<std::unique_ptr<AgentStore>> open_torchrun_store(const LaunchEnvironment &launch, std::chrono::milliseconds timeout) try {
  return std::make_unique<TorchrunStore>(launch, timeout);
} catch (const std::exception &problem) {
  return failure(ErrorKind::kUnavailable, fmt::format("torchrun's store at {} port {} cannot be reached: {}", launch.master_address,
                                                      launch.master_port, text_of(problem)));
}

}  // namespace trainhost
