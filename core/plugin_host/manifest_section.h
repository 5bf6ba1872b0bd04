// Takes the manifest out of a plugin's ELF file. Nothing of the file is mapped for execution or run.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "plugin_host/elf_file.h"

namespace trainhost {

// The text of the section .trainhost.manifest; the failure says what is wrong with the file: unreadable, no ELF shared library of this
// machine, cut short, or without the section.
tl::expected<std::string, std::string> read_manifest_section(const std::string &path);
tl::expected<std::string, std::string> read_manifest_section(const ElfFile &file);

}  // namespace trainhost
