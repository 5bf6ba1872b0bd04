// Converts a document's values to the types of a recipe's keys. Pure, except that expand_environment reads the environment.
#pragma once

#include <initializer_list>
#include <string>

#include <tl/expected.hpp>

#include "recipe/document.h"
#include "recipe/recipe.h"

namespace trainhost {

// The failure says what was expected and what was found.
template <class Type>
using Converted = tl::expected<Type, std::string>;

// The failure itself: "expected a table, found the integer 5".
tl::unexpected<std::string> unlike(const std::string &expected, const Value &found, const std::string &hint = "");

Converted<bool> to_boolean(const Value &value);
Converted<uint64_t> to_integer(const Value &value, uint64_t minimum, uint64_t maximum);
Converted<double> to_number(const Value &value, double minimum, double maximum);
Converted<double> to_share(const Value &value, double minimum, double maximum);  // 0.01 or "1%"
// 8192 or "8Ki tokens"; `alternative` completes the text of what is expected, as in `, or "auto"`.
Converted<uint64_t> to_tokens(const Value &value, uint64_t minimum, uint64_t maximum, const std::string &alternative = "");
// "20GiB", "512 MB" or a number of bytes, at least 1.
Converted<uint64_t> to_bytes(const Value &value, const std::string &alternative = "");
Converted<uint64_t> to_parameter_count(const Value &value);  // of a model: 36000000 or "36M", at least 1
Converted<Amount> to_amount(const Value &value);
Converted<std::string> to_text(const Value &value);
Converted<std::string> to_name(const Value &value);  // fit to be the name of a folder
Converted<std::string> to_choice(const Value &value, std::initializer_list<const char *> choices);
Converted<std::string> to_path(const Value &value, const std::string &folder);  // absolute; not empty
Converted<std::string> to_sha256(const Value &value);                           // the digits of "sha256:DIGITS"
Converted<ParameterValue> to_parameter(const Value &value);

// The same text with each ${NAME} replaced by the environment variable NAME, which must be set.
Converted<std::string> expand_environment(const std::string &text);

}  // namespace trainhost
