#include "collectives/control/control_message.h"

namespace trainhost {
namespace {

template <class Number>
void append_number(std::string &out, Number value) {
  for (size_t byte = 0; byte < sizeof(Number); ++byte) out += static_cast<char>(value >> 8 * byte);
}

class BodyReader {
 public:
  explicit BodyReader(std::string_view body) : rest_(body) {}
  bool at_end() const { return rest_.empty(); }

  std::optional<std::string_view> take(size_t size) {
    if (size > rest_.size()) return std::nullopt;
    const auto taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  template <class Number>
  std::optional<Number> number() {
    const auto bytes = take(sizeof(Number));
    if (!bytes) return std::nullopt;
    Number value = 0;
    for (size_t byte = 0; byte < sizeof(Number); ++byte) value |= Number{static_cast<uint8_t>((*bytes)[byte])} << 8 * byte;
    return value;
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::string encode(const ControlMessage &message) {
  std::string body(1, static_cast<char>(message.type));
  append_number(body, message.request);
  for (const std::string &field : message.fields) {
    append_number(body, static_cast<uint32_t>(field.size()));
    body += field;
  }
  std::string bytes;
  append_number(bytes, static_cast<uint32_t>(body.size()));
  return bytes + body;
}

std::optional<ControlMessage> decode_control_message(std::string_view body) {
  BodyReader reader(body);
  const auto type = reader.take(1);
  const auto request = reader.number<uint64_t>();
  if (!type || !request || static_cast<uint8_t>(type->front()) > static_cast<uint8_t>(ControlMessage::Type::kGoodbye)) return std::nullopt;
  ControlMessage message{static_cast<ControlMessage::Type>(type->front()), *request};
  while (!reader.at_end()) {
    const auto size = reader.number<uint32_t>();
    const auto field = size ? reader.take(*size) : std::nullopt;
    if (!field) return std::nullopt;
    message.fields.emplace_back(*field);
  }
  return message;
}

}  // namespace trainhost
