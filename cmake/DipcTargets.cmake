# Short ways to say what our targets have in common: include root (the repository's), warnings, tests.
#
#   dipc_library(NAME sources... [LIBS targets...])        static library; LIBS are public
#   dipc_program(NAME sources... [LIBS targets...])        executable, -latomic where needed
#   dipc_test(NAME sources... [LIBS targets...] [TIMEOUT seconds] [LABELS labels...] [RUN_SERIAL] [NO_MAIN])
#       a GoogleTest executable and one ctest of the same name; label unit and 60 s unless said otherwise;
#       NO_MAIN: it has a main() of its own. Crossed tests run under the toolchain's emulator.
#       They are optimised less than the libraries under test.
#   dipc_capnp_generate(TARGET file.capnp)                 adds the generated code to TARGET;
#       wire/peer.capnp becomes #include "wire/peer.capnp.h"

function(dipc_set_up_ name)
  target_include_directories(${name} PUBLIC "${CMAKE_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE dipc_warnings)
endfunction()

function(dipc_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBS")
  add_library(${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  dipc_set_up_(${name})
  if(DIPC_FUZZED)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link
      "-fsanitize-coverage-allowlist=${CMAKE_SOURCE_DIR}/tests/fuzz/counted")
  endif()
  target_link_libraries(${name} PUBLIC ${arg_LIBS})
endfunction()

function(dipc_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBS")
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  dipc_set_up_(${name})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} dipc::atomic)
endfunction()

function(dipc_compile_as_test_ name)
  if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" AND NOT DIPC_SANITIZE)
    target_compile_options(${name} PRIVATE -O1)
  endif()
  # gcc 12 warns of what it inlines from standard headers if they are precompiled.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${name} PRIVATE -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow)
  endif()
endfunction()

function(dipc_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "RUN_SERIAL;NO_MAIN" "TIMEOUT" "LIBS;LABELS")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(arg_NO_MAIN)
    list(APPEND arg_LIBS GTest::gmock)
  else()
    list(APPEND arg_LIBS GTest::gmock_main)
  endif()
  dipc_program(${name} ${arg_UNPARSED_ARGUMENTS} LIBS ${arg_LIBS})
  dipc_compile_as_test_(${name})
  target_precompile_headers(${name} REUSE_FROM dipc_test_headers)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}" RUN_SERIAL ${arg_RUN_SERIAL})
endfunction()

function(dipc_capnp_generate target schema)
  get_filename_component(schema "${schema}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  cmake_path(RELATIVE_PATH schema BASE_DIRECTORY "${CMAKE_SOURCE_DIR}" OUTPUT_VARIABLE relative)
  set(root "${CMAKE_BINARY_DIR}/generated")
  set(outputs "${root}/${relative}.c++" "${root}/${relative}.h")
  add_custom_command(
    OUTPUT ${outputs}
    COMMAND ${CMAKE_COMMAND} -E make_directory "${root}"
    COMMAND "${DIPC_CAPNP}" compile "-oc++:${root}" "--src-prefix=${CMAKE_SOURCE_DIR}" "-I${CMAKE_SOURCE_DIR}" "${schema}"
    DEPENDS "${schema}"
    COMMENT "Generating ${relative}.h"
    VERBATIM)
  set_source_files_properties("${root}/${relative}.c++" PROPERTIES COMPILE_OPTIONS -w SKIP_PRECOMPILE_HEADERS ON)
  # clang-tidy wants at least one check: this one has nothing to say here.
  file(WRITE "${root}/.clang-tidy" "Checks: '-*,misc-misplaced-const'\n")
  target_sources(${target} PRIVATE ${outputs})
  target_include_directories(${target} SYSTEM PUBLIC "${root}")
  target_link_libraries(${target} PUBLIC dipc::capnp)
endfunction()

# What every test includes is compiled once, in the same way as they are. Not under a compiler cache, which does better
# without; nor for `make lint`, where a missing #include shows. Not for the libraries, whose warnings all count.
if(CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_DISABLE_PRECOMPILE_HEADERS ON)
endif()
file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/generated/test_headers.cpp" CONTENT "int main() {}\n")
dipc_program(dipc_test_headers "${CMAKE_BINARY_DIR}/generated/test_headers.cpp" LIBS dipc::expected GTest::gmock)
dipc_compile_as_test_(dipc_test_headers)
target_precompile_headers(dipc_test_headers PRIVATE
  <algorithm> <chrono> <fstream> <functional> <map> <memory> <optional> <set> <string> <utility> <variant> <vector>
  <tl/expected.hpp> <gmock/gmock.h> <gtest/gtest.h>)
