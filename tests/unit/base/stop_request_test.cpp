#include "base/stop_request.h"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

TEST(StopRequest, TakesTwoSignalsWithinASecondForOneRequest) {
  StopRequest request;
  EXPECT_FALSE(request.requested());
  EXPECT_FALSE(request.insists(SIGTERM));
  EXPECT_TRUE(request.requested());
  EXPECT_FALSE(request.insists(SIGTERM));
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
  EXPECT_TRUE(request.insists(SIGINT));
}

TEST(StopRequest, WarningsOfASchedulerNeverInsist) {
  StopRequest request;
  EXPECT_FALSE(request.insists(SIGUSR1));
  EXPECT_TRUE(request.requested());
  EXPECT_FALSE(request.insists(SIGTERM)) << "the first that is no warning";
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
  EXPECT_FALSE(request.insists(SIGUSR2));
  EXPECT_TRUE(request.insists(SIGTERM));
}

}  // namespace
}  // namespace trainhost
