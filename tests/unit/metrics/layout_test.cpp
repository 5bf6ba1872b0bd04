// What the console shows, as exact text.
#include <cmath>

#include <gtest/gtest.h>

#include "metrics/progress_layout.h"
#include "metrics/report_layout.h"
#include "metrics/utf8_text.h"

namespace trainhost {
namespace {

const Palette kPlain(false), kColour(true);

StepReport report(uint64_t step) {
  return {.step = step,
          .tokens = 10'000 * step,
          .phase = "main",
          .stage = "stable",
          .loss = 3.25,
          .learning_rate = 0.01,
          .gradient_norm = 0.8312,
          .skipped = false,
          .seconds = 0.5,
          .tokens_per_second = 20'000,
          .utilisation = 0.414,
          .peak_memory = 1'231'413'248};
}

RunProgress progress_at(uint64_t step) {
  RunProgress progress;
  progress.begin(
      {.recipe = "r", .directory = "d", .model = "m", .parameters = 1, .total_steps = 2'000, .total_tokens = 20'000'000, .first_step = 0});
  progress.observe(report(step));
  return progress;
}

TEST(RunProgress, ShowsAllOnAWideTerminal) {
  EXPECT_EQ(progress_at(900).line(160),
            "stable  ━━━━━━━━━───────────  45%  900/2,000  loss 3.250  lr 1.00e-02  20.0k tokens/s  41% of peak  1.2 GB  9m 10s left");
}

TEST(RunProgress, LeavesOutTheLeastImportantFirst) {
  const RunProgress progress = progress_at(900);
  EXPECT_EQ(progress.line(90), "stable  ━━━━━━━━━───────────  45%  900/2,000  loss 3.250  20.0k tokens/s  9m 10s left");
  EXPECT_EQ(progress.line(60), "45%  900/2,000  loss 3.250  20.0k tokens/s  9m 10s left");
  EXPECT_EQ(progress.line(20), "45%  loss 3.250");
  EXPECT_EQ(progress.line(3), "45%");
  EXPECT_EQ(progress.line(2), "");
}

TEST(RunProgress, NeverExceedsTheWidth) {
  const RunProgress progress = progress_at(1'999);
  for (size_t width = 0; width < 200; ++width) EXPECT_LE(columns(progress.line(width)), width);
}

TEST(RunProgress, SmoothsTheLossAndPassesOverWhatIsNotFinite) {
  RunProgress progress = progress_at(1);
  StepReport next = report(2);
  next.loss = NAN;
  next.skipped = true;
  progress.observe(next);
  EXPECT_EQ(
      progress.line(200),
      "stable  ────────────────────  0%  2/2,000  loss 3.250  lr 1.00e-02  20.0k tokens/s  41% of peak  1.2 GB  1 skipped  16m 39s left");
  next = report(3);
  next.loss = 2.25;
  progress.observe(next);  // (0.9 x 3.25 + 2.25) / 1.9
  EXPECT_NE(progress.line(200).find("loss 2.724"), std::string::npos) << progress.line(200);
}

TEST(RunProgress, ShowsNoTimeLeftBeforeASpeedIsKnown) {
  RunProgress progress = progress_at(0);
  EXPECT_FALSE(progress.started());
  StepReport first = report(1);
  first.tokens_per_second = 0;
  RunProgress unknown;
  unknown.begin({.recipe = "", .directory = "", .model = "", .parameters = 0, .total_steps = 10, .total_tokens = 100'000, .first_step = 0});
  unknown.observe(first);
  EXPECT_EQ(unknown.line(200).find("left"), std::string::npos);
}

TEST(RunProgress, SaysEverythingInAPlainLine) {
  EXPECT_EQ(progress_at(900).plain_line(),
            "step 900/2,000 (45%)  stable  loss 3.2500  lr 1.000e-02  gradient 0.831  20.0k tokens/s  41% of peak  1.2 GB  9m 10s left");
  EXPECT_EQ(progress_at(2'000).plain_line(),
            "step 2,000/2,000 (100%)  stable  loss 3.2500  lr 1.000e-02  gradient 0.831  20.0k tokens/s  41% of peak  1.2 GB");
}

TEST(WorkLine, ShowsShareAndTimeLeft) {
  EXPECT_EQ(work_line("tokenizing novels", 1'200'000, 4'800'000, 10, 120),
            "tokenizing novels  ━━━━━───────────────  25%  1.2M/4.8M  30s left");
  EXPECT_EQ(work_line("tokenizing novels", 0, 4'800'000, 10, 120), "tokenizing novels  ────────────────────  0%  0/4.8M");
  EXPECT_EQ(work_plain_line("tokenizing novels", 1'200'000, 4'800'000, 10), "tokenizing novels  25%  1.2M/4.8M");
  EXPECT_EQ(work_plain_line("tokenizing novels", 4'800'000, 4'800'000, 40), "tokenizing novels  100%  4.8M/4.8M  in 40s");
}

EvaluationReport evaluation(uint64_t step, double code, double chinese) {
  return {.step = step,
          .tokens = 1'500'000,
          .rows = {{.source = "code", .loss_per_token = code, .loss_per_byte = code / 4, .tokens = 65'536},
                   {.source = "中文", .loss_per_token = chinese, .loss_per_byte = chinese / 4, .tokens = 900}}};
}

TEST(EvaluationTables, ShowTheChangeSinceTheEvaluationBefore) {
  EvaluationTables tables(kPlain);
  EXPECT_EQ(tables.next(evaluation(450, 3.2, 4)),
            "held-out loss at step 450, 1.5M tokens\n"
            "  source         nats/token          nats/byte    tokens\n"
            "  code      3.2000             0.8000              65.5k\n"
            "  中文        4.0000             1.0000                900\n");
  EXPECT_EQ(tables.next(evaluation(1'450, 3.1, 4.5)),
            "held-out loss at step 1,450, 1.5M tokens\n"
            "  source         nats/token          nats/byte    tokens\n"
            "  code      3.1000  -0.1000    0.7750  -0.0250     65.5k\n"
            "  中文        4.5000  +0.5000    1.1250  +0.1250       900\n");
}

TEST(EvaluationTables, PaintBetterGreenAndWorseRed) {
  EvaluationTables tables(kColour);
  tables.next(evaluation(1, 3.2, 4));
  const std::string text = tables.next(evaluation(2, 3.1, 4.5));
  EXPECT_NE(text.find("\x1b[32m -0.1000\x1b[0m"), std::string::npos) << text;
  EXPECT_NE(text.find("\x1b[31m +0.5000\x1b[0m"), std::string::npos) << text;
}

TEST(EpochsText, SaysWhatRepeatedTextIsWorth) {
  const EpochReport::Row unread{.source = "unread", .epochs = 0, .unique_tokens = 0, .tokens_read = 0, .effective_share = 1};
  const EpochReport::Row once{.source = "once", .epochs = 0.5, .unique_tokens = 50, .tokens_read = 50, .effective_share = 1};
  const EpochReport::Row often{.source = "often", .epochs = 4, .unique_tokens = 100, .tokens_read = 400, .effective_share = 0.931};
  EXPECT_EQ(epochs_text({.step = 1, .tokens = 450, .rows = {unread, once, often}}),
            "  epochs read: once 0.50, often 4.00 (worth 93.1% of new text)\n");
  EXPECT_EQ(epochs_text({.step = 0, .tokens = 0, .rows = {unread}}), "");
}

PanelReport panel() {
  PanelReport report{
      .step = 200, .tokens = 6400, .since_tokens = 3200, .phase = "annealing", .rows = {}, .in_domain = {}, .out_of_domain = {}};
  report.rows.push_back({.source = "中文", .loss = 1.25, .before = 1.5, .difference = -0.25, .sigma = 0.01});
  report.rows.push_back(
      {.source = "web", .out_of_domain = true, .loss = 1.625, .before = 1.5, .difference = 0.125, .sigma = 0.02, .worse = true});
  report.in_domain = {1, 1.25, 1.5};
  return report;
}

TEST(PanelText, SaysWhatAPhaseDid) {
  EXPECT_EQ(panel_text(panel(), kPlain),
            "held-out loss over phase annealing, nats/byte\n"
            "  source         domain    before     after    change    sigma\n"
            "  中文                 in    1.5000    1.2500   -0.2500   0.0100\n"
            "  web               out    1.5000    1.6250   +0.1250   0.0200  worse\n"
            "  in domain        mean    1.5000    1.2500   -0.2500\n");
  EXPECT_NE(panel_text(panel(), kColour).find("\x1b[31m  web "), std::string::npos);
}

TEST(SampleText, IsIndentedAndCannotSteerTheTerminal) {
  EXPECT_EQ(sample_text({.step = 1'200, .prompt = "Once", .continuation = " upon\na \x1b[2Jtime \xe4\xb8"}, kPlain),
            "sample at step 1,200\n    Once upon\n    a \\x1b[2Jtime \xef\xbf\xbd\n");
}

TEST(RunText, NamesModelLengthAndDirectory) {
  EXPECT_EQ(run_text({.recipe = "wsd.toml",
                      .directory = "runs/wsd",
                      .model = "minicpm",
                      .parameters = 6'291'456,
                      .total_steps = 2'000,
                      .total_tokens = 16'384'000,
                      .first_step = 900},
                     kPlain),
            "wsd.toml\n  model      minicpm, 6.3M parameters\n  length     16.4M tokens in 2,000 steps\n  directory  runs/wsd\n  goes on "
            "after step 900\n");
}

}  // namespace
}  // namespace trainhost
