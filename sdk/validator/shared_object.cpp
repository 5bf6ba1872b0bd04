#include "shared_object.h"

#include <algorithm>
#include <map>
#include <set>

namespace trainhost {
namespace {

// A section with its header; both are there or neither.
struct Section {
  GElf_Shdr header{};
  Elf_Data *data = nullptr;

  explicit Section(Elf_Scn *section) {
    if (section != nullptr && gelf_getshdr(section, &header) != nullptr) data = elf_getdata(section, nullptr);
    if (data != nullptr && data->d_buf == nullptr) data = nullptr;
  }
  size_t size() const { return data != nullptr ? data->d_size : 0; }
};

std::string text_at(const ElfFile &file, size_t strings, size_t offset) {
  const char *text = elf_strptr(file.get(), strings, offset);
  return text != nullptr ? text : "";
}

// The libraries that symbol versions stand for, by the number that symbols give. A file may claim more entries than it has room for, or
// chain them in a circle of any length.
std::map<GElf_Versym, std::string> libraries_of_versions(const ElfFile &file) {
  std::map<GElf_Versym, std::string> libraries;
  const Section needs(file.find(SHT_GNU_verneed));
  size_t room = needs.size() / sizeof(GElf_Vernaux);
  GElf_Verneed need;
  for (size_t at = 0; at < needs.size() && gelf_getverneed(needs.data, static_cast<int>(at), &need) != nullptr; at += need.vn_next) {
    const std::string library = text_at(file, needs.header.sh_link, need.vn_file);
    GElf_Vernaux version;
    for (size_t entry = at + need.vn_aux; entry < needs.size() && room > 0; entry += version.vna_next, --room) {
      if (gelf_getvernaux(needs.data, static_cast<int>(entry), &version) == nullptr) break;
      libraries[version.vna_other] = library;
      if (version.vna_next == 0) break;
    }
    if (need.vn_next == 0 || room == 0) break;
  }
  return libraries;
}

void read_dynamic_symbols(const ElfFile &file, SharedObject &object) {
  const auto libraries = libraries_of_versions(file);
  const Section symbols(file.find(SHT_DYNSYM)), versions(file.find(SHT_GNU_versym));
  for (size_t i = 1; i < symbols.size() / sizeof(Elf64_Sym); ++i) {
    GElf_Sym symbol;
    if (gelf_getsym(symbols.data, static_cast<int>(i), &symbol) == nullptr) break;
    std::string name = text_at(file, symbols.header.sh_link, symbol.st_name);
    const unsigned binding = GELF_ST_BIND(symbol.st_info), type = GELF_ST_TYPE(symbol.st_info);
    if (symbol.st_shndx == SHN_UNDEF) {
      GElf_Versym version = 0;
      const bool has_version = versions.data != nullptr && gelf_getversym(versions.data, static_cast<int>(i), &version) != nullptr;
      const auto library = has_version ? libraries.find(version & 0x7fff) : libraries.end();
      object.imports.push_back({std::move(name), library != libraries.end() ? library->second : "", binding == STB_WEAK});
    } else if (binding != STB_LOCAL) {
      object.exports.push_back({std::move(name), type == STT_FUNC || type == STT_GNU_IFUNC, binding == STB_GNU_UNIQUE});
    }
  }
}

void read_internals(const ElfFile &file, SharedObject &object) {
  std::set<std::string_view> exported;
  for (const auto &symbol : object.exports) exported.insert(symbol.name);
  const Section symbols(file.find(SHT_SYMTAB));
  for (size_t i = 1; i < symbols.size() / sizeof(Elf64_Sym); ++i) {
    GElf_Sym symbol;
    if (gelf_getsym(symbols.data, static_cast<int>(i), &symbol) == nullptr) break;
    const unsigned type = GELF_ST_TYPE(symbol.st_info);
    if (symbol.st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_OBJECT)) continue;
    std::string name = text_at(file, symbols.header.sh_link, symbol.st_name);
    if (!exported.contains(name)) object.internals.push_back(std::move(name));
  }
}

bool has_text_relocations(const ElfFile &file) {
  const Section entries(file.find(SHT_DYNAMIC));
  for (size_t i = 0; i < entries.size() / sizeof(Elf64_Dyn); ++i) {
    GElf_Dyn entry;
    if (gelf_getdyn(entries.data, static_cast<int>(i), &entry) == nullptr || entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_TEXTREL || (entry.d_tag == DT_FLAGS && (entry.d_un.d_val & DF_TEXTREL) != 0)) return true;
  }
  return false;
}

// The kernel and the loader take a library that says nothing for one that needs an executable stack.
bool has_executable_stack(const ElfFile &file) {
  size_t count = 0;
  if (elf_getphdrnum(file.get(), &count) != 0) return true;
  for (size_t i = 0; i < count; ++i) {
    GElf_Phdr segment;
    if (gelf_getphdr(file.get(), static_cast<int>(i), &segment) == nullptr) break;
    if (segment.p_type == PT_GNU_STACK) return (segment.p_flags & PF_X) != 0;
  }
  return true;
}

}  // namespace

SharedObject read_shared_object(const ElfFile &file) {
  SharedObject object{};
  read_dynamic_symbols(file, object);
  read_internals(file, object);
  object.needed = file.dynamic_texts(DT_NEEDED);
  object.run_path = file.run_path();
  object.text_relocations = has_text_relocations(file);
  object.executable_stack = has_executable_stack(file);
  object.constructors = Section(file.find(SHT_INIT_ARRAY)).size() / sizeof(Elf64_Addr);
  return object;
}

bool is_in_namespace(std::string_view symbol, std::string_view name) {
  const auto skip = [&](std::string_view prefix) {
    const bool there = symbol.starts_with(prefix);
    if (there) symbol.remove_prefix(prefix.size());
    return there;
  };
  if (!skip("_Z")) return false;
  for (const std::string_view special : {"TV", "TT", "TI", "TS", "GV"}) {
    if (skip(special)) break;
  }
  while (skip("Z")) {
  }
  if (!skip("N")) return false;
  symbol.remove_prefix(std::min(symbol.find_first_not_of("rVKRO"), symbol.size()));
  return symbol.starts_with(name);
}

}  // namespace trainhost
