#include "shared_object.h"

#include <algorithm>
#include <typeinfo>

#include <gtest/gtest.h>

#include "support/fixture_plugin.h"

// The compiler's own spelling of names is the truth.
namespace at {
struct Witness {
  virtual ~Witness() = default;
  virtual int value() const { return 1; }
};
}  // namespace at

namespace trainhost {
namespace {

TEST(SharedObject, NamespacesOfSymbolsAreToldFromTypesOfTheirArguments) {
  EXPECT_EQ(std::string(typeid(at::Witness).name()), "N2at7WitnessE");
  for (const std::string symbol : {"_ZN2at7WitnessD1Ev", "_ZNK2at7Witness5valueEv", "_ZTVN2at7WitnessE", "_ZTIN2at7WitnessE",
                                   "_ZTSN2at7WitnessE", "_ZZN2at4makeEvE5count", "_ZGVZN2at4makeEvE5count", "_ZNVKR2at7Witness3getEv"}) {
    EXPECT_TRUE(is_in_namespace(symbol, "2at")) << symbol;
  }
  for (const std::string symbol : {"", "_", "_Z", "_ZN", "_ZNK", "at", "_Z3useN2at7WitnessE", "_ZN4what7WitnessE",
                                   "_ZN12at_something3getEv", "_ZNSt6vectorIN2at6TensorESaIS1_EED1Ev", "trainhost_plugin_entry"}) {
    EXPECT_FALSE(is_in_namespace(symbol, "2at")) << symbol;
  }
}

TEST(SharedObject, SaysWhatALibraryIsMadeOf) {
  const auto file = ElfFile::open(fixture_plugin("canary"));  // its constructor would leave a sign
  ASSERT_TRUE(file) << file.error();
  const SharedObject library = read_shared_object(*file);
  ASSERT_EQ(library.exports.size(), 1u);
  EXPECT_EQ(library.exports[0].name, "trainhost_plugin_entry");
  EXPECT_TRUE(library.exports[0].function);
  EXPECT_FALSE(library.exports[0].unique);
  EXPECT_GE(library.constructors, 2u);  // its own and the compiler's; a sanitizer adds one
  EXPECT_FALSE(library.executable_stack);
  EXPECT_FALSE(library.text_relocations);
  EXPECT_TRUE(std::ranges::count(library.needed, "libc.so.6") == 1);
  const auto getenv = std::ranges::find(library.imports, "getenv", &ImportedSymbol::name);
  ASSERT_NE(getenv, library.imports.end());
  EXPECT_EQ(getenv->library, "libc.so.6");
  EXPECT_FALSE(getenv->weak);
}

}  // namespace
}  // namespace trainhost
