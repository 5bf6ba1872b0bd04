#include "inspection.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/hash.h"
#include "plugin_host/manifest_section.h"
#include "plugin_host/registry.h"

namespace trainhost {
namespace {

using Names = std::vector<std::string>;

constexpr std::string_view kEntry = "trainhost_plugin_entry";
constexpr size_t kNamesShown = 5;

// "a, b, c and 3 more".
std::string some_of(const Names &names) {
  const size_t shown = std::min(names.size(), kNamesShown);
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<ptrdiff_t>(shown), ", "));
  return shown < names.size() ? fmt::format("{} and {} more", text, names.size() - shown) : text;
}

template <class Symbols, class Condition>
Names names_of(const Symbols &symbols, Condition condition) {
  Names names;
  for (const auto &symbol : symbols) {
    if (condition(symbol)) names.push_back(symbol.name);
  }
  std::ranges::sort(names);
  return names;
}

bool is_any_of(std::string_view library, std::initializer_list<std::string_view> stems) {
  return std::ranges::any_of(stems, [&](std::string_view stem) { return library.starts_with(stem); });
}

// All of their symbols have versions, and they are where the host runs.
bool is_of_the_system(const std::string &library) {
  return is_any_of(library, {"libc.so", "libm.so", "libmvec.so", "libpthread.so", "libdl.so", "librt.so", "ld-linux", "libstdc++.so",
                             "libgcc_s.so", "libgomp.so", "libatomic.so"});
}
bool is_library_of_libtorch(const std::string &library) { return is_any_of(library, {"libtorch", "libc10"}); }
bool is_symbol_of_libtorch(const std::string &name) {
  return std::ranges::any_of(std::initializer_list<std::string_view>{"2at", "3c10", "5torch", "6caffe2"},
                             [&](std::string_view space) { return is_in_namespace(name, space); });
}

// The rules, each of which adds at most one problem.
class Rules {
 public:
  explicit Rules(Inspection &inspection) : inspection_(inspection) {}

  void add(std::string rule, Severity severity, std::string text, std::string fix) {
    inspection_.problems.push_back({std::move(rule), severity, std::move(text), std::move(fix)});
  }

  void check_file() {
    if (const auto file = ElfFile::open(inspection_.path)) {
      inspection_.library = read_shared_object(*file);
    } else {
      add("TH-LIB-01", Severity::kError, "the file " + file.error(),
          "build it with trainhost_add_plugin() for x86-64 Linux, and copy it whole");
    }
  }

  void check_manifest() {
    const auto text = read_manifest_section(inspection_.path);
    auto manifest = text ? parse_manifest(*text) : tl::unexpected(text.error());
    if (!manifest) {
      return add("TH-LIB-02", Severity::kError, text ? "the manifest is malformed: " + manifest.error() : "the file " + manifest.error(),
                 "write plugin.toml as sdk/docs/plugin_manifest.md says, and build with trainhost_add_plugin()");
    }
    manifest->path = inspection_.path;
    manifest->sha256 = inspection_.sha256;
    manifest->identity = identity_of(inspection_.path);
    inspection_.manifest = *std::move(manifest);
  }

  void check_versions() {
    if (!inspection_.manifest) return;
    const auto compatible = check_compatible(*inspection_.manifest);
    if (compatible) return;
    const std::string &message = compatible.error().message;  // "path: text; fix"
    const size_t begin = inspection_.path.size() + 2, end = std::min(message.rfind("; "), message.size());
    add("TH-LIB-03", Severity::kError, message.substr(begin, end - begin), message.substr(std::min(end + 2, message.size())));
  }

  void check_who_may_write() {
    for (const std::string &path : {inspection_.path, std::filesystem::path(inspection_.path).parent_path().string()}) {
      if (refuse_if_writable_by_others(path)) continue;
      return add("TH-LIB-04", Severity::kError, fmt::format("everybody may write to {}, so the host does not trust it", path),
                 fmt::format("chmod o-w \"{}\"", path));
    }
  }

  void check_entry() {
    const auto &exports = library().exports;
    const auto entry = std::ranges::find(exports, kEntry, &ExportedSymbol::name);
    if (entry != exports.end() && entry->function) return;
    add("TH-LIB-05", Severity::kError,
        entry == exports.end() ? fmt::format("it does not export {}", kEntry) : fmt::format("{} is a variable, not a function", kEntry),
        "define it with TRAINHOST_EXPORT, as trainhost/plugin.h declares it; in C++ with TRAINHOST_PLUGIN(...)");
  }

  void check_exports() {
    const Names others = names_of(library().exports, [](const auto &symbol) { return symbol.name != kEntry; });
    if (others.empty()) return;
    add("TH-LIB-06", Severity::kError,
        fmt::format("it exports {} besides {}: another library with such a name would share or replace them", some_of(others), kEntry),
        "build with trainhost_add_plugin(), or with -fvisibility=hidden and sdk/cmake/plugin_symbols.map as version script");
  }

  void check_unique_symbols() {
    const Names unique = names_of(library().exports, [](const auto &symbol) { return symbol.unique; });
    if (unique.empty()) return;
    add("TH-LIB-07", Severity::kError,
        fmt::format("{} {} GNU_UNIQUE: of all plugins that were built with the same inline code, only the first one's is used, "
                    "whatever its version",
                    some_of(unique), unique.size() == 1 ? "is" : "are"),
        "hide it: -fvisibility=hidden with the version script, or -fno-gnu-unique");
  }

  void check_libtorch_pin() {
    if (!inspection_.manifest || !inspection_.manifest->libtorch.empty()) return;
    const Names symbols = names_of(library().imports, [](const auto &symbol) { return is_symbol_of_libtorch(symbol.name); });
    if (symbols.empty() && !needs_libtorch()) return;
    add("TH-LIB-08", Severity::kError,
        fmt::format("it uses LibTorch{}, whose C++ interface changes with every version, and its manifest does not say which one",
                    symbols.empty() ? "" : fmt::format(" ({})", some_of(symbols))),
        "add libtorch = \"VERSION\", the one that it is built with, to plugin.toml");
  }

  void check_libtorch_inside() {
    Names inside = library().internals;
    for (const auto &symbol : library().exports) inside.push_back(symbol.name);
    std::erase_if(inside, [](const auto &name) { return !is_in_namespace(name, "2at"); });
    if (inside.empty() || needs_libtorch()) return;
    add("TH-LIB-09", Severity::kError,
        fmt::format("it has a copy of LibTorch inside ({}): its registries and thread pools would be there twice", some_of(inside)),
        "link libtorch_cpu.so and libc10.so as shared libraries, and pin their version in plugin.toml");
  }

  // Libraries of the system give versioned symbols only, so an unversioned one that nothing else can give is not there.
  void check_undefined_symbols() {
    if (needs_libtorch() || !other_libraries().empty()) return;
    const Names undefined = names_of(library().imports, [](const auto &symbol) { return symbol.library.empty() && !symbol.weak; });
    if (undefined.empty()) return;
    add("TH-LIB-10", Severity::kError, fmt::format("nothing that it needs gives it {}, so it cannot be loaded", some_of(undefined)),
        "link what defines it, statically, or leave it out; the host offers its services through th_host alone. LINKER:-z,defs tells at "
        "build time");
  }

  void check_other_interfaces() {
    const Names others = other_libraries();
    const Names symbols = names_of(library().imports, [](const ImportedSymbol &symbol) {
      return symbol.name.starts_with("_Z") && !symbol.weak && !is_of_the_system(symbol.library) && !is_symbol_of_libtorch(symbol.name);
    });
    if (others.empty() || symbols.empty()) return;
    add("TH-LIB-11", Severity::kWarning,
        fmt::format("it uses C++ symbols of other libraries ({}; needed: {}): they must be there in the same version, in every process",
                    some_of(symbols), some_of(others)),
        "link such libraries statically with hidden symbols (LINKER:--exclude-libs,ALL), or use their C interface");
  }

  void check_stack() {
    if (!library().executable_stack) return;
    add("TH-LIB-12", Severity::kError,
        "it asks for an executable stack: recent C libraries refuse to load it, older ones make every stack executable",
        "mark assembly files with .section .note.GNU-stack,\"\",@progbits; take no address of a nested function; link with -z noexecstack");
  }

  void check_text_relocations() {
    if (!library().text_relocations) return;
    add("TH-LIB-13", Severity::kWarning, "its code is changed when it is loaded (text relocations): hardened systems refuse that",
        "compile everything in it with -fPIC");
  }

  void check_relative_paths() {
    Names folders = library().run_path;
    std::erase_if(folders, [](const auto &folder) {
      return folder.starts_with('/') || folder.starts_with("$ORIGIN") || folder.starts_with("${ORIGIN}");
    });
    if (folders.empty()) return;
    for (auto &folder : folders) folder = '"' + folder + '"';
    add("TH-LIB-14", Severity::kError,
        fmt::format("its RUNPATH has {}: libraries would be taken from wherever the host is started", some_of(folders)),
        "begin it with $ORIGIN, or leave it out; an empty one is CMake's, of a target without BUILD_WITH_INSTALL_RPATH");
  }

  void check_absolute_paths() {
    Names paths;
    for (const auto *list : {&library().run_path, &library().needed}) {
      std::ranges::copy_if(*list, std::back_inserter(paths), [](const auto &path) { return path.starts_with('/'); });
    }
    if (paths.empty()) return;
    add("TH-LIB-15", Severity::kWarning,
        fmt::format("it finds libraries by absolute path ({}): another machine lacks them", some_of(paths)),
        "give the RUNPATH relative to the plugin, $ORIGIN/..., and link libraries that have a soname");
  }

 private:
  const SharedObject &library() const { return *inspection_.library; }
  bool needs_libtorch() const { return std::ranges::any_of(library().needed, is_library_of_libtorch); }
  Names other_libraries() const {
    Names others = library().needed;
    std::erase_if(others, [](const auto &name) { return is_of_the_system(name) || is_library_of_libtorch(name); });
    return others;
  }

  Inspection &inspection_;
};

void check_all(Inspection &inspection) {
  Rules rules(inspection);
  rules.check_file();
  if (inspection.library) {
    rules.check_manifest();
    rules.check_versions();
  }
  rules.check_who_may_write();
  if (!inspection.library) return;
  rules.check_entry();
  rules.check_exports();
  rules.check_unique_symbols();
  rules.check_libtorch_pin();
  rules.check_libtorch_inside();
  rules.check_undefined_symbols();
  rules.check_other_interfaces();
  rules.check_stack();
  rules.check_text_relocations();
  rules.check_relative_paths();
  rules.check_absolute_paths();
}

}  // namespace

std::string_view to_string(Severity severity) { return severity == Severity::kError ? "error" : "warning"; }

size_t Inspection::count(Severity severity) const {
  return static_cast<size_t>(std::ranges::count(problems, severity, &Problem::severity));
}

Result<Inspection> inspect_plugin(const std::string &path) {
  std::error_code code;
  Inspection inspection{};
  inspection.path = std::filesystem::absolute(path, code).lexically_normal().string();
  if (!std::filesystem::is_regular_file(inspection.path, code)) {
    return failure(ErrorKind::kData,
                   fmt::format("{}: {}", path, code ? code.message() : "is not a file; name the plugin's shared library"));
  }
  TRAINHOST_TRY(inspection.sha256, sha256_of_file(inspection.path));
  check_all(inspection);
  return inspection;
}

}  // namespace trainhost
