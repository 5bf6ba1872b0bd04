#include "data/passage_reader.h"

#include "data/jsonl_passages.h"
#include "data/text_passages.h"

namespace trainhost {

Result<std::unique_ptr<PassageReader>> PassageReader::open(const SourceFile &file, bool answers_only, InputReport &report) {
  TRAINHOST_TRY(LineReader lines, LineReader::open(file.path));
  std::unique_ptr<PassageReader> reader;
  if (file.format == TextFormat::kText || file.format == TextFormat::kMarkdown) {
    reader = std::make_unique<TextPassages>(file, std::move(lines), report);
  } else {
    reader = std::make_unique<JsonlPassages>(file, std::move(lines), answers_only, report);
  }
  return reader;
}

}  // namespace trainhost
