#include <algorithm>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "data/chat_marker.h"
#include "data/line_reader.h"
#include "data/passage_reader.h"
#include "temporary_folder.h"

namespace trainhost {
namespace {

// What reading one file gives: its passages, or the error after the file's name.
struct Reading {
  std::vector<Passage> passages;
  std::string error, summary;

  std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    for (const Passage &passage : passages) texts.push_back(passage.text);
    return texts;
  }
};

Reading read(const std::string &contents, TextFormat format, bool answers_only = false, const std::string &on_bad_input = "skip") {
  const TemporaryFolder folder;
  const SourceFile file{folder.write("f", contents), format, contents.size(), {}};
  Source source;
  source.name = "s";
  source.on_bad_input = on_bad_input;
  InputReport report(source, true);
  auto reader = PassageReader::open(file, answers_only, report).value();
  Reading reading;
  while (true) {
    auto passage = reader->next();
    if (!passage) reading.error = passage.error().message.substr(file.path.size());
    if (!passage || !*passage) break;
    reading.passages.push_back(**std::move(passage));
  }
  reading.summary = report.summary();
  return reading;
}

// The refusal of bad input, after the file's name and before what to do about it.
std::string refusal(const std::string &contents, TextFormat format, bool answers_only = false) {
  const std::string error = read(contents, format, answers_only, "refuse").error;
  const std::string advice = "; source \"s\" refuses bad input: mend the file, or set on_bad_input = \"skip\"";
  EXPECT_TRUE(error.ends_with(advice)) << error;
  return error.substr(0, error.size() - std::min(error.size(), advice.size()));
}

using Texts = std::vector<std::string>;

TEST(TextPassages, KeepAFileWhole) {
  EXPECT_EQ(read("One.\r\n\r\nTwo.\r\n", TextFormat::kText).texts(), Texts{"One.\n\nTwo.\n"});
  EXPECT_EQ(read("\n \nOne", TextFormat::kText).texts(), Texts{"One\n"});
}

TEST(TextPassages, EndAtBlankLinesAndGoOn) {
  const std::string paragraph = std::string(3000, 'a') + "\n\n";
  const Reading reading = read(paragraph + paragraph + paragraph + paragraph + "end\n", TextFormat::kText);
  EXPECT_EQ(reading.texts(), (Texts{paragraph + paragraph + paragraph, paragraph + "end\n"}));
  EXPECT_FALSE(reading.passages[0].continues);
  EXPECT_TRUE(reading.passages[1].continues);
}

TEST(TextPassages, EndAtAnyLineWhenThereAreNoBlankOnes) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += std::string(1023, 'a') + "\n";
  const Reading reading = read(text, TextFormat::kText);
  ASSERT_EQ(reading.passages.size(), 4u);
  EXPECT_EQ(reading.passages[0].text.size(), 32u << 10);
}

TEST(TextPassages, ReadOverManyBlankLines) {
  const std::string gap(100'000, '\n');
  const Reading reading = read(gap + std::string(9000, 'a') + gap + "b\n", TextFormat::kText);
  ASSERT_EQ(reading.passages.size(), 2u);
  EXPECT_EQ(reading.passages[1].text.back(), '\n');
  EXPECT_NE(reading.passages[1].text.find('b'), std::string::npos);
}

TEST(TextPassages, DropFrontMatterOfMarkdown) {
  EXPECT_EQ(read("---\ntitle: x\n---\n\n# Heading\n", TextFormat::kMarkdown).texts(), Texts{"# Heading\n"});
  EXPECT_EQ(read("+++\ntitle = 1\n+++\ntext\n", TextFormat::kMarkdown).texts(), Texts{"text\n"});
  EXPECT_EQ(read("---\nan open rule\n", TextFormat::kMarkdown).texts(), Texts{"---\nan open rule\n"});
  EXPECT_EQ(read("text\n---\nmore\n---\n", TextFormat::kMarkdown).texts(), Texts{"text\n---\nmore\n---\n"});
  EXPECT_EQ(read("---\ntitle: x\n---\n\ntext\n", TextFormat::kText).texts(), Texts{"---\ntitle: x\n---\n\ntext\n"});
}

TEST(TextPassages, SkipAndCountBadInput) {
  Reading reading = read(
      "good\nb\xff"
      "ad\ngood\n",
      TextFormat::kText);
  EXPECT_EQ(reading.texts(), Texts{"good\ngood\n"});
  EXPECT_EQ(reading.summary, "1 line of invalid UTF-8");
  reading = read(std::string("MZ\0\1binary\n", 11), TextFormat::kText);
  EXPECT_TRUE(reading.passages.empty());
  EXPECT_EQ(reading.summary, "1 binary file");
  reading = read("a\n" + std::string(LineReader::kLongest + 1, 'x') + "\nb\n", TextFormat::kText);
  EXPECT_EQ(reading.texts(), Texts{"a\nb\n"});
  EXPECT_EQ(reading.summary, "1 over-long line");
  EXPECT_EQ(read("", TextFormat::kText).summary, "1 empty file");
  EXPECT_EQ(read("\n\n", TextFormat::kMarkdown).summary, "1 empty file");
}

TEST(TextPassages, RefuseBadInputWhereItStands) {
  EXPECT_EQ(refusal("", TextFormat::kText), ": is empty");
  EXPECT_EQ(refusal(" \n\n", TextFormat::kText), ": holds no text");
  EXPECT_EQ(refusal(std::string("MZ\0", 3), TextFormat::kText), ": is not text: its byte 2 is zero");
  EXPECT_EQ(refusal(std::string(9000, 'a') + "\nb\n" + std::string("c\0d\n", 4), TextFormat::kText),
            ":3: is not text: holds a zero byte; the file is read no further");
  EXPECT_EQ(refusal("a\n\xc3\n", TextFormat::kText), ":2: is not valid UTF-8");
  EXPECT_EQ(refusal("a\n" + std::string(LineReader::kLongest + 1, 'x'), TextFormat::kText), ":2: is longer than 16 MiB");
}

TEST(JsonlPassages, TakeTheTextOfEachLine) {
  const Reading reading =
      read("\xEF\xBB\xBF{\"text\": \"One.\\n\\u4f60\\u597d\", \"id\": 7}\r\n\n{\"text\": \"Two.\"}", TextFormat::kJsonl);
  EXPECT_EQ(reading.texts(), (Texts{"One.\n你好", "Two."}));
  EXPECT_FALSE(reading.passages[1].continues);
}

TEST(JsonlPassages, RefuseBadInputWhereItStands) {
  const std::string good = "{\"text\": \"a\"}\n";
  EXPECT_EQ(refusal("\n", TextFormat::kJsonl), ": is empty");
  EXPECT_EQ(refusal(good + "{\"text\": \"\xff\"}", TextFormat::kJsonl), ":2: is not valid UTF-8");
  EXPECT_TRUE(refusal(good + "{\"text\": \"a\"", TextFormat::kJsonl).starts_with(":2: is not JSON: "));
  EXPECT_TRUE(refusal(good + "{\"text\": \"a\"} x", TextFormat::kJsonl).starts_with(":2: is not JSON: "));
  EXPECT_TRUE(refusal(std::string(100'000, '['), TextFormat::kJsonl).starts_with(":1: is not JSON: "));
  EXPECT_TRUE(refusal("{\"text\": \"\\ud800\"}", TextFormat::kJsonl).starts_with(":1: is not JSON: "));
  EXPECT_EQ(refusal("[1]", TextFormat::kJsonl), ":1: is an array; expected an object");
  EXPECT_EQ(refusal("{\"body\": \"a\"}", TextFormat::kJsonl), ":1: has no \"text\"; expected {\"text\": \"...\"}");
  EXPECT_EQ(refusal("{\"text\": 3}", TextFormat::kJsonl), ":1: \"text\" is a number; expected a string; expected {\"text\": \"...\"}");
  EXPECT_EQ(refusal("{\"text\": \" \"}", TextFormat::kJsonl), ":1: \"text\" is empty");
  EXPECT_EQ(refusal("{\"text\": \"a\"}", TextFormat::kAnyJsonl, true),
            ":1: has no answer for loss_on = \"answers\" to learn from; expected a chat line");
  EXPECT_EQ(refusal("{\"text\": \"" + std::string(LineReader::kLongest, 'x') + "\"}", TextFormat::kJsonl), ":1: is longer than 16 MiB");
}

TEST(JsonlPassages, SkipBadLinesAndGoOn) {
  const Reading reading =
      read("{\"text\": \"a\"}\n{\n[]\n{\"text\": null}\n\xff\n{\"text\": \"\"}\n{\"text\": \"b\"}\n", TextFormat::kJsonl);
  EXPECT_EQ(reading.texts(), (Texts{"a", "b"}));
  EXPECT_EQ(reading.summary, "1 line of invalid UTF-8, 1 line that is not JSON, 2 lines of the wrong shape, 1 line without text");
}

// The passage with its segments marked: what counts stands in brackets.
std::string marked(const Passage &passage) {
  std::string text;
  size_t at = 0;
  for (const Segment &segment : passage.segments) {
    const std::string part = passage.text.substr(at, segment.length);
    text += segment.counts ? "[" + part + "]" : part;
    at += segment.length;
  }
  EXPECT_EQ(at, passage.text.size());
  return text;
}

TEST(ChatPassages, RenderTurnsAndCountAnswersOnly) {
  const Reading reading = read(
      R"({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hello? "}, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Bye."}, {"role": "assistant", "content": "Bye!"}]}
{"prompt": "2 + 2?", "completion": "4"}
{"instruction": "Add.", "input": "2, 3", "output": "5"}
{"instruction": "Say hello.", "input": "", "output": "Hello."}
)",
      TextFormat::kChat, true);
  ASSERT_EQ(reading.passages.size(), 4u) << reading.summary;
  EXPECT_EQ(marked(reading.passages[0]), "System: Be brief.\nUser: Hello?\nAssistant:[ Hello!\n]User: Bye.\nAssistant:[ Bye!\n]");
  EXPECT_EQ(marked(reading.passages[1]), "User: 2 + 2?\nAssistant:[ 4\n]");
  EXPECT_EQ(marked(reading.passages[2]), "User: Add.\n2, 3\nAssistant:[ 5\n]");
  EXPECT_EQ(marked(reading.passages[3]), "User: Say hello.\nAssistant:[ Hello.\n]");
}

// The turns of rendered text, by the roles that begin its lines: what somebody who reads the template back would find.
std::vector<std::pair<std::string, std::string>> turns_of(const std::string &text) {
  std::vector<std::pair<std::string, std::string>> turns;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(": ");
    const std::string name = line.substr(0, std::min(colon, line.size()));
    if (name == "System" || name == "User" || name == "Assistant") {
      turns.emplace_back(name, line.substr(colon + 2));
    } else {
      turns.back().second += "\n" + line;
    }
  }
  return turns;
}

TEST(ChatPassages, ReadBackToTheirTurns) {  // A34
  const Reading reading = read(
      R"({"messages": [{"role": "system", "content": "Be brief.\nBe kind."}, {"role": "user", "content": "What is this: a list?"}, {"role": "assistant", "content": "1. One\n\n2. Two"}, {"role": "user", "content": "再见"}, {"role": "assistant", "content": "<b>"}]})",
      TextFormat::kChat, true);
  ASSERT_EQ(reading.passages.size(), 1u) << reading.summary;
  EXPECT_EQ(turns_of(reading.passages[0].text), (std::vector<std::pair<std::string, std::string>>{{"System", "Be brief.\nBe kind."},
                                                                                                  {"User", "What is this: a list?"},
                                                                                                  {"Assistant", "1. One\n\n2. Two"},
                                                                                                  {"User", "再见"},
                                                                                                  {"Assistant", "<b>"}}));
}

TEST(ChatMarker, IsFoundWhereverItStands) {  // A34: what a base model must not learn to write
  EXPECT_EQ(chat_marker("a < b, x[1] <|im_start|>user\nhi<|im_end|>"), "<|im_start|>");
  EXPECT_EQ(chat_marker("[INST] hi [/INST]"), "[INST]");
  EXPECT_EQ(chat_marker("hi<end_of_turn>"), "<end_of_turn>");
  EXPECT_EQ(chat_marker("<|im_star|> [inst] <<sys>> <html> [1] <"), "");
  EXPECT_EQ(chat_marker("User: our own template\nAssistant: has none\n"), "");
  EXPECT_EQ(chat_marker(""), "");
}

TEST(ChatPassages, CountAllWhenAsked) {
  const Reading reading = read(R"({"prompt": "2 + 2?", "completion": "4"})", TextFormat::kChat);
  EXPECT_EQ(marked(reading.passages.at(0)), "[User: 2 + 2?\nAssistant:][ 4\n]");
}

TEST(ChatPassages, MixWithTextLinesWhenTheFormatIsLeftOpen) {
  const Reading reading = read("{\"text\": \"a\"}\n{\"prompt\": \"q\", \"completion\": \"r\"}\n", TextFormat::kAnyJsonl);
  EXPECT_EQ(reading.texts(), (Texts{"a", "User: q\nAssistant: r\n"}));
}

TEST(ChatPassages, RefuseBadInputWhereItStands) {
  const auto of = [](const std::string &line) { return refusal(line, TextFormat::kChat, true); };
  EXPECT_EQ(of(R"({"text": "a"})"), ":1: has none of \"messages\", \"prompt\" and \"instruction\"; expected a chat line");
  EXPECT_EQ(of(R"({"messages": "a"})"), ":1: \"messages\" is a string; expected an array");
  EXPECT_EQ(of(R"({"messages": []})"), ":1: has no messages");
  EXPECT_EQ(of(R"({"messages": [{"role": "user", "content": "a"}, 3]})"), ":1: message 2 is a number; expected an object");
  EXPECT_EQ(of(R"({"messages": [{"content": "a"}]})"), ":1: message 1 has no \"role\"");
  EXPECT_EQ(of(R"({"messages": [{"role": "tool", "content": "a"}]})"),
            ":1: message 1 has the role \"tool\"; expected system, user or assistant");
  EXPECT_EQ(of(R"({"messages": [{"role": "user", "content": null}]})"), ":1: message 1 \"content\" is null; expected a string");
  EXPECT_EQ(of(R"({"messages": [{"role": "user", "content": "a"}]})"), ":1: has no message of the assistant");
  EXPECT_EQ(of(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}]})"), ":1: turn 2 is empty");
  EXPECT_EQ(of(R"({"prompt": "a"})"), ":1: has no \"completion\"");
  EXPECT_EQ(of(R"({"instruction": "a", "input": [], "output": "b"})"), ":1: \"input\" is an array; expected a string");
}

}  // namespace
}  // namespace trainhost
