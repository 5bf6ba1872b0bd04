#include "data/line_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace trainhost {
namespace {

constexpr size_t kPieceBytes = size_t{256} << 10;
constexpr size_t kPeekBytes = size_t{8} << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

Result<LineReader> LineReader::open(const std::string &path) {
  LineReader reader;
  reader.path_ = path;
  reader.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (reader.descriptor_ < 0) return failure(ErrorKind::kData, fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  return reader;
}

LineReader::LineReader(LineReader &&other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      buffer_(std::move(other.buffer_)),
      begin_(other.begin_),
      bytes_read_(other.bytes_read_),
      number_(other.number_),
      end_of_file_(other.end_of_file_) {}

LineReader &LineReader::operator=(LineReader &&other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(buffer_, other.buffer_);
  begin_ = other.begin_;
  bytes_read_ = other.bytes_read_;
  number_ = other.number_;
  end_of_file_ = other.end_of_file_;
  return *this;
}

LineReader::~LineReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<bool> LineReader::fill() {
  if (end_of_file_) return false;
  buffer_.erase(0, std::exchange(begin_, 0));
  const size_t old = buffer_.size();
  buffer_.resize(old + kPieceBytes);
  ssize_t got = 0;
  do {
    got = ::read(descriptor_, buffer_.data() + old, kPieceBytes);
  } while (got < 0 && errno == EINTR);
  buffer_.resize(old + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) return failure(ErrorKind::kData, fmt::format("{}: cannot be read: {}", path_, std::strerror(errno)));
  bytes_read_ += static_cast<uint64_t>(got);
  end_of_file_ = got == 0;
  return got > 0;
}

Result<std::string_view> LineReader::peek() {
  bool more = true;
  while (more && buffer_.size() < kPeekBytes) {
    TRAINHOST_TRY(more, fill());
  }
  return std::string_view(buffer_).substr(0, kPeekBytes);
}

Result<std::optional<Line>> LineReader::next() {
  if (number_ == 0) {
    TRAINHOST_TRY(const std::string_view start, peek());
    if (start.starts_with(kByteOrderMark)) begin_ = kByteOrderMark.size();
  }
  bool too_long = false;
  size_t searched = 0, end = 0;
  while ((end = buffer_.find('\n', begin_ + searched)) == std::string::npos) {
    searched = buffer_.size() - begin_;
    if (searched > kLongest) {  // forget it as it comes
      too_long = true;
      begin_ = buffer_.size();
      searched = 0;
    }
    TRAINHOST_TRY(const bool more, fill());
    if (!more) break;
  }
  const bool last = end == std::string::npos;
  if (last) end = buffer_.size();
  if (last && end == begin_ && !too_long) return std::nullopt;
  std::string_view text = std::string_view(buffer_).substr(begin_, end - begin_);
  begin_ = last ? end : end + 1;
  if (text.ends_with('\r')) text.remove_suffix(1);
  too_long = too_long || text.size() > kLongest;
  return Line{too_long ? std::string_view() : text, ++number_, too_long};
}

}  // namespace trainhost
