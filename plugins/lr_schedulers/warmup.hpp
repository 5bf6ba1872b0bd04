// The linear warm-up that every schedule starts with.
#pragma once

#include <cmath>
#include <string>

#include "trainhost/cpp/lr_scheduler.hpp"

// With u = tokens / length the share of the peak is start + (1 - start) u: start 0 is MiniCPM's form (arXiv 2404.06395), whose first
// step has learning rate 0; start 0.01 is that of arXiv 2405.18392.
class Warmup {
 public:
  explicit Warmup(const trainhost::sdk::Config &config) : length_(config.amount("warmup")), start_(config.number("warmup_start")) {}

  double length() const { return length_; }
  bool covers(double tokens) const { return tokens < length_; }
  double share(double tokens) const { return start_ + (1 - start_) * (tokens / length_); }

 private:
  double length_, start_;
};

// A length for a message.
inline std::string tokens_text(double tokens) { return std::to_string(std::llround(tokens)) + " tokens"; }
