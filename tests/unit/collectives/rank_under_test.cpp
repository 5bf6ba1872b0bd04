// A rank that is to be killed or stopped, or to see another one be: rank_under_test RANK WORLD PORT idle|gather.
// Ends with the host's exit codes; "ready" on its standard output: it has joined.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "base/log.h"
#include "collectives/join.h"
#include "support/launched_ranks.h"

namespace trainhost {
namespace {

const ControlSettings kSettings{.heartbeat = std::chrono::milliseconds(500), .timeout = std::chrono::seconds(30)};

void say_ready() {
  std::puts("ready");
  std::fflush(stdout);
}

// Nothing is under way: only the channel can notice.
Result<> stay_idle(ControlChannel &channel) {
  channel.report_activity("step 3");
  say_ready();
  std::this_thread::sleep_for(std::chrono::seconds(60));
  return {};
}

Result<> gather_for_ever(ControlChannel &channel, ProcessGroup &group) {
  const size_t piece = 200000;
  std::vector<float> whole(piece * group.size());
  std::vector<size_t> cuts;
  for (size_t place = 0; place <= group.size(); ++place) cuts.push_back(place * piece);
  for (int step = 1;; ++step) {
    channel.report_activity("step " + std::to_string(step));
    TRAINHOST_CHECK(group.all_gather(whole, cuts)->wait());
    if (step == 10) say_ready();
  }
}

Result<> run(const LaunchEnvironment &launch, ControlChannel &channel, bool gather) {
  TRAINHOST_TRY(const auto group, join(launch, kSettings, channel));
  return gather ? gather_for_ever(channel, *group) : stay_idle(channel);
}

int act(const LaunchEnvironment &launch, bool gather) {
  const auto channel = ControlChannel::connect(launch, kSettings);
  Result<> outcome = channel ? run(launch, **channel, gather) : Result<>(tl::unexpected(channel.error()));
  if (outcome) return 0;
  log_error(outcome.error().message);
  if (channel) (*channel)->leave(outcome.error().message);
  return exit_code(outcome.error().kind);
}

}  // namespace
}  // namespace trainhost

int main(int, char **argv) {
  const auto number = [&](int argument) { return static_cast<uint32_t>(std::atoi(argv[argument])); };
  return trainhost::act(trainhost::test::loopback_rank(number(1), number(2), static_cast<uint16_t>(number(3))),
                        std::strcmp(argv[4], "gather") == 0);
}
