#include "plan/memory_timeline.h"

#include <algorithm>
#include <numeric>

namespace trainhost {
namespace {

struct PartNames {
  std::string_view text, identifier;
};

constexpr std::array<PartNames, kMemoryParts> kNames{{{"program and libraries", "program"},
                                                      {"data and tokenizer", "data"},
                                                      {"parameters", "parameters"},
                                                      {"float32 masters", "masters"},
                                                      {"gathered parameters", "gathered"},
                                                      {"gradients", "gradients"},
                                                      {"exchange buffers", "exchange"},
                                                      {"sums in the fixed order", "reduction"},
                                                      {"optimizer states", "optimizer"},
                                                      {"activations between units", "activations"},
                                                      {"saved activations", "saved"},
                                                      {"working memory", "working"},
                                                      {"copy for the checkpoint", "checkpoint"},
                                                      {"telemetry", "telemetry"}}};

}  // namespace

std::string_view to_string(MemoryPart part) { return kNames[static_cast<size_t>(part)].text; }
std::string_view identifier_of(MemoryPart part) { return kNames[static_cast<size_t>(part)].identifier; }

uint64_t MemoryUse::total() const { return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}); }

MemoryPart MemoryUse::largest() const { return static_cast<MemoryPart>(std::ranges::max_element(bytes) - bytes.begin()); }

void MemoryTimeline::take(MemoryPart part, uint64_t bytes) {
  now_.of(part) += bytes;
  total_ += bytes;
  if (total_ <= peak_total_) return;
  peak_ = now_;
  peak_total_ = total_;
  peak_moment_ = moment_;
}

void MemoryTimeline::give_back(MemoryPart part, uint64_t bytes) {
  now_.of(part) -= bytes;
  total_ -= bytes;
}

CountedBlock::CountedBlock(MemoryTimeline &timeline, MemoryPart part, uint64_t bytes)
    : timeline_(&timeline), part_(part), bytes_(timeline.block_bytes(bytes)) {
  timeline.take(part_, bytes_);
}

}  // namespace trainhost
