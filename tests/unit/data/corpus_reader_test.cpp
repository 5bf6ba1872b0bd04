#include "data/corpus_reader.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "base/log.h"
#include "data/source_files.h"
#include "temporary_folder.h"

namespace trainhost {
namespace {

TEST(HeldOutSplit, TakesTheShareByContent) {
  HeldOutSplit split(0.1), again(0.1);
  std::vector<std::string> texts;
  for (int i = 0; i < 10'000; ++i) texts.push_back("text " + std::to_string(i));
  for (const std::string &text : texts) split.observe(text);
  for (auto text = texts.rbegin(); text != texts.rend(); ++text) again.observe(*text);
  int held_out = 0;
  for (const std::string &text : texts) {
    held_out += split.holds_out(text);
    EXPECT_EQ(split.holds_out(text), again.holds_out(text));
  }
  EXPECT_NEAR(held_out, 1000, 120);  // four deviations
  // The split never changes from version to version: what was held out once stays so.
  std::string first;
  for (const std::string &text : texts) {
    if (first.empty() && split.holds_out(text)) first = text;
  }
  EXPECT_EQ(first, "text 12");
}

TEST(HeldOutSplit, TakesOneAtLeastAndNeverAll) {
  HeldOutSplit small(0.001);
  for (int i = 0; i < 5; ++i) small.observe(std::to_string(i));
  int held_out = 0;
  for (int i = 0; i < 5; ++i) held_out += small.holds_out(std::to_string(i));
  EXPECT_EQ(held_out, 1);

  HeldOutSplit one(0.5);
  one.observe("only");
  EXPECT_FALSE(one.holds_out("only"));

  HeldOutSplit none(0);
  none.observe("a");
  none.observe("b");
  EXPECT_FALSE(none.holds_out("a") || none.holds_out("b"));
}

// A text of numbered paragraphs of 1 KiB.
std::string paragraphs(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    std::string paragraph = "paragraph " + std::to_string(i) + " ";
    paragraph.resize(1022, '.');
    text += paragraph + "\n\n";
  }
  return text;
}

std::vector<Document> documents_of(const std::vector<SourceFile> &files, double share) {
  Source source;
  InputReport report(source, true);
  HeldOutSplit split(share);
  CorpusReader passages(files, false, report);
  while (const auto passage = passages.next().value()) split.observe(passage->text);
  DocumentReader reader(CorpusReader(files, false, report), split);
  std::vector<Document> documents;
  while (auto document = reader.next().value()) documents.push_back(*std::move(document));
  return documents;
}

TEST(DocumentReader, CutsHeldOutPassagesOutAndKeepsTheRestTogether) {
  const TemporaryFolder folder;
  const std::string text = paragraphs(400);
  const auto documents = documents_of({{folder.write("f", text), TextFormat::kText, 0, {}}}, 0.1);
  std::string joined;
  size_t held_out = 0, previous = 2;
  for (const Document &document : documents) {
    joined += document.text;
    if (document.held_out) held_out += document.text.size();
    EXPECT_NE(static_cast<size_t>(document.held_out), previous);  // neighbours on one side are one document
    previous = document.held_out;
  }
  EXPECT_EQ(joined, text);
  EXPECT_GT(held_out, text.size() / 50);
  EXPECT_LT(held_out, text.size() / 4);
}

TEST(DocumentReader, HoldsOutSomeOfASmallSource) {
  const TemporaryFolder folder;
  const auto documents = documents_of({{folder.write("f", paragraphs(40)), TextFormat::kText, 0, {}}}, 0.01);
  EXPECT_EQ(std::count_if(documents.begin(), documents.end(), [](const Document &document) { return document.held_out; }), 1);
}

TEST(DocumentReader, EndsDocumentsAtFilesAndAtOneMebibyte) {
  const TemporaryFolder folder;
  const auto documents = documents_of(
      {{folder.write("a", paragraphs(1500)), TextFormat::kText, 0, {}}, {folder.write("b", "b\n"), TextFormat::kText, 0, {}}}, 0);
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_LE(documents[0].text.size(), DocumentReader::kLongestDocument);
  EXPECT_GT(documents[0].text.size(), DocumentReader::kLongestDocument - (9 << 10));
  EXPECT_EQ(documents[2].text, "b\n");
}

TEST(SourceFiles, ExpandsGlobsInOrderAndOnce) {
  const TemporaryFolder folder;
  for (const char *name : {"b.txt", "a.txt", "notes.md", "x.jsonl", "sub/c.txt"}) folder.write(name, "x");
  Source source;
  source.name = "s";
  source.paths = {folder.path() + "/*.txt", folder.path() + "/*", folder.path() + "/sub/c.txt"};
  const auto files = source_files(source).value();
  std::vector<std::string> found;
  for (const SourceFile &file : files)
    found.push_back(file.path.substr(folder.path().size() + 1) + " " + std::string(to_string(file.format)));
  EXPECT_EQ(found, (std::vector<std::string>{"a.txt text", "b.txt text", "notes.md markdown", "x.jsonl jsonl or chat", "sub/c.txt text"}));
  source.paths = {folder.path() + "/*.rst"};
  EXPECT_EQ(source_files(source).error().message, "source \"s\": no file matches \"" + folder.path() + "/*.rst\"");
}

TEST(InputReport, NamesTheFirstThreeOfAKindAndSumsUp) {
  Source source;
  source.name = "s";
  InputReport report(source, false);
  testing::internal::CaptureStderr();
  for (int line = 1; line <= 5; ++line) ASSERT_TRUE(report.fault(InputFault::kInvalidUtf8, "f", line, "is not valid UTF-8"));
  ASSERT_TRUE(report.fault(InputFault::kEmptyFile, "g", 0, "is empty"));
  report.summarise();
  const std::string told = testing::internal::GetCapturedStderr();
  EXPECT_NE(told.find("f:3: is not valid UTF-8; skipped"), std::string::npos) << told;
  EXPECT_EQ(told.find("f:4"), std::string::npos);
  EXPECT_NE(told.find("g: is empty; skipped"), std::string::npos);
  EXPECT_NE(told.find("source \"s\": skipped 1 empty file, 5 lines of invalid UTF-8"), std::string::npos) << told;
  EXPECT_EQ(report.skipped(), 6u);
}

}  // namespace
}  // namespace trainhost
