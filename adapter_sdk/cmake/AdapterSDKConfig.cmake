# find_package(AdapterSDK CONFIG REQUIRED)
#
# adapter_sdk_add_plugin(<target> SOURCES <files...> [REFERENCE_KERNELS] [HOST_COLLECTIVES] [GRAPH_COLLECTIVES] [REFERENCE <names...>])
#   Builds <target> as a Paddle device library lib<target>.so and installs it into paddle_custom_device/, the folder that
#   Paddle scans. REFERENCE_KERNELS adds the SDK's host kernels (sources in ${AdapterSDK_KERNELS_DIR}); the plugin then
#   has to define adapter::host::alias and adapter::host::submit, and to link a gemm (gemm_plain.cc is left out).
#   HOST_COLLECTIVES adds the SDK's communicator between processes (csrc/collectives), which works on memory of the host.
#   GRAPH_COLLECTIVES adds the kernels with which collectives of static graphs (all_reduce, p_send, ...) call the plugin's
#   own communicator, Device::collectives().
#   REFERENCE adds the SDK's host kernels of these files (kernels/<name>.cc; ALL for every one), marked as stand-ins that
#   the plugin did not write: its own kernel of an operator and dtype takes the place of the stand-in, and stand-ins never
#   count towards a certificate. ALL takes seconds where the installed wheel brings them compiled, else minutes. They run on a device that derives from adapter::host::HostDevice.
#   Nothing of Paddle is needed to build.
#
# adapter_sdk_add_python_plugin(<name>)
#   Installs the library that stands for the plugin <name>, written in Python, into paddle_custom_device/ as
#   lib<name>.so: a copy of the SDK's compiled bridge. Needs no compiler (project(... LANGUAGES NONE)).

get_filename_component(_adapter_sdk_root "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT EXISTS "${_adapter_sdk_root}/src/abi") # a checkout instead of an installed package
  get_filename_component(_adapter_sdk_checkout "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
  set(AdapterSDK_SOURCE_DIR "${_adapter_sdk_checkout}/csrc")
  set(AdapterSDK_INCLUDE_DIR "${_adapter_sdk_checkout}/adapter_sdk/include")
  file(STRINGS "${_adapter_sdk_checkout}/pyproject.toml" _adapter_sdk_version REGEX "^version = ")
  string(REGEX REPLACE "^version = \"(.*)\"$" "\\1" AdapterSDK_VERSION "${_adapter_sdk_version}")
else()
  set(AdapterSDK_SOURCE_DIR "${_adapter_sdk_root}/src")
  set(AdapterSDK_INCLUDE_DIR "${_adapter_sdk_root}/include")
endif()
set(AdapterSDK_PYTHON_BRIDGE "${_adapter_sdk_root}/lib/libadapter_python.so") # compiled; part of the wheel alone
set(AdapterSDK_REFERENCE_ARCHIVE "${_adapter_sdk_root}/lib/libadapter_reference.a") # compiled; part of released wheels
set(AdapterSDK_KERNELS_DIR "${AdapterSDK_SOURCE_DIR}/kernels")
set(AdapterSDK_COLLECTIVES_DIR "${AdapterSDK_SOURCE_DIR}/collectives")
set(AdapterSDK_GRAPH_COLLECTIVES_DIR "${AdapterSDK_SOURCE_DIR}/graph_collectives")

function(adapter_sdk_add_plugin target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "REFERENCE_KERNELS;HOST_COLLECTIVES;GRAPH_COLLECTIVES" "" "SOURCES;REFERENCE")
  file(GLOB abi_sources CONFIGURE_DEPENDS "${AdapterSDK_SOURCE_DIR}/abi/*.cc")
  set(kernel_sources)
  if(arg_REFERENCE_KERNELS)
    file(GLOB kernel_sources CONFIGURE_DEPENDS "${AdapterSDK_KERNELS_DIR}/*.cc")
    list(FILTER kernel_sources EXCLUDE REGEX "/gemm_")
  endif()
  set(collectives_sources)
  if(arg_HOST_COLLECTIVES)
    file(GLOB collectives_sources CONFIGURE_DEPENDS "${AdapterSDK_COLLECTIVES_DIR}/*.cc")
  endif()
  if(arg_GRAPH_COLLECTIVES)
    file(GLOB graph_sources CONFIGURE_DEPENDS "${AdapterSDK_GRAPH_COLLECTIVES_DIR}/*.cc")
    list(APPEND collectives_sources ${graph_sources})
  endif()
  set(prebuilt)
  if(arg_REFERENCE STREQUAL "ALL" AND EXISTS "${AdapterSDK_REFERENCE_ARCHIVE}")
    set(prebuilt -Wl,--whole-archive "${AdapterSDK_REFERENCE_ARCHIVE}" -Wl,--no-whole-archive)
  elseif(arg_REFERENCE)
    if(arg_REFERENCE STREQUAL "ALL")
      file(GLOB kernel_sources CONFIGURE_DEPENDS "${AdapterSDK_KERNELS_DIR}/*.cc")
      list(FILTER kernel_sources EXCLUDE REGEX "/gemm_")
    else()
      foreach(name IN LISTS arg_REFERENCE)
        if(NOT EXISTS "${AdapterSDK_KERNELS_DIR}/${name}.cc")
          message(FATAL_ERROR "REFERENCE ${name}: there is no ${AdapterSDK_KERNELS_DIR}/${name}.cc")
        endif()
        list(APPEND kernel_sources "${AdapterSDK_KERNELS_DIR}/${name}.cc")
      endforeach()
    endif()
    set_source_files_properties(
      ${kernel_sources} PROPERTIES COMPILE_DEFINITIONS ADAPTER_KERNEL_PROVENANCE=ADAPTER_PROVENANCE_REFERENCE)
    file(GLOB host_sources CONFIGURE_DEPENDS "${AdapterSDK_SOURCE_DIR}/reference/*.cc")
    list(APPEND kernel_sources "${AdapterSDK_KERNELS_DIR}/gemm_plain.cc" ${host_sources})
  endif()
  # a * b + c has one result, whatever the compiler makes of a loop: some loops are compiled for several processors.
  if(kernel_sources)
    set(kernel_options "-ffp-contract=off")
    if(arg_REFERENCE)
      list(APPEND kernel_options -O2) # a stand-in need not be fast, and compiles in half the time
    endif()
    set_source_files_properties(${kernel_sources} PROPERTIES COMPILE_OPTIONS "${kernel_options}")
  endif()
  add_library(${target} MODULE ${arg_SOURCES} ${abi_sources} ${kernel_sources}
                     ${collectives_sources})
  target_compile_features(${target} PRIVATE cxx_std_17)
  target_include_directories(${target} PRIVATE "${AdapterSDK_INCLUDE_DIR}" "${AdapterSDK_SOURCE_DIR}"
                                               "${AdapterSDK_KERNELS_DIR}")
  target_compile_definitions(${target} PRIVATE ADAPTER_SDK_VERSION="${AdapterSDK_VERSION}")
  target_compile_options(${target} PRIVATE -Wall -Wextra -fvisibility=hidden -fvisibility-inlines-hidden)
  find_package(Threads REQUIRED)
  target_link_libraries(${target} PRIVATE ${prebuilt} Threads::Threads ${CMAKE_DL_LIBS})
  # No undefined symbol may wait for Paddle: everything of Paddle is looked up when the plugin is mounted.
  target_link_options(${target} PRIVATE -Wl,--no-undefined)
  set_target_properties(${target} PROPERTIES PREFIX "lib" SKIP_BUILD_RPATH TRUE)
  install(TARGETS ${target} LIBRARY DESTINATION paddle_custom_device)
endfunction()

function(adapter_sdk_add_python_plugin name)
  if(NOT EXISTS "${AdapterSDK_PYTHON_BRIDGE}")
    message(FATAL_ERROR "${AdapterSDK_PYTHON_BRIDGE} is missing; install adapter-sdk from its wheel")
  endif()
  install(FILES "${AdapterSDK_PYTHON_BRIDGE}" DESTINATION paddle_custom_device RENAME "lib${name}.so"
          PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endfunction()
