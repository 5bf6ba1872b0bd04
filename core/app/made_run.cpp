#include "app/made_run.h"

#include <filesystem>

#include "app/check_recipe.h"

namespace trainhost {
namespace {

constexpr char kRecipe[] = "/recipe.toml", kTokenizer[] = "/tokenizer.state";

std::filesystem::path absolute(const std::string &path) {
  const auto normal = std::filesystem::absolute(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

Result<> check_absent(FileSystem &files, const std::string &output) {
  if (!files.exists(output)) return {};
  return failure(ErrorKind::kUsage, output + ": is there already and is not overwritten; name another directory, or remove it");
}

// Everything that the directory holds.
Result<> fill(FileSystem &files, const std::string &directory, const Recipe &recipe, const std::string &tokenizer_state,
              const std::function<Result<>(const std::string &folder)> &make) {
  const std::string folder = directory + "/checkpoints";
  TRAINHOST_CHECK(files.remove_all(directory));  // of an earlier try that was cut off
  TRAINHOST_CHECK(files.create_directories(folder));
  TRAINHOST_CHECK(write_atomically(files, directory + kRecipe, resolved_toml(recipe)));
  TRAINHOST_CHECK(write_atomically(files, directory + kTokenizer, tokenizer_state));
  return make(folder);
}

}  // namespace

Result<std::string> run_of(FileSystem &files, const std::string &path) {
  const std::string run = absolute(path).parent_path().parent_path().string();
  if (files.exists(run + kRecipe) && files.exists(run + kTokenizer)) return run;
  return failure(ErrorKind::kUsage,
                 path + ": does not lie in the checkpoints/ of a run directory, whose recipe.toml and tokenizer.state are needed");
}

Result<CheckedRecipe> recipe_for(const std::string &run_directory, const std::vector<std::string> &settings, const std::string &output) {
  TRAINHOST_TRY(CheckedRecipe checked, check_recipe(run_directory + kRecipe, settings));
  checked.recipe.run.directory = absolute(output).string();
  checked.recipe.branches.clear();
  return checked;
}

Result<> make_run(FileSystem &files, const std::string &output, const Recipe &recipe, const std::string &run_directory,
                  const std::function<Result<>(const std::string &folder)> &make) {
  const std::string path = absolute(output).string(), partial = path + ".partial", parent = absolute(output).parent_path().string();
  TRAINHOST_CHECK(check_absent(files, path));
  TRAINHOST_TRY(const std::string tokenizer_state, files.read(run_directory + kTokenizer));
  const auto made = fill(files, partial, recipe, tokenizer_state, make).and_then([&] { return check_absent(files, path); }).and_then([&] {
    return files.rename(partial, path);
  });
  if (!made) {
    (void)files.remove_all(partial);
    return made;
  }
  const auto durable = files.sync_directory(parent);
  if (!durable) (void)files.remove_all(path);
  return durable;
}

}  // namespace trainhost
