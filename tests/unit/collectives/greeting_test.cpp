#include "collectives/control/greeting.h"

#include <algorithm>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "collectives/control/control_message.h"
#include "collectives/control/control_server.h"
#include "support/launched_ranks.h"
#include "support/raw_connection.h"

namespace trainhost {
namespace {

using test::RawConnection;

const std::string kToken = "the token of a test";

// Made with Python: hmac.new(token, b"rank" + bytes(range(32)) + bytes(range(32, 64)) + greeting, "sha256").hexdigest(), where greeting is
// b"THCONTRL" + struct.pack("<III", 1, 2, 4) + bytes(range(32, 64)).
const std::string kSignature = "f9d86f35aebd733343895bf24280bf06651a354f7b4087929624e358e8340163";

Challenge counting_from(uint8_t first) {
  Challenge challenge;
  for (uint8_t &byte : challenge) byte = first++;
  return challenge;
}

std::string hex(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

TEST(Greeting, IsSignedAsAnotherImplementationOfHmacSigns) {
  const auto bytes = encode_greeting({2, 4, counting_from(32)}, counting_from(0), kToken);
  EXPECT_EQ(hex(std::span(bytes).last(32)), kSignature);
}

TEST(Greeting, IsUnderstoodByOneWhoKnowsTheToken) {
  const Challenge master = fresh_challenge();
  const Greeting greeting{3, 8, fresh_challenge()};
  const auto judgement = judge_greeting(encode_greeting(greeting, master, kToken), master, kToken);
  EXPECT_EQ(judgement.verdict, Verdict::kWelcome);
  EXPECT_EQ(judgement.greeting.rank, 3u);
  EXPECT_EQ(judgement.greeting.world_size, 8u);
  EXPECT_EQ(judgement.greeting.challenge, greeting.challenge);
}

TEST(Greeting, IsRefusedWithAnyBitFlipped) {
  const Challenge master = fresh_challenge();
  const auto good = encode_greeting({3, 8, fresh_challenge()}, master, kToken);
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_NE(judge_greeting(bytes, master, kToken).verdict, Verdict::kWelcome) << "bit " << bit;
  }
}

TEST(Greeting, IsRefusedForAnotherTokenOrChallenge) {
  const Challenge master = fresh_challenge();
  const auto bytes = encode_greeting({3, 8, fresh_challenge()}, master, kToken);
  EXPECT_EQ(judge_greeting(bytes, master, kToken + " ").verdict, Verdict::kWrongToken);
  EXPECT_EQ(judge_greeting(bytes, fresh_challenge(), kToken).verdict, Verdict::kWrongToken);
}

TEST(Greeting, OfRandomBytesIsRefused) {
  std::mt19937 random(1);
  const Challenge master = fresh_challenge();
  const auto good = encode_greeting({3, 8, fresh_challenge()}, master, kToken);
  for (int trial = 0; trial < 200000; ++trial) {
    auto bytes = good;  // up to its random tail
    for (size_t byte = random() % bytes.size(); byte < bytes.size(); ++byte) bytes[byte] = static_cast<uint8_t>(random());
    if (bytes == good) continue;
    ASSERT_NE(judge_greeting(bytes, master, kToken).verdict, Verdict::kWelcome) << "trial " << trial;
  }
}

TEST(Reply, IsBelievedOnlyWithItsSignature) {
  const Challenge master = fresh_challenge(), rank = fresh_challenge();
  const auto good = encode_reply({Verdict::kOtherWorldSize, 7}, rank, master, kToken);
  ASSERT_TRUE(decode_reply(good, rank, master, kToken));
  EXPECT_EQ(decode_reply(good, rank, master, kToken)->detail, 7u);
  EXPECT_FALSE(decode_reply(good, rank, master, "another token"));
  EXPECT_FALSE(decode_reply(good, master, rank, kToken));
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    const auto reply = decode_reply(bytes, rank, master, kToken);
    EXPECT_FALSE(reply && reply->verdict == Verdict::kWelcome) << "bit " << bit;
  }
}

TEST(Opening, OfAnotherProgramIsNone) {
  OpeningBytes bytes = encode_opening(counting_from(5));
  EXPECT_EQ(decode_opening(bytes), counting_from(5));
  bytes[8] ^= 2;  // its version
  EXPECT_FALSE(decode_opening(bytes));
  bytes[8] ^= 2;
  bytes[0] = 'H';
  EXPECT_FALSE(decode_opening(bytes));
}

TEST(Challenge, IsNeverTheSame) {
  std::set<Challenge> seen;
  for (int trial = 0; trial < 1000; ++trial) EXPECT_TRUE(seen.insert(fresh_challenge()).second);
}

TEST(ControlMessage, KeepsItsFields) {
  const ControlMessage message{ControlMessage::Type::kMissing, uint64_t{1} << 40, {"", std::string("a\0b", 3), std::string(70000, 'x')}};
  const std::string bytes = encode(message);
  const auto read = decode_control_message(std::string_view(bytes).substr(kControlMessageHeader));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->type, message.type);
  EXPECT_EQ(read->request, message.request);
  EXPECT_EQ(read->fields, message.fields);
}

TEST(ControlMessage, OfRandomBytesIsReadWithoutHarm) {
  std::mt19937 random(2);
  const std::string good = encode({ControlMessage::Type::kHeartbeat, 5, {"step 17", "world", "93"}}).substr(kControlMessageHeader);
  size_t none = 0;
  for (int trial = 0; trial < 200000; ++trial) {
    std::string body = good.substr(0, random() % (good.size() + 1));
    for (int change = 0; change < 3 && !body.empty(); ++change) body[random() % body.size()] = static_cast<char>(random());
    const auto message = decode_control_message(body);
    if (!message) {
      ++none;
    } else {  // what was read is what was written
      EXPECT_EQ(encode(*message).substr(kControlMessageHeader), body);
    }
  }
  EXPECT_GT(none, 100000u);
}

// A listening rank 0 among strangers.
class AmongStrangers : public testing::Test {
 protected:
  AmongStrangers() : launch_(2), server_(*ControlServer::listen(launch_.rank(0), test::short_settings())) {}

  // The challenge of a fresh connection.
  static Challenge challenge_from(RawConnection &connection) {
    OpeningBytes opening{};
    const auto bytes = connection.receive(opening.size());
    EXPECT_EQ(bytes.size(), opening.size());
    std::copy(bytes.begin(), bytes.end(), opening.begin());
    const auto challenge = decode_opening(opening);
    EXPECT_TRUE(challenge);
    return challenge.value_or(Challenge{});
  }

  Greeting own_{1, 2, counting_from(9)};
  test::LoopbackLaunch launch_;
  std::unique_ptr<ControlServer> server_;
};

// Nothing when the connection ended without a reply that can be believed.
std::optional<Verdict> verdict_from(RawConnection &connection, const Challenge &own, const Challenge &master) {
  ReplyBytes reply{};
  const auto bytes = connection.receive(reply.size());
  if (bytes.size() != reply.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), reply.begin());
  const auto decoded = decode_reply(reply, own, master, kToken);
  return decoded ? std::optional(decoded->verdict) : std::nullopt;
}

TEST_F(AmongStrangers, AGoodGreetingIsWelcome) {
  RawConnection connection(launch_.port());
  const Challenge master = challenge_from(connection);
  connection.send(encode_greeting(own_, master, kToken));
  EXPECT_EQ(verdict_from(connection, own_.challenge, master), Verdict::kWelcome);
}

TEST_F(AmongStrangers, AReplayedGreetingIsRefused) {
  RawConnection first(launch_.port());
  const auto greeting = encode_greeting(own_, challenge_from(first), kToken);
  RawConnection second(launch_.port());
  const Challenge master = challenge_from(second);
  second.send(greeting);
  EXPECT_EQ(verdict_from(second, own_.challenge, master), Verdict::kWrongToken);
  EXPECT_TRUE(second.ended());
}

TEST_F(AmongStrangers, MoreThanAGreetingIsRefused) {
  RawConnection connection(launch_.port());
  const Challenge master = challenge_from(connection);
  const auto greeting = encode_greeting(own_, master, kToken);
  std::vector<uint8_t> bytes(greeting.begin(), greeting.end());
  bytes.resize(100000, 'x');
  connection.send(bytes);
  EXPECT_NE(verdict_from(connection, own_.challenge, master), Verdict::kWelcome);
  EXPECT_TRUE(connection.ended());
}

TEST_F(AmongStrangers, GarbageIsRefusedAndRanksStillGetIn) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 300; ++trial) {
    RawConnection connection(launch_.port());
    std::vector<uint8_t> bytes(random() % 200);
    for (uint8_t &byte : bytes) byte = static_cast<uint8_t>(random());
    const Challenge master = challenge_from(connection);
    connection.send(bytes);
    if (bytes.size() < std::tuple_size_v<GreetingBytes>) continue;  // hangs up half-way
    EXPECT_NE(verdict_from(connection, own_.challenge, master), Verdict::kWelcome);
    EXPECT_TRUE(connection.ended());
  }
  RawConnection rank(launch_.port());
  const Challenge master = challenge_from(rank);
  rank.send(encode_greeting(own_, master, kToken));
  EXPECT_EQ(verdict_from(rank, own_.challenge, master), Verdict::kWelcome);
}

TEST_F(AmongStrangers, SilenceIsEndedAndKeepsNobodyOut) {
  std::vector<std::unique_ptr<RawConnection>> silent;
  for (int stranger = 0; stranger < 200; ++stranger) silent.push_back(std::make_unique<RawConnection>(launch_.port()));
  RawConnection rank(launch_.port());
  const Challenge master = challenge_from(rank);
  rank.send(encode_greeting(own_, master, kToken));
  EXPECT_EQ(verdict_from(rank, own_.challenge, master), Verdict::kWelcome);
  challenge_from(*silent.back());
  EXPECT_TRUE(silent.back()->ended());  // after 5 s
}

}  // namespace
}  // namespace trainhost
