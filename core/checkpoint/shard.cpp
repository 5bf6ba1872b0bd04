#include "checkpoint/shard.h"

#include <algorithm>
#include <ctime>
#include <future>
#include <map>

#include "base/hash.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/safetensors_format.h"

namespace trainhost {
namespace {

constexpr uint64_t kPieceBytes = 1 << 20;  // what is read at a time when nothing is kept; fits the second-level cache

std::span<const std::byte> bytes_of(const NamedTensor &tensor) { return std::as_bytes(tensor.values); }

Result<Shard> make_shard(std::string_view name, const std::vector<const NamedTensor *> &tensors) {
  Shard shard{.name = std::string(name), .layout = {}, .tensors = {}};
  std::vector<SafetensorsTensor> descriptions;
  std::map<std::string_view, const NamedTensor *> by_name;
  for (const NamedTensor *tensor : tensors) {
    descriptions.push_back({.name = tensor->name, .dtype = std::string(manifest::kTensorDtype), .shape = tensor->shape});
    by_name[tensor->name] = tensor;
  }
  TRAINHOST_TRY(shard.layout, lay_out_safetensors(std::move(descriptions)));
  for (const SafetensorsTensor &tensor : shard.layout.tensors) shard.tensors.push_back(by_name[tensor.name]);
  return shard;
}

ManifestFile hash_shard(const Shard &shard) {
  Sha256 hash;
  hash.update(shard.layout.header);
  for (const NamedTensor *tensor : shard.tensors) hash.update(bytes_of(*tensor));
  return {.name = shard.name, .bytes = shard.layout.file_bytes(), .sha256 = hash.finish()};
}

// The SHA-256 of a part of a file, read in pieces.
Result<std::string> hash_range(ReadableFile &file, uint64_t begin, uint64_t end) {
  Sha256 hash;
  std::vector<std::byte> piece(std::min(kPieceBytes, end - begin));
  while (begin < end) {
    const auto part = std::span(piece).first(std::min<uint64_t>(piece.size(), end - begin));
    TRAINHOST_CHECK(file.read(begin, part));
    hash.update(part);
    begin += part.size();
  }
  return hash.finish();
}

}  // namespace

Result<> check_tensor(const NamedTensor &tensor) {
  const auto bytes = safetensors::tensor_bytes(manifest::kTensorDtype, tensor.shape);
  if (bytes && *bytes == tensor.values.size_bytes()) return {};
  return failure(ErrorKind::kInternal,
                 "tensor \"" + tensor.name + "\" has " + std::to_string(tensor.values.size()) + " values, which do not fit its shape");
}

Result<std::vector<Shard>> cut_into_shards(std::span<const NamedTensor> tensors) {
  std::vector<const NamedTensor *> parameters, others;
  for (const NamedTensor &tensor : tensors) {
    TRAINHOST_CHECK(check_tensor(tensor));
    (tensor.name.starts_with(manifest::kModelPrefix) ? parameters : others).push_back(&tensor);
  }
  std::vector<Shard> shards;
  for (const auto &[name, members] : {std::pair(manifest::kModelShard, &parameters), std::pair(manifest::kStateShard, &others)}) {
    if (members->empty()) continue;
    TRAINHOST_TRY(Shard shard, make_shard(name, *members));
    shards.push_back(std::move(shard));
  }
  return shards;
}

CheckpointManifest take_snapshot(const CheckpointContents &contents, std::span<const Shard> shards) {
  CheckpointManifest manifest{.step = contents.step,
                              .tokens = contents.tokens,
                              .created = static_cast<uint64_t>(std::max<std::time_t>(std::time(nullptr), 0)),
                              .label = contents.label,
                              .fingerprints = contents.fingerprints,
                              .trainer_state = contents.trainer_state,
                              .files = {},
                              .tensors = {}};
  uint64_t bytes = 0;
  for (const Shard &shard : shards) bytes += shard.layout.file_bytes();
  // The files and the tensors are hashed at the same time, except where starting a thread takes longer than it saves.
  auto files = std::async(bytes < kPieceBytes ? std::launch::deferred : std::launch::async, [&] {
    std::vector<ManifestFile> hashed;
    for (const Shard &shard : shards) hashed.push_back(hash_shard(shard));
    return hashed;
  });
  for (const Shard &shard : shards) {
    for (const NamedTensor *tensor : shard.tensors) {
      manifest.tensors.push_back(
          {.name = tensor->name, .file = shard.name, .shape = tensor->shape, .sha256 = Sha256().update(bytes_of(*tensor)).finish()});
    }
  }
  manifest.files = files.get();
  return manifest;
}

Result<> write_shard(FileSystem &files, const std::string &path, const Shard &shard) {
  TRAINHOST_TRY(const auto file, files.create(path));
  TRAINHOST_CHECK(file->append(shard.layout.header));
  for (const NamedTensor *tensor : shard.tensors) {
    const auto bytes = bytes_of(*tensor);
    TRAINHOST_CHECK(file->append({reinterpret_cast<const char *>(bytes.data()), bytes.size()}));
  }
  TRAINHOST_CHECK(file->sync());
  return file->close();
}

Result<ShardReader> ShardReader::open(FileSystem &files, const std::string &directory, const ManifestFile &expected,
                                      const CheckpointManifest &manifest) {
  ShardReader reader;
  reader.path_ = directory + "/" + expected.name;
  reader.sha256_ = expected.sha256;
  TRAINHOST_TRY(reader.file_, files.open(reader.path_));
  if (const uint64_t bytes = reader.file_->size(); bytes != expected.bytes) {
    return failure(ErrorKind::kData,
                   reader.path_ + ": has " + std::to_string(bytes) + " bytes, the manifest says " + std::to_string(expected.bytes));
  }
  TRAINHOST_TRY(reader.layout_, read_safetensors(*reader.file_, reader.path_));
  const auto &tensors = reader.layout_.tensors;
  for (const ManifestTensor &listed : manifest.tensors) {
    if (listed.file != expected.name) continue;
    const size_t place = reader.tensors_sha256_.size();
    const bool same = place < tensors.size() && tensors[place].name == listed.name && tensors[place].shape == listed.shape &&
                      tensors[place].dtype == manifest::kTensorDtype;
    if (!same) return failure(ErrorKind::kData, reader.path_ + ": tensor \"" + listed.name + "\" is not in it as the manifest says");
    reader.tensors_sha256_.push_back(listed.sha256);
  }
  if (reader.tensors_sha256_.size() == tensors.size()) return reader;
  return failure(ErrorKind::kData,
                 reader.path_ + ": holds tensor \"" + tensors[reader.tensors_sha256_.size()].name + "\", which the manifest does not name");
}

Result<> ShardReader::verify() const {
  TRAINHOST_TRY(const std::string digest, hash_range(*file_, 0, file_->size()));
  if (digest == sha256_) return {};
  return failure(ErrorKind::kData, path_ + ": its SHA-256 is not the manifest's, so its contents are damaged");
}

Result<> ShardReader::read(size_t tensor, std::span<std::byte> out) const {
  TRAINHOST_CHECK(file_->read(layout_.header.size() + layout_.tensors[tensor].begin, out));
  return compare(tensor, Sha256().update(out).finish());
}

Result<> ShardReader::verify(size_t tensor) const {
  const uint64_t data = layout_.header.size();
  TRAINHOST_TRY(const std::string digest, hash_range(*file_, data + layout_.tensors[tensor].begin, data + layout_.tensors[tensor].end));
  return compare(tensor, digest);
}

Result<> ShardReader::compare(size_t tensor, const std::string &sha256) const {
  if (sha256 == tensors_sha256_[tensor]) return {};
  return failure(ErrorKind::kData, path_ + ": the SHA-256 of tensor \"" + layout_.tensors[tensor].name + "\" is not the manifest's");
}

}  // namespace trainhost
