#include "base/hash.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include <openssl/evp.h>

namespace trainhost {

struct Sha256::State {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  State() { EVP_DigestInit_ex(context, EVP_sha256(), nullptr); }
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256 &&) noexcept = default;
Sha256 &Sha256::operator=(Sha256 &&) noexcept = default;

Sha256 &Sha256::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
  return *this;
}

Sha256 &Sha256::update(std::string_view text) { return update(std::as_bytes(std::span(text))); }

std::string Sha256::finish() {
  unsigned char digest[32];
  EVP_DigestFinal_ex(state_->context, digest, nullptr);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string sha256(std::string_view bytes) { return Sha256().update(bytes).finish(); }

Result<std::string> sha256_of_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return failure(ErrorKind::kData, path + ": cannot be opened: " + std::strerror(errno));
  Sha256 hash;
  std::vector<char> piece(1 << 20);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0) {
    hash.update(std::string_view(piece.data(), static_cast<size_t>(file.gcount())));
  }
  if (file.bad()) return failure(ErrorKind::kData, path + ": cannot be read: " + std::strerror(errno));
  return hash.finish();
}

}  // namespace trainhost
