#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "support/temporary_directory.h"
#include "unit/checkpoint/python_reader.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

void write(const std::string &path, const std::string &contents) { std::ofstream(path, std::ios::binary) << contents; }

class FileInMemory final : public ReadableFile {
 public:
  explicit FileInMemory(std::string_view contents) : contents_(contents) {}
  uint64_t size() const override { return contents_.size(); }
  Result<> read(uint64_t offset, std::span<std::byte> out) override {
    if (offset > contents_.size() || out.size() > contents_.size() - offset) return failure(ErrorKind::kInternal, "read beyond the end");
    std::memcpy(out.data(), contents_.data() + offset, out.size());
    return {};
  }

 private:
  std::string_view contents_;
};

Result<SafetensorsLayout> read(const std::string &contents) {
  FileInMemory file(contents);
  return read_safetensors(file, "FILE");
}

std::string shape_text(const std::vector<int64_t> &shape) {
  std::string text;
  for (const int64_t dimension : shape) text += (text.empty() ? "" : ", ") + std::to_string(dimension);
  return "[" + text + "]";
}

TEST(SafetensorsWriter, IsReadBitEqualByTheReference) {
  TemporaryDirectory directory;
  SmallRun run(3);
  auto saved = *open_alone(posix_file_system(), directory.path())->save(run.contents());
  const auto tensors = run.tensors();
  std::string expected;
  for (const size_t place : {0, 1, 2}) {  // the model's, which are in order of name
    const NamedTensor &tensor = tensors[place];
    expected += tensor.name + " float32 " + shape_text(tensor.shape) + " " + Sha256().update(tensor.values.bytes()).finish() + "\n";
  }
  EXPECT_EQ(ask_python("tensors", saved + "/model.safetensors"), expected + "same bytes\n");
  EXPECT_THAT(ask_python("tensors", saved + "/state.safetensors"), HasSubstr("same bytes"));
}

// The reference sorts by alignment of the dtype, then by name.
TEST(SafetensorsWriter, LaysManyDtypesOutAsTheReference) {
  TemporaryDirectory directory;
  std::vector<SafetensorsTensor> tensors;
  for (const char *dtype : {"BOOL", "U8", "I8", "I16", "U16", "F16", "I32", "U32", "F32", "F64", "I64", "U64"}) {
    for (const char *name : {"b", "a \"quoted\"\n", "\xE4\xBD\xA0"})
      tensors.push_back({.name = std::string(name) + dtype, .dtype = dtype, .shape = {2, 4}});
  }
  const auto layout = lay_out_safetensors(tensors);
  ASSERT_TRUE(layout) << layout.error().message;
  const std::string contents = layout->header + std::string(layout->file_bytes() - layout->header.size(), '\1');
  write(directory / "file", contents);
  EXPECT_THAT(ask_python("tensors", directory / "file"), HasSubstr("same bytes"));
  const auto back = read(contents);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->tensors, layout->tensors);
}

SafetensorsTensor tensor(std::string name, std::string dtype, std::vector<int64_t> shape) {
  return {.name = std::move(name), .dtype = std::move(dtype), .shape = std::move(shape)};
}

TEST(SafetensorsWriter, RefusesWhatNoFileCanHold) {
  const auto message = [](std::vector<SafetensorsTensor> tensors) { return lay_out_safetensors(std::move(tensors)).error().message; };
  EXPECT_EQ(message({tensor("a", "F32", {1}), tensor("a", "U8", {1})}), "two tensors are named \"a\"");
  EXPECT_EQ(message({tensor("__metadata__", "F32", {1})}), "a tensor has the reserved name \"__metadata__\"");
  EXPECT_EQ(message({tensor("a", "F33", {1})}), "tensor \"a\" of dtype F33 has no size that can be written");
  EXPECT_EQ(message({tensor("a", "F32", {INT64_MAX, 3})}), "tensor \"a\" of dtype F32 has no size that can be written");
  EXPECT_EQ(message({tensor("\xff", "F32", {1})}), "the name of a tensor is not UTF-8");
}

struct Sample {
  const char *name;
  std::string json;
  size_t data_bytes;
  std::string fault;  // empty: sound
  // The format's text forbids it ("MUST begin with {", "duplicate keys are disallowed"); version 0.8.0 of the package does not notice.
  bool reference_is_laxer = false;
};

std::string entry(const std::string &dtype, const std::string &shape, uint64_t begin, uint64_t end) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) +
         "]}";
}

std::string nested(size_t depth) { return R"({"a":)" + std::string(depth, '[') + std::string(depth, ']') + "}"; }

const std::vector<Sample> &samples() {
  static const std::string kWord = entry("F32", "[1]", 0, 4);
  static const std::vector<Sample> kSamples{
      {"ok_empty", "{}", 0, ""},
      {"ok_no_metadata", R"({"a":)" + kWord + "}", 4, ""},
      {"ok_padding", R"({"a":)" + kWord + "}     ", 4, ""},
      {"ok_scalar", R"({"a":)" + entry("F64", "[]", 0, 8) + "}", 8, ""},
      {"ok_empty_tensors", R"({"a":)" + entry("F32", "[0,7]", 0, 0) + R"(,"c":)" + entry("U8", "[0]", 4, 4) + R"(,"b":)" + kWord + "}", 4,
       ""},
      {"ok_unsorted", R"({"b":)" + entry("F32", "[1]", 4, 8) + R"(,"a":)" + kWord + "}", 8, ""},
      {"ok_metadata", R"({"__metadata__":{"format":"pt","note":"x"},"a":)" + kWord + "}", 4, ""},
      {"not_an_object", "[1]", 0, "its header does not begin with {"},
      {"space_first", R"( {"a":)" + kWord + "}", 4, "its header does not begin with {", true},
      {"not_json", R"({"a":)", 0, "not JSON at byte"},
      {"two_values", "{}{}", 0, "not JSON at byte"},
      {"zero_byte", std::string("{}\0x", 4), 0, "its header holds a zero byte"},
      {"not_utf8", "{\"\xff\":" + kWord + "}", 4, "not JSON at byte"},
      {"overlap", R"({"a":)" + entry("F32", "[2]", 0, 8) + R"(,"b":)" + entry("F32", "[1]", 4, 8) + "}", 8,
       "tensor \"b\" begins at byte 4 of the data, where 8 was expected"},
      {"same_place", R"({"a":)" + kWord + R"(,"b":)" + kWord + "}", 4, "tensor \"b\" begins at byte 0 of the data, where 4 was expected"},
      {"hole", R"({"a":)" + kWord + R"(,"b":)" + entry("F32", "[1]", 8, 12) + "}", 12,
       "tensor \"b\" begins at byte 8 of the data, where 4 was expected"},
      {"hole_first", R"({"a":)" + entry("F32", "[1]", 4, 8) + "}", 8, "tensor \"a\" begins at byte 4 of the data, where 0 was expected"},
      {"too_short", R"({"a":)" + kWord + "}", 3, "the tensors end at byte 4 of the data, the file has 3"},
      {"trailing_bytes", R"({"a":)" + kWord + "}", 5, "the tensors end at byte 4 of the data, the file has 5"},
      {"backwards", R"({"a":)" + entry("U8", "[0]", 0, 0) + R"(,"b":)" + entry("F32", "[1]", 0, 0) + "}", 0,
       "tensor \"b\" has offsets that do not fit its shape of 4 bytes"},
      {"wrong_size", R"({"a":)" + entry("F32", "[2]", 0, 4) + "}", 4, "tensor \"a\" has offsets that do not fit its shape of 8 bytes"},
      {"product_overflow", R"({"a":)" + entry("F32", "[4294967296,4294967296]", 0, 0) + "}", 0, "the shape of tensor \"a\" overflows"},
      {"bits_overflow", R"({"a":)" + entry("U8", "[2305843009213693952]", 0, 0) + "}", 0, "the shape of tensor \"a\" overflows"},
      {"dimension_overflow", R"({"a":)" + entry("F32", "[18446744073709551616]", 0, 4) + "}", 4,
       "a number that is no 64-bit integer stands where it may not in tensor \"a\""},
      {"negative", R"({"a":)" + entry("F32", "[-1]", 0, 4) + "}", 4, "a negative number stands where it may not in tensor \"a\""},
      {"fraction", R"({"a":)" + entry("F32", "[1.0]", 0, 4) + "}", 4,
       "a number that is no 64-bit integer stands where it may not in tensor \"a\""},
      {"half_byte", R"({"a":)" + entry("F4", "[1]", 0, 1) + "}", 1, "the shape of tensor \"a\" overflows"},
      {"unknown_dtype", R"({"a":)" + entry("F33", "[1]", 0, 4) + "}", 4, "tensor \"a\" has the unknown dtype \"F33\""},
      {"duplicate_name", R"({"a":)" + kWord + R"(,"a":)" + kWord + "}", 4, "\"a\" stands twice", true},
      {"duplicate_field", R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4,
       "key \"dtype\" stands twice in tensor \"a\""},
      {"missing_field", R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, "tensor \"a\" lacks dtype, shape or data_offsets"},
      {"three_offsets", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", 4,
       "data_offsets of tensor \"a\" are not two numbers"},
      {"one_offset", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", 4, "data_offsets of tensor \"a\" are not two numbers"},
      {"number_entry", R"({"a":1})", 0, "a number stands where it may not"},
      {"null_entry", R"({"a":null})", 0, "null stands where it may not"},
      {"metadata_number", R"({"__metadata__":{"a":1}})", 0, "a number stands where it may not in the metadata"},
      {"metadata_nested", R"({"__metadata__":{"a":{}}})", 0, "an object stands where it may not in the metadata"},
      {"deep", nested(1000000), 0, "a list stands where it may not"},
  };
  return kSamples;
}

std::string file_of(const std::string &json, size_t data_bytes) {
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char *>(&length), sizeof length) + json + std::string(data_bytes, '\0');
}

// Why the reader refuses the file; empty when it does not.
std::string fault_of(const std::string &contents) {
  static constexpr std::string_view kIntroduction = "FILE: is not a sound safetensors file: ";
  const auto layout = read(contents);
  if (layout) return "";
  EXPECT_EQ(layout.error().kind, ErrorKind::kData);
  EXPECT_THAT(layout.error().message, StartsWith(std::string(kIntroduction)));
  return layout.error().message.substr(kIntroduction.size());
}

TEST(SafetensorsReader, RefusesEachFaultByName) {
  for (const Sample &sample : samples()) {
    const std::string fault = fault_of(file_of(sample.json, sample.data_bytes));
    EXPECT_EQ(fault.empty(), sample.fault.empty()) << sample.name << ": " << fault;
    EXPECT_THAT(fault, HasSubstr(sample.fault)) << sample.name;
  }
}

TEST(SafetensorsReader, RefusesLengthsBeforeReadingThatMuch) {
  const auto with_length = [](uint64_t length) { return std::string(reinterpret_cast<const char *>(&length), sizeof length) + "{}"; };
  EXPECT_THAT(fault_of("1234567"), HasSubstr("it has 7 bytes, fewer than its header's length takes"));
  EXPECT_THAT(fault_of(with_length(3)), HasSubstr("its header claims 3 bytes, the file has 10"));
  EXPECT_THAT(fault_of(with_length(100000000)), HasSubstr("its header claims 100000000 bytes, the file has 10"));
  EXPECT_THAT(fault_of(with_length(100000001)), HasSubstr("over the limit"));
  EXPECT_THAT(fault_of(with_length(UINT64_MAX)), HasSubstr("over the limit"));
  EXPECT_THAT(fault_of(with_length(0)), HasSubstr("does not begin with {"));
}

// Neither stricter nor laxer than the format's own reader.
TEST(SafetensorsReader, JudgesAsTheReferenceDoes) {
  TemporaryDirectory corpus;
  std::string expected;
  std::vector<std::string> lines;
  for (const Sample &sample : samples()) {
    write(corpus / sample.name, file_of(sample.json, sample.data_bytes));
    lines.push_back(sample.name + std::string(sample.fault.empty() || sample.reference_is_laxer ? " sound\n" : " refused\n"));
  }
  std::sort(lines.begin(), lines.end());
  for (const std::string &line : lines) expected += line;
  EXPECT_EQ(ask_python("judge", corpus.path()), expected);
}

// Cut or with a bit flipped anywhere in its header, a file is refused or says something else; the reader survives all of it.
TEST(SafetensorsReader, SurvivesEveryCutAndFlip) {
  const auto layout = *lay_out_safetensors({tensor("a", "F32", {2, 3}), tensor("b", "BF16", {0}), tensor("c", "U8", {5})});
  const std::string sound = layout.header + std::string(layout.file_bytes() - layout.header.size(), '\0');
  for (size_t size = 0; size < sound.size(); ++size) EXPECT_NE(fault_of(sound.substr(0, size)), "") << size;
  for (size_t bit = 0; bit < 8 * layout.header.size(); ++bit) {
    std::string flipped = sound;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    const auto flipped_layout = read(flipped);
    EXPECT_TRUE(!flipped_layout || flipped_layout->header != layout.header) << bit;
  }
}

}  // namespace
}  // namespace trainhost
