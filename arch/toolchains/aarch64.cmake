# Linux on 64-bit ARM: little-endian; its C types lie in structs as x86-64's do.
set(DIPC_MACHINE aarch64)
set(DIPC_TRIPLET aarch64-linux-gnu)
set(DIPC_QEMU ON)
include("${CMAKE_CURRENT_LIST_DIR}/debian_cross.cmake")
