# Linux on IBM Z: big-endian, 64 bits.
set(DIPC_MACHINE s390x)
set(DIPC_TRIPLET s390x-linux-gnu)
set(DIPC_QEMU ON)
include("${CMAKE_CURRENT_LIST_DIR}/debian_cross.cmake")
