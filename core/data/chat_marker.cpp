#include "data/chat_marker.h"

namespace trainhost {

// Of ChatML, Llama 2 and 3, Gemma, Phi and Zephyr, DeepSeek.
constexpr std::string_view kMarkers[] = {"<|im_start|>",
                                         "<|im_end|>",
                                         "[INST]",
                                         "[/INST]",
                                         "<<SYS>>",
                                         "<|start_header_id|>",
                                         "<|eot_id|>",
                                         "<start_of_turn>",
                                         "<end_of_turn>",
                                         "<|user|>",
                                         "<|assistant|>",
                                         "<|system|>",
                                         "<|end|>",
                                         "<\xef\xbd\x9cUser\xef\xbd\x9c>",
                                         "<\xef\xbd\x9c"
                                         "Assistant\xef\xbd\x9c>"};

std::string_view chat_marker(std::string_view text) {
  for (size_t at = 0; (at = text.find_first_of("<[", at)) != std::string_view::npos; ++at) {
    for (const std::string_view marker : kMarkers) {
      if (text.substr(at).starts_with(marker)) return marker;
    }
  }
  return {};
}

}  // namespace trainhost
