// Verifying and loading checkpoints.
#include <algorithm>
#include <map>

#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/shard.h"

namespace trainhost {
namespace {

// A fingerprint short enough for a message: each word of more than 16 characters is cut after 12.
std::string shortened(const std::string &text) {
  if (text.empty()) return "none";
  std::string result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (!result.empty()) result += ' ';
    result += word.size() > 16 ? word.substr(0, 12) + "..." : word;
    begin = end + 1;
  }
  return result;
}

Result<> compare_fingerprint(const std::string &path, const std::string &what, const std::string &found, const std::string &expected) {
  if (expected.empty() || found == expected) return {};
  return failure(ErrorKind::kRecipe, path + ": was made with another " + what + ": it has " + shortened(found) + ", this run has " +
                                         shortened(expected) + "; use the " + what +
                                         " of that run, start in another run directory, or go on all the same with --accept-changes");
}

Result<> compare_fingerprints(const std::string &path, const Fingerprints &found, const Fingerprints &expected) {
  TRAINHOST_CHECK(compare_fingerprint(path, "recipe", found.recipe, expected.recipe));
  TRAINHOST_CHECK(compare_fingerprint(path, "data", found.data, expected.data));
  TRAINHOST_CHECK(compare_fingerprint(path, "tokenizer", found.tokenizer, expected.tokenizer));
  for (const auto &[kind, identity] : expected.plugins) {
    const auto plugin = found.plugins.find(kind);
    TRAINHOST_CHECK(compare_fingerprint(path, kind + " plugin", plugin == found.plugins.end() ? "" : plugin->second, identity));
  }
  return {};
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text;
  for (const int64_t dimension : shape) text += (text.empty() ? "" : ", ") + std::to_string(dimension);
  return "[" + text + "]";
}

bool is_wanted(const ManifestTensor &tensor, LoadScope scope) {
  return scope == LoadScope::kEverything || tensor.name.starts_with(manifest::kModelPrefix);
}

using Destinations = std::map<std::string_view, std::span<float>>;

// The given tensors by name, once it is sure that they are exactly the wanted ones of the checkpoint.
Result<Destinations> match(const std::string &path, const CheckpointManifest &manifest, std::span<NamedTensor> tensors, LoadScope scope) {
  std::map<std::string_view, const NamedTensor *> missing;
  Destinations destinations;
  for (const NamedTensor &tensor : tensors) {
    TRAINHOST_CHECK(check_tensor(tensor));
    missing[tensor.name] = &tensor;
    if (!destinations.emplace(tensor.name, tensor.values).second)
      return failure(ErrorKind::kInternal, "two tensors to load are named \"" + tensor.name + "\"");
  }
  for (const ManifestTensor &stored : manifest.tensors) {
    if (!is_wanted(stored, scope)) continue;
    const auto tensor = missing.find(stored.name);
    if (tensor == missing.end())
      return failure(ErrorKind::kRecipe, path + ": holds tensor \"" + stored.name + "\", which this run does not have");
    if (tensor->second->shape != stored.shape) {
      return failure(ErrorKind::kRecipe, path + ": tensor \"" + stored.name + "\" has shape " + shape_text(stored.shape) +
                                             ", in this run it has " + shape_text(tensor->second->shape));
    }
    missing.erase(tensor);
  }
  if (missing.empty()) return destinations;
  return failure(ErrorKind::kRecipe, path + ": lacks tensor \"" + std::string(missing.begin()->first) + "\", which this run has");
}

// Opens every file of the checkpoint, so that all headers are known to be right.
Result<std::vector<ShardReader>> open_shards(FileSystem &files, const std::string &path, const CheckpointManifest &manifest) {
  std::vector<ShardReader> shards;
  for (const ManifestFile &file : manifest.files) {
    TRAINHOST_TRY(ShardReader shard, ShardReader::open(files, path, file, manifest));
    shards.push_back(std::move(shard));
  }
  return shards;
}

Result<> verify_all(std::span<const ShardReader> shards) {
  for (const ShardReader &shard : shards) TRAINHOST_CHECK(shard.verify());
  return {};
}

Result<> fill(std::span<const ShardReader> shards, const Destinations &destinations) {
  for (const ShardReader &shard : shards) {
    for (size_t i = 0; i < shard.tensors().size(); ++i) {
      const auto destination = destinations.find(shard.tensors()[i].name);
      if (destination != destinations.end()) TRAINHOST_CHECK(shard.read(i, std::as_writable_bytes(destination->second)));
    }
  }
  return {};
}

}  // namespace

Result<> CheckpointDirectory::verify(const std::string &path) const {
  TRAINHOST_TRY(const CheckpointManifest manifest, read_manifest(*files_, path));
  TRAINHOST_TRY(const auto shards, open_shards(*files_, path, manifest));
  TRAINHOST_CHECK(verify_all(shards));
  for (const ShardReader &shard : shards) {
    for (size_t i = 0; i < shard.tensors().size(); ++i) TRAINHOST_CHECK(shard.verify(i));
  }
  return {};
}

Result<CheckpointContents> CheckpointDirectory::load(const std::string &path, std::span<NamedTensor> tensors, const Fingerprints &expected,
                                                     LoadScope scope) const {
  TRAINHOST_TRY(CheckpointManifest manifest, read_manifest(*files_, path));
  TRAINHOST_CHECK(compare_fingerprints(path, manifest.fingerprints, expected));
  TRAINHOST_TRY(const auto shards, open_shards(*files_, path, manifest));
  TRAINHOST_TRY(const Destinations destinations, match(path, manifest, tensors, scope));
  TRAINHOST_CHECK(verify_all(shards));
  TRAINHOST_CHECK(fill(shards, destinations));
  return CheckpointContents{.step = manifest.step,
                            .tokens = manifest.tokens,
                            .label = std::move(manifest.label),
                            .fingerprints = std::move(manifest.fingerprints),
                            .trainer_state = std::move(manifest.trainer_state),
                            .tensors = {}};
}

Result<std::optional<CheckpointContents>> CheckpointDirectory::load_newest(std::span<NamedTensor> tensors, const Fingerprints &expected,
                                                                           LoadScope scope) const {
  TRAINHOST_TRY(const auto names, files_->list(folder_));
  std::vector<uint64_t> steps;
  for (const std::string &name : names) {
    if (const auto step = step_of(name)) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());

  std::vector<std::string> faults;
  for (const uint64_t step : steps) {
    auto contents = load(folder_ + "/" + checkpoint_name(step), tensors, expected, scope);
    if (!contents && contents.error().kind != ErrorKind::kData) return tl::unexpected(std::move(contents).error());
    if (!contents) {
      faults.push_back(contents.error().message);
      continue;
    }
    for (size_t i = 0; i < faults.size(); ++i) {
      log_warning(faults[i] + "; the checkpoint of step " + std::to_string(step) + " is used instead, " + std::to_string(steps[i] - step) +
                  " steps are lost");
    }
    return std::move(*contents);
  }
  if (faults.empty()) return std::nullopt;
  std::string message = folder_ + ": none of the " + std::to_string(faults.size()) +
                        " checkpoints can be used, and a run is never started over in a used directory";
  for (const std::string &fault : faults) message += "\n  " + fault;
  return failure(ErrorKind::kData, message + "\nput a good copy back, or start in another run directory");
}

}  // namespace trainhost
