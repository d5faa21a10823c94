# find_package(AdapterSDK CONFIG REQUIRED)
#
# adapter_sdk_add_plugin(<target> SOURCES <files...> [REFERENCE_KERNELS])
#   Builds <target> as a Paddle device library lib<target>.so and installs it into paddle_custom_device/, the folder that
#   Paddle scans. REFERENCE_KERNELS adds the SDK's host kernels (sources in ${AdapterSDK_KERNELS_DIR}); the plugin then
#   has to define adapter::host::alias and adapter::host::submit, and to link a gemm (gemm_plain.cc is left out).
#   Nothing of Paddle is needed to build.

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
set(AdapterSDK_KERNELS_DIR "${AdapterSDK_SOURCE_DIR}/kernels")

function(adapter_sdk_add_plugin target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "REFERENCE_KERNELS" "" "SOURCES")
  file(GLOB abi_sources CONFIGURE_DEPENDS "${AdapterSDK_SOURCE_DIR}/abi/*.cc")
  set(kernel_sources)
  if(arg_REFERENCE_KERNELS)
    file(GLOB kernel_sources CONFIGURE_DEPENDS "${AdapterSDK_KERNELS_DIR}/*.cc")
    list(FILTER kernel_sources EXCLUDE REGEX "/gemm_")
  endif()
  # a * b + c has one result, whatever the compiler makes of a loop: some loops are compiled for several processors.
  if(kernel_sources)
    set_source_files_properties(${kernel_sources} PROPERTIES COMPILE_OPTIONS "-ffp-contract=off")
  endif()
  add_library(${target} MODULE ${arg_SOURCES} ${abi_sources} ${kernel_sources})
  target_compile_features(${target} PRIVATE cxx_std_17)
  target_include_directories(${target} PRIVATE "${AdapterSDK_INCLUDE_DIR}" "${AdapterSDK_SOURCE_DIR}"
                                               "${AdapterSDK_KERNELS_DIR}")
  target_compile_definitions(${target} PRIVATE ADAPTER_SDK_VERSION="${AdapterSDK_VERSION}")
  target_compile_options(${target} PRIVATE -Wall -Wextra -fvisibility=hidden -fvisibility-inlines-hidden)
  find_package(Threads REQUIRED)
  target_link_libraries(${target} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  # No undefined symbol may wait for Paddle: everything of Paddle is looked up when the plugin is mounted.
  target_link_options(${target} PRIVATE -Wl,--no-undefined)
  set_target_properties(${target} PROPERTIES PREFIX "lib" SKIP_BUILD_RPATH TRUE)
  install(TARGETS ${target} LIBRARY DESTINATION paddle_custom_device)
endfunction()
