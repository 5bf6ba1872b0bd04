// From raw text to token stores: reads the sources, trains the tokenizer where needed, tokenizes; everything cached by content hash.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/token_store.h"
#include "plugin_host/adapters/tokenizer.h"
#include "plugin_host/registry.h"
#include "recipe/recipe.h"

namespace trainhost {

struct PreparedSource {
  std::string name;
  std::shared_ptr<const TokenStore> training, held_out;  // held_out may be empty (0 documents)
};

struct PreparedData {
  std::unique_ptr<Tokenizer> tokenizer;
  std::string tokenizer_state;          // what its plugin was created with; empty for plugins that need none
  std::vector<PreparedSource> sources;  // in the recipe's order
  std::string fingerprint;              // of all stores and the tokenizer: equal only for equal data
};

// Does whatever is not done yet and says what it does, with progress through events.progress. The cache is
// <folder of run.directory's parent>/.cache unless $TRAINHOST_CACHE names another; stores are written so that a kill leaves no half
// one. Errors: kData with file:line for bad input under the "refuse" policy, for a source without text or smaller than one
// window; kStopped when cancelled.
Result<PreparedData> prepare_data(const Recipe &recipe, const Manifest &tokenizer_plugin, const PluginEvents &events);

}  // namespace trainhost
