#include "plugin_host/manifest_section.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include <fcntl.h>
#include <gelf.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trainhost {
namespace {

constexpr const char *kSection = ".trainhost.manifest";

struct File {
  int descriptor;
  ~File() { ::close(descriptor); }
};

using ElfHandle = std::unique_ptr<Elf, int (*)(Elf *)>;

tl::unexpected<std::string> refuse(std::string reason) { return tl::unexpected(std::move(reason)); }

// A library whose copying was broken off: mapping it would end the process with SIGBUS.
bool reaches_beyond(Elf *elf, const GElf_Ehdr &header, uint64_t file_size) {
  if (header.e_shoff + uint64_t{header.e_shnum} * header.e_shentsize > file_size) return true;
  for (int i = 0; i < header.e_phnum; ++i) {
    GElf_Phdr segment;
    if (gelf_getphdr(elf, i, &segment) == nullptr) return true;
    if (segment.p_type == PT_LOAD && segment.p_offset + segment.p_filesz > file_size) return true;
  }
  return false;
}

std::optional<std::string> section_text(Elf *elf) {
  size_t names = 0;
  if (elf_getshdrstrndx(elf, &names) != 0) return std::nullopt;
  for (Elf_Scn *section = nullptr; (section = elf_nextscn(elf, section)) != nullptr;) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr) return std::nullopt;
    const char *name = elf_strptr(elf, names, header.sh_name);
    if (name == nullptr || std::strcmp(name, kSection) != 0) continue;
    const Elf_Data *data = elf_rawdata(section, nullptr);
    if (data == nullptr || data->d_buf == nullptr) return std::nullopt;
    return std::string(static_cast<const char *>(data->d_buf), data->d_size);
  }
  return std::nullopt;
}

}  // namespace

tl::expected<std::string, std::string> read_manifest_section(const std::string &path) {
  const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.descriptor < 0) return refuse(std::string("cannot be opened: ") + std::strerror(errno));
  struct stat status {};
  if (::fstat(file.descriptor, &status) != 0) return refuse(std::string("cannot be read: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return refuse("is not a file");

  elf_version(EV_CURRENT);
  const ElfHandle elf(elf_begin(file.descriptor, ELF_C_READ, nullptr), elf_end);
  GElf_Ehdr header;
  if (!elf || elf_kind(elf.get()) != ELF_K_ELF || gelf_getehdr(elf.get(), &header) == nullptr)
    return refuse("is not an ELF shared library");
  if (header.e_type != ET_DYN) return refuse("is an ELF file, but not a shared library");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) return refuse("is built for another machine than x86-64");
  if (reaches_beyond(elf.get(), header, static_cast<uint64_t>(status.st_size))) {
    return refuse("is cut short: it has " + std::to_string(status.st_size) + " bytes, fewer than its ELF header speaks of; copy it again");
  }
  auto text = section_text(elf.get());
  if (!text) return refuse(std::string("is no trainhost plugin: it has no section ") + kSection + "; build it with trainhost_add_plugin()");
  return *std::move(text);
}

}  // namespace trainhost
