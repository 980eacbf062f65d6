# Every library from outside, each as one target dep_*. Their headers are system headers: our warnings do not look there.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

function(tdfs_dep name)
  add_library(dep_${name} INTERFACE)
  target_link_libraries(dep_${name} INTERFACE ${ARGN})
endfunction()

function(tdfs_dep_headers name header)
  find_path(${name}_INCLUDE_DIR ${header} PATH_SUFFIXES ${ARGN} REQUIRED)
  mark_as_advanced(${name}_INCLUDE_DIR)
  target_include_directories(dep_${name} SYSTEM INTERFACE ${${name}_INCLUDE_DIR})
endfunction()

# Not every liblzf comes with a pkg-config file.
find_library(lzf_LIBRARY lzf REQUIRED)
mark_as_advanced(lzf_LIBRARY)
tdfs_dep(lzf ${lzf_LIBRARY})
tdfs_dep_headers(lzf lzf.h liblzf)

pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
tdfs_dep(xxhash PkgConfig::xxhash)

pkg_check_modules(uring REQUIRED IMPORTED_TARGET liburing)
tdfs_dep(uring PkgConfig::uring)

tdfs_dep(asio Threads::Threads)
tdfs_dep_headers(asio asio.hpp)
target_compile_definitions(dep_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang") # asio 1.22 knows clang's coroutines only under <experimental>
  target_compile_definitions(dep_asio INTERFACE ASIO_HAS_CO_AWAIT=1 ASIO_HAS_STD_COROUTINE=1)
endif()

find_package(spdlog REQUIRED)
tdfs_dep(spdlog spdlog::spdlog)

find_package(nlohmann_json REQUIRED)
tdfs_dep(json nlohmann_json::nlohmann_json)

tdfs_dep(cxxopts)
tdfs_dep_headers(cxxopts cxxopts.hpp)

tdfs_dep(toml)
tdfs_dep_headers(toml toml++/toml.h)

include(fuse)

if(TDFS_TESTS)
  find_package(Catch2 REQUIRED)
  tdfs_dep(catch Catch2::Catch2)
endif()
