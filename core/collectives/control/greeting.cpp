#include "collectives/control/greeting.h"

#include <algorithm>
#include <span>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

namespace trainhost {
namespace {

constexpr std::array<uint8_t, 8> kMagic = {'T', 'H', 'C', 'O', 'N', 'T', 'R', 'L'};
constexpr uint32_t kVersion = 1;

using Mac = std::array<uint8_t, 32>;

class Writer {
 public:
  explicit Writer(std::span<uint8_t> out) : rest_(out) {}
  Writer &bytes(std::span<const uint8_t> source) {
    std::copy(source.begin(), source.end(), rest_.begin());
    rest_ = rest_.subspan(source.size());
    return *this;
  }
  Writer &number(uint32_t value) {
    const uint8_t little_endian[] = {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value >> 16),
                                     static_cast<uint8_t>(value >> 24)};
    return bytes(little_endian);
  }

 private:
  std::span<uint8_t> rest_;
};

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> in) : rest_(in) {}
  template <size_t size>
  std::array<uint8_t, size> bytes() {
    std::array<uint8_t, size> value;
    std::copy_n(rest_.begin(), size, value.begin());
    rest_ = rest_.subspan(size);
    return value;
  }
  uint32_t number() {
    const auto byte = bytes<4>();
    return uint32_t{byte[0]} | uint32_t{byte[1]} << 8 | uint32_t{byte[2]} << 16 | uint32_t{byte[3]} << 24;
  }

 private:
  std::span<const uint8_t> rest_;
};

// HMAC-SHA256 (RFC 2104) over who signs, both challenges, and the message as far as its signature.
Mac sign(std::string_view token, std::string_view signer, const Challenge &master, const Challenge &rank,
         std::span<const uint8_t> message) {
  std::string text(signer);
  text.append(master.begin(), master.end()).append(rank.begin(), rank.end()).append(message.begin(), message.end());
  Mac mac{};
  unsigned int size = mac.size();
  HMAC(EVP_sha256(), token.data(), static_cast<int>(token.size()), reinterpret_cast<const unsigned char *>(text.data()), text.size(),
       mac.data(), &size);
  return mac;
}

bool equal(const Mac &left, const Mac &right) { return CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0; }

template <class Bytes>
std::span<const uint8_t> unsigned_part(const Bytes &bytes) {
  return std::span(bytes).first(bytes.size() - std::tuple_size_v<Mac>);
}

bool is_signed(Verdict verdict) {
  return verdict == Verdict::kWelcome || verdict == Verdict::kOtherWorldSize || verdict == Verdict::kRankTaken;
}

}  // namespace

Challenge fresh_challenge() {
  Challenge challenge;
  RAND_bytes(challenge.data(), static_cast<int>(challenge.size()));
  return challenge;
}

std::string fresh_token() {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string token;
  for (const uint8_t byte : fresh_challenge()) {
    token += kDigits[byte >> 4];
    token += kDigits[byte & 15];
  }
  return token;
}

OpeningBytes encode_opening(const Challenge &challenge) {
  OpeningBytes bytes;
  Writer(bytes).bytes(kMagic).number(kVersion).bytes(challenge);
  return bytes;
}

std::optional<Challenge> decode_opening(const OpeningBytes &bytes) {
  Reader reader(bytes);
  if (reader.bytes<kMagic.size()>() != kMagic || reader.number() != kVersion) return std::nullopt;
  return reader.bytes<std::tuple_size_v<Challenge>>();
}

GreetingBytes encode_greeting(const Greeting &greeting, const Challenge &master, std::string_view token) {
  GreetingBytes bytes;
  Writer writer(bytes);
  writer.bytes(kMagic).number(kVersion).number(greeting.rank).number(greeting.world_size).bytes(greeting.challenge);
  writer.bytes(sign(token, "rank", master, greeting.challenge, unsigned_part(bytes)));
  return bytes;
}

Judgement judge_greeting(const GreetingBytes &bytes, const Challenge &master, std::string_view token) {
  Reader reader(bytes);
  if (reader.bytes<kMagic.size()>() != kMagic) return {Verdict::kNotUnderstood, {}};
  if (reader.number() != kVersion) return {Verdict::kOtherVersion, {}};
  Greeting greeting;
  greeting.rank = reader.number();
  greeting.world_size = reader.number();
  greeting.challenge = reader.bytes<std::tuple_size_v<Challenge>>();
  const bool known = equal(reader.bytes<std::tuple_size_v<Mac>>(), sign(token, "rank", master, greeting.challenge, unsigned_part(bytes)));
  if (!known) return {Verdict::kWrongToken, {}};
  return {Verdict::kWelcome, greeting};
}

ReplyBytes encode_reply(const Reply &reply, const Challenge &rank, const Challenge &master, std::string_view token) {
  ReplyBytes bytes{};
  Writer writer(bytes);
  writer.bytes(kMagic).number(static_cast<uint32_t>(reply.verdict)).number(reply.detail);
  if (is_signed(reply.verdict)) writer.bytes(sign(token, "master", master, rank, unsigned_part(bytes)));
  return bytes;
}

std::optional<Reply> decode_reply(const ReplyBytes &bytes, const Challenge &rank, const Challenge &master, std::string_view token) {
  Reader reader(bytes);
  if (reader.bytes<kMagic.size()>() != kMagic) return std::nullopt;
  const uint32_t verdict = reader.number();
  if (verdict < static_cast<uint32_t>(Verdict::kWelcome) || verdict > static_cast<uint32_t>(Verdict::kRankTaken)) return std::nullopt;
  const Reply reply{static_cast<Verdict>(verdict), reader.number()};
  const Mac mac = reader.bytes<std::tuple_size_v<Mac>>();
  if (is_signed(reply.verdict) && !equal(mac, sign(token, "master", master, rank, unsigned_part(bytes)))) return std::nullopt;
  return reply;
}

}  // namespace trainhost
