#include "base/log.h"

#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>

#include <spdlog/logger.h>
#include <spdlog/sinks/ansicolor_sink.h>

namespace trainhost {
namespace {

class Channel {
 public:
  Channel() {
    const bool plain = std::getenv("NO_COLOR") != nullptr;
    auto sink =
        std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>(plain ? spdlog::color_mode::never : spdlog::color_mode::automatic);
    logger_ = std::make_shared<spdlog::logger>("trainhost", sink);
    logger_->set_pattern("%^%l%$: %v");
    const char *level = std::getenv("TRAINHOST_LOG");
    logger_->set_level(level != nullptr && std::string_view(level) == "debug" ? spdlog::level::debug : spdlog::level::info);
  }

  void set_level(LogLevel least) { logger_->set_level(to_spdlog(least)); }

  void write(LogLevel level, std::string_view message) {
    const auto wanted = to_spdlog(level);
    if (!logger_->should_log(wanted)) return;
    std::lock_guard lock(mutex_);
    if (before_) before_();
    logger_->log(wanted, spdlog::string_view_t(message.data(), message.size()));
    logger_->flush();
    if (after_) after_();
  }

  void set_hooks(std::function<void()> before, std::function<void()> after) {
    std::lock_guard lock(mutex_);
    before_ = std::move(before);
    after_ = std::move(after);
  }

 private:
  static spdlog::level::level_enum to_spdlog(LogLevel level) {
    static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                                            spdlog::level::err};
    return kLevels[static_cast<int>(level)];
  }

  std::mutex mutex_;
  std::shared_ptr<spdlog::logger> logger_;
  std::function<void()> before_, after_;
};

Channel &channel() {
  static Channel *const instance = new Channel;  // outlives every static object and plugin thread
  return *instance;
}

}  // namespace

void log(LogLevel level, std::string_view message) { channel().write(level, message); }

void set_log_level(LogLevel least) { channel().set_level(least); }

void set_log_hooks(std::function<void()> before, std::function<void()> after) { channel().set_hooks(std::move(before), std::move(after)); }

}  // namespace trainhost
