#include "new_verb.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/file_system.h"
#include "base/program.h"
#include "recipe/reader.h"

namespace trainhost {
namespace {

const std::vector<std::string> kKinds = {"tokenizer", "dataset_mixer", "optimizer", "lr_scheduler", "model"};
const std::vector<std::string> kLanguages = {"c", "cpp"};

Result<> check_word(const char *what, const std::string &word, const std::vector<std::string> &known) {
  if (std::ranges::find(known, word) != known.end()) return {};
  const std::string nearest = nearest_name(word, known);
  return failure(ErrorKind::kUsage, fmt::format("there is no {} \"{}\"{}", what, word,
                                                nearest.empty() ? fmt::format("; there are {}", fmt::join(known, ", "))
                                                                : fmt::format("; did you mean \"{}\"?", nearest)));
}

// It is a recipe's word for the plugin, a folder and a target of CMake.
Result<> check_name(const std::string &name) {
  constexpr std::array taken = {"all", "clean", "dl", "help", "install", "m", "package", "test"};
  const auto is_part = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  if (name.empty() || !std::ranges::all_of(name, is_part) || name[0] < 'a') {
    return failure(ErrorKind::kUsage,
                   fmt::format("\"{}\" is no name for a plugin: expected lower-case letters, digits and _, a letter first", name));
  }
  if (std::ranges::find(taken, name) != taken.end())
    return failure(ErrorKind::kUsage, fmt::format("\"{}\" is no name for a plugin: its build would take it for something else", name));
  return {};
}

std::string filled_in(std::string text, const std::vector<std::pair<std::string, std::string>> &values) {
  for (const auto &[placeholder, value] : values) {
    for (size_t at = text.find(placeholder); at != std::string::npos; at = text.find(placeholder, at + value.size()))
      text.replace(at, placeholder.size(), value);
  }
  return text;
}

Result<> write_file(const std::string &path, const std::string &text) {
  TRAINHOST_TRY(const auto file, posix_file_system().create(path));
  TRAINHOST_CHECK(file->append(text));
  return file->close();
}

// The files of one folder of templates, without those of its folders.
Result<> write_from(const std::filesystem::path &templates, const NewPlugin &wanted) {
  TRAINHOST_TRY(const auto names, posix_file_system().list(templates.string()));
  for (const auto &name : names) {
    if (posix_file_system().is_directory((templates / name).string())) continue;
    TRAINHOST_TRY(const std::string text, posix_file_system().read((templates / name).string()));
    TRAINHOST_CHECK(
        write_file(wanted.name + "/" + name, filled_in(text, {{"@NAME@", wanted.name}, {"@SOURCE@", "plugin." + wanted.language}})));
  }
  return {};
}

}  // namespace

Result<> new_plugin(const NewPlugin &wanted, std::ostream &out) {
  TRAINHOST_CHECK(check_word("kind", wanted.kind, kKinds));
  TRAINHOST_CHECK(check_word("language", wanted.language, kLanguages));
  TRAINHOST_CHECK(check_name(wanted.name));
  if (posix_file_system().exists(wanted.name))
    return failure(ErrorKind::kUsage, fmt::format("\"{}\" is there already; choose another name or remove it", wanted.name));
  const std::filesystem::path templates = installation_folder() + "/template";
  if (!posix_file_system().exists(templates.string())) {
    return failure(ErrorKind::kUnavailable,
                   fmt::format("there are no templates in {}; they are installed with the SDK, beside this program", templates.string()));
  }
  TRAINHOST_CHECK(posix_file_system().create_directories(wanted.name));
  for (const auto &folder : {templates / wanted.language, templates / wanted.kind, templates / wanted.kind / wanted.language})
    TRAINHOST_CHECK(write_from(folder, wanted));
  out << fmt::format(
      "{0}/ is a project of its own; its README.md says what is where\n"
      "  cmake -B build -S {0} && cmake --build build && ctest --test-dir build\n",
      wanted.name);
  return {};
}

Verb new_verb() {
  namespace options = boost::program_options;
  Verb verb{"trainhost-plugin new KIND NAME", "write a project to build on", options::options_description("options"), {}, {}};
  verb.accepted.add_options()("kind", options::value<std::string>()->required(),
                              "tokenizer, dataset_mixer, optimizer, lr_scheduler or model")(
      "name", options::value<std::string>()->required(), "what recipes write, and the folder that is made")(
      "language", options::value<std::string>()->default_value("cpp"), "c or cpp");
  verb.positional.add("kind", 1).add("name", 1);
  verb.act = [](const auto &given) {
    return new_plugin({.kind = given["kind"].template as<std::string>(),
                       .name = given["name"].template as<std::string>(),
                       .language = given["language"].template as<std::string>()},
                      std::cout);
  };
  return verb;
}

}  // namespace trainhost
