// Reads a source's files as documents.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "base/status.h"
#include "data/document.h"
#include "data/held_out_split.h"
#include "data/passage_reader.h"

namespace trainhost {

// All passages of a source, file after file. One thread. The arguments must outlive it.
class CorpusReader {
 public:
  CorpusReader(std::span<const SourceFile> files, bool answers_only, InputReport &report)
      : files_(files), answers_only_(answers_only), report_(&report) {}

  Result<std::optional<Passage>> next();
  uint64_t bytes_read() const { return bytes_of_read_files_ + (reader_ == nullptr ? 0 : reader_->bytes_read()); }

 private:
  std::span<const SourceFile> files_;
  bool answers_only_;
  InputReport *report_;
  std::unique_ptr<PassageReader> reader_;  // of the file before files_[0]
  uint64_t bytes_of_read_files_ = 0;
};

// Joins the passages to documents: those of a file that follow each other on one side of the split are one, up to 1 MiB. Where a
// held-out passage was cut out, what stands before it and what stands after it are two documents.
class DocumentReader {
 public:
  static constexpr size_t kLongestDocument = size_t{1} << 20;

  DocumentReader(CorpusReader passages, const HeldOutSplit &split) : passages_(std::move(passages)), split_(&split) {}

  Result<std::optional<Document>> next();
  uint64_t bytes_read() const { return passages_.bytes_read(); }

 private:
  CorpusReader passages_;
  const HeldOutSplit *split_;
  std::optional<Passage> following_;
  bool started_ = false;
};

}  // namespace trainhost
