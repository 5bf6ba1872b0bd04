#include "metrics/event_record.h"

#include <bit>

#include <boost/crc.hpp>

namespace trainhost {
namespace {

template <class Integer>
void append_little_endian(std::string &out, Integer value) {
  for (size_t byte = 0; byte < sizeof value; ++byte) out += static_cast<char>(value >> (8 * byte) & 0xff);
}

constexpr uint32_t kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5;  // wire types
constexpr uint32_t tag_of(uint32_t field, uint32_t wire_type) { return field << 3 | wire_type; }

ProtobufMessage event(double wall_time, uint64_t step) {
  ProtobufMessage message;
  message.number(1, wall_time).integer(2, step);
  return message;
}

ProtobufMessage summary(const ProtobufMessage &value) { return ProtobufMessage().message(1, value); }

}  // namespace

void ProtobufMessage::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) encoded_ += static_cast<char>(value | 0x80);
  encoded_ += static_cast<char>(value);
}

ProtobufMessage &ProtobufMessage::integer(uint32_t field, uint64_t value) {
  varint(tag_of(field, kVarint));
  varint(value);
  return *this;
}

ProtobufMessage &ProtobufMessage::number(uint32_t field, double value) {
  varint(tag_of(field, kFixed64));
  append_little_endian(encoded_, std::bit_cast<uint64_t>(value));
  return *this;
}

ProtobufMessage &ProtobufMessage::number(uint32_t field, float value) {
  varint(tag_of(field, kFixed32));
  append_little_endian(encoded_, std::bit_cast<uint32_t>(value));
  return *this;
}

ProtobufMessage &ProtobufMessage::bytes(uint32_t field, std::string_view value) {
  varint(tag_of(field, kLengthDelimited));
  varint(value.size());
  encoded_ += value;
  return *this;
}

ProtobufMessage version_event(double wall_time) { return event(wall_time, 0).bytes(3, "brain.Event:2"); }

ProtobufMessage session_start_event(double wall_time, uint64_t step) {
  constexpr uint64_t kStart = 1;
  return event(wall_time, step).message(7, ProtobufMessage().integer(1, kStart));
}

ProtobufMessage scalar_event(double wall_time, uint64_t step, std::string_view tag, double value) {
  return event(wall_time, step).message(5, summary(ProtobufMessage().bytes(1, tag).number(2, static_cast<float>(value))));
}

ProtobufMessage text_event(double wall_time, uint64_t step, std::string_view tag, std::string_view markdown) {
  constexpr uint64_t kString = 7, kTensorClass = 2;                                             // DataType, DataClass
  const auto tensor = ProtobufMessage().integer(1, kString).message(2, {}).bytes(8, markdown);  // an empty shape: a scalar
  const auto metadata = ProtobufMessage().message(1, ProtobufMessage().bytes(1, "text")).integer(4, kTensorClass);
  return event(wall_time, step).message(5, summary(ProtobufMessage().bytes(1, tag).message(8, tensor).message(9, metadata)));
}

uint32_t masked_crc32c(std::string_view bytes) {
  boost::crc_optimal<32, 0x1edc6f41, 0xffffffff, 0xffffffff, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return std::rotr(static_cast<uint32_t>(crc.checksum()), 15) + 0xa282ead8;
}

std::string event_record(const ProtobufMessage &event) {
  const std::string &data = event.encoded();
  std::string record;
  append_little_endian(record, uint64_t{data.size()});
  append_little_endian(record, masked_crc32c(record));
  record += data;
  append_little_endian(record, masked_crc32c(data));
  return record;
}

}  // namespace trainhost
