// The tensors of a checkpoint as wholes, whoever saved it and however they were cut.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "checkpoint/shard.h"

namespace trainhost {

// Fills a span with the bytes of the next elements of a tensor; it must have as many left.
using ElementSource = std::function<Result<>(std::span<std::byte> next)>;

// What is read of a tensor, or written, at a time; whole elements of any type.
constexpr size_t kBytesAtATime = size_t{1} << 20;

// Hands all elements to `take`, in order and in parts that stay in memory no longer than the call. An error of either ends it.
Result<> for_each_part(uint64_t bytes, const ElementSource &source, const std::function<Result<>(std::span<const std::byte>)> &take);

// A checkpoint that is open for reading. It stays where it is while sources of it are used.
class StoredTensors {
 public:
  using Shape = std::vector<int64_t>;
  struct Tensor {
    Shape shape;
    ElementType type;
    bool operator==(const Tensor &) const = default;
  };

  // Reads the manifest and the headers of the files that hold something of `scope`. Errors: those of read_manifest and ShardReader::open.
  static Result<StoredTensors> open(FileSystem &files, const std::string &checkpoint, LoadScope scope);

  const CheckpointManifest &manifest() const { return manifest_; }
  // By name.
  const std::map<std::string, Tensor> &tensors() const { return tensors_; }
  // The elements of a tensor that is there, from the first on; every byte is verified as it is read (see PieceReader).
  ElementSource read(const std::string &name) const;

 private:
  struct Place {
    size_t shard, piece;
    uint64_t begin;
  };
  void add(ShardReader shard, LoadScope scope);

  CheckpointManifest manifest_;
  std::vector<ShardReader> shards_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::vector<Place>> places_;  // in order of their elements
};

}  // namespace trainhost
