// Turns a source's documents into its two token stores.
#pragma once

#include <string>

#include "base/file_system.h"
#include "base/status.h"
#include "data/source_corpus.h"
#include "plugin_host/adapters/tokenizer.h"

namespace trainhost {

// Writes <folder>/training and <folder>/held_out with their sidecars. Encodes on all threads; the order of the documents, and so every
// byte, is the same for any number of them. The corpus is scanned. Errors: those of tokenizer, readers and file system; kStopped.
Result<> write_token_stores(const SourceCorpus &corpus, const Tokenizer &tokenizer, FileSystem &files, const std::string &folder,
                            const PluginEvents &events);

}  // namespace trainhost
