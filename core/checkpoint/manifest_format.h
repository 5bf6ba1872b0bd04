// What the writer and the reader of manifests share. The format is described in core/docs/checkpoint_format.md.
#pragma once

#include <cstdint>
#include <string_view>

namespace trainhost::manifest {

constexpr std::string_view kFileName = "manifest.json";
constexpr std::string_view kChecksumsName = "SHA256SUMS";  // as sha256sum writes it: `sha256sum -c SHA256SUMS` checks a checkpoint
constexpr std::string_view kFormat = "trainhost checkpoint";
constexpr uint64_t kVersion = 1;          // of one process, whole tensors: what every trainhost reads
constexpr uint64_t kVersionOfPieces = 2;  // of several processes, or cut tensors
constexpr uint64_t kVersionOfTypes = 3;   // with tensors that are not float32
constexpr uint64_t kMaximumBytes = 100'000'000;
constexpr uint64_t kMaximumWorldSize = 99'999;  // five digits in the names of shards

// The shards: parameters by themselves, so that a model can be copied or opened without the optimizer's state.
constexpr std::string_view kModelPrefix = "model.";
constexpr std::string_view kModelShard = "model";  // "model.safetensors", or "model-00002-of-00004.safetensors"
constexpr std::string_view kStateShard = "state";
constexpr std::string_view kShardSuffix = ".safetensors";
// From version 2 on every block of so many elements (16 MiB of float32) of a piece is hashed, so that a part can be read and verified
// without the rest.
constexpr uint64_t kBlockElements = uint64_t{1} << 22;

namespace key {
constexpr char kFormat[] = "format", kVersion[] = "version", kStep[] = "step", kTokens[] = "tokens", kLabel[] = "label",
               kCreated[] = "created", kWorldSize[] = "world_size", kFingerprints[] = "fingerprints", kRecipe[] = "recipe",
               kSchedule[] = "schedule", kData[] = "data", kTokenizer[] = "tokenizer", kPlugins[] = "plugins",
               kTrainerState[] = "trainer_state", kFiles[] = "files", kTensors[] = "tensors", kName[] = "name", kBytes[] = "bytes",
               kSha256[] = "sha256", kFile[] = "file", kShape[] = "shape", kDtype[] = "dtype", kBegin[] = "begin", kCount[] = "count",
               kOrigin[] = "origin", kHow[] = "how", kParts[] = "parts", kCheckpoint[] = "checkpoint", kWeight[] = "weight";
}  // namespace key

}  // namespace trainhost::manifest
