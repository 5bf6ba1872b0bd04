// Digests for manifests and cache keys.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace trainhost {

// SHA-256 over any number of pieces. One thread.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256 &&) noexcept;
  Sha256 &operator=(Sha256 &&) noexcept;

  Sha256 &update(std::span<const std::byte> bytes);
  Sha256 &update(std::string_view text);
  // 64 lower-case hexadecimal digits; the object is spent.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256(std::string_view bytes);
// Reads the file in pieces; fails with kData naming the path.
Result<std::string> sha256_of_file(const std::string &path);

}  // namespace trainhost
