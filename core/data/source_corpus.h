// The text of one source: its files, what identifies them, and which of it is held out.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "data/corpus_reader.h"
#include "data/file_hashes.h"
#include "data/input_report.h"
#include "data/source_files.h"
#include "plugin_host/instance.h"
#include "recipe/recipe.h"

namespace trainhost {

// One thread. The source must outlive it.
class SourceCorpus {
 public:
  // Finds and hashes the files. Fails with kData for a path without a file.
  static Result<SourceCorpus> open(const Source &source, FileHashes &hashes);

  const Source &source() const { return *source_; }
  const std::vector<SourceFile> &files() const { return files_; }
  uint64_t bytes() const { return bytes_; }  // of all files
  // Equal digests: equal documents on both sides of the split.
  const std::string &digest() const { return digest_; }
  bool answers_only() const { return source_->loss_on == "answers"; }

  // Reads everything once, the first time it is called: tells of bad input (or fails with kData) and settles the split.
  Result<> scan(const PluginEvents &events);
  // After scan: the documents, told of faults no more. The corpus must outlive it.
  DocumentReader documents() const;
  const InputReport &report() const { return report_; }

 private:
  explicit SourceCorpus(const Source &source)
      : source_(&source), split_(source.held_out), report_(source, false), silent_report_(source, true) {}

  const Source *source_;
  std::vector<SourceFile> files_;
  std::string digest_;
  uint64_t bytes_ = 0;
  HeldOutSplit split_;
  InputReport report_;
  mutable InputReport silent_report_;
  bool scanned_ = false;
};

// Progress of work that is not done: the last piece of a file is read long before it is used, and done == total would end the line.
void report_progress(const PluginEvents &events, std::string_view what, uint64_t done, uint64_t total);
// kStopped when the run is being stopped.
Result<> check_cancelled(const PluginEvents &events, std::string_view what);

}  // namespace trainhost
