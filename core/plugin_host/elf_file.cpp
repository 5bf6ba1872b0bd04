#include "plugin_host/elf_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

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

void append_folders(std::string_view list, std::vector<std::string> &folders) {
  for (;;) {
    const size_t end = std::min(list.find(':'), list.size());
    folders.emplace_back(list.substr(0, end));
    if (end == list.size()) return;
    list.remove_prefix(end + 1);
  }
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
  return ElfFile(std::move(file), identity_of(status), std::move(elf));
}

tl::expected<std::string, std::string> ElfFile::sha256() const {
  Sha256 hash;
  std::vector<std::byte> piece(1 << 20);
  for (off_t offset = 0;;) {
    const ssize_t count = ::pread(file_.descriptor(), piece.data(), piece.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return refuse(std::string("cannot be read: ") + std::strerror(errno));
    if (count == 0) return hash.finish();
    hash.update(std::span(piece).first(static_cast<size_t>(count)));
    offset += count;
  }
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

std::vector<std::string> ElfFile::dynamic_texts(GElf_Sxword tag) const {
  std::vector<std::string> texts;
  Elf_Scn *section = find(SHT_DYNAMIC);
  GElf_Shdr header;
  Elf_Data *entries = section != nullptr && gelf_getshdr(section, &header) != nullptr ? elf_getdata(section, nullptr) : nullptr;
  const size_t count = entries != nullptr && entries->d_buf != nullptr ? entries->d_size / sizeof(Elf64_Dyn) : 0;
  for (size_t i = 0; i < count; ++i) {
    GElf_Dyn entry;
    if (gelf_getdyn(entries, static_cast<int>(i), &entry) == nullptr || entry.d_tag == DT_NULL) break;
    if (entry.d_tag != tag) continue;
    const char *text = elf_strptr(get(), header.sh_link, entry.d_un.d_val);
    if (text != nullptr) texts.emplace_back(text);
  }
  return texts;
}

std::vector<std::string> ElfFile::run_path() const {
  std::vector<std::string> folders;
  for (const GElf_Sxword tag : {DT_RPATH, DT_RUNPATH}) {
    for (const std::string &list : dynamic_texts(tag)) append_folders(list, folders);
  }
  return folders;
}

}  // namespace trainhost
