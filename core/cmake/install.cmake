# What `cmake --install` gives. Components: sdk (all that a plugin author needs; also as a Debian package), runtime (the program and its
# modules), libtorch, plugins (the shipped ones), docs. A prefix can be moved; what is installed names no place of the machine that built it.
include(CMakePackageConfigHelpers)
get_target_property(abi trainhost_sdk TRAINHOST_ABI)
set(package lib/cmake/TrainHostSDK)

# sdk
install(DIRECTORY sdk/include/ sdk/testing/include/ DESTINATION include COMPONENT sdk)
install(TARGETS trainhost_sdk EXPORT TrainHostSDK COMPONENT sdk)
install(EXPORT TrainHostSDK NAMESPACE TrainHost:: FILE TrainHostSDKTargets.cmake DESTINATION ${package} COMPONENT sdk)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/TrainHostSDKConfigVersion.cmake VERSION ${abi} COMPATIBILITY SameMajorVersion)
install(FILES sdk/cmake/TrainHostSDKConfig.cmake sdk/cmake/TrainhostPlugin.cmake sdk/cmake/plugin_manifest.c.in sdk/cmake/plugin_symbols.map
              ${CMAKE_BINARY_DIR}/TrainHostSDKConfigVersion.cmake
        DESTINATION ${package} COMPONENT sdk)
configure_file(sdk/cmake/trainhost-sdk.pc.in trainhost-sdk.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/trainhost-sdk.pc DESTINATION lib/pkgconfig COMPONENT sdk)
install(DIRECTORY sdk/template DESTINATION share/trainhost COMPONENT sdk)
install(TARGETS trainhost-plugin DESTINATION ${TRAINHOST_INSTALLATION}/bin COMPONENT sdk)
install(DIRECTORY sdk/docs sdk/examples DESTINATION share/doc/trainhost-sdk COMPONENT sdk)
install(FILES sdk/README.md sdk/CHANGELOG.md DESTINATION share/doc/trainhost-sdk COMPONENT sdk)
install(FILES LICENSE DESTINATION share/doc/trainhost-sdk RENAME copyright COMPONENT sdk)

# install_link(COMPONENT TARGET LINK): a symbolic link below the prefix.
function(install_link component target link)
  get_filename_component(folder ${link} DIRECTORY)
  get_filename_component(name ${link} NAME)
  file(CREATE_LINK ${target} ${CMAKE_BINARY_DIR}/links/${name} SYMBOLIC)
  install(FILES ${CMAKE_BINARY_DIR}/links/${name} DESTINATION ${folder} COMPONENT ${component})
endfunction()
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/links)
install_link(sdk ../../share/trainhost/template ${TRAINHOST_INSTALLATION}/template)
install_link(sdk ../${TRAINHOST_INSTALLATION}/bin/trainhost-plugin bin/trainhost-plugin)
install_link(sdk ../../../include share/doc/trainhost-sdk/include)  # where the pages look for headers
install_link(runtime ../${TRAINHOST_INSTALLATION}/bin/trainhost bin/trainhost)

# runtime
install(TARGETS trainhost DESTINATION ${TRAINHOST_INSTALLATION}/bin COMPONENT runtime)
install(TARGETS trainhost_c10d DESTINATION ${TRAINHOST_INSTALLATION}/lib COMPONENT runtime)
install(DIRECTORY ${CMAKE_BINARY_DIR}/lib/ DESTINATION ${TRAINHOST_INSTALLATION}/lib COMPONENT runtime FILES_MATCHING PATTERN "libsimdjson*")

# libtorch: apart, because it is a hundred times as large as the rest and the same from version to version; bigram on one process needs none
if(TARGET trainhost_cuda)
  install(TARGETS trainhost_cuda DESTINATION ${TRAINHOST_INSTALLATION}/lib COMPONENT runtime)
  set(libraries "[^/]+")
else()  # the CUDA half may lie beside the CPU half all the same
  set(libraries "(libtorch_cpu|libc10|libgomp|libcudart|libcupti)")
endif()
foreach(folder torch/lib nvidia)
  install(DIRECTORY third_party/libtorch/${folder}/ DESTINATION ${TRAINHOST_INSTALLATION}/libtorch/${folder} COMPONENT libtorch
          FILES_MATCHING REGEX "/${libraries}\\.so")
endforeach()

# plugins
get_target_property(shipped trainhost_shipped_plugins TRAINHOST_PLUGINS)
install(TARGETS ${shipped} DESTINATION ${TRAINHOST_INSTALLATION}/plugins COMPONENT plugins)
install(TARGETS trainhost_tensor_optimizers DESTINATION ${TRAINHOST_INSTALLATION}/lib COMPONENT plugins)
install(DIRECTORY ${CMAKE_BINARY_DIR}/lib/ DESTINATION ${TRAINHOST_INSTALLATION}/lib COMPONENT plugins FILES_MATCHING PATTERN "libmuparser*")

# docs
install(DIRECTORY core/docs/ DESTINATION share/doc/trainhost COMPONENT docs)
install(FILES README.md CHANGELOG.md DESTINATION share/doc/trainhost COMPONENT docs)
install(FILES LICENSE DESTINATION share/doc/trainhost RENAME copyright COMPONENT docs)
install(DIRECTORY sdk/docs DESTINATION share/doc/trainhost-sdk COMPONENT docs)

# The Debian package trainhost-sdk: `cpack` in the build tree.
set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL sdk)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_PACKAGE_NAME trainhost)
set(CPACK_PACKAGE_CONTACT "the trainhost authors")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_SDK_PACKAGE_NAME trainhost-sdk)
set(CPACK_DEBIAN_PACKAGE_VERSION ${abi}+${PROJECT_VERSION})  # the ABI's, and the host's that it comes from
set(CPACK_COMPONENT_SDK_DESCRIPTION "Plugins for trainhost: headers, templates and tools
 All that is needed to write a tokenizer, dataset mixer, optimizer, learning-rate scheduler or model for trainhost.")
set(CPACK_DEBIAN_SDK_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_SDK_PACKAGE_DEPENDS "libc6, libgcc-s1, libgomp1, libstdc++6")
set(CPACK_DEBIAN_SDK_PACKAGE_RECOMMENDS "cmake, g++")
include(CPack)
