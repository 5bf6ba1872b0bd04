// The files of a source.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "recipe/recipe.h"

namespace trainhost {

// kJsonl: {"text"} lines; kChat: lines of turns; kAnyJsonl: either, line by line.
enum class TextFormat { kText, kMarkdown, kJsonl, kChat, kAnyJsonl };
std::string_view to_string(TextFormat format);

struct SourceFile {
  std::string path;
  TextFormat format;
  uint64_t bytes = 0;  // when it was listed
  std::string sha256;  // empty until a corpus fills it in
};

// Expands the globs of source.paths, each one's files in byte order, a file named twice once. "auto" goes by the ending: .md and
// .markdown, .jsonl and .ndjson; all else is text. Not for format "tokens". Fails with kData for a path without a file.
Result<std::vector<SourceFile>> source_files(const Source &source);

}  // namespace trainhost
