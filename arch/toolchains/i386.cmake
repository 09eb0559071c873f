# Linux on 32-bit x86: little-endian, 64-bit numbers in structs aligned to 4 bytes. An x86-64 kernel runs its programs.
set(DIPC_MACHINE i386)
set(DIPC_TRIPLET i686-linux-gnu)
include("${CMAKE_CURRENT_LIST_DIR}/debian_cross.cmake")
set(CMAKE_LIBRARY_ARCHITECTURE i386-linux-gnu)  # Debian's packages
# Where they run, libc and what belongs to it is all that is expected of 32-bit libraries.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static-libstdc++")
