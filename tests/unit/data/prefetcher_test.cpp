#include "data/prefetcher.h"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "stream_under_test.h"

namespace trainhost {
namespace {

TEST(Prefetcher, GivesTheStreamsStepsInOrder) {
  StreamUnderTest test({{"a", 30}, {"b", 50}});
  test.add_phase("all", 32 * 60, {{"a", 0.7}, {"b", 0.3}});
  const auto stream = test.stream();
  for (const uint32_t depth : {1u, 4u}) {
    Prefetcher prefetcher(*stream, 7, 60, depth);
    for (uint64_t step = 7; step < 60; ++step) {
      const StepBatch batch = prefetcher.next().value();
      ASSERT_EQ(batch.step, step);
      EXPECT_EQ(batch.micro_batches[0].tokens, stream->step(step).value().micro_batches[0].tokens);
    }
  }
}

TEST(Prefetcher, EndsAtOnceWhateverItWasDoing) {
  StreamUnderTest test({{"a", 30}});
  test.add_phase("all", 32 * 1000, {{"a", 1}});
  const auto stream = test.stream();
  for (int i = 0; i < 20; ++i) {
    Prefetcher prefetcher(*stream, 0, 1000, 2);
    for (int taken = 0; taken < i % 5; ++taken) ASSERT_TRUE(prefetcher.next());
    if (i % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // so that it waits for room
  }
  Prefetcher nothing(*stream, 5, 5, 4);
}

TEST(Prefetcher, PassesAFailureOnAndGoesOnFailing) {
  StreamUnderTest test({{"a", 30}});
  test.add_phase("all", 32 * 1000, {{"a", 1}});
  const auto stream = test.stream();
  std::filesystem::resize_file(test.data().sources[0].training->path() + ".bin", 0);
  Prefetcher prefetcher(*stream, 0, 1000, 4);
  for (int i = 0; i < 3; ++i) {
    const auto batch = prefetcher.next();
    ASSERT_FALSE(batch);
    EXPECT_EQ(batch.error().kind, ErrorKind::kData);
  }
}

}  // namespace
}  // namespace trainhost
