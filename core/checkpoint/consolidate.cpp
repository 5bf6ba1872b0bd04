#include "checkpoint/consolidate.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/hash.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_format.h"
#include "checkpoint/stored_tensors.h"

namespace trainhost {
namespace {

// The layout of the file: parameters under the model plugin's names.
Result<SafetensorsLayout> lay_out(const StoredTensors &parameters) {
  std::vector<SafetensorsTensor> descriptions;
  for (const auto &[name, tensor] : parameters.tensors())
    descriptions.push_back({.name = name.substr(manifest::kModelPrefix.size()),
                            .dtype = std::string(safetensors::dtype_of(tensor.type)),
                            .shape = tensor.shape});
  return lay_out_safetensors(std::move(descriptions));
}

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
Result<std::string> write(FileSystem &files, const std::string &path, const StoredTensors &parameters, const SafetensorsLayout &layout,
                          const std::function<void(uint64_t done, uint64_t total)> &progress) {
  TRAINHOST_TRY(const auto file, files.create(path));
  Sha256 hash;
  uint64_t done = 0;
  const auto append = [&](std::string_view bytes) -> Result<> {
    hash.update(bytes);
    TRAINHOST_CHECK(file->append(bytes));
    progress(done += bytes.size(), layout.file_bytes());
    return {};
  };
  TRAINHOST_CHECK(append(layout.header));
  for (const SafetensorsTensor &tensor : layout.tensors) {
    const ElementSource source = parameters.read(std::string(manifest::kModelPrefix) + tensor.name);
    TRAINHOST_CHECK(for_each_part(tensor.end - tensor.begin, source, [&](std::span<const std::byte> part) {
      return append({reinterpret_cast<const char *>(part.data()), part.size()});
    }));
  }
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
  TRAINHOST_TRY(const StoredTensors parameters, StoredTensors::open(files, checkpoint, LoadScope::kModel));
  TRAINHOST_TRY(const SafetensorsLayout layout, lay_out(parameters));
  const uint64_t bytes = layout.file_bytes();
  const std::string parent = std::filesystem::path(output).parent_path().string(), folder = parent.empty() ? "." : parent;
  TRAINHOST_CHECK(check_space(files, folder, output, bytes));

  const std::string partial = output + ".partial";
  const auto written = write(files, partial, parameters, layout, progress)
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
  return ConsolidatedWeights{.step = parameters.manifest().step,
                             .tensors = layout.tensors.size(),
                             .parameters = (bytes - layout.header.size()) / sizeof(float),
                             .bytes = bytes};
}

}  // namespace trainhost
