// Text on its way from a file to tokens.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace trainhost {

// A stretch of text that is encoded by itself, so that no token crosses its ends.
struct Segment {
  size_t length = 0;   // bytes
  bool counts = true;  // in the loss
};

// The smallest piece of text that goes whole to training or to the held-out set: a line of JSONL, or some paragraphs of a file.
struct Passage {
  std::string text;               // valid UTF-8
  std::vector<Segment> segments;  // cover the text; empty: one that counts
  bool continues = false;         // goes on where the passage before it in the same file ended
};

// What the model sees as one document: a passage, or those of a file that follow each other on the same side of the split.
struct Document {
  std::string text;
  std::vector<Segment> segments;
  bool held_out = false;
};

}  // namespace trainhost
