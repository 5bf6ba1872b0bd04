#include "data/corpus_reader.h"

namespace trainhost {

Result<std::optional<Passage>> CorpusReader::next() {
  while (reader_ != nullptr || !files_.empty()) {
    if (reader_ == nullptr) {
      TRAINHOST_TRY(reader_, PassageReader::open(files_.front(), answers_only_, *report_));
      files_ = files_.subspan(1);
    }
    TRAINHOST_TRY(std::optional<Passage> passage, reader_->next());
    if (passage) return passage;
    bytes_of_read_files_ += reader_->bytes_read();
    reader_.reset();
  }
  return std::nullopt;
}

Result<std::optional<Document>> DocumentReader::next() {
  if (!started_) {
    TRAINHOST_TRY(following_, passages_.next());
    started_ = true;
  }
  if (!following_) return std::nullopt;
  Document document{std::move(following_->text), std::move(following_->segments), false};
  document.held_out = split_->holds_out(document.text);
  while (true) {
    TRAINHOST_TRY(following_, passages_.next());
    if (!following_ || !following_->continues || document.text.size() + following_->text.size() > kLongestDocument ||
        split_->holds_out(following_->text) != document.held_out) {
      return document;
    }
    document.text += following_->text;
  }
}

}  // namespace trainhost
