#include "checkpoint/piece.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "checkpoint/safetensors_format.h"

namespace trainhost {
namespace {

std::string elements_text(const std::string &name, uint64_t begin, uint64_t end) {
  return "elements " + std::to_string(begin) + " to " + std::to_string(end - 1) + " of tensor \"" + name + "\"";
}

}  // namespace

bool TensorPiece::is_whole() const { return begin == 0 && count == element_count(shape); }

std::string TensorPiece::stored_name() const {
  return is_whole() ? name : name + "[" + std::to_string(begin) + ":" + std::to_string(end()) + "]";
}

std::vector<int64_t> TensorPiece::stored_shape() const { return is_whole() ? shape : std::vector{static_cast<int64_t>(count)}; }

std::optional<uint64_t> element_count(std::span<const int64_t> shape) {
  const auto bytes = safetensors::tensor_bytes(safetensors::dtype_of(ElementType::kFloat32), shape);
  if (!bytes) return std::nullopt;
  return *bytes / sizeof(float);
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text;
  for (const int64_t dimension : shape) text += (text.empty() ? "" : ", ") + std::to_string(dimension);
  return "[" + text + "]";
}

Result<TensorPiece> describe_piece(const NamedTensor &tensor) {
  const uint64_t count = tensor.values.size();
  const auto elements = element_count(tensor.shape);
  if (elements && tensor.begin <= *elements && count <= *elements - tensor.begin) {
    return TensorPiece{.name = tensor.name, .type = tensor.values.type(), .shape = tensor.shape, .begin = tensor.begin, .count = count};
  }
  const std::string from = tensor.begin == 0 ? "" : " from element " + std::to_string(tensor.begin) + " on";
  return failure(ErrorKind::kInternal, "tensor \"" + tensor.name + "\" has " + std::to_string(count) + " values" + from +
                                           ", which do not fit its shape " + shape_text(tensor.shape));
}

std::string check_tiling(std::vector<const TensorPiece *> pieces) {
  std::sort(pieces.begin(), pieces.end(), [](const TensorPiece *a, const TensorPiece *b) {
    return std::tie(a->name, a->begin, a->count) < std::tie(b->name, b->begin, b->count);
  });
  for (size_t i = 0; i < pieces.size();) {
    const TensorPiece &first = *pieces[i];
    uint64_t expected = 0;
    for (; i < pieces.size() && pieces[i]->name == first.name; ++i) {
      const TensorPiece &piece = *pieces[i];
      if (piece.shape != first.shape) {
        return "tensor \"" + piece.name + "\" has shape " + shape_text(first.shape) + " in one place and " + shape_text(piece.shape) +
               " in another";
      }
      if (piece.type != first.type) {
        return fmt::format("tensor \"{}\" is {} in one place and {} in another", piece.name, safetensors::dtype_of(first.type),
                           safetensors::dtype_of(piece.type));
      }
      if (piece.begin > expected) return elements_text(piece.name, expected, piece.begin) + " are missing";
      if (piece.begin < expected) return elements_text(piece.name, piece.begin, std::min(expected, piece.end())) + " are there twice";
      expected = piece.end();
    }
    const uint64_t elements = element_count(first.shape).value_or(0);
    if (expected < elements) return elements_text(first.name, expected, elements) + " are missing";
  }
  return {};
}

}  // namespace trainhost
