// The byte_bpe plugin as a program, for the scripts that compare it with others.
//
//   byte_bpe_command train VOCABULARY_SIZE STATE < documents            writes a tokenizer.json
//   byte_bpe_command encode STATE IDS < documents                       writes the ids of each document
//   byte_bpe_command split ENDS < documents                             writes the ends of each document's pieces
//
// Documents come as a 64-bit length and their bytes, results go as a 64-bit count and 32-bit numbers, all little-endian. Prints the
// seconds that the work itself took, on the clock and on all processors together.
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>

#include "plugin_host/adapters/tokenizer.h"
#include "splitter.h"
#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

using Numbers = std::vector<std::vector<uint32_t>>;

template <class Value>
Value value_of(Result<Value> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return *std::move(result);
}

std::string read(std::istream &stream) { return {std::istreambuf_iterator<char>(stream), {}}; }

std::vector<std::string> read_documents() {
  std::vector<std::string> documents;
  uint64_t size = 0;
  while (std::cin.read(reinterpret_cast<char *>(&size), sizeof size)) {
    std::cin.read(documents.emplace_back(size, '\0').data(), static_cast<std::streamsize>(size));
  }
  return documents;
}

void write(const std::string &path, const Numbers &results) {
  std::ofstream file(path, std::ios::binary);
  for (const auto &result : results) {
    const uint64_t count = result.size();
    file.write(reinterpret_cast<const char *>(&count), sizeof count);
    file.write(reinterpret_cast<const char *>(result.data()), static_cast<std::streamsize>(count * sizeof(uint32_t)));
  }
}

template <class Work>
auto timed(Work &&work) {
  const auto started = std::chrono::steady_clock::now();
  const std::clock_t processor_started = std::clock();
  auto result = work();
  const double processor = static_cast<double>(std::clock() - processor_started) / CLOCKS_PER_SEC;
  std::printf("%.6f %.6f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(), processor);
  return result;
}

auto plugin(int64_t vocabulary_size) {
  return plugin_under_test(PluginKind::kTokenizer, "byte_bpe", {{"vocabulary_size", vocabulary_size}});
}

void train(int64_t vocabulary_size, const std::string &state) {
  const auto documents = read_documents();
  uint64_t bytes = 0;
  for (const auto &document : documents) bytes += document.size();
  size_t given = 0;
  const auto next = [&]() -> Result<std::optional<std::string_view>> {
    return given < documents.size() ? std::optional<std::string_view>(documents[given++]) : std::nullopt;
  };
  const auto instance = plugin(vocabulary_size);
  std::ofstream(state, std::ios::binary) << timed([&] { return value_of(Tokenizer::train(*instance, next, bytes)); });
}

void encode(const std::string &state, const std::string &output) {
  std::ifstream file(state, std::ios::binary);
  const auto tokenizer = value_of(Tokenizer::create(plugin(1 << 20), read(file)));
  const auto documents = read_documents();
  write(output, timed([&] {
          Numbers ids(documents.size());
          for (size_t i = 0; i < documents.size(); ++i) {
            if (const auto result = tokenizer->encode(documents[i], ids[i]); !result) throw std::runtime_error(result.error().message);
          }
          return ids;
        }));
}

void split(const std::string &output) {
  const auto documents = read_documents();
  write(output, timed([&] {
          Numbers ends(documents.size());
          for (size_t i = 0; i < documents.size(); ++i) {
            const auto *begin = reinterpret_cast<const uint8_t *>(documents[i].data());
            const auto *end = begin + documents[i].size();
            for (const auto *piece = begin; piece < end;) {
              piece = byte_bpe::piece_end(piece, end);
              ends[i].push_back(static_cast<uint32_t>(piece - begin));
            }
          }
          return ends;
        }));
}

int run(const std::vector<std::string> &arguments) {
  if (arguments.size() == 3 && arguments[0] == "train") {
    train(std::stoll(arguments[1]), arguments[2]);
  } else if (arguments.size() == 3 && arguments[0] == "encode") {
    encode(arguments[1], arguments[2]);
  } else if (arguments.size() == 2 && arguments[0] == "split") {
    split(arguments[1]);
  } else {
    throw std::runtime_error("usage: train VOCABULARY_SIZE STATE | encode STATE IDS | split ENDS");
  }
  return 0;
}

}  // namespace
}  // namespace trainhost

int main(int count, char **arguments) {
  try {
    return trainhost::run({arguments + 1, arguments + count});
  } catch (const std::exception &exception) {
    std::cerr << exception.what() << '\n';
    return 1;
  }
}
