#include "data/text_passages.h"

#include <fmt/format.h>
#include <simdjson.h>

namespace trainhost {
namespace {

constexpr size_t kPassageBytes = size_t{8} << 10;          // then the next blank line ends it
constexpr size_t kLongestPassageBytes = size_t{32} << 10;  // then the next line end does
constexpr int kFrontMatterLines = 200;                     // more is no front matter

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\f\n") == std::string_view::npos; }

}  // namespace

TextPassages::TextPassages(const SourceFile &file, LineReader lines, InputReport &report)
    : file_(&file), lines_(std::move(lines)), report_(&report) {}

Result<bool> TextPassages::begins_as_text() {
  started_ = true;
  TRAINHOST_TRY(const std::string_view start, lines_.peek());
  if (start.empty()) {
    TRAINHOST_CHECK(report_->fault(InputFault::kEmptyFile, file_->path, 0, "is empty"));
    return false;
  }
  if (const size_t at = start.find('\0'); at != std::string_view::npos) {
    TRAINHOST_CHECK(report_->fault(InputFault::kBinaryFile, file_->path, 0, fmt::format("is not text: its byte {} is zero", at)));
    return false;
  }
  return true;
}

Result<bool> TextPassages::add(const Line &line, std::string &text) {
  if (line.too_long) {
    TRAINHOST_CHECK(report_->fault(InputFault::kLongLine, file_->path, line.number, "is longer than 16 MiB"));
    return true;
  }
  if (line.text.find('\0') != std::string_view::npos) {
    TRAINHOST_CHECK(
        report_->fault(InputFault::kBinaryFile, file_->path, line.number, "is not text: holds a zero byte; the file is read no further"));
    return false;
  }
  if (!simdjson::validate_utf8(line.text.data(), line.text.size())) {
    TRAINHOST_CHECK(report_->fault(InputFault::kInvalidUtf8, file_->path, line.number, "is not valid UTF-8"));
    return true;
  }
  if (text.empty() && !gave_text_ && is_blank(line.text)) return true;
  text.append(line.text).append("\n");
  if (file_->format != TextFormat::kMarkdown) return true;
  if (line.number == 1 && (line.text == "---" || line.text == "+++")) {
    front_matter_end_ = line.text;
  } else if (!front_matter_end_.empty() && line.number > kFrontMatterLines) {
    front_matter_end_.clear();
  } else if (!front_matter_end_.empty() && line.text == front_matter_end_) {
    front_matter_end_.clear();
    text.clear();
  }
  return true;
}

Result<std::optional<Passage>> TextPassages::next() {
  if (!started_) {
    TRAINHOST_TRY(const bool text, begins_as_text());
    ended_ = !text;
    if (!text) gave_text_ = true;  // reported already
  }
  Passage passage;
  passage.continues = gave_text_;
  bool blank = true;
  while (!ended_) {
    TRAINHOST_TRY(const std::optional<Line> line, lines_.next());
    if (!line) {
      ended_ = true;
      break;
    }
    const size_t before = passage.text.size();
    TRAINHOST_TRY(const bool more, add(*line, passage.text));
    ended_ = !more;
    if (passage.text.size() > before && !is_blank(line->text)) blank = false;
    if (passage.text.empty()) blank = true;
    if (blank && passage.text.size() >= kLongestPassageBytes) passage.text.clear();  // a desert of line ends
    if (!blank && passage.text.size() >= kPassageBytes && (is_blank(line->text) || passage.text.size() >= kLongestPassageBytes)) break;
  }
  front_matter_end_.clear();
  if (blank && !gave_text_) TRAINHOST_CHECK(report_->fault(InputFault::kEmptyFile, file_->path, 0, "holds no text"));
  if (blank) return std::nullopt;
  gave_text_ = true;
  return passage;
}

}  // namespace trainhost
