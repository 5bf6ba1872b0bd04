#include "base/hash.h"

#include <fstream>

#include <gtest/gtest.h>

#include "support/temporary_directory.h"

namespace trainhost {
namespace {

// FIPS 180-4 example values, from NIST's "Examples with Intermediate Values".
const std::string kEmpty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const std::string kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string kTwoBlocks = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
const std::string kMillionA = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256, GivesTheStandardsValues) {
  EXPECT_EQ(sha256(""), kEmpty);
  EXPECT_EQ(sha256("abc"), kAbc);
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), kTwoBlocks);
  EXPECT_EQ(sha256(std::string(1000000, 'a')), kMillionA);
}

TEST(Sha256, DoesNotDependOnThePieces) {
  Sha256 hash;
  for (size_t size = 0; size < 1000; ++size) hash.update(std::string(size, 'a'));  // 499500 bytes
  hash.update(std::string(500500, 'a'));
  EXPECT_EQ(hash.finish(), kMillionA);
}

TEST(Sha256OfFile, ReadsAllOfIt) {
  TemporaryDirectory directory;
  for (const size_t size : {size_t{0}, size_t{1000000}, size_t{(1 << 20) - 1}, size_t{1 << 20}, size_t{(1 << 20) + 1}}) {
    const std::string contents(size, 'a');
    std::ofstream(directory / "file", std::ios::binary) << contents;
    EXPECT_EQ(sha256_of_file(directory / "file"), sha256(contents)) << size;
  }
}

TEST(Sha256OfFile, NamesWhatCannotBeRead) {
  TemporaryDirectory directory;
  const auto absent = sha256_of_file(directory / "absent");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().kind, ErrorKind::kData);
  EXPECT_EQ(absent.error().message, (directory / "absent") + ": cannot be opened: No such file or directory");
  EXPECT_FALSE(sha256_of_file(directory.path()));  // a directory opens, and does not read
}

}  // namespace
}  // namespace trainhost
