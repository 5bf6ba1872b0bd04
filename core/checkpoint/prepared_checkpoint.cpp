#include "checkpoint/prepared_checkpoint.h"

#include <algorithm>

#include "checkpoint/manifest_format.h"
#include "collectives/agreement.h"

namespace trainhost {
namespace {

// The files of this rank. They bear its number as soon as a rank other than 0 has any, so that what rank 0 writes alone looks like what
// one process writes.
Result<std::vector<Shard>> cut(const std::vector<Shard::Content> &pieces, const ProcessGroup &group, bool numbered) {
  const auto name = [&](std::string_view part) { return numbered ? shard_name(part, group.rank(), group.size()) : shard_name(part); };
  return cut_into_shards(pieces, name(manifest::kModelShard), name(manifest::kStateShard));
}

// What one rank saves, as a manifest of its own files.
Result<std::string> describe_own(const CheckpointContents &contents, const Result<std::vector<Shard>> &shards, const ProcessGroup &group) {
  if (!shards) return tl::unexpected(shards.error());
  return encode_manifest(take_snapshot(contents, *shards, group.size()));
}

std::string position_text(const CheckpointManifest &manifest) {
  return "step " + std::to_string(manifest.step) + " at " + std::to_string(manifest.tokens) + " tokens";
}

// The manifest of the whole: rank 0's, with the files of all in order of name. Every rank makes the same of the same parts.
Result<CheckpointManifest> combine(const std::vector<std::string> &texts) {
  std::vector<CheckpointManifest> parts;
  for (const std::string &text : texts) {
    TRAINHOST_TRY(CheckpointManifest part, decode_manifest(text, "rank " + std::to_string(parts.size())));
    parts.push_back(std::move(part));
  }
  CheckpointManifest whole = parts.front();
  for (size_t rank = 1; rank < parts.size(); ++rank) {
    const CheckpointManifest &part = parts[rank];
    if (part.step != whole.step || part.tokens != whole.tokens) {
      return failure(ErrorKind::kInternal, "rank " + std::to_string(rank) + " saves " + position_text(part) + ", rank 0 saves " +
                                               position_text(whole) + ": all must stand at one step");
    }
    whole.files.insert(whole.files.end(), part.files.begin(), part.files.end());
    whole.tensors.insert(whole.tensors.end(), part.tensors.begin(), part.tensors.end());
  }
  std::stable_sort(whole.files.begin(), whole.files.end(), [](const auto &a, const auto &b) { return a.name < b.name; });
  std::stable_sort(whole.tensors.begin(), whole.tensors.end(), [](const auto &a, const auto &b) { return a.file < b.file; });
  if (const std::string fault = whole.tiling_fault(); !fault.empty())
    return failure(ErrorKind::kInternal, "what is to be saved is not each tensor once: " + fault);
  return whole;
}

}  // namespace

uint64_t PreparedCheckpoint::bytes_needed() const {
  constexpr uint64_t kBlock = 4096;
  const auto blocks = [](uint64_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; };
  uint64_t sum = kBlock + blocks(manifest_text.size()) + blocks(checksums_text.size());
  for (const ManifestFile &file : manifest.files) sum += blocks(file.bytes);
  return sum;
}

Result<PreparedCheckpoint> prepare_checkpoint(const CheckpointContents &contents, ProcessGroup &group) {
  const auto pieces = recorded_pieces(contents.tensors);
  TRAINHOST_TRY(const auto have_any,
                agreed_texts(group, pieces.map([](const auto &recorded) { return std::string(recorded.empty() ? 0 : 1, '+'); })));
  const bool numbered = std::any_of(have_any.begin() + 1, have_any.end(), [](const std::string &any) { return !any.empty(); });

  auto shards = cut(*pieces, group, numbered);
  TRAINHOST_TRY(const auto texts, agreed_texts(group, describe_own(contents, shards, group)));
  PreparedCheckpoint prepared{.shards = std::move(*shards), .manifest = {}, .manifest_text = {}, .checksums_text = {}};
  TRAINHOST_TRY(prepared.manifest, combine(texts));
  TRAINHOST_TRY(prepared.manifest_text, encode_manifest(prepared.manifest));
  prepared.checksums_text = encode_checksums(prepared.manifest, prepared.manifest_text);
  return prepared;
}

}  // namespace trainhost
