// What a plugin says of itself, read from its ELF file without running any of its code.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "plugin_host/file_identity.h"
#include "recipe/recipe.h"

namespace trainhost {

enum class PluginKind { kTokenizer, kDatasetMixer, kOptimizer, kLrScheduler, kModel };
std::string_view to_string(PluginKind kind);  // "tokenizer", "dataset_mixer", ... as in manifests and folders

enum class ParameterType { kInteger, kNumber, kBoolean, kString, kAmount };
std::string_view to_string(ParameterType type);  // "integer", "number", ... as in manifests

struct ParameterSpec {
  std::string name;
  ParameterType type;
  std::optional<ParameterValue> default_value;  // absent: required
  std::optional<double> minimum, maximum;       // inclusive; of integers, numbers and an amount's value
  bool exclusive_minimum = false;               // minimum itself is refused
  std::vector<std::string> choices;             // of strings; empty: any
  std::string unit, doc;
};

struct Manifest {
  std::string path;       // absolute, of the shared library
  std::string sha256;     // of the whole file
  FileIdentity identity;  // of the file that was read
  bool pinned = false;    // the recipe says which SHA-256 it must have: what is loaded is then a copy whose bytes were hashed
  std::string id, name, version, summary;
  PluginKind kind;
  int minimum_abi_major = 1, minimum_abi_minor = 0;  // what the plugin needs of a host
  int sdk_abi_major = 0, sdk_abi_minor = 0;          // what it was built with
  std::string libtorch;                              // exact version it is pinned to, or empty
  std::vector<ParameterSpec> parameters;
};

// How messages name a plugin: "optimizer plugin "adamw" 1.0.0 (/path/adamw.so)".
std::string describe(const Manifest &manifest);

// Fails with kPlugin, "path: reason": not an ELF library, no manifest section, malformed manifest (with its line), unknown kind.
Result<Manifest> read_manifest(const std::string &path);

// The manifest out of its TOML text; path and sha256 are left empty. The failure begins with the line, "line 3: ".
tl::expected<Manifest, std::string> parse_manifest(std::string_view text);

// Whether this host can use the plugin; fails with kPlugin saying both versions and the fix.
Result<> check_compatible(const Manifest &manifest);

// Checks the written parameters against the manifest and adds its defaults for those not given (given = false). Every mistake at
// once: unknown name with did-you-mean, wrong type, out of range, not among the choices, required but absent. `overrides` of phases
// and branches are checked with the same call, with add_defaults = false.
std::vector<RecipeError> check_parameters(const Manifest &manifest, Parameters &parameters, const Position &table,
                                          bool add_defaults = true);

}  // namespace trainhost
