// What the dynamic loader would do with a shared library, read from its file. Nothing of it is mapped or run, and a spoilt file gives an
// error or fewer facts, never a crash.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "plugin_host/elf_file.h"

namespace trainhost {

struct ExportedSymbol {
  std::string name;
  bool function;
  bool unique;  // STB_GNU_UNIQUE: one object for all libraries of the process that define it
};

struct ImportedSymbol {
  std::string name;
  std::string library;  // that its version names, such as "libc.so.6"; empty when it has no version
  bool weak;            // may stay undefined
};

struct SharedObject {
  std::vector<ExportedSymbol> exports;
  std::vector<ImportedSymbol> imports;
  std::vector<std::string> internals;  // names of its own symbols that it does not export; none when it is stripped
  std::vector<std::string> needed;     // libraries, as the loader looks for them
  std::vector<std::string> run_path;   // where it looks for them, as written
  bool executable_stack, text_relocations;
  size_t constructors;  // functions that run when it is loaded, with the one that the compiler adds to every library
};

SharedObject read_shared_object(const ElfFile &file);

// Whether a C++ symbol, as compilers write it ("_ZN2at6Tensor..."), lies in a namespace given as they write it ("2at"). For nested names
// with their type informations, tables and guard variables; not for functions that only take such types.
bool is_in_namespace(std::string_view symbol, std::string_view name);

}  // namespace trainhost
