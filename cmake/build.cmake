# How everything is compiled: language, build types, sanitizers, warnings, where programs go.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(THREADS_PREFER_PTHREAD_FLAG ON)

set(CMAKE_UNITY_BUILD_BATCH_SIZE 12) # where CMAKE_UNITY_BUILD is on: a third of the time for a build from nothing

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# Our own checks stay on in a release (a broken invariant aborts), and so do lines for its backtrace: no NDEBUG, and -g1 (-g costs
# half as much again to compile).
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")
if(TDFS_SANITIZE)
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer")
  add_compile_options(-fsanitize=${TDFS_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TDFS_SANITIZE})
  set(TDFS_TEST_ENVIRONMENT
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")
endif()

# clang before 16 has coroutines but does not say so, and libstdc++'s <coroutine> believes it.
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16)
  add_compile_definitions(__cpp_impl_coroutine=201902L)
endif()

# Warnings, for our own targets only.
add_library(tdfs_warnings INTERFACE)
target_compile_options(tdfs_warnings INTERFACE
  -Wall
  -Wextra
  -Wpedantic
  -Wshadow
  -Wconversion
  -Wno-sign-conversion
  -Wnon-virtual-dtor
  -Wold-style-cast
  -Woverloaded-virtual
  -Wcast-align
  -Wcast-qual
  -Wformat=2
  -Wimplicit-fallthrough
  -Wundef
  -Wunused
  -Wvla
  -Wno-missing-field-initializers # options structs are filled by designated initialisers
  $<$<BOOL:${TDFS_WERROR}>:-Werror>)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(tdfs_warnings INTERFACE -Wduplicated-cond -Wlogical-op)
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # gcc bugs 105651 and 105329: false on string + string
    target_compile_options(tdfs_warnings INTERFACE -Wno-restrict -Wno-array-bounds)
  endif()
  if(TDFS_SANITIZE)
    target_compile_options(tdfs_warnings INTERFACE -Wno-maybe-uninitialized) # false with sanitizers, says gcc's manual
    if(TDFS_SANITIZE MATCHES "thread")
      target_compile_options(tdfs_warnings INTERFACE -Wno-tsan) # fences
    endif()
  endif()
elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(tdfs_warnings INTERFACE -Wthread-safety -Wextra-semi -Wmissing-prototypes)
endif()
