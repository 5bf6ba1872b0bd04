// A byte is its own id, 256 ends a document, and 257 + n - 2 is a run of n spaces, 2 <= n <= longest_run: what indents source code. A
// longer run is cut from its front.
#include <trainhost/cpp/tokenizer.hpp>

#include <algorithm>
#include <vector>

namespace {

using namespace trainhost::sdk;

constexpr uint32_t kEnd = 256, kRuns = 257;                               // kRuns: the id of two spaces
constexpr size_t kBlock = 4096;                                           // items per call of a sink
constexpr std::string_view kFingerprint = "bytes and runs of spaces, 1";  // change it when ids change

class SpacesTokenizer {
 public:
  SpacesTokenizer(const Host &, const Config &config, std::span<const uint8_t> state)
      : longest_run_(static_cast<uint32_t>(config.integer("longest_run"))) {
    if (state.empty()) return;
    throw Failure(TH_INVALID, "its state has " + std::to_string(state.size()) + " bytes; expected none: it is not trained");
  }

  void describe(th_tokenizer_info &out) const {
    out.vocabulary_size = vocabulary_size();
    out.end_id = kEnd;
    std::ranges::fill(out.fingerprint, uint8_t{0});
    std::ranges::copy(kFingerprint, out.fingerprint);
    out.fingerprint[sizeof out.fingerprint - 1] = static_cast<uint8_t>(longest_run_);
  }

  void encode(std::span<const uint8_t> text, const th_sink *ids) const {
    std::vector<uint32_t> block;
    for (size_t i = 0; i < text.size();) {
      const size_t run = spaces_at(text, i);
      block.push_back(run < 2 ? text[i] : kRuns + static_cast<uint32_t>(run) - 2);
      i += std::max<size_t>(run, 1);
      if (block.size() == kBlock) flush(block, ids);
    }
    flush(block, ids);
  }

  void decode(std::span<const uint32_t> ids, const th_sink *bytes) const {
    std::vector<uint8_t> block;
    for (const uint32_t id : ids) {
      if (id >= vocabulary_size()) {
        throw Failure(TH_INVALID,
                      "id " + std::to_string(id) + " is not in the vocabulary: expected 0 to " + std::to_string(vocabulary_size() - 1));
      }
      if (id < kEnd) block.push_back(static_cast<uint8_t>(id));
      if (id >= kRuns) block.insert(block.end(), id - kRuns + 2, ' ');
      if (block.size() >= kBlock) flush(block, bytes);
    }
    flush(block, bytes);
  }

  static const void *extension(std::string_view) { return nullptr; }

 private:
  uint32_t vocabulary_size() const { return kRuns + longest_run_ - 1; }

  // How many spaces follow from i on, at most longest_run_.
  size_t spaces_at(std::span<const uint8_t> text, size_t i) const {
    size_t run = 0;
    while (run < longest_run_ && i + run < text.size() && text[i + run] == ' ') ++run;
    return run;
  }

  template <class Item>
  static void flush(std::vector<Item> &block, const th_sink *sink) {
    if (!block.empty()) append(sink, std::span<const Item>(block));
    block.clear();
  }

  uint32_t longest_run_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_TOKENIZER, tokenizer_table<SpacesTokenizer>)
