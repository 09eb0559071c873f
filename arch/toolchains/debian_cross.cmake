# What the toolchain files of this folder have in common: Debian's cross compiler for DIPC_TRIPLET, third-party libraries
# from the sysroot of scripts/setup (by default where its link in build/ points), and, for a machine whose programs the
# kernel does not run, qemu. A toolchain file sets, and then includes this:
#   DIPC_MACHINE         as in cli/machines.cpp: qemu's name of it, and the name of its sysroot and build folder
#   DIPC_TRIPLET         of the compiler
#   DIPC_QEMU            ON: its programs need qemu here
#   DIPC_NEEDS_LIBATOMIC ON: it has no 64-bit atomic instructions
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${DIPC_MACHINE})
set(CMAKE_C_COMPILER ${DIPC_TRIPLET}-gcc)
set(CMAKE_CXX_COMPILER ${DIPC_TRIPLET}-g++)
set(CMAKE_LIBRARY_ARCHITECTURE ${DIPC_TRIPLET})

get_filename_component(dipc_build "${CMAKE_CURRENT_LIST_DIR}/../../build" ABSOLUTE)
if(NOT DIPC_SYSROOT)
  set(DIPC_SYSROOT "${dipc_build}/sysroot/${DIPC_MACHINE}")
endif()
if(NOT EXISTS "${DIPC_SYSROOT}/include")
  message(FATAL_ERROR "No ${DIPC_MACHINE} sysroot at ${DIPC_SYSROOT}: run 'scripts/setup ${DIPC_MACHINE}' first")
endif()
set(DIPC_SYSROOT "${DIPC_SYSROOT}" CACHE PATH "Third-party libraries of ${DIPC_MACHINE}")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES DIPC_SYSROOT)

set(CMAKE_FIND_ROOT_PATH "${DIPC_SYSROOT}" "${dipc_build}/sysroot/header-only" /usr/${DIPC_TRIPLET})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Only the static qemu hands LD_PRELOAD on to the guest: a dynamic one loads the native library into itself.
if(DIPC_QEMU)
  string(TOUPPER "DIPC_QEMU_${DIPC_MACHINE}" dipc_qemu)
  find_program(${dipc_qemu} qemu-${DIPC_MACHINE}-static HINTS "${dipc_build}/tools" REQUIRED)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${${dipc_qemu}};-L;/usr/${DIPC_TRIPLET}")
endif()
