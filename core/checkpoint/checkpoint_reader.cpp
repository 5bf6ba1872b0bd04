// Verifying and loading checkpoints.
#include <algorithm>
#include <cstring>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "base/hash.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/safetensors_format.h"
#include "checkpoint/shard.h"
#include "collectives/agreement.h"

namespace trainhost {
namespace {

// A fingerprint short enough for a message: each word of more than 16 characters is cut after 12.
std::string shortened(const std::string &text) {
  if (text.empty()) return "none";
  std::string result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (!result.empty()) result += ' ';
    result += word.size() > 16 ? word.substr(0, 12) + "..." : word;
    begin = end + 1;
  }
  return result;
}

Result<> compare_fingerprints(const std::string &path, const Fingerprints &found, const Fingerprints &expected) {
  for (const auto &[what, saved, now, may_go_on] : differences(found, expected)) {
    if (may_go_on) continue;
    // Other ids for the same text: nothing that was trained would mean anything.
    const std::string_view choice = what == "tokenizer" ? ", or start in another run directory"
                                                        : ", start in another run directory, or go on all the same with --accept-changes";
    return failure(ErrorKind::kRecipe, fmt::format("{}: was made with another {}: it has {}, this run has {}; use the {} of that run{}",
                                                   path, what, shortened(saved), shortened(now), what, choice));
  }
  return {};
}

bool is_wanted(const std::string &name, LoadScope scope) {
  return scope == LoadScope::kEverything || name.starts_with(manifest::kModelPrefix);
}

// Where a stored piece is: the place of its file in the manifest, and its place in that file.
struct StoredPiece {
  const TensorPiece *piece;
  size_t file, place;
};

struct StoredTensor {
  uint64_t number = 0;  // in order of name: the same for all ranks
  std::vector<StoredPiece> pieces;
};

// The wanted tensors of a checkpoint by name.
std::map<std::string_view, StoredTensor> stored_tensors(const CheckpointManifest &manifest, LoadScope scope) {
  std::map<std::string_view, size_t> files;
  for (size_t i = 0; i < manifest.files.size(); ++i) files[manifest.files[i].name] = i;
  std::vector<size_t> counts(manifest.files.size());
  std::map<std::string_view, StoredTensor> tensors;
  for (const ManifestTensor &tensor : manifest.tensors) {
    const size_t file = files.at(tensor.file), place = counts[file]++;
    if (is_wanted(tensor.piece.name, scope)) tensors[tensor.piece.name].pieces.push_back({&tensor.piece, file, place});
  }
  uint64_t number = 0;
  for (auto &[name, tensor] : tensors) tensor.number = number++;
  return tensors;
}

// What a rank wants of a stored tensor, as the others are told.
struct Want {
  uint64_t tensor, begin, count;
};

// A part of a stored piece, and where it goes.
struct Read {
  size_t file, place;
  uint64_t begin;  // in the whole tensor
  std::span<std::byte> out;
};

// One rank's part of a load.
class Loading {
 public:
  Loading(FileSystem &files, const std::string &path, const ProcessGroup &group) : files_(files), path_(path), group_(group) {}

  // Reads the manifest, opens this rank's share of the files and the others that it needs, so that it is known that their headers are
  // right. Returns what the ranks have to compare.
  Result<std::string> begin(std::span<NamedTensor> tensors, const Fingerprints &expected, LoadScope scope) {
    TRAINHOST_TRY(manifest_, read_manifest(files_, path_));
    TRAINHOST_CHECK(compare_fingerprints(path_, manifest_.fingerprints, expected));
    shards_.resize(manifest_.files.size());
    for (size_t i = group_.rank(); i < shards_.size(); i += group_.size()) TRAINHOST_CHECK(open(i));
    stored_ = stored_tensors(manifest_, scope);
    TRAINHOST_TRY(const auto wants, match(tensors));
    for (const Read &read : reads_) TRAINHOST_CHECK(open(read.file));
    TRAINHOST_TRY(const std::string text, encode_manifest(manifest_));
    return sha256(text) + std::string(reinterpret_cast<const char *>(wants.data()), wants.size() * sizeof(Want));
  }

  // Whether all ranks read the same manifest, and together want all of it. Every rank finds the same.
  Result<> compare(const std::vector<std::string> &found) const {
    constexpr size_t kDigest = 64;
    std::vector<std::vector<TensorPiece>> wanted(stored_.size());
    for (const std::string &rank : found) {
      if (rank.substr(0, kDigest) != found.front().substr(0, kDigest)) {
        return failure(ErrorKind::kUnavailable, path_ + ": rank " + std::to_string(&rank - found.data()) +
                                                    " finds another manifest there than rank 0; all processes need one common folder");
      }
      for (size_t at = kDigest; at < rank.size(); at += sizeof(Want)) {
        Want want{};
        std::memcpy(&want, rank.data() + at, sizeof want);
        wanted[want.tensor].push_back({.name = {}, .shape = {}, .begin = want.begin, .count = want.count});
      }
    }
    for (const auto &[name, tensor] : stored_) TRAINHOST_CHECK(check_wanted(*tensor.pieces.front().piece, wanted[tensor.number]));
    return {};
  }

  // Hashes this rank's share of the files.
  Result<> verify() const {
    for (size_t i = group_.rank(); i < shards_.size(); i += group_.size()) TRAINHOST_CHECK(shards_[i]->verify());
    return {};
  }

  Result<> fill() const {
    for (const Read &read : reads_) TRAINHOST_CHECK(shards_[read.file]->read(read.place, read.begin, read.out));
    return {};
  }

  CheckpointManifest take_manifest() { return std::move(manifest_); }

 private:
  Result<> open(size_t file) {
    if (shards_[file]) return {};
    TRAINHOST_TRY(shards_[file], ShardReader::open(files_, path_, manifest_.files[file], manifest_));
    return {};
  }

  // Finds out where this rank's pieces come from.
  Result<std::vector<Want>> match(std::span<NamedTensor> tensors) {
    std::vector<Want> wants;
    for (const NamedTensor &tensor : tensors) {
      TRAINHOST_TRY(const TensorPiece wanted, describe_piece(tensor));
      const auto stored = stored_.find(wanted.name);
      if (stored == stored_.end()) return failure(ErrorKind::kRecipe, path_ + ": lacks tensor \"" + wanted.name + "\", which this run has");
      const TensorPiece &first = *stored->second.pieces.front().piece;
      if (first.shape != wanted.shape) {
        return failure(ErrorKind::kRecipe, path_ + ": tensor \"" + wanted.name + "\" has shape " + shape_text(first.shape) +
                                               ", in this run it has " + shape_text(wanted.shape));
      }
      if (first.type != wanted.type) {
        return failure(ErrorKind::kRecipe,
                       fmt::format("{}: tensor \"{}\" is {}, in this run it is {}; use the optimizer settings of that run", path_,
                                   wanted.name, safetensors::dtype_of(first.type), safetensors::dtype_of(wanted.type)));
      }
      for (const StoredPiece &source : stored->second.pieces) {
        const uint64_t begin = std::max(wanted.begin, source.piece->begin), end = std::min(wanted.end(), source.piece->end());
        if (begin >= end) continue;
        reads_.push_back({source.file, source.place, begin, tensor.values.subspan(begin - wanted.begin, end - begin).bytes()});
      }
      wants.push_back({.tensor = stored->second.number, .begin = wanted.begin, .count = wanted.count});
    }
    return wants;
  }

  // `wanted`: by all ranks of one stored tensor; they may overlap.
  Result<> check_wanted(const TensorPiece &stored, std::vector<TensorPiece> wanted) const {
    if (wanted.empty()) return failure(ErrorKind::kRecipe, path_ + ": holds tensor \"" + stored.name + "\", which this run does not have");
    std::sort(wanted.begin(), wanted.end(), [](const auto &a, const auto &b) { return a.begin < b.begin; });
    uint64_t covered = 0;
    for (const TensorPiece &piece : wanted) {
      if (piece.begin > covered) break;
      covered = std::max(covered, piece.end());
    }
    if (covered >= element_count(stored.shape).value_or(0)) return {};
    return failure(ErrorKind::kInternal, path_ + ": element " + std::to_string(covered) + " of tensor \"" + stored.name +
                                             "\" is wanted by none of the processes that load it");
  }

  FileSystem &files_;
  std::string path_;
  const ProcessGroup &group_;
  CheckpointManifest manifest_;
  std::vector<std::optional<ShardReader>> shards_;  // those that this rank has opened
  std::map<std::string_view, StoredTensor> stored_;
  std::vector<Read> reads_;
};

// This rank's share of the files, every byte of them.
Result<> verify_share(FileSystem &files, const std::string &path, const ProcessGroup &group) {
  TRAINHOST_TRY(const CheckpointManifest manifest, read_manifest(files, path));
  std::vector<ShardReader> shards;
  for (size_t i = group.rank(); i < manifest.files.size(); i += group.size()) {
    TRAINHOST_TRY(ShardReader shard, ShardReader::open(files, path, manifest.files[i], manifest));
    shards.push_back(std::move(shard));
  }
  for (const ShardReader &shard : shards) TRAINHOST_CHECK(shard.verify());
  for (const ShardReader &shard : shards) {
    for (size_t i = 0; i < shard.pieces().size(); ++i) TRAINHOST_CHECK(shard.verify(i));
  }
  return {};
}

}  // namespace

Result<> CheckpointDirectory::verify(const std::string &path) const { return agreed(*group_, verify_share(*files_, path, *group_)); }

Result<CheckpointContents> CheckpointDirectory::load(const std::string &path, std::span<NamedTensor> tensors, const Fingerprints &expected,
                                                     LoadScope scope) const {
  Loading loading(*files_, path, *group_);
  TRAINHOST_TRY(const auto found, agreed_texts(*group_, loading.begin(tensors, expected, scope)));
  TRAINHOST_CHECK(loading.compare(found));
  TRAINHOST_CHECK(agreed(*group_, loading.verify()));
  TRAINHOST_CHECK(agreed(*group_, loading.fill()));
  CheckpointManifest manifest = loading.take_manifest();
  return CheckpointContents{.step = manifest.step,
                            .tokens = manifest.tokens,
                            .label = std::move(manifest.label),
                            .fingerprints = std::move(manifest.fingerprints),
                            .trainer_state = std::move(manifest.trainer_state),
                            .tensors = {}};
}

Result<std::optional<CheckpointContents>> CheckpointDirectory::load_newest(std::span<NamedTensor> tensors, const Fingerprints &expected,
                                                                           LoadScope scope) const {
  std::optional<CheckpointContents> contents;
  TRAINHOST_CHECK(use_newest([&](const std::string &path) -> Result<> {
    TRAINHOST_TRY(contents, load(path, tensors, expected, scope));
    return {};
  }));
  return contents;
}

// Rank 0 says which there are, so that all try the same ones; how each try ended is the same for all.
Result<bool> CheckpointDirectory::use_newest(const std::function<Result<>(const std::string &path)> &use) const {
  TRAINHOST_TRY(const auto checkpoints, agreed_on_first(*group_, [&]() -> Result<std::string> {
                  TRAINHOST_TRY(const auto names, files_->list(folder_));
                  std::string text;
                  for (const std::string &name : names) text += step_of(name) ? name + "\n" : "";
                  return text;
                }));
  std::vector<uint64_t> steps;
  std::istringstream lines(checkpoints);
  for (std::string name; std::getline(lines, name);) steps.push_back(*step_of(name));
  std::sort(steps.rbegin(), steps.rend());

  std::vector<std::string> faults;
  for (const uint64_t step : steps) {
    const auto used = use(folder_ + "/" + checkpoint_name(step));
    if (!used && used.error().kind != ErrorKind::kData) return tl::unexpected(used.error());
    if (!used) {
      faults.push_back(used.error().message);
      continue;
    }
    for (size_t i = 0; i < faults.size() && group_->rank() == 0; ++i) {
      log_warning(faults[i] + "; the checkpoint of step " + std::to_string(step) + " is used instead, " + std::to_string(steps[i] - step) +
                  " steps are lost");
    }
    return true;
  }
  if (faults.empty()) return false;
  std::string message = folder_ + ": none of the " + std::to_string(faults.size()) +
                        " checkpoints can be used, and a run is never started over in a used directory";
  for (const std::string &fault : faults) message += "\n  " + fault;
  return failure(ErrorKind::kData, message + "\nput a good copy back, or start in another run directory");
}

}  // namespace trainhost
