// How two processes show each other that they know the run's token, before either reads anything else of the other. All messages have a
// fixed size; numbers are little-endian.
//
//   rank 0 -> rank   Opening   magic, version, a fresh challenge
//   rank -> rank 0   Greeting  magic, version, rank, world size, a challenge of its own, HMAC-SHA256(token, "rank", both challenges, the
//   rest) rank 0 -> rank   Reply     magic, verdict, detail, HMAC-SHA256(token, "master", both challenges, the rest)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trainhost {

using Challenge = std::array<uint8_t, 32>;
using OpeningBytes = std::array<uint8_t, 8 + 4 + 32>;
using GreetingBytes = std::array<uint8_t, 8 + 4 + 4 + 4 + 32 + 32>;
using ReplyBytes = std::array<uint8_t, 8 + 4 + 4 + 32>;

// 32 bytes of the system's cryptographic generator.
Challenge fresh_challenge();
// 64 hexadecimal digits for a run whose launcher gives none.
std::string fresh_token();

enum class Verdict : uint32_t {
  kWelcome = 1,
  kNotUnderstood,   // not a greeting; unsigned
  kOtherVersion,    // detail: the version of rank 0; unsigned
  kWrongToken,      // unsigned
  kOtherWorldSize,  // detail: the world size of rank 0
  kRankTaken,       // another process is this rank
};

struct Greeting {
  uint32_t rank = 0, world_size = 0;
  Challenge challenge{};
};

// What rank 0 makes of a greeting: kWelcome when it is well-formed and signed with the token.
struct Judgement {
  Verdict verdict = Verdict::kNotUnderstood;
  Greeting greeting;
};

OpeningBytes encode_opening(const Challenge &challenge);
// Nothing when the bytes are not an opening, or one of another version.
std::optional<Challenge> decode_opening(const OpeningBytes &bytes);

GreetingBytes encode_greeting(const Greeting &greeting, const Challenge &master, std::string_view token);
Judgement judge_greeting(const GreetingBytes &bytes, const Challenge &master, std::string_view token);

struct Reply {
  Verdict verdict = Verdict::kNotUnderstood;
  uint32_t detail = 0;
};
ReplyBytes encode_reply(const Reply &reply, const Challenge &rank, const Challenge &master, std::string_view token);
// Nothing when the bytes are not a reply, or lack the signature that the verdict must have.
std::optional<Reply> decode_reply(const ReplyBytes &bytes, const Challenge &rank, const Challenge &master, std::string_view token);

}  // namespace trainhost
