#include "plugin_host/manifest_section.h"

namespace trainhost {
namespace {

constexpr const char *kSection = ".trainhost.manifest";

}  // namespace

tl::expected<std::string, std::string> read_manifest_section(const std::string &path) {
  const auto file = ElfFile::open(path);
  return file ? read_manifest_section(*file) : tl::unexpected(file.error());
}

tl::expected<std::string, std::string> read_manifest_section(const ElfFile &file) {
  Elf_Scn *section = file.find(kSection);
  const Elf_Data *data = section != nullptr ? elf_rawdata(section, nullptr) : nullptr;
  if (data == nullptr || data->d_buf == nullptr) {
    return tl::unexpected(std::string("is no trainhost plugin: it has no section ") + kSection + "; build it with trainhost_add_plugin()");
  }
  return std::string(static_cast<const char *>(data->d_buf), data->d_size);
}

}  // namespace trainhost
