#include "base/command_line.h"

#include <iostream>

#include <fmt/format.h>

#include "base/log.h"
#include "trainhost/status.h"

namespace options = boost::program_options;

namespace trainhost {
namespace {

void print_overview(const CommandLine &command_line, std::ostream &out) {
  out << fmt::format("{} {}: {}\n\n", command_line.program, command_line.version, command_line.about);
  for (const auto &[name, verb] : command_line.verbs) out << fmt::format("  {:<52} {}\n", verb.usage, verb.summary);
  out << fmt::format("\n{} VERB --help shows the options of a verb.\n", command_line.program);
}

Result<> run_verb(const Verb &verb, const std::vector<std::string> &arguments) try {
  options::options_description accepted = verb.accepted;
  accepted.add_options()("help,h", "show this");
  options::variables_map given;
  options::store(options::command_line_parser(arguments).options(accepted).positional(verb.positional).run(), given);
  if (given.count("help")) {
    std::cout << verb.usage << "\n" << verb.summary << "\n\n" << accepted;
    return {};
  }
  options::notify(given);
  return verb.act(given);
} catch (const options::error &problem) {
  return failure(ErrorKind::kUsage, fmt::format("{}; see {} --help", problem.what(), verb.usage.substr(0, verb.usage.find(" --"))));
}

}  // namespace

Result<> CommandLine::run(std::vector<std::string> arguments) const {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    print_overview(*this, std::cout);
    return arguments.empty() ? Result<>(failure(ErrorKind::kUsage, "nothing to do: " + without_arguments)) : Result<>();
  }
  if (arguments[0] == "--version") {
    std::cout << fmt::format("{} {} (plugin ABI {}.{})\n", program, version, TRAINHOST_ABI_MAJOR, TRAINHOST_ABI_MINOR);
    return {};
  }
  std::string name = default_verb;
  if (name.empty() || arguments[0].front() != '-') {
    name = arguments[0];
    arguments.erase(arguments.begin());
    if (!arguments.empty() && verbs.contains(name + " " + arguments[0])) {
      name += " " + arguments[0];
      arguments.erase(arguments.begin());
    }
  }
  const auto verb = verbs.find(name);
  if (verb == verbs.end()) return failure(ErrorKind::kUsage, fmt::format("there is no verb \"{}\"; see {} --help", name, program));
  return run_verb(verb->second, arguments);
}

int exit_code_of(const Result<> &outcome) {
  if (outcome) return 0;
  const Error &error = outcome.error();
  error.kind == ErrorKind::kStopped ? log_warning(error.message) : log_error(error.message);
  return exit_code(error.kind);
}

}  // namespace trainhost
