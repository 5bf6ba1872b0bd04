// An ELF file opened for reading only: nothing of it is mapped or run.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gelf.h>
#include <tl/expected.hpp>

#include "plugin_host/file_identity.h"

namespace trainhost {

class ElfFile {
 public:
  // A shared library for this machine. The failure says what is wrong with the file: unreadable, no ELF, another type or machine, cut
  // short.
  static tl::expected<ElfFile, std::string> open(const std::string &path);

  // For libelf's functions; owned here. One thread at a time.
  Elf *get() const { return elf_.get(); }

  // As it was when it was opened.
  const FileIdentity &identity() const { return identity_; }
  // Of all its bytes, read from the file that was opened, whatever is under its path by now.
  tl::expected<std::string, std::string> sha256() const;

  // The first section of a type, or null.
  Elf_Scn *find(GElf_Word type) const;
  // Likewise of a name.
  Elf_Scn *find(const std::string &name) const;
  // The texts of all entries with this tag for the dynamic loader, as DT_NEEDED.
  std::vector<std::string> dynamic_texts(GElf_Sxword tag) const;
  // The folders in which the loader looks for what the library needs, as written: $ORIGIN stands for the library's own.
  std::vector<std::string> run_path() const;

 private:
  struct Handle {
    void operator()(Elf *elf) const { elf_end(elf); }
  };

  class OpenFile {
   public:
    explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
    ~OpenFile();
    OpenFile(OpenFile &&other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    OpenFile &operator=(OpenFile &&) = delete;
    int descriptor() const { return descriptor_; }

   private:
    int descriptor_;
  };

  ElfFile(OpenFile file, const FileIdentity &identity, std::unique_ptr<Elf, Handle> elf)
      : file_(std::move(file)), identity_(identity), elf_(std::move(elf)) {}

  OpenFile file_;
  FileIdentity identity_;
  std::unique_ptr<Elf, Handle> elf_;  // reads from file_
};

}  // namespace trainhost
