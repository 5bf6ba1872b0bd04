// The few colours of the console, or none.
#pragma once

#include <string>
#include <string_view>

namespace trainhost {

class Palette {
 public:
  explicit Palette(bool colour) : colour_(colour) {}

  std::string strong(std::string_view text) const { return paint("\x1b[1m", text); }
  std::string better(std::string_view text) const { return paint("\x1b[32m", text); }  // green
  std::string worse(std::string_view text) const { return paint("\x1b[31m", text); }   // red

 private:
  std::string paint(std::string_view code, std::string_view text) const {
    return colour_ ? std::string(code).append(text).append("\x1b[0m") : std::string(text);
  }
  bool colour_;
};

}  // namespace trainhost
