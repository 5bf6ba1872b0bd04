#include "formula.hpp"

#include <muParserDLL.h>
#include <muParserError.h>

#include <memory>

#include "trainhost/cpp/plugin.hpp"

namespace {

using Parser = std::unique_ptr<void, decltype(&mupRelease)>;

// The code is muParser's; its texts count from 0 and come in a buffer that all threads share.
std::string what_is_wrong(int code) {
  switch (code) {
    case mu::ecEMPTY_EXPRESSION:
      return "is empty";
    case mu::ecEXPRESSION_TOO_LONG:
      return "is too long";
    case mu::ecUNEXPECTED_EOF:
      return "ends too early";
    case mu::ecTOO_MANY_PARAMS:
      return "has too many arguments for a function";
    case mu::ecTOO_FEW_PARAMS:
      return "has too few arguments for a function";
    case mu::ecMISSING_PARENS:
      return "lacks a parenthesis";
    case mu::ecMISSING_ELSE_CLAUSE:
      return "has a ? without its :";
    default:
      return "has something unexpected";
  }
}

// The text from there to the next operator, which may be the first character itself.
std::string word_at(const std::string &text, size_t place) {
  const size_t end = text.find_first_of(" \t\r\n()+-*/^,<>=!&|?:", place + 1);
  return text.substr(place, end - place);
}

[[noreturn]] void refuse(const std::string &text, const std::string &what, const std::string &expected) {
  throw trainhost::sdk::Failure(TH_INVALID, "lr = \"" + text + "\" " + what + "; expected " + expected);
}

void check(const Parser &parser, const std::string &text, std::span<const NamedNumber> numbers) {
  if (!mupError(parser.get())) return;
  const int code = mupGetErrorCode(parser.get());
  std::string what = what_is_wrong(code);
  const int place = code == mu::ecEXPRESSION_TOO_LONG ? -1 : mupGetErrorPos(parser.get());
  if (place >= 0) what += " at character " + std::to_string(place + 1);
  if (place >= 0 && static_cast<size_t>(place) < text.size()) what += ", \"" + word_at(text, static_cast<size_t>(place)) + "\"";
  std::string known;
  for (const NamedNumber &number : numbers) known += std::string(number.name) + ", ";
  refuse(text, what, "a formula of numbers, " + known + "operators and functions (trainhost plugins expression lists them)");
}

}  // namespace

double Formula::value(std::span<const NamedNumber> numbers) const {
  const Parser parser(mupCreate(muBASETYPE_FLOAT), mupRelease);
  if (parser == nullptr) throw std::bad_alloc();
  mupClearConst(parser.get());  // its _pi has 12 places
  for (const NamedNumber &number : numbers) mupDefineConst(parser.get(), number.name, number.value);
  mupSetExpr(parser.get(), text_.c_str());
  check(parser, text_, numbers);
  int count = 0;
  const double *values = mupEvalMulti(parser.get(), &count);
  check(parser, text_, numbers);
  if (count != 1) refuse(text_, "has " + std::to_string(count) + " values", "one");
  return values[0];
}
