// Passages of JSONL files: one a line.
#pragma once

#include <simdjson.h>

#include "data/line_reader.h"
#include "data/passage_reader.h"

namespace trainhost {

// Takes the shapes {"text"}, {"messages": [{"role", "content"}]}, {"prompt", "completion"} and {"instruction", "input", "output"},
// as far as the file's format says; other keys are ignored. Turns are rendered by chat_template.h.
class JsonlPassages final : public PassageReader {
 public:
  JsonlPassages(const SourceFile &file, LineReader lines, bool answers_only, InputReport &report);
  Result<std::optional<Passage>> next() override;
  uint64_t bytes_read() const override { return lines_.bytes_read(); }

 private:
  struct Fault {
    InputFault kind;
    std::string message;
  };
  using Outcome = tl::expected<Passage, Fault>;

  Outcome read(const Line &line);
  Outcome read_text(const simdjson::dom::object &object) const;
  Outcome read_chat(const simdjson::dom::object &object) const;

  const SourceFile *file_;
  LineReader lines_;
  bool answers_only_;
  InputReport *report_;
  simdjson::dom::parser parser_;
  bool gave_line_ = false, ended_ = false;
};

}  // namespace trainhost
