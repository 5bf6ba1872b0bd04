// What each block of a model is worth: the held-out loss without it, beside the cosine that is said to tell.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "evaluate/held_out_loss.h"
#include "evaluate/paired_difference.h"
#include "train/model_runner.h"

namespace trainhost {

// Thirds of the held-out windows by the whole model's loss per token; as equal as can be, so empty ones with fewer than three windows.
constexpr std::array<std::string_view, 3> kDifficulties{"easy", "middle", "hard"};

// Of a part of the windows, by the whole model.
struct ProbedText {
  uint64_t windows = 0;
  double loss_per_token = 0;  // nats; NaN of no windows
};

struct ProbedBlock {
  uint32_t unit = 0;
  std::string name;
  double cosine = 0;  // as layer_cosines() gives it
  // Loss without the block less that with it, in nats per token: above 0 where the block is of use.
  PairedDifference change;
  std::array<PairedDifference, kDifficulties.size()> change_by_difficulty;
};

struct LayerProbe {
  ProbedText all;
  std::array<ProbedText, kDifficulties.size()> by_difficulty;
  std::vector<ProbedBlock> blocks;
  // Spearman's, of cosine and change over the blocks. If cosines told what a block is worth it would be near -1; NaN where nothing can be
  // said. They are a poor stand-in (arXiv 2605.14075).
  double rank_correlation = 0;
};

// Where the probe stands, before each part of the work and at the end: parts done, of how many.
using ProbeProgress = std::function<void(uint64_t done, uint64_t total)>;

// Leaves out one block after the other. whole: the losses of the whole model, of each source. kUsage: the model has no blocks that can be
// left out; kStopped: stop is set meanwhile.
Result<LayerProbe> probe_layers(ModelRunner &runner, const std::vector<HeldOutSource> &sources, const std::vector<HeldOutLosses> &whole,
                                const std::vector<uint32_t> &bytes_per_id, const std::atomic<bool> &stop, const ProbeProgress &progress);

}  // namespace trainhost
