#include "data/source_files.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <glob.h>

namespace trainhost {
namespace {

TextFormat format_of(const Source &source, const std::string &path) {
  if (source.format == "text") return TextFormat::kText;
  if (source.format == "markdown") return TextFormat::kMarkdown;
  if (source.format == "jsonl") return TextFormat::kJsonl;
  if (source.format == "chat") return TextFormat::kChat;
  const std::string ending = std::filesystem::path(path).extension().string();
  if (ending == ".md" || ending == ".markdown") return TextFormat::kMarkdown;
  if (ending == ".jsonl" || ending == ".ndjson") return TextFormat::kAnyJsonl;
  return TextFormat::kText;
}

// The files that match, sorted; folders are left out.
Result<std::vector<std::string>> matches(const std::string &pattern) {
  glob_t found{};
  const int code = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
  std::vector<std::string> paths;
  for (size_t i = 0; i < found.gl_pathc; ++i) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(found.gl_pathv[i], ignored)) paths.emplace_back(found.gl_pathv[i]);
  }
  ::globfree(&found);
  if (code != 0 && code != GLOB_NOMATCH)
    return failure(ErrorKind::kData, fmt::format("{}: cannot be searched: {}", pattern, std::strerror(errno)));
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

std::string_view to_string(TextFormat format) {
  switch (format) {
    case TextFormat::kText:
      return "text";
    case TextFormat::kMarkdown:
      return "markdown";
    case TextFormat::kJsonl:
      return "jsonl";
    case TextFormat::kChat:
      return "chat";
    case TextFormat::kAnyJsonl:
      break;
  }
  return "jsonl or chat";
}

Result<std::vector<SourceFile>> source_files(const Source &source) {
  std::vector<SourceFile> files;
  for (const std::string &pattern : source.paths) {
    TRAINHOST_TRY(const std::vector<std::string> paths, matches(pattern));
    if (paths.empty()) return failure(ErrorKind::kData, fmt::format("source \"{}\": no file matches \"{}\"", source.name, pattern));
    for (const std::string &path : paths) {
      const bool known = std::any_of(files.begin(), files.end(), [&](const SourceFile &file) { return file.path == path; });
      std::error_code ignored;
      if (!known) files.push_back({path, format_of(source, path), std::filesystem::file_size(path, ignored), {}});
    }
  }
  return files;
}

}  // namespace trainhost
