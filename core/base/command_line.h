// A program of verbs: what it accepts, its help, and how it ends.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <boost/program_options.hpp>

#include "base/status.h"

namespace trainhost {

struct Verb {
  std::string usage, summary;  // "trainhost plan --memory --recipe FILE", "say what a run will take"
  boost::program_options::options_description accepted;
  boost::program_options::positional_options_description positional;
  std::function<Result<>(const boost::program_options::variables_map &)> act;
};
using Verbs = std::map<std::string, Verb>;  // by name; a name may be two words

struct CommandLine {
  std::string program, version, about;
  std::string without_arguments;  // what to do when it was started without any: "name a recipe"
  std::string default_verb;       // of arguments that begin with an option; empty: there is none
  Verbs verbs;

  // Runs the verb, or prints help or version to stdout. kUsage for what it does not accept; the verb's own errors.
  Result<> run(std::vector<std::string> arguments) const;
};

// Logs the error, and gives the exit status of the process.
int exit_code_of(const Result<> &outcome);

}  // namespace trainhost
