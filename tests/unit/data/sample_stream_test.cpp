#include "data/sample_stream.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "stream_under_test.h"

namespace trainhost {
namespace {

std::vector<SampleId> samples_of(const SampleStream &stream, uint64_t first_step, uint64_t end_step) {
  std::vector<SampleId> samples;
  for (uint64_t step = first_step; step < end_step; ++step) {
    const StepBatch step_batch = stream.step(step).value();
    for (const TokenBatch &batch : step_batch.micro_batches) samples.insert(samples.end(), batch.samples.begin(), batch.samples.end());
  }
  return samples;
}

// Of one source, per epoch, how often each window came.
std::map<uint64_t, std::map<uint64_t, int>> visits(const std::vector<SampleId> &samples, uint32_t source) {
  std::map<uint64_t, std::map<uint64_t, int>> visits;
  for (const SampleId &id : samples) {
    if (id.source == source) ++visits[id.epoch][id.window];
  }
  return visits;
}

TEST(SampleStream, VisitsEveryWindowOfAnEpochBeforeAnyAgain) {
  // 30 and 50 windows of 8; 4 sequences a step, 3 : 1.
  StreamUnderTest test({{"a", 30}, {"b", 50}});
  test.add_phase("all", 32 * 100, {{"a", 0.75}, {"b", 0.25}});
  const auto stream = test.stream();
  const auto samples = samples_of(*stream, 0, test.axis().total_steps());
  ASSERT_EQ(samples.size(), 400u);
  const auto a = visits(samples, 0), b = visits(samples, 1);
  for (uint64_t epoch = 0; epoch < 10; ++epoch) {
    ASSERT_EQ(a.at(epoch).size(), 30u) << epoch;
    for (const auto &[window, times] : a.at(epoch)) EXPECT_EQ(times, 1);
  }
  EXPECT_EQ(b.at(0).size(), 50u);
  EXPECT_EQ(b.at(1).size(), 50u);
  EXPECT_EQ(a.size(), 10u);
  // The order differs from epoch to epoch.
  std::vector<uint64_t> first, second;
  for (const SampleId &id : samples) {
    if (id.source == 0 && id.epoch == 0) first.push_back(id.window);
    if (id.source == 0 && id.epoch == 1) second.push_back(id.window);
  }
  EXPECT_NE(first, second);
}

TEST(SampleStream, GoesOnInTheNextPhaseWhereTheLastOneEnded) {
  StreamUnderTest test({{"a", 40}, {"b", 40}});
  test.add_phase("one", 32 * 7, {{"a", 1.0}});
  test.add_phase("two", 32 * 10, {{"a", 0.5}, {"b", 0.5}});
  test.add_phase("three", 32 * 14, {{"a", 1.0}});
  const auto stream = test.stream();
  const auto samples = samples_of(*stream, 0, test.axis().total_steps());
  const auto a = visits(samples, 0);
  EXPECT_EQ(samples.size(), 56u);
  ASSERT_EQ(a.at(0).size(), 40u);  // 28 + 6 + 6 of the first epoch's 40 before one comes again
  for (const auto &[window, times] : a.at(0)) EXPECT_EQ(times, 1);
  EXPECT_EQ(a.at(1).size(), 10u);
  EXPECT_EQ(stream->epochs(0).value(), (std::vector<double>{0, 0}));
  EXPECT_EQ(stream->epochs(7).value(), (std::vector<double>{28 / 40.0, 0}));
  EXPECT_EQ(stream->epochs(10).value(), (std::vector<double>{34 / 40.0, 6 / 40.0}));
  EXPECT_EQ(stream->epochs(14).value(), (std::vector<double>{50 / 40.0, 6 / 40.0}));
}

TEST(SampleStream, IsAFunctionOfTheStepAlone) {
  StreamUnderTest test({{"a", 30}, {"b", 50}});
  test.add_phase("one", 32 * 20, {{"a", 0.7}, {"b", 0.3}});
  test.add_phase("two", 32 * 30, {{"a", 0.2}, {"b", 0.8}});
  const auto stream = test.stream(), other = test.stream();
  for (const uint64_t step : {29u, 3u, 19u, 20u, 3u}) {
    const StepBatch one = stream->step(step).value(), two = other->step(step).value();
    ASSERT_EQ(one.micro_batches.size(), two.micro_batches.size());
    for (size_t i = 0; i < one.micro_batches.size(); ++i) {
      EXPECT_EQ(one.micro_batches[i].samples, two.micro_batches[i].samples);
      EXPECT_EQ(one.micro_batches[i].tokens, two.micro_batches[i].tokens);
    }
  }
  test.recipe().run.seed += 1;
  EXPECT_NE(samples_of(*test.stream(), 0, 5), samples_of(*stream, 0, 5));
}

TEST(SampleStream, CutsStepsIntoMicroBatches) {
  StreamUnderTest test({{"a", 30}});
  test.recipe().training.micro_batch_tokens = 3 * 8;  // 3 of 4 sequences
  test.add_phase("one", 32 * 5, {{"a", 1}});
  const StepBatch batch = test.stream()->step(2).value();
  ASSERT_EQ(batch.micro_batches.size(), 2u);
  EXPECT_EQ(batch.step, 2u);
  EXPECT_EQ(batch.micro_batches[0].sequences, 3u);
  EXPECT_EQ(batch.micro_batches[1].sequences, 1u);
  EXPECT_EQ(batch.micro_batches[0].tokens.size(), 24u);
  EXPECT_EQ(batch.micro_batches[0].document_starts.back(), 24);
  EXPECT_EQ(batch.micro_batches[1].document_starts.back(), 8);
  EXPECT_EQ(batch.weight(), 32);
}

TEST(SampleStream, KeepsItsPlaceWhenTheSequenceLengthChanges) {
  StreamUnderTest test({{"a", 40}});
  test.add_phase("short", 32 * 5, {{"a", 1}});  // 20 of 40 windows of 8
  test.add_phase("long", 32 * 8, {{"a", 1}}, 16);
  const auto stream = test.stream();
  EXPECT_EQ(stream->epochs(5).value(), std::vector<double>{0.5});
  EXPECT_EQ(stream->step(5).value().micro_batches[0].sequence_length, 16u);
  const auto windows = test.data().sources[0].training->tokens() / 17;
  EXPECT_NEAR(stream->epochs(6).value()[0], 0.5 + 2.0 / static_cast<double>(windows), 0.06);
}

TEST(SampleStream, TakesSourcesAlikeWithoutAMix) {
  StreamUnderTest test({{"a", 40}, {"b", 10}});
  test.add_phase("all", 32 * 20, {});
  EXPECT_EQ(test.stream()->epochs(20).value(), (std::vector<double>{1, 4}));
}

TEST(SampleStream, GivesHeldOutWindowsInAFixedOrder) {
  StreamUnderTest test({{"a", 30}});
  test.add_phase("all", 32 * 5, {{"a", 1}});
  const auto stream = test.stream();
  const auto batches = stream->held_out(0, 8, 5 * 8 + 7, 2);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0].sequences, 2u);
  EXPECT_EQ(batches[2].sequences, 1u);
  std::set<uint64_t> windows;
  for (const TokenBatch &batch : batches) {
    for (const SampleId &id : batch.samples) windows.insert(id.window);
  }
  EXPECT_EQ(windows.size(), 5u);
  test.recipe().run.seed += 1;
  EXPECT_EQ(test.stream()->held_out(0, 8, 47, 2)[0].tokens, batches[0].tokens);
  EXPECT_EQ(stream->held_out(0, 8, 1, 2).size(), 1u);
  // All of them: every held-out pair once.
  double weight = 0;
  for (const TokenBatch &batch : stream->held_out(0, 8, 1'000'000, 2)) weight += batch.weight();
  const TokenStore &held_out = *test.data().sources[0].held_out;
  EXPECT_EQ(weight, static_cast<double>(held_out.tokens() - held_out.documents()));
}

TEST(SampleStream, RefusesSourcesThatAreTooSmall) {
  StreamUnderTest empty({{"a", 30}, {"b", 0}});
  empty.add_phase("first", 32 * 5, {{"a", 0.5}, {"b", 0.5}});
  auto refused = empty.create();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kData);
  EXPECT_EQ(refused.error().message,
            "source \"b\" has a share in phase \"first\" but not one window of 8 tokens; give it more text or a shorter sequence_length");

  StreamUnderTest small({{"a", 3}});
  small.add_phase("first", 32 * 5, {{"a", 1}});
  refused = small.create();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "the sources of phase \"first\" have 3 windows of 8 tokens together; one batch takes 4: give them more text or make the batch "
            "smaller");
}

TEST(SampleStream, StopsWhenAStoreIsCutUnderIt) {
  StreamUnderTest test({{"a", 30}});
  test.add_phase("all", 32 * 5, {{"a", 1}});
  const auto stream = test.stream();
  ASSERT_TRUE(stream->step(0));
  const std::string file = test.data().sources[0].training->path() + ".bin";
  std::filesystem::resize_file(file, 0);
  const auto step = stream->step(1);
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().kind, ErrorKind::kData);
  EXPECT_TRUE(step.error().message.starts_with(file + ": had ")) << step.error().message;
}

}  // namespace
}  // namespace trainhost
