#include "checkpoint/shard.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <future>
#include <map>
#include <set>
#include <utility>

#include "base/hash.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/safetensors_format.h"

namespace trainhost {
namespace {

constexpr uint64_t kPartBytes = 1 << 20;  // what is read at a time when nothing is kept; fits the second-level cache

Result<Shard> make_shard(const std::string &name, const std::vector<Shard::Content> &contents) {
  Shard shard{.name = name, .layout = {}, .contents = {}};
  std::vector<SafetensorsTensor> descriptions;
  std::map<std::string, const Shard::Content *> by_name;
  for (const Shard::Content &content : contents) {
    const TensorPiece &piece = content.piece;
    descriptions.push_back(
        {.name = piece.stored_name(), .dtype = std::string(safetensors::dtype_of(piece.type)), .shape = piece.stored_shape()});
    by_name[descriptions.back().name] = &content;
  }
  TRAINHOST_TRY(shard.layout, lay_out_safetensors(std::move(descriptions)));
  for (const SafetensorsTensor &tensor : shard.layout.tensors) shard.contents.push_back(*by_name[tensor.name]);
  return shard;
}

ManifestFile hash_shard(const Shard &shard) {
  Sha256 hash;
  hash.update(shard.layout.header);
  for (const Shard::Content &content : shard.contents) hash.update(content.values.bytes());
  return {.name = shard.name, .bytes = shard.layout.file_bytes(), .sha256 = hash.finish()};
}

void hash_blocks(ManifestTensor &tensor, const ElementSpan &values, uint64_t block) {
  tensor.sha256.clear();
  uint64_t begin = 0;
  do {
    const uint64_t count = std::min<uint64_t>(block, values.size() - begin);
    tensor.sha256.push_back(Sha256().update(values.subspan(begin, count).bytes()).finish());
    begin += count;
  } while (begin < values.size());
}

// The SHA-256 of a part of a file, shown to `visit` as it is read.
template <class Visit>
Result<std::string> hash_range(ReadableFile &file, uint64_t begin, uint64_t end, const Visit &visit) {
  Sha256 hash;
  std::vector<std::byte> buffer(std::min(kPartBytes, end - begin));
  while (begin < end) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), end - begin));
    TRAINHOST_CHECK(file.read(begin, part));
    hash.update(part);
    TRAINHOST_CHECK(visit(begin, std::span<const std::byte>(part)));
    begin += part.size();
  }
  return hash.finish();
}

const auto kNothing = [](uint64_t, std::span<const std::byte>) { return Result<>(); };

}  // namespace

Result<std::vector<Shard::Content>> recorded_pieces(std::span<const NamedTensor> tensors) {
  std::vector<Shard::Content> recorded;
  std::set<std::string_view> empty;
  for (const NamedTensor &tensor : tensors) {
    TRAINHOST_TRY(TensorPiece piece, describe_piece(tensor));
    if (piece.count == 0 && (!piece.is_whole() || !empty.insert(tensor.name).second)) continue;
    recorded.push_back({.piece = std::move(piece), .values = tensor.values});
  }
  return recorded;
}

Result<std::vector<Shard>> cut_into_shards(const std::vector<Shard::Content> &pieces, const std::string &model_name,
                                           const std::string &state_name) {
  std::vector<Shard::Content> parameters, others;
  for (const Shard::Content &content : pieces)
    (content.piece.name.starts_with(manifest::kModelPrefix) ? parameters : others).push_back(content);
  std::vector<Shard> shards;
  for (const auto &[name, contents] : {std::pair(&model_name, &parameters), std::pair(&state_name, &others)}) {
    if (contents->empty()) continue;
    TRAINHOST_TRY(Shard shard, make_shard(*name, *contents));
    shards.push_back(std::move(shard));
  }
  return shards;
}

CheckpointManifest take_snapshot(const CheckpointContents &contents, std::span<const Shard> shards, uint32_t world_size) {
  CheckpointManifest manifest{.step = contents.step,
                              .tokens = contents.tokens,
                              .created = static_cast<uint64_t>(std::max<std::time_t>(std::time(nullptr), 0)),
                              .world_size = world_size,
                              .label = contents.label,
                              .fingerprints = contents.fingerprints,
                              .trainer_state = contents.trainer_state,
                              .origin = {},
                              .files = {},
                              .tensors = {}};
  // Files and tensors are hashed at the same time, except where starting a thread takes longer than it saves.
  std::vector<std::future<ManifestFile>> files;
  for (const Shard &shard : shards) {
    const auto policy = shard.layout.file_bytes() < kPartBytes ? std::launch::deferred : std::launch::async;
    files.push_back(std::async(policy, [&shard] { return hash_shard(shard); }));
    for (const Shard::Content &content : shard.contents)
      manifest.tensors.push_back({.piece = content.piece, .file = shard.name, .sha256 = {}});
  }
  const bool in_blocks = manifest.version() != manifest::kVersion;
  auto tensor = manifest.tensors.begin();
  for (const Shard &shard : shards) {
    for (const Shard::Content &content : shard.contents)
      hash_blocks(*tensor++, content.values, in_blocks ? manifest::kBlockElements : content.values.size());
  }
  for (auto &file : files) manifest.files.push_back(file.get());
  return manifest;
}

Result<> write_shard(FileSystem &files, const std::string &path, const Shard &shard) {
  TRAINHOST_TRY(const auto file, files.create(path));
  TRAINHOST_CHECK(file->append(shard.layout.header));
  for (const Shard::Content &content : shard.contents) {
    const auto bytes = content.values.bytes();
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
    const size_t place = reader.pieces_.size();
    const std::string name = listed.piece.stored_name();
    const bool same = place < tensors.size() && tensors[place].name == name && tensors[place].shape == listed.piece.stored_shape() &&
                      tensors[place].dtype == safetensors::dtype_of(listed.piece.type);
    if (!same) return failure(ErrorKind::kData, reader.path_ + ": tensor \"" + name + "\" is not in it as the manifest says");
    reader.pieces_.push_back(listed);
  }
  if (reader.pieces_.size() == tensors.size()) return reader;
  return failure(ErrorKind::kData,
                 reader.path_ + ": holds tensor \"" + tensors[reader.pieces_.size()].name + "\", which the manifest does not name");
}

Result<> ShardReader::verify() const {
  TRAINHOST_TRY(const std::string digest, hash_range(*file_, 0, file_->size(), kNothing));
  if (digest == sha256_) return {};
  return failure(ErrorKind::kData, path_ + ": its SHA-256 is not the manifest's, so its contents are damaged");
}

tl::unexpected<Error> ShardReader::damaged(size_t piece) const {
  return failure(ErrorKind::kData, path_ + ": the SHA-256 of tensor \"" + pieces_[piece].piece.stored_name() + "\" is not the manifest's");
}

Result<> ShardReader::read_blocks(size_t piece, uint64_t begin, uint64_t end, const Visit &visit) const {
  const ManifestTensor &tensor = pieces_[piece];
  const uint64_t data = layout_.header.size() + layout_.tensors[piece].begin, block = std::max<uint64_t>(tensor.block_elements(), 1);
  const uint64_t each = bytes_per_element(tensor.piece.type);
  const uint64_t first = begin / block, last = std::max((end + block - 1) / block, first + 1);  // an empty piece has a hash too
  for (uint64_t place = first; place < last; ++place) {
    const uint64_t from = place * block * each, to = std::min((place + 1) * block, tensor.piece.count) * each;
    TRAINHOST_TRY(const std::string digest,
                  hash_range(*file_, data + from, data + to, [&](uint64_t offset, auto part) { return visit(offset - data, part); }));
    if (digest != tensor.sha256[place]) return damaged(piece);
  }
  return {};
}

Result<> ShardReader::read(size_t piece, uint64_t begin, std::span<std::byte> out) const {
  const uint64_t each = bytes_per_element(pieces_[piece].piece.type);
  const uint64_t place = begin - pieces_[piece].piece.begin, from = place * each, to = from + out.size();
  return read_blocks(piece, place, place + out.size() / each, [&](uint64_t offset, std::span<const std::byte> part) -> Result<> {
    const uint64_t start = std::max(from, offset), stop = std::min(to, offset + part.size());
    if (start < stop) std::memcpy(out.data() + (start - from), part.data() + (start - offset), stop - start);
    return {};
  });
}

Result<> ShardReader::verify(size_t piece) const { return read_blocks(piece, 0, pieces_[piece].piece.count, kNothing); }

Result<> PieceReader::read(std::span<std::byte> out) {
  const ManifestTensor &tensor = shard_->pieces_[piece_];
  const uint64_t data = shard_->layout_.header.size() + shard_->layout_.tensors[piece_].begin;
  const uint64_t block = tensor.block_elements() * bytes_per_element(tensor.piece.type);
  while (!out.empty()) {
    const uint64_t end = std::min((position_ / block + 1) * block, tensor.piece.bytes());
    const auto part = out.first(std::min<uint64_t>(out.size(), end - position_));
    TRAINHOST_CHECK(shard_->file_->read(data + position_, part));
    hash_.update(part);
    position_ += part.size();
    out = out.subspan(part.size());
    if (position_ < end) continue;
    if (std::exchange(hash_, Sha256()).finish() != tensor.sha256[(end - 1) / block]) return shard_->damaged(piece_);
  }
  return {};
}

}  // namespace trainhost
