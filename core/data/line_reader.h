// Reads a file line by line in bounded memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace trainhost {

struct Line {
  std::string_view text;  // without its end (LF or CRLF); a byte order mark at the file's beginning is left out. Empty when too_long
  int number = 0;         // 1-based
  bool too_long = false;  // more than LineReader::kLongest bytes; it was read over
};

// One file. One thread.
class LineReader {
 public:
  static constexpr size_t kLongest = size_t{16} << 20;

  // Fails with kData naming the path and the system's reason.
  static Result<LineReader> open(const std::string &path);
  LineReader(LineReader &&) noexcept;
  LineReader &operator=(LineReader &&) noexcept;
  ~LineReader();

  // The next line, valid until the next call; nothing after the last. A file that ends in a line end has no empty line after it.
  Result<std::optional<Line>> next();
  // The first bytes of the file, up to 8 KiB; only before the first next().
  Result<std::string_view> peek();
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  LineReader() = default;
  Result<bool> fill();  // reads more; false at the end

  std::string path_;
  int descriptor_ = -1;
  std::string buffer_;
  size_t begin_ = 0;  // of what is not given out yet
  uint64_t bytes_read_ = 0;
  int number_ = 0;
  bool end_of_file_ = false;
};

}  // namespace trainhost
