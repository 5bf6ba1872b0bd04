#include "metrics/console.h"

#include <thread>

#include <pty.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/log.h"

namespace trainhost {
namespace {

// A console whose output and clock are in the test's hands.
class ConsoleTest : public testing::Test {
 protected:
  ~ConsoleTest() override {
    console.reset();
    if (out_ != nullptr) std::fclose(out_);
    std::free(text_);
  }

  void open(bool redraw, size_t width = 45) {
    out_ = open_memstream(&text_, &size_);
    console =
        make_console(out_, {.redraw = redraw, .colour = false, .width = [width] { return width; }, .seconds = [this] { return now; }});
    console->begin(
        {.recipe = "r", .directory = "d", .model = "m", .parameters = 1, .total_steps = 1'000, .total_tokens = 10'000, .first_step = 0});
    written();
  }

  void step(uint64_t number) {
    StepReport report;
    report.step = number;
    report.tokens = 10 * number;
    report.stage = "stable";
    report.loss = 2;
    report.tokens_per_second = 100;
    console->step(report);
  }

  // What was written since the last call.
  std::string written() {
    std::fflush(out_);
    const std::string news(text_ + seen_, size_ - seen_);
    seen_ = size_;
    return news;
  }

  std::unique_ptr<Console> console;
  double now = 0;

 private:
  std::FILE *out_ = nullptr;
  char *text_ = nullptr;
  size_t size_ = 0, seen_ = 0;
};

constexpr char kErase[] = "\r\x1b[K";

TEST_F(ConsoleTest, DrawsOneLineAnewAtMostTenTimesASecond) {
  open(true);
  step(1);
  EXPECT_EQ(written(), "\r0%  loss 2.000  100 tokens/s  1m 40s left\x1b[K");
  now = 0.05;
  step(2);
  EXPECT_EQ(written(), "");
  now = 0.11;
  step(500);
  EXPECT_EQ(written(), "\r50%  loss 2.000  100 tokens/s  50s left\x1b[K");
}

TEST_F(ConsoleTest, AlwaysDrawsTheLastStepAndLeavesItStanding) {
  open(true);
  step(999);
  written();
  step(1'000);
  EXPECT_EQ(written(), "\r100%  1,000/1,000  loss 2.000  100 tokens/s\x1b[K");
}

TEST_F(ConsoleTest, PrintsReportsAboveTheLine) {
  open(true);
  step(500);
  const std::string line = written();
  console->sample({.step = 500, .prompt = "a", .continuation = "b"});
  EXPECT_EQ(written(), kErase + std::string("sample at step 500\n    ab\n") + line);
}

TEST_F(ConsoleTest, LetsMessagesPassAboveTheLine) {
  open(true);
  step(500);
  const std::string line = written();
  testing::internal::CaptureStderr();
  log_warning("look");
  EXPECT_NE(testing::internal::GetCapturedStderr().find("look"), std::string::npos);
  EXPECT_EQ(written(), kErase + line);
}

TEST_F(ConsoleTest, GivesTheLogBackAtItsEnd) {
  open(true);
  step(500);
  written();
  console.reset();
  EXPECT_EQ(written(), "\n");
  log_debug("nobody is there");
}

TEST_F(ConsoleTest, WritesPlainLinesNowAndThenElsewhere) {
  open(false);
  step(1);
  EXPECT_EQ(written(), "step 1/1,000 (0%)  stable  loss 2.0000  lr 0.000e+00  gradient 0  100 tokens/s  0 B  1m 40s left\n");
  now = 4;
  step(20);  // too soon
  EXPECT_EQ(written(), "");
  now = 100;
  step(21);
  EXPECT_NE(written(), "");
  now = 200;
  step(25);  // too little
  EXPECT_EQ(written(), "");
  now = 201;
  step(1'000);
  EXPECT_EQ(written().substr(0, 23), "step 1,000/1,000 (100%)");
}

TEST_F(ConsoleTest, ShowsWorkAsABarAndItsEndAsALine) {
  open(true, 80);
  console->progress("training tokenizer", 0, 400);
  now = 10;
  written();
  console->progress("training tokenizer", 100, 400);
  EXPECT_EQ(written(), "\rtraining tokenizer  ━━━━━───────────────  25%  100/400  30s left\x1b[K");
  now = 40;
  console->progress("training tokenizer", 400, 400);
  EXPECT_EQ(written(), kErase + std::string("training tokenizer  100%  400/400  in 40s\n"));
  console->progress("tokenizing", 100, 400);  // another work begins its own time
  now = 50;
  console->progress("tokenizing", 200, 400);
  EXPECT_NE(written().find("200/400  10s left"), std::string::npos);
}

TEST_F(ConsoleTest, TakesProgressAndMessagesFromAnyThread) {
  open(true);
  std::thread worker([&] {
    for (uint64_t i = 0; i <= 200; ++i) console->progress("work", i, 200);
  });
  testing::internal::CaptureStderr();
  for (uint64_t i = 1; i <= 200; ++i) {
    step(i);
    log_info("message");
  }
  worker.join();
  testing::internal::GetCapturedStderr();
  EXPECT_NE(written().find("work  100%  200/200"), std::string::npos);
}

TEST(ConsoleMode, FollowsTheTerminalAndItsVariables) {
  int terminal = 0, other = 0;
  winsize size{.ws_row = 24, .ws_col = 123, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(openpty(&terminal, &other, nullptr, nullptr, &size), 0);
  const ConsoleMode full = console_mode(other, "xterm", nullptr);
  EXPECT_TRUE(full.redraw && full.colour);
  EXPECT_EQ(full.width(), 123u);
  EXPECT_TRUE(console_mode(other, "xterm", "").colour);
  const ConsoleMode plain = console_mode(other, "xterm", "1");
  EXPECT_TRUE(plain.redraw && !plain.colour);
  EXPECT_FALSE(console_mode(other, "dumb", nullptr).redraw);
  EXPECT_FALSE(console_mode(other, nullptr, nullptr).redraw);
  close(terminal), close(other);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_FALSE(console_mode(ends[1], "xterm", nullptr).redraw);
  close(ends[0]), close(ends[1]);
}

}  // namespace
}  // namespace trainhost
