// TensorBoard's event files: records of protocol-buffer messages, encoded by hand because the few fields used need no library.
// Field numbers are those of tensorboard/compat/proto/{event,summary,tensor}.proto.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trainhost {

// A protocol-buffer message under construction (https://protobuf.dev/programming-guides/encoding).
class ProtobufMessage {
 public:
  ProtobufMessage &integer(uint32_t field, uint64_t value);  // int32, int64, enum
  ProtobufMessage &number(uint32_t field, double value);     // double
  ProtobufMessage &number(uint32_t field, float value);      // float
  ProtobufMessage &bytes(uint32_t field, std::string_view value);
  ProtobufMessage &message(uint32_t field, const ProtobufMessage &value) { return bytes(field, value.encoded_); }
  const std::string &encoded() const { return encoded_; }

 private:
  void varint(uint64_t value);
  std::string encoded_;
};

ProtobufMessage version_event(double wall_time);                       // what every file begins with
ProtobufMessage session_start_event(double wall_time, uint64_t step);  // readers drop earlier files' points at `step` and later
ProtobufMessage scalar_event(double wall_time, uint64_t step, std::string_view tag, double value);
ProtobufMessage text_event(double wall_time, uint64_t step, std::string_view tag, std::string_view markdown);

// CRC-32C with TensorFlow's masking: rotated right by 15 bits, plus a constant.
uint32_t masked_crc32c(std::string_view bytes);

// length, its checksum, the bytes, their checksum; little-endian.
std::string event_record(const ProtobufMessage &event);

}  // namespace trainhost
