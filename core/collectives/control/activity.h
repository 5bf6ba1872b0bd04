// What this rank is doing, as it tells the others.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "collectives/control/control_message.h"
#include "collectives/control_channel.h"

namespace trainhost {

// Any thread.
class RankActivity {
 public:
  void set_task(std::string task);
  void begun(const Operation &operation);
  void awaited(const Operation &operation);
  void done(const Operation &operation);

  std::string describe() const;  // "step 17, in all_gather 93"; empty: nothing reported yet
  ControlMessage heartbeat() const;

 private:
  std::string describe_locked() const;

  mutable std::mutex mutex_;
  std::string task_;
  const char *stage_ = "";
  Operation latest_;
  std::map<std::string, uint64_t> newest_;  // by group
};

}  // namespace trainhost
