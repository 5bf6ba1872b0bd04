// How calls fail in the host: a value with a kind, which decides the exit code, and a text for the user.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace trainhost {

// What went wrong, as a supervisor needs to know it. Exit codes follow sysexits.h and are part of the interface.
enum class ErrorKind {
  kUsage,            // 64: the command line
  kData,             // 65: an input file is damaged, too small or not what its format says
  kUnavailable,      // 69: something outside is busy or gone, as a run directory in use
  kPlugin,           // 70: a plugin failed inside a call, or could not be loaded
  kInternal,         // 71: a bug of trainhost
  kCheckpointWrite,  // 73: a checkpoint cannot be written; the earlier one is intact
  kStopped,          // 75: stopped by a signal after saving
  kPluginContract,   // 76: a plugin broke its contract: wrong shape, id out of range, null slot
  kRecipe,           // 78: the recipe was refused; nothing was started
};

struct Error {
  ErrorKind kind;
  std::string message;  // what was found, what was expected, where, and what to do; no trailing full stop or newline
};

// Either a value or an Error. Every function that can fail on input returns one; nothing is thrown.
template <class Value = void>
using Result = tl::expected<Value, Error>;

inline tl::unexpected<Error> failure(ErrorKind kind, std::string message) { return tl::unexpected(Error{kind, std::move(message)}); }

int exit_code(ErrorKind kind);
std::optional<ErrorKind> kind_of(int exit_code);  // nullopt: a code that trainhost does not use

}  // namespace trainhost

// TRAINHOST_TRY(auto file, open(path)): the value of a Result, or returns its error from the calling function.
#define TRAINHOST_TRY(declaration, expression) TRAINHOST_TRY_NAMED_(declaration, expression, __COUNTER__)
#define TRAINHOST_TRY_NAMED_(declaration, expression, number) TRAINHOST_TRY_STEP_(declaration, expression, number)
#define TRAINHOST_TRY_STEP_(declaration, expression, number)                                           \
  auto trainhost_result_##number = (expression);                                                       \
  if (!trainhost_result_##number) return tl::unexpected(std::move(trainhost_result_##number).error()); \
  declaration = *std::move(trainhost_result_##number)
// TRAINHOST_CHECK(save(x)): the same for a Result<void>.
#define TRAINHOST_CHECK(expression)                                                                                          \
  do {                                                                                                                       \
    if (auto trainhost_result = (expression); !trainhost_result) return tl::unexpected(std::move(trainhost_result).error()); \
  } while (false)
