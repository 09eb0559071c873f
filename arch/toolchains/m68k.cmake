# Linux on m68k: big-endian, 32 bits, structs aligned to 2 bytes.
set(DIPC_MACHINE m68k)
set(DIPC_TRIPLET m68k-linux-gnu)
set(DIPC_QEMU ON)
set(DIPC_NEEDS_LIBATOMIC ON)  # m68k has no 64-bit atomic instructions
include("${CMAKE_CURRENT_LIST_DIR}/debian_cross.cmake")
