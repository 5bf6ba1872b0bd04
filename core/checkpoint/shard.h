// A safetensors file of a checkpoint, while it is still in memory and once it is on disk.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/hash.h"
#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "checkpoint/piece.h"
#include "checkpoint/safetensors.h"

namespace trainhost {

// Which pieces go into which file, and where. The tensors' bytes stay where they are.
struct Shard {
  struct Content {
    TensorPiece piece;
    ElementSpan values;  // only read
  };
  std::string name;
  SafetensorsLayout layout;
  std::vector<Content> contents;  // in the order of the layout
};

// What of `tensors` a file records: no empty pieces, except that a tensor without elements is recorded once. kInternal for values that do
// not lie within their shape.
Result<std::vector<Shard::Content>> recorded_pieces(std::span<const NamedTensor> tensors);

// Parameters go into the shard model_name and all else into state_name; a shard without tensors is left out. kInternal for tensors that
// cannot be written, such as two of one name.
Result<std::vector<Shard>> cut_into_shards(const std::vector<Shard::Content> &pieces, const std::string &model_name,
                                           const std::string &state_name);

// The manifest of what the memory holds now, as one of `world_size` processes: nothing that is written later can differ from it unnoticed.
// Reads all tensors twice.
CheckpointManifest take_snapshot(const CheckpointContents &contents, std::span<const Shard> shards, uint32_t world_size);

// Writes the file from the tensors' own memory and makes its contents durable.
Result<> write_shard(FileSystem &files, const std::string &path, const Shard &shard);

// A file of a checkpoint opened for reading. What is verified and what is read afterwards come from the same open file.
class ShardReader {
 public:
  // Compares the size and reads the header; the tensors in it must be exactly those that the manifest names for this file. kData names
  // the path, here and below.
  static Result<ShardReader> open(FileSystem &files, const std::string &directory, const ManifestFile &expected,
                                  const CheckpointManifest &manifest);

  // Reads the file in parts and compares the SHA-256.
  Result<> verify() const;

  // In the order of the manifest; `piece` below is a place in it.
  const std::vector<ManifestTensor> &pieces() const { return pieces_; }

  // Fills `out` with the bytes of the elements from `begin` on, counted in the whole tensor; they must lie in the piece. Reads and verifies
  // the blocks that they lie in, and no others.
  Result<> read(size_t piece, uint64_t begin, std::span<std::byte> out) const;
  // The comparison of all blocks alone.
  Result<> verify(size_t piece) const;

 private:
  friend class PieceReader;
  using Visit = std::function<Result<>(uint64_t offset, std::span<const std::byte> part)>;
  // Reads the blocks that hold elements [begin, end) of the piece, in parts, each with its offset in bytes in the piece.
  Result<> read_blocks(size_t piece, uint64_t begin, uint64_t end, const Visit &visit) const;
  tl::unexpected<Error> damaged(size_t piece) const;

  std::string path_;
  std::unique_ptr<ReadableFile> file_;
  SafetensorsLayout layout_;
  std::string sha256_;  // of the file, from the manifest
  std::vector<ManifestTensor> pieces_;
};

// A piece of a shard from its first element to its last. The shard stays where it is meanwhile. One thread.
class PieceReader {
 public:
  PieceReader(const ShardReader &shard, size_t piece) : shard_(&shard), piece_(piece) {}

  // Fills `out` with the bytes of the next elements; the piece must have as many left. A block's hash is known when its last element is
  // read: what was made of a block is worthless when this fails with kData.
  Result<> read(std::span<std::byte> out);

 private:
  const ShardReader *shard_;
  size_t piece_;
  uint64_t position_ = 0;  // in bytes, from the beginning of the piece
  Sha256 hash_;            // of the block so far
};

}  // namespace trainhost
