// Passages of text and Markdown files.
#pragma once

#include "data/line_reader.h"
#include "data/passage_reader.h"

namespace trainhost {

// A passage ends at the first blank line after 8 KiB, or at any line end after 32 KiB. Markdown's front matter (between "---" or
// "+++" lines at the top) is dropped; the rest is text.
class TextPassages final : public PassageReader {
 public:
  TextPassages(const SourceFile &file, LineReader lines, InputReport &report);
  Result<std::optional<Passage>> next() override;
  uint64_t bytes_read() const override { return lines_.bytes_read(); }

 private:
  // Adds the line to the text, or reports its fault; false when the rest of the file is worthless.
  Result<bool> add(const Line &line, std::string &text);
  Result<bool> begins_as_text();

  const SourceFile *file_;
  LineReader lines_;
  InputReport *report_;
  bool started_ = false, gave_text_ = false, ended_ = false;
  std::string front_matter_end_;  // the line that ends it; empty: not inside
};

}  // namespace trainhost
