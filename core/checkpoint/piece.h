// Parts of tensors: what one process has of each.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"

namespace trainhost {

// Elements [begin, begin + count) of a tensor's row-major whole; the values are elsewhere.
struct TensorPiece {
  std::string name;
  ElementType type = ElementType::kFloat32;
  std::vector<int64_t> shape;  // of the whole
  uint64_t begin = 0, count = 0;
  bool operator==(const TensorPiece &) const = default;

  uint64_t end() const { return begin + count; }
  uint64_t bytes() const { return count * bytes_per_element(type); }
  bool is_whole() const;
  // As what it stands in a file: a whole tensor under its own name and shape, a cut one as "NAME[BEGIN:END]", one-dimensional.
  std::string stored_name() const;
  std::vector<int64_t> stored_shape() const;
};

// Elements of a tensor; nullopt when a dimension is negative or the size in bytes, as float32, overflows 64 bits.
std::optional<uint64_t> element_count(std::span<const int64_t> shape);

std::string shape_text(std::span<const int64_t> shape);

// What `tensor` is a piece of. kInternal when its values do not lie within its shape.
Result<TensorPiece> describe_piece(const NamedTensor &tensor);

// Whether the pieces, in any order, are whole tensors of one shape and type each, nothing missing and nothing twice. Returns the fault, or
// an empty text. Each piece must lie within its shape.
std::string check_tiling(std::vector<const TensorPiece *> pieces);

}  // namespace trainhost
