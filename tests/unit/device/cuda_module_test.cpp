// What a recipe that wants CUDA meets on a machine that may lack any part of it.
#include "device/cuda_module.h"

#include <filesystem>

#include <gmock/gmock.h>

#include "collectives/join.h"
#include "device/cuda_driver.h"
#include "device/device.h"

namespace trainhost {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(CudaModuleTest, LoadsOrSaysWhyNotInOneLine) {
  const auto module = cuda_module();
  if (module) {
    EXPECT_NE((*module)->open_device, nullptr);
    EXPECT_NE((*module)->join, nullptr);
    return;
  }
  EXPECT_EQ(module.error().kind, ErrorKind::kRecipe);
  EXPECT_THAT(module.error().message, StartsWith("run.device is \"cuda\", but "));
  EXPECT_THAT(module.error().message, Not(HasSubstr("\n")));
  const bool built = std::filesystem::exists(std::filesystem::path(TRAINHOST_BINARY_DIR) / "lib" / "libtrainhost_cuda.so");
  EXPECT_THAT(module.error().message, HasSubstr(built ? "third_party/setup --cuda" : "was built without CUDA"));
  if (built) {
    EXPECT_THAT(module.error().message, testing::ContainsRegex("lib[a-zA-Z_]+\\.so\\.[0-9]+: cannot open shared object file"));
  }
}

TEST(CudaModuleTest, DeviceIsRefusedInOneSentenceWithoutAGpu) {
  const auto driver = cuda_driver();
  if (driver) GTEST_SKIP() << "this machine has GPUs";
  const auto device = open_cuda_device(0);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().kind, ErrorKind::kRecipe);
  EXPECT_EQ(device.error().message, "run.device is \"cuda\", but " + driver.error().message);
}

TEST(CudaModuleTest, GroupForCpusIsTheHosts) {
  auto host = single_process();
  const ProcessGroup *const group = host.get();
  const auto channel = ControlChannel::connect({}, {});
  ASSERT_TRUE(channel);
  const auto joined = join_on_device(cpu_device(), std::move(host), {}, **channel);
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->get(), group);
}

}  // namespace
}  // namespace trainhost
