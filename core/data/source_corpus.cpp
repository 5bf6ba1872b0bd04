#include "data/source_corpus.h"

#include <fmt/format.h>

#include "base/hash.h"

namespace trainhost {
namespace {

// Raised whenever readers, template, split or joining give other documents than before.
constexpr int kCorpusVersion = 1;

}  // namespace

Result<> check_cancelled(const PluginEvents &events, std::string_view what) {
  if (events.cancelled == nullptr || !*events.cancelled) return {};
  return failure(ErrorKind::kStopped, fmt::format("stopped while {}; what was finished before is kept", what));
}

void report_progress(const PluginEvents &events, std::string_view what, uint64_t done, uint64_t total) {
  if (events.progress && done < total) events.progress(what, done, total);
}

Result<SourceCorpus> SourceCorpus::open(const Source &source, FileHashes &hashes) {
  SourceCorpus corpus(source);
  TRAINHOST_TRY(corpus.files_, source_files(source));
  std::string identity = fmt::format("corpus {}\nloss_on {}\nheld_out {}\non_bad_input {}\n", kCorpusVersion, source.loss_on,
                                     source.held_out, source.on_bad_input);
  for (SourceFile &file : corpus.files_) {
    TRAINHOST_TRY(file.sha256, hashes.sha256(file.path));
    corpus.bytes_ += file.bytes;
    identity += fmt::format("{} {}\n", to_string(file.format), file.sha256);
  }
  corpus.digest_ = sha256(identity);
  return corpus;
}

Result<> SourceCorpus::scan(const PluginEvents &events) {
  if (scanned_) return {};
  const std::string what = fmt::format("reading {}", source_->name);
  constexpr uint64_t kProgressBytes = uint64_t{8} << 20;
  uint64_t next_progress = 0;
  CorpusReader passages(files_, answers_only(), report_);
  while (true) {
    TRAINHOST_TRY(const std::optional<Passage> passage, passages.next());
    if (!passage) break;
    split_.observe(passage->text);
    if (passages.bytes_read() < next_progress) continue;
    next_progress = passages.bytes_read() + kProgressBytes;
    TRAINHOST_CHECK(check_cancelled(events, what));
    report_progress(events, what, passages.bytes_read(), bytes_);
  }
  if (events.progress) events.progress(what, bytes_, bytes_);
  report_.summarise();
  scanned_ = true;
  return {};
}

DocumentReader SourceCorpus::documents() const { return DocumentReader(CorpusReader(files_, answers_only(), silent_report_), split_); }

}  // namespace trainhost
