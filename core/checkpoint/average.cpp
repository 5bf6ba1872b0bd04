#include "checkpoint/average.h"

#include <algorithm>
#include <memory>

#include "base/hash.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/piece.h"

namespace trainhost {
namespace {

using Tensors = std::map<std::string, StoredTensors::Tensor>;

// What one checkpoint has of the parameters and another has not, or has in another shape; empty: nothing.
std::string difference(const std::string &one, const Tensors &tensors, const std::string &other, const Tensors &other_tensors) {
  for (const auto &[name, tensor] : tensors) {
    if (!name.starts_with(manifest::kModelPrefix)) continue;
    const auto found = other_tensors.find(name);
    if (found == other_tensors.end()) return one + " has tensor \"" + name + "\", and " + other + " has not";
    if (found->second.shape != tensor.shape) {
      return "tensor \"" + name + "\" has shape " + shape_text(tensor.shape) + " in " + one + ", and " + shape_text(found->second.shape) +
             " in " + other;
    }
  }
  return {};
}

Result<> check_alike(const std::string &path, const StoredTensors &stored, const std::string &last_path, const StoredTensors &last) {
  std::string found = difference(path, stored.tensors(), last_path, last.tensors());
  if (found.empty()) found = difference(last_path, last.tensors(), path, stored.tensors());
  if (found.empty() && stored.manifest().fingerprints.tokenizer != last.manifest().fingerprints.tokenizer)
    found = path + " was trained with another tokenizer than " + last_path;
  if (found.empty()) return {};
  return failure(ErrorKind::kRecipe, found + "; only checkpoints of one model can be averaged");
}

// Of parameters, which are float32.
ElementSource weighted_sum(std::vector<ElementSource> sources, std::vector<double> weights) {
  return [sources = std::move(sources), weights = std::move(weights)](std::span<std::byte> out) -> Result<> {
    std::vector<float> values(out.size() / sizeof(float));
    std::vector<double> sums(values.size());
    for (size_t i = 0; i < sources.size(); ++i) {
      TRAINHOST_CHECK(sources[i](std::as_writable_bytes(std::span(values))));
      for (size_t e = 0; e < values.size(); ++e) sums[e] += weights[i] * static_cast<double>(values[e]);
    }
    std::ranges::transform(sums, values.begin(), [](double sum) { return static_cast<float>(sum); });
    std::ranges::copy(std::as_bytes(std::span(values)), out.begin());
    return {};
  };
}

}  // namespace

Result<CheckpointManifest> average_checkpoints(FileSystem &files, const std::vector<WeightedCheckpoint> &checkpoints,
                                               const std::string &how, const std::string &folder, const WriteProgress &progress) {
  std::vector<StoredTensors> stored;
  std::vector<double> weights;
  CheckpointOrigin origin{.how = how, .parts = {}};
  for (const auto &[path, weight] : checkpoints) {
    const LoadScope scope = stored.size() + 1 == checkpoints.size() ? LoadScope::kEverything : LoadScope::kModel;
    TRAINHOST_TRY(stored.emplace_back(), StoredTensors::open(files, path, scope));
    TRAINHOST_TRY(const std::string manifest, files.read(path + "/" + std::string(manifest::kFileName)));
    origin.parts.push_back({.checkpoint = path, .step = stored.back().manifest().step, .weight = weight, .sha256 = sha256(manifest)});
    weights.push_back(weight);
  }
  const StoredTensors &last = stored.back();
  for (size_t i = 0; i < stored.size(); ++i) TRAINHOST_CHECK(check_alike(checkpoints[i].path, stored[i], checkpoints.back().path, last));

  std::vector<MadeTensor> tensors;
  for (const auto &[name, tensor] : last.tensors()) {
    const bool averaged = name.starts_with(manifest::kModelPrefix);
    tensors.push_back({.name = name, .type = tensor.type, .shape = tensor.shape, .read = [&stored, &last, &weights, &name, averaged] {
                         if (!averaged) return last.read(name);
                         std::vector<ElementSource> sources;
                         for (const StoredTensors &checkpoint : stored) sources.push_back(checkpoint.read(name));
                         return weighted_sum(std::move(sources), weights);
                       }});
  }
  CheckpointManifest description = last.manifest();
  description.label = "average";
  description.origin = std::move(origin);
  return write_made_checkpoint(files, folder, std::move(description), tensors, progress);
}

}  // namespace trainhost
