#include <gtest/gtest.h>

#include "recipe/reader.h"

namespace trainhost {
namespace {

void expect_amount(const std::string &text, double value, Amount::Unit unit) {
  const auto amount = parse_amount(text);
  ASSERT_TRUE(amount) << text << ": " << amount.error();
  EXPECT_EQ(amount->value, value) << text;
  EXPECT_EQ(amount->unit, unit) << text;
  EXPECT_EQ(amount->text, text);
}

TEST(Amount, HasStepsTokensOrAShare) {
  expect_amount("500 steps", 500, Amount::Unit::kSteps);
  expect_amount("1 step", 1, Amount::Unit::kSteps);
  expect_amount("2M tokens", 2e6, Amount::Unit::kTokens);
  expect_amount("1.5k tokens", 1500, Amount::Unit::kTokens);
  expect_amount("8Ki tokens", 8192, Amount::Unit::kTokens);
  expect_amount("1Mi tokens", 1048576, Amount::Unit::kTokens);
  expect_amount("3Gi tokens", 3221225472, Amount::Unit::kTokens);
  expect_amount("1.1G tokens", 1100000000, Amount::Unit::kTokens);
  expect_amount("2T tokens", 2e12, Amount::Unit::kTokens);
  expect_amount("10%", 0.1, Amount::Unit::kShare);
  expect_amount("12.5 %", 0.125, Amount::Unit::kShare);
}

TEST(Amount, SaysWhatItFoundAndExpected) {
  const std::string expected = "expected an amount such as \"500 steps\", \"2M tokens\" or \"10%\", found ";
  EXPECT_EQ(parse_amount("soon").error(), expected + "\"soon\"");
  EXPECT_EQ(parse_amount("").error(), expected + "\"\"");
  EXPECT_EQ(parse_amount("-5%").error(), expected + "\"-5%\"");
  EXPECT_EQ(parse_amount("1. steps").error(), expected + "\"1. steps\"");
  EXPECT_EQ(parse_amount("1e3 steps").error(), expected + "\"1e3 steps\": the suffixes are k, M, G, T, Ki, Mi and Gi");
  EXPECT_EQ(parse_amount("8K tokens").error(), expected + "\"8K tokens\": the suffixes are k, M, G, T, Ki, Mi and Gi");
  EXPECT_EQ(parse_amount("500").error(), expected + "\"500\" without a unit");
  EXPECT_EQ(parse_amount("5 setps").error(), expected + "\"5 setps\"; did you mean \"steps\"?");
  EXPECT_EQ(parse_amount("2 hours").error(), expected + "\"2 hours\"");
  EXPECT_EQ(parse_amount(std::string(1000, 'x')).error(), expected + "\"" + std::string(40, 'x') + "...\"");
}

TEST(Count, HasASuffixAndNoUnit) {
  EXPECT_EQ(parse_count("500"), 500);
  EXPECT_EQ(parse_count("9.4M"), 9'400'000);
  EXPECT_EQ(parse_count("1.2 G"), 1'200'000'000);
  EXPECT_EQ(parse_count("1Ki"), 1024);
  for (const char *text : {"", "M", "-1", "36M tokens", "1e6", "36B", "36m", "10%"}) EXPECT_EQ(parse_count(text), std::nullopt) << text;
}

}  // namespace
}  // namespace trainhost
