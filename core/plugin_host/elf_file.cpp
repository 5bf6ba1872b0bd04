#include "plugin_host/elf_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trainhost {
namespace {

tl::unexpected<std::string> refuse(std::string reason) { return tl::unexpected(std::move(reason)); }

bool reaches_beyond(uint64_t offset, uint64_t size, uint64_t file_size) { return offset > file_size || size > file_size - offset; }

// A library whose copying was broken off: mapping it would end the process with SIGBUS.
bool is_cut_short(Elf *elf, const GElf_Ehdr &header, uint64_t file_size) {
  if (reaches_beyond(header.e_shoff, uint64_t{header.e_shnum} * header.e_shentsize, file_size)) return true;
  for (int i = 0; i < header.e_phnum; ++i) {
    GElf_Phdr segment;
    if (gelf_getphdr(elf, i, &segment) == nullptr) return true;
    if (segment.p_type == PT_LOAD && reaches_beyond(segment.p_offset, segment.p_filesz, file_size)) return true;
  }
  return false;
}

}  // namespace

ElfFile::OpenFile::~OpenFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

tl::expected<ElfFile, std::string> ElfFile::open(const std::string &path) {
  OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a pipe is refused, not waited for
  if (file.descriptor() < 0) return refuse(std::string("cannot be opened: ") + std::strerror(errno));
  struct stat status {};
  if (::fstat(file.descriptor(), &status) != 0) return refuse(std::string("cannot be read: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return refuse("is not a file");

  elf_version(EV_CURRENT);
  std::unique_ptr<Elf, Handle> elf(elf_begin(file.descriptor(), ELF_C_READ, nullptr));
  GElf_Ehdr header;
  if (!elf || elf_kind(elf.get()) != ELF_K_ELF || gelf_getehdr(elf.get(), &header) == nullptr)
    return refuse("is not an ELF shared library");
  if (header.e_type != ET_DYN) return refuse("is an ELF file, but not a shared library");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64)
    return refuse("is built for another machine than x86-64");
  if (is_cut_short(elf.get(), header, static_cast<uint64_t>(status.st_size))) {
    return refuse("is cut short: it has " + std::to_string(status.st_size) + " bytes, fewer than its ELF header speaks of; copy it again");
  }
  return ElfFile(std::move(file), std::move(elf));
}

Elf_Scn *ElfFile::find(GElf_Word type) const {
  for (Elf_Scn *section = nullptr; (section = elf_nextscn(get(), section)) != nullptr;) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) != nullptr && header.sh_type == type) return section;
  }
  return nullptr;
}

Elf_Scn *ElfFile::find(const std::string &name) const {
  size_t names = 0;
  if (elf_getshdrstrndx(get(), &names) != 0) return nullptr;
  for (Elf_Scn *section = nullptr; (section = elf_nextscn(get(), section)) != nullptr;) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr) return nullptr;
    const char *found = elf_strptr(get(), names, header.sh_name);
    if (found != nullptr && name == found) return section;
  }
  return nullptr;
}

}  // namespace trainhost
