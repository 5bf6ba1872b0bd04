# find_package(TrainHostSDK 1 CONFIG): the target TrainHost::sdk and trainhost_add_plugin(). TrainHostSDK_PLUGIN_DIR is where the host of
# the same prefix looks for plugins; TrainHostSDK_TOOL is the program trainhost-plugin.
get_filename_component(TrainHostSDK_PLUGIN_DIR ${CMAKE_CURRENT_LIST_DIR}/../../trainhost/plugins ABSOLUTE)
get_filename_component(TrainHostSDK_TOOL ${CMAKE_CURRENT_LIST_DIR}/../../../bin/trainhost-plugin ABSOLUTE)
include(${CMAKE_CURRENT_LIST_DIR}/TrainHostSDKTargets.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/TrainhostPlugin.cmake)
