#include "data/sample_stream.h"
#include "data/mix_pieces.h"

#include <algorithm>
#include <cmath>
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

// How many epochs of each source there were before the step.
std::vector<double> epochs(const SampleStream &stream, uint64_t step) {
  std::vector<double> epochs;
  const auto positions = stream.positions(step).value();
  for (const ReadingPosition &position : positions) epochs.push_back(position.epochs());
  return epochs;
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
  EXPECT_EQ(epochs(*stream, 0), (std::vector<double>{0, 0}));
  EXPECT_EQ(epochs(*stream, 7), (std::vector<double>{28 / 40.0, 0}));
  EXPECT_EQ(epochs(*stream, 10), (std::vector<double>{34 / 40.0, 6 / 40.0}));
  EXPECT_EQ(epochs(*stream, 14), (std::vector<double>{50 / 40.0, 6 / 40.0}));
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
  EXPECT_EQ(epochs(*stream, 5), std::vector<double>{0.5});
  EXPECT_EQ(stream->step(5).value().micro_batches[0].sequence_length, 16u);
  const auto windows = test.data().sources[0].training->tokens() / 17;
  EXPECT_NEAR(epochs(*stream, 6)[0], 0.5 + 2.0 / static_cast<double>(windows), 0.06);
}

uint64_t of_source(const std::vector<SampleId> &samples, uint32_t source) {
  return static_cast<uint64_t>(std::ranges::count(samples, source, &SampleId::source));
}

// A12-A14: a mix moves along a line; in each 32nd of it the shares are those of its middle.
TEST(SampleStream, MovesTheMixOverALength) {
  StreamUnderTest test({{"a", 3000}, {"b", 3000}});
  test.add_phase("one", 32 * 100, {{"a", 1.0}, {"b", 0.0}});
  test.add_phase("two", 32 * 1100, {{"a", 0.2}, {"b", 0.8}});
  test.recipe().phases[1].overrides.mix_over = Amount{32 * 640, Amount::Unit::kTokens, "", {}};
  const auto stream = test.stream();
  EXPECT_EQ(of_source(samples_of(*stream, 0, 100), 1), 0u) << "moves from the step at which the phase begins";
  for (uint64_t piece = 0; piece < kMixPieces; ++piece) {
    const uint64_t first = 100 + 20 * piece;
    const double share = 0.8 * (static_cast<double>(piece) + 0.5) / kMixPieces;
    EXPECT_NEAR(static_cast<double>(of_source(samples_of(*stream, first, first + 20), 1)), 80 * share, 2) << piece;
    EXPECT_NEAR(stream->mix(first + 19).weights[1], share, 1e-12);
  }
  const double after = static_cast<double>(of_source(samples_of(*stream, 740, 1100), 1)) / (4 * 360);
  EXPECT_NEAR(after, 0.8, 3 * std::sqrt(0.8 * 0.2 / (4 * 360)));
  const auto all = samples_of(*stream, 0, 1100);
  for (const uint32_t source : {0u, 1u}) {
    const auto first_epoch = visits(all, source).at(0);
    for (const auto &[window, times] : first_epoch) EXPECT_EQ(times, 1) << "each source is read on from piece to piece";
  }
}

TEST(SampleStream, CountsTheStepsOfALengthFromThePhase) {
  StreamUnderTest test({{"a", 3000}, {"b", 3000}});
  test.add_phase("one", 32 * 100, {{"a", 1.0}, {"b", 0.0}});
  test.add_phase("two", 32 * 300, {{"a", 0.2}, {"b", 0.8}});
  test.recipe().phases[1].overrides.batch = Batch::constant(64);
  test.recipe().phases[1].overrides.mix_over = Amount{64, Amount::Unit::kSteps, "", {}};
  const auto stream = test.stream();
  EXPECT_LT(stream->mix(163).weights[1], 0.8);
  EXPECT_EQ(stream->mix(164).weights[1], 0.8);
}

TEST(SampleStream, FollowsABatchThatGrows) {
  StreamUnderTest test({{"a", 40}, {"b", 40}});
  test.recipe().training.batch = {.rule = "stall", .tokens = 16, .most = 64, .every = Amount{1, Amount::Unit::kSteps, "", {}}};
  test.add_phase("one", 16 * 20, {{"a", 0.5}, {"b", 0.5}});
  test.add_phase("two", 16 * 40, {{"a", 0.25}, {"b", 0.75}});
  const auto small = test.stream(), grown = test.stream();
  TokenAxis &axis = test.axis();  // of `grown`
  const auto before = samples_of(*grown, 0, 5);
  axis.grow({{16 * 5, 32}, {16 * 9, 64}});
  ASSERT_TRUE(grown->follow_axis());
  EXPECT_EQ(samples_of(*grown, 0, 5), before);
  EXPECT_EQ(axis.total_steps(), 5u + 2 + 3 + 5);
  // The same samples in the same order, in larger steps, up to the end of the phase, which is 16 tokens later.
  auto of_grown = samples_of(*grown, 0, 10);
  const auto of_small = samples_of(*small, 0, 20);
  ASSERT_EQ(of_grown.size(), of_small.size() + 2);
  of_grown.resize(of_small.size());
  EXPECT_EQ(of_grown, of_small);
  const auto all = samples_of(*grown, 0, axis.total_steps());
  const auto first_epoch = visits(all, 0).at(0);
  for (const auto &[window, times] : first_epoch) EXPECT_EQ(times, 1) << "the next phase goes on where the larger steps ended";
}

TEST(SampleStream, CountsAllTokensWhereThePhaseSaysSo) {
  StreamUnderTest test({{"a", 30}});
  test.add_phase("answers", 32 * 2, {{"a", 1}});
  test.add_phase("all", 32 * 4, {{"a", 1}});
  test.recipe().phases[1].overrides.loss_on = "all";
  test.mask_odd_tokens(0, 30);
  const auto stream = test.stream();
  EXPECT_EQ(stream->step(1)->weight(), 16);
  EXPECT_EQ(stream->step(2)->weight(), 32);
}

// Three phases of which the last has longer windows; rounds cut the first two, the last of them at the border.
struct Shares {
  uint64_t end_step;
  std::map<std::string, double> mix;
  uint32_t sequence_length = 8;
};
const std::vector<Shares> kRounds{{7, {{"a", 0.9}, {"b", 0.1}}},       {11, {{"a", 0.25}, {"b", 0.75}}}, {13, {{"b", 1.0}}},
                                  {30, {{"a", 0.5}, {"b", 0.5}}},      {32, {{"a", 0.01}, {"b", 0.99}}}, {38, {{"a", 0.4}, {"b", 0.6}}, 16},
                                  {44, {{"a", 0.75}, {"b", 0.25}}, 16}};

TEST(SampleStream, OfRoundsIsThatOfPhasesWithTheirShares) {
  StreamUnderTest in_phases({{"a", 30}, {"b", 50}});
  for (const Shares &shares : kRounds) in_phases.add_phase("phase", 32 * shares.end_step, shares.mix, shares.sequence_length);
  const auto phases = in_phases.stream();

  StreamUnderTest in_rounds({{"a", 30}, {"b", 50}});
  for (const auto &[end_step, sequence_length] : {std::pair{13u, 8u}, {32u, 8u}, {44u, 16u}})
    in_rounds.add_phase("phase", 32 * end_step, {{"a", 0.5}, {"b", 0.5}}, sequence_length);
  const auto rounds = in_rounds.stream();

  ASSERT_EQ(in_phases.axis().total_steps(), in_rounds.axis().total_steps());
  MixRound round;
  for (size_t i = 0; i < kRounds.size(); ++i) {
    const PhaseSpan &span = in_phases.axis().phases()[i];
    round = {.number = i,
             .first_step = span.first_step,
             .end_step = span.end_step,
             .weights = phases->mix(span.first_step).weights,
             .start = rounds->positions(span.first_step).value()};
    rounds->enter(round);
    for (uint64_t step = span.first_step; step < span.end_step; ++step) {
      const StepBatch expected = phases->step(step).value(), found = rounds->step(step).value();
      ASSERT_EQ(found.micro_batches.size(), expected.micro_batches.size());
      for (size_t k = 0; k < expected.micro_batches.size(); ++k) {
        EXPECT_EQ(found.micro_batches[k].samples, expected.micro_batches[k].samples) << "step " << step;
        EXPECT_EQ(found.micro_batches[k].tokens, expected.micro_batches[k].tokens) << "step " << step;
      }
      EXPECT_EQ(rounds->positions(step).value(), phases->positions(step).value()) << "step " << step;
    }
  }
  rounds->enter({});
  EXPECT_EQ(epochs(*rounds, 13), (std::vector<double>{26 / 30.0, 26 / 50.0})) << "without a round the phases' mixes hold";
}

TEST(SampleStream, OfRoundsVisitsEveryWindowBeforeAnyAgain) {
  StreamUnderTest test({{"a", 30}, {"b", 50}});
  test.add_phase("one", 32 * 60, {{"a", 0.5}, {"b", 0.5}});
  test.add_phase("two", 32 * 100, {{"a", 0.5}, {"b", 0.5}});
  const auto stream = test.stream();
  std::vector<SampleId> samples;
  uint64_t first = 0;
  for (const uint64_t end : {1u, 2u, 19u, 44u, 60u, 61u, 90u, 100u}) {  // shares that change from round to round
    const double share = static_cast<double>(end % 10) / 10;
    stream->enter(MixRound{
        .number = 0, .first_step = first, .end_step = end, .weights = {share, 1 - share}, .start = stream->positions(first).value()});
    const auto of_round = samples_of(*stream, first, end);
    samples.insert(samples.end(), of_round.begin(), of_round.end());
    first = end;
  }
  ASSERT_EQ(samples.size(), 400u);
  for (const uint32_t source : {0u, 1u}) {
    const auto epochs = visits(samples, source);
    for (const auto &[epoch, windows] : epochs) {
      for (const auto &[window, times] : windows) EXPECT_EQ(times, 1) << "source " << source << ", epoch " << epoch;
      if (epoch + 1 == epochs.size()) continue;
      EXPECT_EQ(windows.size(), source == 0 ? 30u : 50u) << "source " << source << ", epoch " << epoch;
    }
  }
}

TEST(SampleStream, TakesSourcesAlikeWithoutAMix) {
  StreamUnderTest test({{"a", 40}, {"b", 10}});
  test.add_phase("all", 32 * 20, {});
  EXPECT_EQ(epochs(*test.stream(), 20), (std::vector<double>{1, 4}));
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
