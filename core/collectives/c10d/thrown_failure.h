// What LibTorch, c10d and gloo throw, as an error text of the host.
#pragma once

#include <exception>
#include <string>

#include <c10/util/Exception.h>

namespace trainhost {

inline std::string text_of(const std::exception &problem) {
  const auto *detailed = dynamic_cast<const c10::Error *>(&problem);
  std::string text = detailed != nullptr ? detailed->what_without_backtrace() : problem.what();
  if (text.starts_with('[')) text.erase(0, text.find("] ") == std::string::npos ? 0 : text.find("] ") + 2);  // gloo's source line
  return text;
}

// LibTorch's explanations of CUDA's errors follow in further lines.
inline std::string first_line_of(const std::exception &problem) {
  const std::string text = text_of(problem);
  return text.substr(0, text.find('\n'));
}

}  // namespace trainhost
