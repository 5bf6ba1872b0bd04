#include "checkpoint/consolidate.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include "base/hash.h"
#include "checkpoint/manifest.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/shard.h"

namespace trainhost {
namespace {

// Where a piece of a parameter is.
struct Source {
  size_t shard, place;
  uint64_t begin;
};

bool is_parameter(const TensorPiece &piece) { return piece.name.starts_with(manifest::kModelPrefix); }

// The parameters of a checkpoint, ready to be read from the first byte to the last.
class Parameters {
 public:
  static Result<Parameters> open(FileSystem &files, const std::string &checkpoint) {
    Parameters parameters;
    TRAINHOST_TRY(const CheckpointManifest manifest, read_manifest(files, checkpoint));
    parameters.step_ = manifest.step;
    std::set<std::string_view> wanted;
    for (const ManifestTensor &tensor : manifest.tensors)
      if (is_parameter(tensor.piece)) wanted.insert(tensor.file);
    for (const ManifestFile &file : manifest.files) {
      if (!wanted.contains(file.name)) continue;
      TRAINHOST_TRY(ShardReader shard, ShardReader::open(files, checkpoint, file, manifest));
      parameters.add(std::move(shard));
    }
    TRAINHOST_TRY(parameters.layout_, lay_out_safetensors(std::move(parameters.descriptions_)));
    return parameters;
  }

  uint64_t step() const { return step_; }
  const SafetensorsLayout &layout() const { return layout_; }

  // Hands out the bytes of the whole file.
  Result<> stream(const std::function<Result<>(std::string_view)> &take) const {
    TRAINHOST_CHECK(take(layout_.header));
    for (const SafetensorsTensor &tensor : layout_.tensors) {
      for (const Source &source : sources_.at(tensor.name)) {
        TRAINHOST_CHECK(shards_[source.shard].stream(source.place, [&](std::span<const std::byte> part) {
          return take({reinterpret_cast<const char *>(part.data()), part.size()});
        }));
      }
    }
    return {};
  }

 private:
  void add(ShardReader shard) {
    for (size_t place = 0; place < shard.pieces().size(); ++place) {
      const TensorPiece &piece = shard.pieces()[place].piece;
      if (!is_parameter(piece)) continue;
      const std::string name = piece.name.substr(manifest::kModelPrefix.size());
      auto &sources = sources_[name];
      if (sources.empty()) descriptions_.push_back({.name = name, .dtype = std::string(manifest::kTensorDtype), .shape = piece.shape});
      sources.push_back({.shard = shards_.size(), .place = place, .begin = piece.begin});
      std::sort(sources.begin(), sources.end(), [](const Source &a, const Source &b) { return a.begin < b.begin; });
    }
    shards_.push_back(std::move(shard));
  }

  uint64_t step_ = 0;
  std::vector<ShardReader> shards_;
  std::vector<SafetensorsTensor> descriptions_;
  std::map<std::string, std::vector<Source>> sources_;  // by name, in order of their elements
  SafetensorsLayout layout_;
};

Result<> check_absent(FileSystem &files, const std::string &output) {
  if (!files.exists(output)) return {};
  return failure(ErrorKind::kUsage, output + ": is there already and is not overwritten; name another file, or remove it");
}

Result<> check_space(FileSystem &files, const std::string &folder, const std::string &output, uint64_t needed) {
  TRAINHOST_TRY(const uint64_t free, files.free_bytes(folder));
  if (free >= needed) return {};
  return failure(ErrorKind::kCheckpointWrite,
                 output + ": needs " + std::to_string(needed) + " bytes, and " + std::to_string(free) + " are free");
}

// Writes the file and returns its SHA-256.
Result<std::string> write(FileSystem &files, const std::string &path, const Parameters &parameters,
                          const std::function<void(uint64_t done, uint64_t total)> &progress) {
  TRAINHOST_TRY(const auto file, files.create(path));
  Sha256 hash;
  uint64_t done = 0;
  TRAINHOST_CHECK(parameters.stream([&](std::string_view part) -> Result<> {
    hash.update(part);
    TRAINHOST_CHECK(file->append(part));
    progress(done += part.size(), parameters.layout().file_bytes());
    return {};
  }));
  TRAINHOST_CHECK(file->sync());
  TRAINHOST_CHECK(file->close());
  return hash.finish();
}

Result<> read_back(FileSystem &files, const std::string &path, const std::string &sha256) {
  constexpr uint64_t kPartBytes = 1 << 20;
  TRAINHOST_TRY(const auto file, files.open(path));
  Sha256 hash;
  std::vector<std::byte> buffer(std::min(kPartBytes, file->size()));
  for (uint64_t at = 0; at < file->size(); at += buffer.size()) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), file->size() - at));
    TRAINHOST_CHECK(file->read(at, part));
    hash.update(part);
  }
  if (hash.finish() == sha256) return {};
  return failure(ErrorKind::kCheckpointWrite, path + ": what is read back is not what was written");
}

}  // namespace

Result<ConsolidatedWeights> consolidate(FileSystem &files, const std::string &checkpoint, const std::string &output,
                                        const std::function<void(uint64_t done, uint64_t total)> &progress) {
  TRAINHOST_CHECK(check_absent(files, output));
  TRAINHOST_TRY(const Parameters parameters, Parameters::open(files, checkpoint));
  const uint64_t bytes = parameters.layout().file_bytes();
  const std::string parent = std::filesystem::path(output).parent_path().string(), folder = parent.empty() ? "." : parent;
  TRAINHOST_CHECK(check_space(files, folder, output, bytes));

  const std::string partial = output + ".partial";
  const auto written = write(files, partial, parameters, progress)
                           .and_then([&](const std::string &sha256) { return read_back(files, partial, sha256); })
                           .and_then([&] { return check_absent(files, output); })
                           .and_then([&] { return files.rename(partial, output); });
  if (!written) {
    (void)files.remove_all(partial);
    return tl::unexpected(written.error());
  }
  if (const auto durable = files.sync_directory(folder); !durable) {
    (void)files.remove_all(output);
    return tl::unexpected(durable.error());
  }
  return ConsolidatedWeights{.step = parameters.step(),
                             .tensors = parameters.layout().tensors.size(),
                             .parameters = (bytes - parameters.layout().header.size()) / sizeof(float),
                             .bytes = bytes};
}

}  // namespace trainhost
