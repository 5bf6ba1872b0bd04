// What every ProcessGroup must do, over threads of this program and over gloo.
#include "collectives/process_group.h"

#include <numeric>
#include <utility>

#include <gtest/gtest.h>

#include "support/launched_ranks.h"
#include "support/thread_group.h"

namespace trainhost {
namespace {

using Body = std::function<void(ProcessGroup &group)>;

struct Transport {
  const char *name;
  void (*run)(uint32_t size, const Body &body);
};

const Transport kThreads{"threads", test::run_ranks};
const Transport kGloo{"gloo", [](uint32_t size, const Body &body) {
                        test::run_gloo_ranks(size, [&](ControlChannel &, ProcessGroup &group) { body(group); });
                      }};

class ProcessGroupTest : public testing::TestWithParam<std::pair<Transport, uint32_t>> {
 protected:
  void on_all_ranks(const Body &body) { GetParam().first.run(GetParam().second, body); }
};

// A number that shows who wrote it where, exact as a float.
float mark(uint32_t rank, size_t index) { return static_cast<float>(rank * 100000 + index % 99991); }

std::vector<size_t> cuts_of(const std::vector<size_t> &lengths) {
  std::vector<size_t> cuts(1);
  for (const size_t length : lengths) cuts.push_back(cuts.back() + length);
  return cuts;
}

// Pieces of equal, of different and of no length, and some MB.
std::vector<std::vector<size_t>> piece_lengths(uint32_t ranks) {
  std::vector<size_t> uneven, some_empty, large;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    uneven.push_back(3 * rank + 1);
    some_empty.push_back(rank % 2 == 0 ? 0 : 5);
    large.push_back(300000 + 77777 * rank);
  }
  return {std::vector<size_t>(ranks, 4), uneven, some_empty, std::vector<size_t>(ranks, 0), large};
}

TEST_P(ProcessGroupTest, AllGatherGivesEveryRankAllPieces) {
  on_all_ranks([](ProcessGroup &group) {
    for (const auto &lengths : piece_lengths(group.size())) {
      const auto cuts = cuts_of(lengths);
      std::vector<float> whole(cuts.back(), -1);
      for (size_t item = cuts[group.rank()]; item < cuts[group.rank() + 1]; ++item) whole[item] = mark(group.rank(), item);
      ASSERT_TRUE(group.all_gather(whole, cuts)->wait());
      for (uint32_t owner = 0; owner < group.size(); ++owner) {
        for (size_t item = cuts[owner]; item < cuts[owner + 1]; ++item) ASSERT_EQ(whole[item], mark(owner, item)) << "piece " << owner;
      }
    }
  });
}

TEST_P(ProcessGroupTest, ExchangeGivesEachRankItsPieceOfEveryRank) {
  on_all_ranks([](ProcessGroup &group) {
    for (const auto &lengths : piece_lengths(group.size())) {
      const auto cuts = cuts_of(lengths);
      std::vector<float> whole(cuts.back());
      for (size_t item = 0; item < whole.size(); ++item) whole[item] = mark(group.rank(), item);
      const size_t length = lengths[group.rank()];
      std::vector<float> received(group.size() * length, -1);
      ASSERT_TRUE(group.exchange(whole, cuts, received)->wait());
      for (uint32_t from = 0; from < group.size(); ++from) {
        for (size_t item = 0; item < length; ++item) {
          ASSERT_EQ(received[from * length + item], mark(from, cuts[group.rank()] + item)) << "from " << from;
        }
      }
    }
  });
}

TEST_P(ProcessGroupTest, OperationsUnderWayTogetherDoNotMix) {
  on_all_ranks([](ProcessGroup &group) {
    const auto cuts = cuts_of(std::vector<size_t>(group.size(), 20000));
    std::vector<std::vector<float>> wholes(6, std::vector<float>(cuts.back()));
    std::vector<std::unique_ptr<Pending>> pending;
    for (size_t round = 0; round < wholes.size(); ++round) {
      for (size_t item = cuts[group.rank()]; item < cuts[group.rank() + 1]; ++item) wholes[round][item] = mark(group.rank(), round);
      pending.push_back(group.all_gather(wholes[round], cuts));
    }
    for (size_t round = wholes.size(); round-- > 0;) ASSERT_TRUE(pending[round]->wait());  // in another order than they began
    for (size_t round = 0; round < wholes.size(); ++round) {
      for (size_t item = 0; item < cuts.back(); ++item) {
        ASSERT_EQ(wholes[round][item], mark(static_cast<uint32_t>(item / 20000), round)) << "round " << round;
      }
    }
  });
}

TEST_P(ProcessGroupTest, MessagesGoRoundARingInOrder) {
  if (GetParam().second == 1) GTEST_SKIP() << "a rank sends nothing to itself";
  on_all_ranks([](ProcessGroup &group) {
    const uint32_t next = (group.rank() + 1) % group.size(), previous = (group.rank() + group.size() - 1) % group.size();
    for (const size_t length : {size_t{1}, size_t{1000}, size_t{1000000}}) {
      std::vector<float> first(length, mark(group.rank(), 1)), second(length, mark(group.rank(), 2)), received(length);
      const auto sending = group.send(first, next);
      const auto sending_more = group.send(second, next);
      ASSERT_TRUE(group.receive(received, previous)->wait());
      EXPECT_EQ(received, std::vector<float>(length, mark(previous, 1)));
      ASSERT_TRUE(group.receive(received, previous)->wait());
      EXPECT_EQ(received, std::vector<float>(length, mark(previous, 2)));
      ASSERT_TRUE(sending->wait());
      ASSERT_TRUE(sending_more->wait());
    }
  });
}

TEST_P(ProcessGroupTest, GatherGivesNumbersInRankOrder) {
  on_all_ranks([](ProcessGroup &group) {
    const double own[] = {group.rank() + 0.1, -1.0 / (group.rank() + 3)};
    const auto all = group.gather(own);
    ASSERT_TRUE(all) << all.error().message;
    ASSERT_EQ(all->size(), 2 * group.size());
    for (uint32_t rank = 0; rank < group.size(); ++rank) {
      EXPECT_EQ((*all)[2 * rank], rank + 0.1);
      EXPECT_EQ((*all)[2 * rank + 1], -1.0 / (rank + 3));
    }
    EXPECT_TRUE(group.gather(std::span<const double>())->empty());
  });
}

TEST_P(ProcessGroupTest, GatherGivesTextsOfAnyLength) {
  on_all_ranks([](ProcessGroup &group) {
    const auto text_of = [](uint32_t rank) {
      return rank == 1 ? std::string() : std::string(rank * 70000 + 3, static_cast<char>('a' + rank)) + '\0';
    };
    const auto all = group.gather(text_of(group.rank()));
    ASSERT_TRUE(all) << all.error().message;
    ASSERT_EQ(all->size(), group.size());
    for (uint32_t rank = 0; rank < group.size(); ++rank) EXPECT_EQ((*all)[rank], text_of(rank));
  });
}

TEST_P(ProcessGroupTest, SplitMakesGroupsByColour) {
  on_all_ranks([](ProcessGroup &group) {
    for (int round = 0; round < 2; ++round) {  // a second split has nothing to do with the first
      const auto part = group.split(group.rank() % 2);
      ASSERT_TRUE(part) << part.error().message;
      EXPECT_EQ((*part)->rank(), group.rank() / 2);
      EXPECT_EQ((*part)->size(), (group.size() + 1 - group.rank() % 2) / 2);
      const double own[] = {static_cast<double>(group.rank())};
      const auto members = (*part)->gather(own);
      ASSERT_TRUE(members) << members.error().message;
      for (uint32_t place = 0; place < members->size(); ++place) EXPECT_EQ((*members)[place], 2 * place + group.rank() % 2);

      std::vector<float> value{mark(group.rank(), 7)}, received(1);
      const uint32_t other = ((*part)->rank() + 1) % (*part)->size();
      if (other != (*part)->rank() && (*part)->size() == 2) {
        const auto sending = (*part)->send(value, other);
        ASSERT_TRUE((*part)->receive(received, other)->wait());
        ASSERT_TRUE(sending->wait());
        EXPECT_EQ(received[0], mark(2 * other + group.rank() % 2, 7));
      }
    }
    ASSERT_TRUE(group.gather(std::vector<double>{1.0}));  // the parent goes on
  });
}

std::string name_of(const testing::TestParamInfo<std::pair<Transport, uint32_t>> &info) {
  return std::string(info.param.first.name) + "_" + std::to_string(info.param.second);
}

INSTANTIATE_TEST_SUITE_P(Threads, ProcessGroupTest,
                         testing::Values(std::pair(kThreads, 1u), std::pair(kThreads, 2u), std::pair(kThreads, 4u)), name_of);
INSTANTIATE_TEST_SUITE_P(Gloo, ProcessGroupTest,
                         testing::Values(std::pair(kGloo, 1u), std::pair(kGloo, 2u), std::pair(kGloo, 3u), std::pair(kGloo, 4u)), name_of);

}  // namespace
}  // namespace trainhost
