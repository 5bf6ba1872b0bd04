#include "data/line_reader.h"

#include <vector>

#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace trainhost {
namespace {

std::vector<std::string> lines_of(const std::string &contents) {
  const TemporaryFolder folder;
  auto reader = LineReader::open(folder.write("f", contents)).value();
  std::vector<std::string> lines;
  while (const auto line = reader.next().value()) {
    lines.push_back(line->too_long ? "too long" : std::string(line->text));
    EXPECT_EQ(line->number, static_cast<int>(lines.size()));
  }
  EXPECT_EQ(reader.bytes_read(), contents.size());
  return lines;
}

using Lines = std::vector<std::string>;

TEST(LineReader, GivesLinesWithoutTheirEnds) {
  EXPECT_EQ(lines_of(""), Lines());
  EXPECT_EQ(lines_of("\n"), Lines{""});
  EXPECT_EQ(lines_of("a\n\nb"), (Lines{"a", "", "b"}));
  EXPECT_EQ(lines_of("a\r\nb\r\n"), (Lines{"a", "b"}));
  EXPECT_EQ(lines_of("a\rb\n"), Lines{"a\rb"});
}

TEST(LineReader, DropsAByteOrderMarkAtTheBeginningOnly) {
  EXPECT_EQ(lines_of("\xEF\xBB\xBF"
                     "a\n\xEF\xBB\xBF"
                     "b\n"),
            (Lines{"a",
                   "\xEF\xBB\xBF"
                   "b"}));
  EXPECT_EQ(lines_of("\xEF\xBB\xBF"), Lines());
}

TEST(LineReader, ReadsOverLinesThatAreTooLong) {
  const std::string longest(LineReader::kLongest, 'x');
  EXPECT_EQ(lines_of("a\n" + longest + "x\nb"), (Lines{"a", "too long", "b"}));
  EXPECT_EQ(lines_of(longest + longest + longest), Lines{"too long"});
  EXPECT_EQ(lines_of(longest + "\nb"), (Lines{longest, "b"}));
}

TEST(LineReader, FindsEndsAcrossItsPieces) {
  Lines expected;
  std::string contents;
  for (size_t length = 100'000; length < 900'000; length += 77'777) {
    expected.emplace_back(length, static_cast<char>('a' + expected.size()));
    contents += expected.back() + "\r\n";
  }
  EXPECT_EQ(lines_of(contents), expected);
}

TEST(LineReader, NamesAFileThatIsNotThere) {
  const auto reader = LineReader::open("/nowhere/f");
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().message, "/nowhere/f: cannot be opened: No such file or directory");
}

}  // namespace
}  // namespace trainhost
