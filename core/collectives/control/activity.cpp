#include "collectives/control/activity.h"

#include <fmt/format.h>

namespace trainhost {

void RankActivity::set_task(std::string task) {
  const std::lock_guard lock(mutex_);
  task_ = std::move(task);
}

void RankActivity::begun(const Operation &operation) {
  const std::lock_guard lock(mutex_);
  if (operation.number > 0) newest_[operation.group] = operation.number;
}

void RankActivity::awaited(const Operation &operation) {
  const std::lock_guard lock(mutex_);
  stage_ = "in";
  latest_ = operation;
}

void RankActivity::done(const Operation &operation) {
  const std::lock_guard lock(mutex_);
  stage_ = "after";
  latest_ = operation;
}

std::string RankActivity::describe() const {
  const std::lock_guard lock(mutex_);
  return describe_locked();
}

std::string RankActivity::describe_locked() const {
  if (latest_.name.empty()) return task_;
  return fmt::format("{}{}{} {}", task_, task_.empty() ? "" : ", ", stage_, trainhost::describe(latest_));
}

ControlMessage RankActivity::heartbeat() const {
  const std::lock_guard lock(mutex_);
  ControlMessage message{ControlMessage::Type::kHeartbeat, 0, {describe_locked()}};
  for (const auto &[group, number] : newest_) {
    message.fields.push_back(group);
    message.fields.push_back(std::to_string(number));
  }
  return message;
}

}  // namespace trainhost
