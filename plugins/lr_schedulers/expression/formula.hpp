// A formula that a recipe gives, as text.
#pragma once

#include <span>
#include <string>

// What a name in a formula stands for.
struct NamedNumber {
  const char *name;
  double value;
};

// Has no state but its text: a parser of muParser's is changed by evaluating, so each evaluation makes its own (40 microseconds) and any
// number of threads may evaluate at once. A formula can only compute: muParser has no function with an effect, and names are constants
// to it, so nothing can be assigned.
class Formula {
 public:
  explicit Formula(std::string text) : text_(std::move(text)) {}

  const std::string &text() const { return text_; }
  // Any double, also NaN and infinity. What is no formula is refused with TH_INVALID, the place and what is known.
  double value(std::span<const NamedNumber> numbers) const;

 private:
  std::string text_;
};
