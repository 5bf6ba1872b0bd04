#include "data/chat_template.h"

namespace trainhost {

void render(std::span<const Turn> turns, bool answers_only, Passage &passage) {
  passage.text.clear();
  passage.segments.clear();
  size_t segment_begin = 0;
  const auto end_segment = [&](bool counts) {
    if (passage.text.size() > segment_begin) passage.segments.push_back({passage.text.size() - segment_begin, counts});
    segment_begin = passage.text.size();
  };
  for (const Turn &turn : turns) {
    if (turn.role == Role::kAssistant) {
      passage.text += "Assistant:";
      end_segment(!answers_only);
      passage.text.append(" ").append(turn.text).append("\n");
      end_segment(true);
    } else {
      passage.text.append(turn.role == Role::kUser ? "User: " : "System: ").append(turn.text).append("\n");
    }
  }
  end_segment(!answers_only);
}

}  // namespace trainhost
