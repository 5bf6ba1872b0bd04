#include "collectives/control/single_process_channel.h"

#include <map>
#include <mutex>

namespace trainhost {
namespace {

class SingleProcessChannel : public ControlChannel {
 public:
  Result<> set(const std::string &key, std::string value) override {
    const std::lock_guard lock(mutex_);
    values_[key] = std::move(value);
    return {};
  }
  Result<std::string> get(const std::string &key) override {
    TRAINHOST_TRY(auto value, look(key));
    if (value) return *value;
    return failure(ErrorKind::kUnavailable, "no rank will set \"" + key + "\": this process trains alone");
  }
  Result<std::optional<std::string>> look(const std::string &key) override {
    const std::lock_guard lock(mutex_);
    const auto found = values_.find(key);
    return found == values_.end() ? std::optional<std::string>() : std::optional(found->second);
  }
  void report_activity(std::string) override {}
  void report_begun(const Operation &) override {}
  void report_awaited(const Operation &) override {}
  void report_done(const Operation &) override {}
  std::string missing(const Operation &, std::span<const uint32_t>) override { return {}; }
  void announce_stop() override {}
  void leave(std::string_view) override {}
  void on_loss(std::function<void(const std::string &)>) override {}
  void on_stop(std::function<void()>) override {}

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> values_;
};

}  // namespace

std::unique_ptr<ControlChannel> single_process_channel() { return std::make_unique<SingleProcessChannel>(); }

}  // namespace trainhost
