# Cross build for Linux on m68k (big-endian, 32 bits, structs aligned to 2 bytes) with Debian's cross compiler.
# The third-party libraries come from the sysroot of scripts/setup, by default where its link in build/ points.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR m68k)
set(CMAKE_C_COMPILER m68k-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER m68k-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE m68k-linux-gnu)

get_filename_component(dipc_build "${CMAKE_CURRENT_LIST_DIR}/../../build" ABSOLUTE)
if(NOT DIPC_SYSROOT)
  set(DIPC_SYSROOT "${dipc_build}/sysroot/m68k")
endif()
if(NOT EXISTS "${DIPC_SYSROOT}/include")
  message(FATAL_ERROR "No m68k sysroot at ${DIPC_SYSROOT}: run 'make setup' first")
endif()
set(DIPC_SYSROOT "${DIPC_SYSROOT}" CACHE PATH "Third-party libraries built for m68k")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES DIPC_SYSROOT)
set(DIPC_NEEDS_LIBATOMIC ON)  # m68k has no 64-bit atomic instructions

set(CMAKE_FIND_ROOT_PATH "${DIPC_SYSROOT}" "${dipc_build}/sysroot/header-only" /usr/m68k-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Only the static qemu hands LD_PRELOAD on to the guest: a dynamic one loads the native library into itself.
find_program(DIPC_QEMU_M68K qemu-m68k-static HINTS "${dipc_build}/tools" REQUIRED)
set(CMAKE_CROSSCOMPILING_EMULATOR "${DIPC_QEMU_M68K};-L;/usr/m68k-linux-gnu")
