// What minicpm uses on CUDA and nowhere else, against its counterpart on CPU tensors.
#include <array>
#include <functional>
#include <limits>
#include <optional>

#include <ATen/Context.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "gpu/gpu_under_test.h"
#include "support/device_array.h"
#include "support/model_runner.h"
#include "tensors/fused_attention.h"
#include "tensors/index_put.h"
#include "tensors/masked_attention.h"
#include "tensors/product.h"

namespace trainhost {
namespace {

using libtorch::OperatorScope;
using minicpm::AttentionInputs;
using minicpm::FusedKernel;

class GpuOperatorsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = why_no_gpu(); !reason.empty()) GTEST_SKIP() << reason;
    scope_.emplace(gpu(), gpu_under_test().stream());
  }
  static at::Device gpu() { return libtorch::device_of(TH_DEVICE_CUDA, 0); }

  // The largest difference relative to the largest value expected.
  static double difference(const at::Tensor &found, const at::Tensor &expected) {
    const at::Tensor wanted = expected.to(at::kDouble);
    return found.cpu().to(at::kDouble).sub(wanted).abs().max().item().toDouble() / wanted.abs().max().item().toDouble();
  }

  std::optional<OperatorScope> scope_;
};

// A batch of documents in a device's memory.
class DocumentsOn {
 public:
  DocumentsOn(Device &device, const TokenBatch &batch) : shape_{static_cast<int64_t>(batch.tokens.size())} {
    const auto integers = [&](const std::vector<int32_t> &items) {
      arrays_.emplace_back(device, DeviceArray::Type::kInt32, items.size()).upload(std::span(items));
      return arrays_.back().view(shape_);
    };
    const auto floats = [&](const std::vector<float> &items) {
      arrays_.emplace_back(device, DeviceArray::Type::kFloat32, items.size()).upload(std::span(items));
      return arrays_.back().view(shape_);
    };
    view_ = {.struct_size = sizeof(th_batch),
             .sequences = batch.sequences,
             .sequence_length = batch.sequence_length,
             .document_count = static_cast<uint32_t>(batch.document_starts.size()) - 1,
             .tokens = integers(batch.tokens),
             .targets = integers(batch.targets),
             .loss_weights = floats(batch.loss_weights),
             .positions = integers(batch.positions),
             .document_starts = integers(batch.document_starts),
             .loss_scale = 1,
             .token_losses = {}};
  }
  minicpm::TensorBatch tensors() const { return minicpm::TensorBatch(view_); }

 private:
  std::array<int64_t, 1> shape_;
  std::vector<DeviceArray> arrays_;
  th_batch view_;
};

using Lengths = std::vector<std::vector<int32_t>>;

// 8 heads that share 2 key-value heads, 64 numbers each.
void expect_attention(FusedKernel kernel, const Lengths &lengths, double tolerance, at::Device gpu,
                      const std::function<double(const at::Tensor &, const at::Tensor &)> &difference) {
  constexpr int64_t kHeads = 8, kKvHeads = 2, kDimension = 64;
  constexpr double kScale = 0.125;
  const TokenBatch batch = random_documents(lengths, 10, 1);
  const DocumentsOn here(cpu_device(), batch), there(gpu_under_test(), batch);
  const auto rows = static_cast<int64_t>(batch.tokens.size());
  const at::Tensor qkv = at::randn({rows, (kHeads + 2 * kKvHeads) * kDimension}).to(at::kBFloat16);
  const at::Tensor d_output = at::randn({rows, kHeads, kDimension}).to(at::kBFloat16);
  const at::Tensor expected_gradient = at::empty_like(qkv), qkv_there = qkv.to(gpu), gradient = at::empty_like(qkv_there);

  const AttentionInputs inputs(qkv, kHeads, kKvHeads), inputs_there(qkv_there, kHeads, kKvHeads);
  const at::Tensor expected = minicpm::masked_attention(here.tensors(), inputs, kScale);
  minicpm::masked_attention_backward(here.tensors(), inputs, kScale, expected, d_output,
                                     AttentionInputs(expected_gradient, kHeads, kKvHeads));
  const auto found = minicpm::fused_attention(there.tensors(), inputs_there, kScale, kernel);
  EXPECT_LT(difference(found.output, expected), tolerance);
  const auto backward = [&] {
    minicpm::fused_attention_backward(there.tensors(), inputs_there, kScale, found, d_output.to(gpu),
                                      AttentionInputs(gradient, kHeads, kKvHeads));
    return gradient.cpu();
  };
  const at::Tensor first = backward(), second = backward();
  EXPECT_LT(difference(first, expected_gradient), tolerance);
  if (kernel == FusedKernel::kFlash) {
    EXPECT_TRUE(first.equal(second));
  }
}

TEST_F(GpuOperatorsTest, FlashAttentionKeepsDocumentsApart) {
  at::globalContext().setDeterministicAlgorithms(true, false);
  expect_attention(FusedKernel::kFlash, {{200, 56}, {1, 254, 1}, {256}}, 2e-2, gpu(), difference);
}

TEST_F(GpuOperatorsTest, CudnnsAttentionAgreesOnWholeSequences) {
  at::globalContext().setDeterministicAlgorithms(false, false);
  expect_attention(FusedKernel::kCudnn, {{256}, {256}}, 2e-2, gpu(), difference);
  at::globalContext().setDeterministicAlgorithms(true, false);
}

TEST_F(GpuOperatorsTest, ChoosesCudnnsAttentionForWholeSequencesUnlessBitsMustRepeat) {
  const DocumentsOn whole(cpu_device(), random_documents({{8}, {8}}, 10, 1)), cut(cpu_device(), random_documents({{8}, {3, 5}}, 10, 1));
  at::globalContext().setDeterministicAlgorithms(false, false);
  EXPECT_EQ(minicpm::choose_fused_kernel(whole.tensors(), 64), FusedKernel::kCudnn);
  EXPECT_EQ(minicpm::choose_fused_kernel(cut.tensors(), 64), FusedKernel::kFlash);
  at::globalContext().setDeterministicAlgorithms(true, false);
  EXPECT_EQ(minicpm::choose_fused_kernel(whole.tensors(), 64), FusedKernel::kFlash);
}

// bfloat16 factors, float32 result, which may hold anything before.
TEST_F(GpuOperatorsTest, ProductsOfBfloat16AddIntoFloat32) {
  const at::Tensor a = at::randn({300, 128}).to(at::kBFloat16), b = at::randn({300, 72}).to(at::kBFloat16);
  const at::Tensor expected = at::full({128, 72}, std::numeric_limits<float>::quiet_NaN()), found = expected.to(gpu());
  for (const bool add : {false, true}) {
    minicpm::product(a.t(), b, expected, 0.5, add);
    minicpm::product(a.to(gpu()).t(), b.to(gpu()), found, 0.5, add);
    EXPECT_LT(difference(found, expected), 1e-5) << add;
  }
}

TEST_F(GpuOperatorsTest, RowsAreAddedByIndexInOneOrder) {
  const at::Tensor index = at::randint(0, 50, {20'000}, at::kInt), values = at::randn({20'000, 64});
  at::Tensor expected = at::zeros({50, 64}, at::kDouble);
  expected.index_add_(0, index, values.to(at::kDouble));
  at::Tensor found = at::zeros({50, 64}, at::TensorOptions(gpu())), again = at::zeros_like(found);
  minicpm::index_put(found, index.to(gpu()), values.to(gpu()), true);
  minicpm::index_put(again, index.to(gpu()), values.to(gpu()), true);
  EXPECT_LT(difference(found, expected), 1e-5);
  EXPECT_TRUE(found.equal(again));
}

}  // namespace
}  // namespace trainhost
