// A checkpoint's weights as one file for other programs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/file_system.h"
#include "base/status.h"

namespace trainhost {

// What consolidate wrote.
struct ConsolidatedWeights {
  uint64_t step = 0, tensors = 0, parameters = 0, bytes = 0;
};

// Writes the whole float32 parameters of the checkpoint at `checkpoint` into one safetensors file, however many processes saved it and
// however they cut. A tensor has the model plugin's own name, without the "model." that a checkpoint puts before it. Tensors are streamed:
// no more than a few megabytes of them are in memory. Every byte is verified when it is read, and the file is read back before it gets its
// name in one rename; a failure leaves nothing under that name. progress: bytes written and how many there will be. kUsage when there is a
// file of that name already; kData as with CheckpointDirectory::load; kCheckpointWrite when the file cannot be written.
Result<ConsolidatedWeights> consolidate(FileSystem &files, const std::string &checkpoint, const std::string &output,
                                        const std::function<void(uint64_t done, uint64_t total)> &progress);

}  // namespace trainhost
