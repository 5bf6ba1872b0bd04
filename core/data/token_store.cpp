#include "data/token_store.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "data/megatron_index.h"
#include "data/token_store_writer.h"
#include "device/thread_pool.h"

namespace trainhost {
namespace {

tl::unexpected<Error> damaged(std::string message) { return failure(ErrorKind::kData, std::move(message)); }

// A file mapped read-only, with what it looked like then.
class MappedFile {
 public:
  static Result<std::unique_ptr<const MappedFile>> open(const std::string &path) {
    auto file = std::unique_ptr<MappedFile>(new MappedFile);
    file->path_ = path;
    file->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file->descriptor_ < 0 || ::fstat(file->descriptor_, &file->status_) != 0) {
      return damaged(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
    }
    if (!S_ISREG(file->status_.st_mode)) return damaged(fmt::format("{}: is not a file", path));
    if (file->size() == 0) return file;
    void *memory = ::mmap(nullptr, file->size(), PROT_READ, MAP_SHARED, file->descriptor_, 0);
    if (memory == MAP_FAILED) return damaged(fmt::format("{}: cannot be mapped: {}", path, std::strerror(errno)));
    file->data_ = static_cast<const char *>(memory);
    return file;
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<char *>(data_), size());
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  const std::string &path() const { return path_; }
  const char *data() const { return data_; }
  uint64_t size() const { return static_cast<uint64_t>(status_.st_size); }

  Result<> check_unchanged() const {
    struct stat now {};
    if (::fstat(descriptor_, &now) != 0) return damaged(fmt::format("{}: cannot be examined: {}", path_, std::strerror(errno)));
    if (now.st_size != status_.st_size) {
      return damaged(fmt::format("{}: had {} bytes when the run started and has {} now; a token store in use must not be changed", path_,
                                 status_.st_size, now.st_size));
    }
    if (now.st_mtim.tv_sec != status_.st_mtim.tv_sec || now.st_mtim.tv_nsec != status_.st_mtim.tv_nsec) {
      return damaged(fmt::format("{}: was rewritten since the run started; a token store in use must not be changed", path_));
    }
    return {};
  }

 private:
  MappedFile() = default;
  std::string path_;
  int descriptor_ = -1;
  struct stat status_ {};
  const char *data_ = nullptr;
};

struct Index {
  megatron::TokenType type;
  std::vector<uint64_t> document_ends;
};

// The ends of the sequences, in tokens; they must tile the .bin from its beginning.
Result<std::vector<uint64_t>> sequence_ends(const MappedFile &file, uint64_t sequences, uint64_t token_bytes) {
  const char *lengths = file.data() + megatron::kHeaderBytes, *offsets = lengths + 4 * sequences;
  std::vector<uint64_t> ends;
  ends.reserve(sequences);
  uint64_t end = 0;
  for (uint64_t i = 0; i < sequences; ++i) {
    const auto length = megatron::load<int32_t>(lengths + 4 * i);
    const auto offset = megatron::load<int64_t>(offsets + 8 * i);
    if (length < 0) return damaged(fmt::format("{}: sequence {} has length {}", file.path(), i, length));
    if (offset != static_cast<int64_t>(end * token_bytes)) {
      return damaged(fmt::format("{}: sequence {} begins at byte {} of the .bin; expected {}, where the one before it ends", file.path(), i,
                                 offset, end * token_bytes));
    }
    ends.push_back(end += static_cast<uint64_t>(length));
  }
  return ends;
}

Result<Index> read_index(const MappedFile &file) {
  const std::string &path = file.path();
  if (file.size() < megatron::kHeaderBytes) {
    return damaged(fmt::format("{}: has {} bytes; a Megatron index has at least {}", path, file.size(), megatron::kHeaderBytes));
  }
  const char *header = file.data();
  if (std::string_view(header, megatron::kMagic.size()) != megatron::kMagic) {
    return damaged(fmt::format("{}: does not begin with \"MMIDIDX\"; expected a Megatron index", path));
  }
  if (const auto version = megatron::load<uint64_t>(header + 9); version != megatron::kVersion) {
    return damaged(fmt::format("{}: is of version {}; expected {}", path, version, megatron::kVersion));
  }
  Index index{static_cast<megatron::TokenType>(header[17]), {}};
  const uint64_t token_bytes = megatron::token_bytes(index.type);
  if (token_bytes == 0) {
    return damaged(
        fmt::format("{}: has token type {}; expected 1, 2, 3, 4, 5 or 8, which are integers", path, static_cast<int>(header[17])));
  }
  const auto sequences = megatron::load<uint64_t>(header + 18), indices = megatron::load<uint64_t>(header + 26);
  const uint64_t most = file.size() / 8;  // keeps the sum below from overflowing
  const uint64_t expected = megatron::kHeaderBytes + 12 * std::min(sequences, most) + 8 * std::min(indices, most);
  // Multimodal indices have one more byte a sequence, which says nothing about text.
  if (sequences > most || indices > most || (file.size() != expected && file.size() != expected + sequences)) {
    return damaged(
        fmt::format("{}: has {} bytes, which does not fit the {} sequences and {} document indices of its header; the file is "
                    "cut or damaged",
                    path, file.size(), sequences, indices));
  }
  TRAINHOST_TRY(const std::vector<uint64_t> ends, sequence_ends(file, sequences, token_bytes));
  const char *documents = header + megatron::kHeaderBytes + 12 * sequences;
  uint64_t previous = 0;
  for (uint64_t i = 0; i < indices; ++i) {
    const auto end = megatron::load<uint64_t>(documents + 8 * i);
    if ((i == 0 && end != 0) || end < previous || end > sequences) {
      return damaged(fmt::format("{}: document index {} is {}; expected them to rise from 0 to {}", path, i, end, sequences));
    }
    if (i > 0) index.document_ends.push_back(end == 0 ? 0 : ends[end - 1]);
    previous = end;
  }
  if (indices == 0 || previous != sequences) {
    return damaged(fmt::format("{}: its documents cover {} of {} sequences", path, previous, sequences));
  }
  return index;
}

template <class Function>
decltype(auto) with_token_type(megatron::TokenType type, Function &&function) {
  switch (type) {
    case megatron::TokenType::kU8:
      return function(uint8_t{});
    case megatron::TokenType::kI8:
      return function(int8_t{});
    case megatron::TokenType::kI16:
      return function(int16_t{});
    case megatron::TokenType::kI32:
      return function(int32_t{});
    case megatron::TokenType::kI64:
      return function(int64_t{});
    case megatron::TokenType::kU16:
      break;
  }
  return function(uint16_t{});
}

// Index of the first token outside [0, vocabulary_size), or `count`.
uint64_t first_foreign_token(const char *data, uint64_t count, megatron::TokenType type, uint32_t vocabulary_size) {
  std::atomic<uint64_t> first = count;
  with_token_type(type, [&](auto sample) {
    using Token = decltype(sample);
    parallel_for(static_cast<int64_t>(count), 1 << 20, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto id = static_cast<int64_t>(megatron::load<Token>(data + i * static_cast<int64_t>(sizeof(Token))));
        if (id >= 0 && id < vocabulary_size) continue;
        uint64_t known = first;
        while (static_cast<uint64_t>(i) < known && !first.compare_exchange_weak(known, static_cast<uint64_t>(i))) {
        }
        break;
      }
    });
  });
  return first;
}

struct Sidecar {
  bool present = false;
  uint64_t documents = 0, tokens = 0, bytes_of_text = 0;
  int64_t largest_id = -1;
};

Result<Sidecar> read_sidecar(const std::string &path) {
  Sidecar sidecar;
  std::ifstream file(path);
  if (!file) return sidecar;
  const auto json = nlohmann::json::parse(file, nullptr, false);
  // Another program may keep a .json beside its store; only our own says what is in it.
  if (!json.is_object() || !json.contains("format") || json["format"] != kTokenStoreFormat) return sidecar;
  const auto number = [&](const char *name, auto &value) {
    const auto found = json.find(name);
    if (found == json.end() || !found->is_number_integer()) return false;
    value = found->get<std::remove_reference_t<decltype(value)>>();
    return true;
  };
  sidecar.present = number("documents", sidecar.documents) && number("tokens", sidecar.tokens) &&
                    number("bytes_of_text", sidecar.bytes_of_text) && number("largest_id", sidecar.largest_id);
  if (!sidecar.present) return damaged(fmt::format("{}: lacks one of the store's counts; remove the store and prepare it again", path));
  return sidecar;
}

}  // namespace

struct TokenStore::Mapping {
  std::unique_ptr<const MappedFile> tokens, mask;  // mask: null when all counts
  megatron::TokenType type;
};

TokenStore::~TokenStore() = default;

Result<std::shared_ptr<const TokenStore>> TokenStore::open(const std::string &prefix, uint32_t vocabulary_size) {
  TRAINHOST_TRY(const auto index_file, MappedFile::open(prefix + ".idx"));
  TRAINHOST_TRY(Index index, read_index(*index_file));
  TRAINHOST_TRY(auto tokens, MappedFile::open(prefix + ".bin"));
  const uint64_t count = index.document_ends.empty() ? 0 : index.document_ends.back(), width = megatron::token_bytes(index.type);
  if (tokens->size() != count * width) {
    return damaged(fmt::format("{}: has {} bytes; its index says {} tokens of {} bytes, {} in all; the file is cut or not of this index",
                               tokens->path(), tokens->size(), count, width, count * width));
  }
  std::unique_ptr<const MappedFile> mask;
  if (std::filesystem::exists(prefix + ".mask")) {
    TRAINHOST_TRY(mask, MappedFile::open(prefix + ".mask"));
    if (mask->size() != count)
      return damaged(fmt::format("{}: has {} bytes; expected one for each of {} tokens", mask->path(), mask->size(), count));
  }
  TRAINHOST_TRY(const Sidecar sidecar, read_sidecar(prefix + ".json"));
  if (sidecar.present && (sidecar.documents != index.document_ends.size() || sidecar.tokens != count)) {
    return damaged(fmt::format("{}.json: says {} documents and {} tokens; the index has {} and {}", prefix, sidecar.documents,
                               sidecar.tokens, index.document_ends.size(), count));
  }

  auto store = std::shared_ptr<TokenStore>(new TokenStore);
  store->prefix_ = prefix;
  store->document_ends_ = std::move(index.document_ends);
  store->bytes_of_text_ = sidecar.bytes_of_text;
  store->vocabulary_size_ = vocabulary_size;
  // Our own writer has seen every id; a foreign store is read once.
  if (!sidecar.present || sidecar.largest_id >= int64_t{vocabulary_size}) {
    const uint64_t at = first_foreign_token(tokens->data(), count, index.type, vocabulary_size);
    if (at < count) {
      const int64_t id = with_token_type(index.type, [&](auto sample) {
        return static_cast<int64_t>(megatron::load<decltype(sample)>(tokens->data() + at * sizeof(sample)));
      });
      return damaged(
          fmt::format("{}: token {} (in document {}) is {}; the tokenizer has ids 0 to {}: it is not the one the store was made with",
                      tokens->path(), at, store->document_of(at), id, int64_t{vocabulary_size} - 1));
    }
  }
  store->mapping_ = std::make_shared<const Mapping>(Mapping{std::move(tokens), std::move(mask), index.type});
  return store;
}

std::shared_ptr<const TokenStore> TokenStore::slice(uint64_t first, uint64_t end) const {
  auto part = std::shared_ptr<TokenStore>(new TokenStore(*this));
  const uint64_t begin = end > first ? document_begin(first) : 0;
  part->first_token_ = first_token_ + begin;
  part->document_ends_.assign(document_ends_.begin() + static_cast<ptrdiff_t>(first), document_ends_.begin() + static_cast<ptrdiff_t>(end));
  for (uint64_t &document_end : part->document_ends_) document_end -= begin;
  if (tokens() > 0) {  // in proportion: the sidecar speaks of the whole
    part->bytes_of_text_ =
        static_cast<uint64_t>(static_cast<double>(bytes_of_text_) * static_cast<double>(part->tokens()) / static_cast<double>(tokens()));
  }
  return part;
}

uint64_t TokenStore::document_of(uint64_t index) const {
  return static_cast<uint64_t>(std::upper_bound(document_ends_.begin(), document_ends_.end(), index) - document_ends_.begin());
}

uint32_t TokenStore::token(uint64_t index) const {
  int32_t id = 0;
  read(index, std::span(&id, 1));
  return static_cast<uint32_t>(id);
}

void TokenStore::read(uint64_t begin, std::span<int32_t> out) const {
  with_token_type(mapping_->type, [&](auto sample) {
    using Token = decltype(sample);
    const char *data = mapping_->tokens->data() + (first_token_ + begin) * sizeof(Token);
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int32_t>(megatron::load<Token>(data + i * sizeof(Token)));
  });
}

bool TokenStore::counts(uint64_t index) const { return mapping_->mask == nullptr || mapping_->mask->data()[first_token_ + index] != 0; }

Result<> TokenStore::check_unchanged() const {
  TRAINHOST_CHECK(mapping_->tokens->check_unchanged());
  return mapping_->mask == nullptr ? Result<>{} : mapping_->mask->check_unchanged();
}

}  // namespace trainhost
