// The optimizers on a GPU.
#include <array>

#include "gpu/gpu_under_test.h"
#include "support/device_array.h"
#include "unit/optimizers/golden_traces.h"

namespace trainhost {
namespace {

class GpuOptimizersTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = why_no_gpu(); !reason.empty()) GTEST_SKIP() << reason;
  }
};

// One step of a plugin on the GPU: the parameter goes there and comes back.
void update_on_gpu(Optimizer &optimizer, UpdatedParameter &parameter, uint64_t step, float scale) {
  Device &gpu = gpu_under_test();
  const size_t count = parameter.master.size();
  th_update update = parameter.whole();
  const auto shape_of = [](const th_tensor &tensor) { return std::span(tensor.shape, static_cast<size_t>(tensor.rank)); };
  const auto uploaded = [&](std::span<const float> values) {
    DeviceArray array(gpu, DeviceArray::Type::kFloat32, values.size());
    array.upload(values);
    return array;
  };
  const DeviceArray master = uploaded(parameter.master), gradient = uploaded(parameter.gradient), factor = uploaded({&scale, 1});
  const DeviceArray copy(gpu, DeviceArray::Type::kBfloat16, count);
  std::vector<DeviceArray> states;
  std::vector<th_tensor> state_views;
  for (const auto &state : parameter.states) states.push_back(uploaded(state));
  for (size_t i = 0; i < states.size(); ++i) state_views.push_back(states[i].view(shape_of(update.states[i])));
  const uint64_t workspace_bytes = optimizer.workspace_bytes(std::array{update.info}).value();
  const DeviceArray workspace(gpu, DeviceArray::Type::kFloat32, workspace_bytes / sizeof(float) + 1);

  const std::span<int64_t> shape = shape_of(update.master);
  update.master = master.view(shape);
  update.gradient = gradient.view(shape);
  update.states = state_views.data();
  if (parameter.with_compute_copy) update.compute_copy = copy.view(shape);
  th_update_call call = call_at(step, scale);
  call.workspace = const_cast<void *>(workspace.data());
  call.gradient_scale = static_cast<const float *>(factor.data());
  call.stream = gpu.stream();
  const auto done = optimizer.update(call, {&update, 1});
  ASSERT_TRUE(done) << done.error().message;

  master.download(parameter.master);
  for (size_t s = 0; s < states.size(); ++s) states[s].download(parameter.states[s]);
  if (parameter.with_compute_copy) parameter.compute_copy = copy.bits();
  std::vector<float> read(count);
  gradient.download(read);
  EXPECT_EQ(read, parameter.gradient);  // read only
}

TEST_F(GpuOptimizersTest, FollowTheGoldenTraces) {
  expect_golden_traces([](const TracedOptimizer &, Optimizer &optimizer, UpdatedParameter &parameter, uint64_t step) {
    update_on_gpu(optimizer, parameter, step, 1);
  });
}

TEST_F(GpuOptimizersTest, AgreeWithTheCpusLoops) {
  for (const char *plugin : {"sgd", "adagrad", "adam", "adamw", "lion", "ademamix", "lamb", "adafactor", "schedule_free", "muon"}) {
    const auto optimizer = optimizer_under_test(plugin);
    const std::vector<int64_t> shape{150, 700};
    UpdatedParameter expected(*optimizer, numbers(105'000, 1), "weight", shape), found(*optimizer, numbers(105'000, 1), "weight", shape);
    expected.gradient = found.gradient = numbers(105'000, 2);
    const float scale = 0.375f;
    for (uint64_t step = 0; step < 3; ++step) {
      const th_update whole = expected.whole();
      ASSERT_TRUE(update(*optimizer, call_at(step, scale), {&whole, 1}));
      update_on_gpu(*optimizer, found, step, scale);
    }
    const double tolerance = std::string(plugin) == "muon" ? 1e-5 : 1e-6;  // its iteration makes much of roundings
    for (size_t i = 0; i < expected.master.size(); ++i) ASSERT_NEAR(found.master[i], expected.master[i], tolerance) << plugin << ", " << i;
  }
}

TEST_F(GpuOptimizersTest, WriteTheComputeCopyRoundedToNearestEven) {
  const auto adamw = optimizer_under_test("adamw");
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  UpdatedParameter parameter(*adamw, {1.0f, 1.00390625f, 1.01171875f, 1.00390637f, -0.0f, infinity, 3.4e38f, nan});
  parameter.with_compute_copy = true;
  parameter.learning_rate = 0;
  update_on_gpu(*adamw, parameter, 0, 1);
  const uint16_t not_a_number = parameter.compute_copy.back();
  EXPECT_TRUE((not_a_number & 0x7f80) == 0x7f80 && (not_a_number & 0x7f) != 0);
  parameter.compute_copy.pop_back();
  EXPECT_EQ(parameter.compute_copy, (std::vector<uint16_t>{0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x8000, 0x7f80, 0x7f80}));
}

}  // namespace
}  // namespace trainhost
