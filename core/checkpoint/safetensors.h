// The safetensors file format: u64 length N, N bytes of JSON, then the tensors' bytes without a gap, all little-endian.
// https://github.com/huggingface/safetensors (the format of July 2023 and after: no holes, no trailing bytes).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/status.h"

namespace trainhost {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;  // the format's word: "F32", "BF16", ...
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes, counted from the end of the header
  bool operator==(const SafetensorsTensor &) const = default;
};

struct SafetensorsLayout {
  std::vector<SafetensorsTensor> tensors;  // in the order of their bytes
  std::string header;                      // everything before those bytes: length, JSON, padding
  uint64_t file_bytes() const { return header.size() + (tensors.empty() ? 0 : tensors.back().end); }
};

// Lays tensors out as the reference writer does: by descending alignment of the dtype, then by name; header padded with spaces to a
// multiple of 8; "__metadata__": {"format": "pt"}, without which some readers refuse the file. `begin` and `end` need not be set.
// kInternal for a duplicate or reserved name, a name that is not UTF-8, an unknown dtype, or a size that overflows.
Result<SafetensorsLayout> lay_out_safetensors(std::vector<SafetensorsTensor> tensors);

// Reads the header and checks all that can be checked without the tensors' bytes, before anything of the size that the header claims is
// allocated: length, JSON of the one permitted shape without duplicate keys, offsets that tile the file exactly. kData names the path.
Result<SafetensorsLayout> read_safetensors(ReadableFile &file, const std::string &path);

}  // namespace trainhost
