# trainhost_add_plugin(NAME MANIFEST plugin.toml SOURCES a.cpp ... [LIBRARIES l ...])
#
# Builds NAME.so: hidden visibility, one exported symbol, no undefined symbols, and the manifest with the ABI version of this SDK in
# the ELF section .trainhost.manifest. The language standard of C++ sources is C++20.
set(TRAINHOST_SDK_CMAKE_DIR ${CMAKE_CURRENT_LIST_DIR})

function(trainhost_sdk_constant name output)
  file(STRINGS ${TRAINHOST_SDK_CMAKE_DIR}/../include/trainhost/${ARGV2} line REGEX "^#define ${name} ")
  string(REGEX REPLACE "^#define ${name} +([0-9]+).*" "\\1" value "${line}")
  set(${output} ${value} PARENT_SCOPE)
endfunction()

function(trainhost_add_plugin target)
  cmake_parse_arguments(PLUGIN "" "MANIFEST" "SOURCES;LIBRARIES" ${ARGN})
  get_filename_component(author_manifest ${PLUGIN_MANIFEST} ABSOLUTE)
  set(manifest ${CMAKE_CURRENT_BINARY_DIR}/${target}.manifest.toml)
  set(carrier ${CMAKE_CURRENT_BINARY_DIR}/${target}.manifest.c)

  trainhost_sdk_constant(TRAINHOST_ABI_MAJOR major status.h)
  trainhost_sdk_constant(TRAINHOST_ABI_MINOR minor status.h)
  trainhost_sdk_constant(TH_MODEL_DRAFT model_draft kinds/model.h)
  file(READ ${author_manifest} text)
  file(CONFIGURE OUTPUT ${manifest} @ONLY CONTENT "${text}\n[sdk]\nabi = \"${major}.${minor}\"\nmodel_draft = ${model_draft}\n")
  configure_file(${TRAINHOST_SDK_CMAKE_DIR}/plugin_manifest.c.in ${carrier} @ONLY)
  set_source_files_properties(${carrier} PROPERTIES OBJECT_DEPENDS ${manifest})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${author_manifest})

  add_library(${target} MODULE ${PLUGIN_SOURCES} ${carrier})
  target_link_libraries(${target} PRIVATE trainhost_sdk ${PLUGIN_LIBRARIES})
  target_compile_features(${target} PRIVATE cxx_std_20 c_std_11)
  set_target_properties(${target} PROPERTIES
    PREFIX "" C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LINK_DEPENDS ${TRAINHOST_SDK_CMAKE_DIR}/plugin_symbols.map)
  target_link_options(${target} PRIVATE LINKER:--version-script=${TRAINHOST_SDK_CMAKE_DIR}/plugin_symbols.map)
  if(NOT TRAINHOST_SANITIZER)  # a sanitizer's runtime is in the program, not in the plugin
    target_link_options(${target} PRIVATE LINKER:-z,defs)
  endif()
endfunction()
