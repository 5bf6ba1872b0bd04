# trainhost_add_plugin(NAME MANIFEST plugin.toml SOURCES a.cpp ... [LIBRARIES l ...])
#
# Builds NAME.so: hidden visibility, one exported symbol, no undefined symbols, and the manifest with the ABI version of this SDK in
# the ELF section .trainhost.manifest. C++ sources are C++20, C sources C11; the project needs only the languages it has sources in.
function(trainhost_add_plugin target)
  cmake_parse_arguments(PLUGIN "" "MANIFEST" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT PLUGIN_MANIFEST OR NOT PLUGIN_SOURCES OR PLUGIN_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "trainhost_add_plugin(${target} ${ARGN}): expected NAME MANIFEST plugin.toml SOURCES a.cpp ... [LIBRARIES l ...]")
  endif()
  get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  set(source_type cpp)
  if("C" IN_LIST languages)
    set(source_type c)
  endif()
  get_filename_component(author_manifest ${PLUGIN_MANIFEST} ABSOLUTE)
  set(manifest ${CMAKE_CURRENT_BINARY_DIR}/${target}.manifest.toml)
  set(carrier ${CMAKE_CURRENT_BINARY_DIR}/${target}.manifest.${source_type})
  set(symbols ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin_symbols.map)

  get_target_property(abi TrainHost::sdk TRAINHOST_ABI)
  file(READ ${author_manifest} text)
  file(CONFIGURE OUTPUT ${manifest} @ONLY CONTENT "${text}\n[sdk]\nabi = \"${abi}\"\n")
  configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin_manifest.c.in ${carrier} @ONLY)
  set_source_files_properties(${carrier} PROPERTIES OBJECT_DEPENDS ${manifest})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${author_manifest})

  add_library(${target} MODULE ${PLUGIN_SOURCES} ${carrier})
  target_link_libraries(${target} PRIVATE TrainHost::sdk ${PLUGIN_LIBRARIES})
  if("C" IN_LIST languages)
    target_compile_features(${target} PRIVATE c_std_11)
  endif()
  if("CXX" IN_LIST languages)
    target_compile_features(${target} PRIVATE cxx_std_20)
  endif()
  set_target_properties(${target} PROPERTIES
    PREFIX "" C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    BUILD_WITH_INSTALL_RPATH ON  # what is tested is what is installed; CMake's own run path of a build ends with the current folder
    LINK_DEPENDS ${symbols})
  target_link_options(${target} PRIVATE LINKER:--version-script=${symbols})
  if(NOT TRAINHOST_SANITIZER)  # a sanitizer's runtime is in the program, not in the plugin
    target_link_options(${target} PRIVATE LINKER:-z,defs)
  endif()
endfunction()
