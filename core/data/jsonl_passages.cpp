#include "data/jsonl_passages.h"

#include <algorithm>

#include <fmt/format.h>

#include "data/chat_template.h"

namespace trainhost {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

std::string_view trim(std::string_view text) {
  constexpr std::string_view kWhite = " \t\r\n\f\v";
  const size_t begin = text.find_first_not_of(kWhite);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin, text.find_last_not_of(kWhite) - begin + 1);
}

std::string_view type_name(const element &value) {
  switch (value.type()) {
    case simdjson::dom::element_type::ARRAY:
      return "an array";
    case simdjson::dom::element_type::OBJECT:
      return "an object";
    case simdjson::dom::element_type::STRING:
      return "a string";
    case simdjson::dom::element_type::BOOL:
      return "a boolean";
    case simdjson::dom::element_type::NULL_VALUE:
      return "null";
    default:
      return "a number";
  }
}

bool has(const object &fields, std::string_view key) { return fields.at_key(key).error() == simdjson::SUCCESS; }

// The string at `key`; the failure says what is there instead.
tl::expected<std::string_view, std::string> string_at(const object &fields, std::string_view key) {
  element value;
  if (fields.at_key(key).get(value) != simdjson::SUCCESS) return tl::unexpected(fmt::format("has no \"{}\"", key));
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return tl::unexpected(fmt::format("\"{}\" is {}; expected a string", key, type_name(value)));
  return text;
}

tl::expected<Role, std::string> role_of(std::string_view name) {
  if (name == "system") return Role::kSystem;
  if (name == "user") return Role::kUser;
  if (name == "assistant") return Role::kAssistant;
  return tl::unexpected(fmt::format("has the role \"{}\"; expected system, user or assistant", name));
}

// Turns of a line, whose strings live in the parser or in `joined`.
using Turns = tl::expected<std::vector<Turn>, std::string>;

Turns turns_of_messages(const object &fields) {
  simdjson::dom::array messages;
  const element value = fields.at_key("messages").value_unsafe();
  if (value.get(messages) != simdjson::SUCCESS)
    return tl::unexpected(fmt::format("\"messages\" is {}; expected an array", type_name(value)));
  std::vector<Turn> turns;
  for (const element message : messages) {
    const auto wrong = [&](std::string_view what) { return tl::unexpected(fmt::format("message {} {}", turns.size() + 1, what)); };
    object parts;
    if (message.get(parts) != simdjson::SUCCESS) return wrong(fmt::format("is {}; expected an object", type_name(message)));
    const auto name = string_at(parts, "role");
    if (!name) return wrong(name.error());
    const auto role = role_of(*name);
    if (!role) return wrong(role.error());
    const auto content = string_at(parts, "content");
    if (!content) return wrong(content.error());
    turns.push_back({*role, trim(*content)});
  }
  return turns;
}

Turns turns_of_pair(const object &fields, std::string_view question, std::string_view answer) {
  const auto asked = string_at(fields, question), answered = string_at(fields, answer);
  if (!asked) return tl::unexpected(asked.error());
  if (!answered) return tl::unexpected(answered.error());
  return std::vector<Turn>{{Role::kUser, trim(*asked)}, {Role::kAssistant, trim(*answered)}};
}

Turns turns_of_instruction(const object &fields, std::string &joined) {
  Turns turns = turns_of_pair(fields, "instruction", "output");
  if (!turns || !has(fields, "input")) return turns;
  const auto input = string_at(fields, "input");
  if (!input) return tl::unexpected(input.error());
  if (trim(*input).empty()) return turns;
  joined.assign(turns->front().text).append("\n").append(trim(*input));
  turns->front().text = joined;
  return turns;
}

}  // namespace

JsonlPassages::JsonlPassages(const SourceFile &file, LineReader lines, bool answers_only, InputReport &report)
    : file_(&file), lines_(std::move(lines)), answers_only_(answers_only), report_(&report) {}

JsonlPassages::Outcome JsonlPassages::read_text(const object &fields) const {
  if (answers_only_)
    return tl::unexpected(Fault{InputFault::kWrongShape, "has no answer for loss_on = \"answers\" to learn from; expected a chat line"});
  const auto text = string_at(fields, "text");
  if (!text) return tl::unexpected(Fault{InputFault::kWrongShape, text.error() + "; expected {\"text\": \"...\"}"});
  if (trim(*text).empty()) return tl::unexpected(Fault{InputFault::kNoText, "\"text\" is empty"});
  return Passage{std::string(*text), {}, false};
}

JsonlPassages::Outcome JsonlPassages::read_chat(const object &fields) const {
  std::string joined;
  Turns turns = tl::unexpected(std::string("has none of \"messages\", \"prompt\" and \"instruction\"; expected a chat line"));
  if (has(fields, "messages"))
    turns = turns_of_messages(fields);
  else if (has(fields, "prompt"))
    turns = turns_of_pair(fields, "prompt", "completion");
  else if (has(fields, "instruction"))
    turns = turns_of_instruction(fields, joined);
  if (!turns) return tl::unexpected(Fault{InputFault::kWrongShape, turns.error()});

  if (turns->empty()) return tl::unexpected(Fault{InputFault::kNoText, "has no messages"});
  const auto silent = std::find_if(turns->begin(), turns->end(), [](const Turn &turn) { return turn.text.empty(); });
  if (silent != turns->end())
    return tl::unexpected(Fault{InputFault::kNoText, fmt::format("turn {} is empty", silent - turns->begin() + 1)});
  const bool answered = std::any_of(turns->begin(), turns->end(), [](const Turn &turn) { return turn.role == Role::kAssistant; });
  if (answers_only_ && !answered) return tl::unexpected(Fault{InputFault::kWrongShape, "has no message of the assistant"});
  Passage passage;
  render(*turns, answers_only_, passage);
  return passage;
}

JsonlPassages::Outcome JsonlPassages::read(const Line &line) {
  if (line.too_long) return tl::unexpected(Fault{InputFault::kLongLine, "is longer than 16 MiB"});
  if (!simdjson::validate_utf8(line.text.data(), line.text.size()))
    return tl::unexpected(Fault{InputFault::kInvalidUtf8, "is not valid UTF-8"});
  element root;
  if (const auto error = parser_.parse(line.text.data(), line.text.size()).get(root); error != simdjson::SUCCESS) {
    return tl::unexpected(Fault{InputFault::kMalformedJson, fmt::format("is not JSON: {}", simdjson::error_message(error))});
  }
  object fields;
  if (root.get(fields) != simdjson::SUCCESS)
    return tl::unexpected(Fault{InputFault::kWrongShape, fmt::format("is {}; expected an object", type_name(root))});
  const bool text = file_->format == TextFormat::kJsonl || (file_->format == TextFormat::kAnyJsonl && has(fields, "text"));
  return text ? read_text(fields) : read_chat(fields);
}

Result<std::optional<Passage>> JsonlPassages::next() {
  while (!ended_) {
    TRAINHOST_TRY(const std::optional<Line> line, lines_.next());
    if (!line) {
      ended_ = true;
      if (!gave_line_) TRAINHOST_CHECK(report_->fault(InputFault::kEmptyFile, file_->path, 0, "is empty"));
      break;
    }
    if (!line->too_long && trim(line->text).empty()) continue;
    gave_line_ = true;
    Outcome passage = read(*line);
    if (passage) return std::move(*passage);
    TRAINHOST_CHECK(report_->fault(passage.error().kind, file_->path, line->number, passage.error().message));
  }
  return std::nullopt;
}

}  // namespace trainhost
