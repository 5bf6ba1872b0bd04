// A model that is small and a batch of documents for it.
#pragma once

#include <map>
#include <string>

#include "support/model_runner.h"

namespace trainhost {

constexpr int32_t kVocabulary = 96;

inline const std::map<std::string, ParameterValue> kSmall{{"layers", int64_t{2}},        {"width", int64_t{48}},
                                                          {"heads", int64_t{4}},         {"kv_heads", int64_t{2}},
                                                          {"feed_forward", int64_t{80}}, {"dim_model_base", int64_t{24}}};

// Four sequences of 72 tokens; the first document of the second one is 30 tokens long.
inline TokenBatch some_documents() { return random_documents({{72}, {30, 42}, {1, 70, 1}, {66, 6}}, kVocabulary, 5); }
constexpr size_t kRows = 4 * 72;

}  // namespace trainhost
