# libfuse: 3.18 speaks io_uring and tells the daemon when set-id bits must go, 3.17 knows passthrough. Where the system's is older,
# scripts/libfuse.sh builds Debian's newer one, static, into build/deps, once for all presets. Where that cannot be, 3.14 does.

set(TDFS_DEPS_DIR ${PROJECT_SOURCE_DIR}/build/deps CACHE PATH "Where libraries built by scripts/ are kept")
mark_as_advanced(TDFS_DEPS_DIR)

set(fuse_prefix "")
if(TDFS_FUSE STREQUAL "auto")
  execute_process(
    COMMAND ${PROJECT_SOURCE_DIR}/scripts/libfuse.sh ${TDFS_DEPS_DIR}
    OUTPUT_VARIABLE fuse_prefix OUTPUT_STRIP_TRAILING_WHITESPACE)
elseif(NOT TDFS_FUSE STREQUAL "system")
  message(FATAL_ERROR "TDFS_FUSE is auto or system, not ${TDFS_FUSE}")
endif()

# Asks pkg-config itself: pkg_check_modules would remember an answer that the script has since changed.
function(fuse_pkg_config variable)
  set(command ${PKG_CONFIG_EXECUTABLE} fuse3 ${ARGN})
  if(fuse_prefix)
    set(command ${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${fuse_prefix}/lib/pkgconfig ${command} --static)
  endif()
  execute_process(COMMAND ${command} OUTPUT_VARIABLE answer OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "libfuse 3 (fuse3.pc) not found: scripts/deps.sh installs what the build needs")
  endif()
  separate_arguments(answer UNIX_COMMAND "${answer}")
  set(${variable} ${answer} PARENT_SCOPE)
endfunction()

fuse_pkg_config(fuse_version --modversion)
fuse_pkg_config(fuse_includes --cflags-only-I)
fuse_pkg_config(fuse_libraries --libs)
list(TRANSFORM fuse_includes REPLACE "^-I" "")
if(fuse_prefix)
  set(fuse_includes ${fuse_prefix}/include/fuse3)
  list(FILTER fuse_libraries EXCLUDE REGEX "^-L${fuse_prefix}")
  list(TRANSFORM fuse_libraries REPLACE "^-lfuse3$" "${fuse_prefix}/lib/libfuse3.a")
endif()
if(fuse_version VERSION_LESS 3.14)
  message(FATAL_ERROR "libfuse ${fuse_version} is too old: 3.14 is needed, 3.18 is better")
endif()
message(STATUS "libfuse ${fuse_version} (${fuse_libraries})")

# The API asked of the headers is their own, up to the newest we know.
if(fuse_version VERSION_GREATER_EQUAL 3.18)
  set(fuse_api 318)
elseif(fuse_version VERSION_GREATER_EQUAL 3.17)
  set(fuse_api 317)
else()
  set(fuse_api 314)
endif()

add_library(fuse3 INTERFACE)
add_library(fuse3::fuse3 ALIAS fuse3)
target_include_directories(fuse3 SYSTEM INTERFACE ${fuse_includes})
target_link_libraries(fuse3 INTERFACE ${fuse_libraries})
target_compile_definitions(fuse3 INTERFACE FUSE_USE_VERSION=${fuse_api})
tdfs_dep(fuse fuse3::fuse3)
