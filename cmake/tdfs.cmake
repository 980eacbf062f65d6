# The words a folder's CMakeLists.txt is written with:
#
#   tdfs_library(journal
#     SOURCES writer.cpp reader.cpp
#     PUBLIC proto            # floors whose headers stand in our headers
#     PRIVATE os dep_lzf)     # floors and dep_* used in our .cpp only
#   tdfs_program(tdfs SOURCES main.cpp PRIVATE master_lib)                           -> BUILD/bin/tdfs
#   tdfs_test(journal_test SOURCES writer_test.cpp PRIVATE journal [LABELS slow] [TIMEOUT 120])
#                                                                                    -> BUILD/bin/tests/journal_test
#   tdfs_test(cli_test COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cli_test.sh)              a script; exit code 77 skips
#
# Includes start at the root of the repository: #include "proto/result.hpp".

add_custom_target(programs)   # tdfs, tdfs_slave, tdfsctl
add_custom_target(unit_tests) # the programs of tests/unit

add_library(tdfs_config INTERFACE)
configure_file(${PROJECT_SOURCE_DIR}/cmake/tdfs_config.hpp.in ${PROJECT_BINARY_DIR}/generated/tdfs_config.hpp @ONLY)
target_include_directories(tdfs_config INTERFACE ${PROJECT_BINARY_DIR}/generated)

function(tdfs_folders)
  foreach(folder IN LISTS ARGN)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/CMakeLists.txt)
      add_subdirectory(${folder})
    endif()
  endforeach()
endfunction()

# Headers that most files include, compiled once for all libraries and once for all tests: half the time of a build. Files
# still include what they use.
function(tdfs_precompiled_headers name)
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp CONTENT "// Only what is compiled before it.\n")
  add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  target_precompile_headers(${name} PRIVATE ${ARGN})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE tdfs_warnings Threads::Threads)
endfunction()
tdfs_precompiled_headers(precompiled ${PROJECT_SOURCE_DIR}/cmake/precompiled.hpp)

function(tdfs_precompile_ name from)
  target_precompile_headers(${name} REUSE_FROM ${from})
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_compile_options(${name} PRIVATE -Winvalid-pch)
  endif()
endfunction()

function(tdfs_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;PUBLIC;PRIVATE")
  tdfs_no_leftovers_(${name} ${arg_UNPARSED_ARGUMENTS})
  add_library(${name} STATIC ${arg_SOURCES})
  # The simulator leads calls between the files of the other folders elsewhere: tests/sim/CMakeLists.txt.
  if(TDFS_UNITY AND name MATCHES "^(resync|daemon|control|master_lib)$")
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON)
  endif()
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE} tdfs_warnings Threads::Threads)
  if(TARGET test_precompiled) # from here on: what tests share
    tdfs_precompile_(${name} test_precompiled)
  else()
    tdfs_precompile_(${name} precompiled)
  endif()
endfunction()

function(tdfs_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;PUBLIC;PRIVATE")
  tdfs_no_leftovers_(${name} ${arg_UNPARSED_ARGUMENTS})
  tdfs_executable_(${name})
  add_dependencies(programs ${name})
endfunction()

# With the arguments its caller has parsed.
function(tdfs_executable_ name)
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_PUBLIC} ${arg_PRIVATE} tdfs_config tdfs_warnings Threads::Threads)
endfunction()

# A Catch program, or with COMMAND any other program, as one entry of ctest. Its labels are the folder of tests/ it stands in
# (unit, e2e, ...) and what LABELS adds. TDFS_BIN names the directory of the built programs to it.
function(tdfs_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;PUBLIC;PRIVATE;LABELS;COMMAND;DEPENDS")
  tdfs_no_leftovers_(${name} ${arg_UNPARSED_ARGUMENTS})
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY ${PROJECT_SOURCE_DIR}/tests OUTPUT_VARIABLE where)
  string(REGEX REPLACE "/.*" "" label ${where})
  if(TARGET ${name} AND arg_SOURCES) # as in tests/unit/, whose names are short
    set(name ${label}_${name})
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  if(TDFS_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 5")
  endif()

  if(arg_SOURCES)
    list(APPEND arg_PRIVATE test_main)
    tdfs_executable_(${name})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin/tests)
    tdfs_precompile_(${name} test_precompiled)
    set(arg_COMMAND $<TARGET_FILE:${name}> --durations yes)
  endif()
  if(arg_SOURCES)
    add_dependencies(${name} test_main ${arg_DEPENDS})
    if(label STREQUAL "unit")
      add_dependencies(unit_tests ${name})
    endif()
  endif()
  add_test(NAME ${name} COMMAND ${arg_COMMAND})
  set_tests_properties(${name} PROPERTIES
    LABELS "${label};${arg_LABELS}"
    TIMEOUT ${arg_TIMEOUT}
    SKIP_RETURN_CODE 77
    ENVIRONMENT "TDFS_BIN=${PROJECT_BINARY_DIR}/bin;${TDFS_TEST_ENVIRONMENT}")
endfunction()

function(tdfs_no_leftovers_ name)
  if(ARGN)
    message(FATAL_ERROR "${name}: not understood: ${ARGN}")
  endif()
endfunction()
