#include "checkpoint/stored_tensors.h"

#include <algorithm>
#include <memory>
#include <set>

#include "checkpoint/manifest_format.h"

namespace trainhost {
namespace {

bool is_of(const TensorPiece &piece, LoadScope scope) {
  return scope == LoadScope::kEverything || piece.name.starts_with(manifest::kModelPrefix);
}

}  // namespace

Result<> for_each_part(uint64_t bytes, const ElementSource &source, const std::function<Result<>(std::span<const std::byte>)> &take) {
  std::vector<std::byte> buffer(std::min<uint64_t>(kBytesAtATime, bytes));
  while (bytes > 0) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), bytes));
    TRAINHOST_CHECK(source(part));
    TRAINHOST_CHECK(take(part));
    bytes -= part.size();
  }
  return {};
}

Result<StoredTensors> StoredTensors::open(FileSystem &files, const std::string &checkpoint, LoadScope scope) {
  StoredTensors stored;
  TRAINHOST_TRY(stored.manifest_, read_manifest(files, checkpoint));
  std::set<std::string_view> wanted;
  for (const ManifestTensor &tensor : stored.manifest_.tensors)
    if (is_of(tensor.piece, scope)) wanted.insert(tensor.file);
  for (const ManifestFile &file : stored.manifest_.files) {
    if (!wanted.contains(file.name)) continue;
    TRAINHOST_TRY(ShardReader shard, ShardReader::open(files, checkpoint, file, stored.manifest_));
    stored.add(std::move(shard), scope);
  }
  for (auto &[name, places] : stored.places_) std::ranges::sort(places, {}, &Place::begin);
  return stored;
}

void StoredTensors::add(ShardReader shard, LoadScope scope) {
  for (size_t i = 0; i < shard.pieces().size(); ++i) {
    const TensorPiece &piece = shard.pieces()[i].piece;
    if (!is_of(piece, scope)) continue;
    tensors_.emplace(piece.name, Tensor{.shape = piece.shape, .type = piece.type});
    if (piece.count > 0) places_[piece.name].push_back({.shard = shards_.size(), .piece = i, .begin = piece.begin});
  }
  shards_.push_back(std::move(shard));
}

ElementSource StoredTensors::read(const std::string &name) const {
  struct Reading {
    std::optional<PieceReader> piece;
    uint64_t left = 0;  // of it, in bytes
    size_t next = 0;    // place
  };
  const auto places = places_.find(name);
  if (places == places_.end()) return [](std::span<std::byte>) { return Result<>(); };  // it has no elements
  return [this, &places = places->second, reading = std::make_shared<Reading>()](std::span<std::byte> out) -> Result<> {
    while (!out.empty()) {
      if (reading->left == 0) {
        const Place &place = places[reading->next++];
        reading->piece.emplace(shards_[place.shard], place.piece);
        reading->left = shards_[place.shard].pieces()[place.piece].piece.bytes();
      }
      const auto part = out.first(std::min<uint64_t>(out.size(), reading->left));
      TRAINHOST_CHECK(reading->piece->read(part));
      reading->left -= part.size();
      out = out.subspan(part.size());
    }
    return {};
  };
}

}  // namespace trainhost
