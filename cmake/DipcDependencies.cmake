# Third-party libraries under one set of names, natively and when crossing:
#   dipc::capnp dipc::uv dipc::openssl                 libraries
#   dipc::tomlpp dipc::cli11 dipc::spdlog dipc::expected dipc::json   header-only
#   dipc::dw                                           debug information; native only
#   dipc::atomic                                       64-bit atomics where the machine has none
#   GTest::gtest GTest::gtest_main GTest::gmock GTest::gmock_main   and benchmark::benchmark (native only)
#   dipc::guest                                        defines where set-up put qemu: DIPC_TOOLS_DIR
# Natively everything is Debian's. When crossing, libraries come from the sysroot that scripts/setup makes, and
# headers without libraries from its folder header-only: /usr/include itself would bring native headers in.
find_package(Threads REQUIRED)
if(CMAKE_CROSSCOMPILING)
  file(GLOB GTest_DIR "${DIPC_SYSROOT}/lib/cmake/GTest" "${DIPC_SYSROOT}/lib/*/cmake/GTest")
endif()
find_package(GTest REQUIRED CONFIG)
if(NOT CMAKE_CROSSCOMPILING)
  find_package(benchmark REQUIRED)
endif()

function(dipc_import name header)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "LIBS")
  string(TOUPPER "DIPC_${name}" variable)
  find_path(${variable}_INCLUDE "${header}" REQUIRED)
  mark_as_advanced(${variable}_INCLUDE)
  add_library(dipc_${name} INTERFACE)
  add_library(dipc::${name} ALIAS dipc_${name})
  # Naming /usr/include as a system folder would break libstdc++'s #include_next.
  if(NOT ${variable}_INCLUDE STREQUAL "/usr/include")
    target_include_directories(dipc_${name} SYSTEM INTERFACE "${${variable}_INCLUDE}")
  endif()
  # Each library is a target that names what it needs (the ones after it, libatomic), since the order of static
  # libraries in a link line follows from nothing else.
  set(needed "")
  if(DIPC_NEEDS_LIBATOMIC)  # said by the toolchain file
    set(needed atomic)
  endif()
  list(REVERSE arg_LIBS)
  foreach(library IN LISTS arg_LIBS)
    string(MAKE_C_IDENTIFIER "DIPC_LIBRARY_${library}" library_variable)
    find_library(${library_variable} ${library} REQUIRED)
    mark_as_advanced(${library_variable})
    add_library(dipc_${name}_${library} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(dipc_${name}_${library} PROPERTIES
      IMPORTED_LOCATION "${${library_variable}}" INTERFACE_LINK_LIBRARIES "${needed}")
    target_link_libraries(dipc_${name} INTERFACE dipc_${name}_${library})
    list(PREPEND needed dipc_${name}_${library})
  endforeach()
  target_link_libraries(dipc_${name} INTERFACE Threads::Threads)
endfunction()

dipc_import(capnp capnp/message.h LIBS capnp kj)
dipc_import(uv uv.h LIBS uv)
dipc_import(openssl openssl/ssl.h LIBS ssl crypto)
dipc_import(tomlpp toml++/toml.h)
dipc_import(cli11 CLI/CLI.hpp)
dipc_import(spdlog spdlog/spdlog.h)
dipc_import(expected tl/expected.hpp)
dipc_import(json nlohmann/json.hpp)
if(NOT CMAKE_CROSSCOMPILING)
  dipc_import(dw elfutils/libdw.h LIBS dw elf)
endif()
target_link_libraries(dipc_uv INTERFACE ${CMAKE_DL_LIBS})
target_link_libraries(dipc_openssl INTERFACE ${CMAKE_DL_LIBS})
target_compile_definitions(dipc_spdlog INTERFACE FMT_HEADER_ONLY)

add_library(dipc_atomic INTERFACE)
add_library(dipc::atomic ALIAS dipc_atomic)
if(DIPC_NEEDS_LIBATOMIC)
  target_link_libraries(dipc_atomic INTERFACE atomic)
endif()

# Programs that start guests look for qemu-m68k-static in PATH first, then in this folder of the build tree.
add_library(dipc_guest INTERFACE)
add_library(dipc::guest ALIAS dipc_guest)
target_compile_definitions(dipc_guest INTERFACE "DIPC_TOOLS_DIR=\"${CMAKE_SOURCE_DIR}/build/tools\"")

# The schema compiler runs here, whatever the code is built for.
find_program(DIPC_CAPNP capnp REQUIRED)
mark_as_advanced(DIPC_CAPNP)
