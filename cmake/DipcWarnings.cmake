# dipc_warnings: what every target of ours is compiled with. Third-party headers come in as SYSTEM, generated
# code is compiled with -w, so that -Werror judges our own lines only.
add_library(dipc_warnings INTERFACE)
# A member left out of a designated initializer is its default, which is what we mean; gcc 12 calls it missing.
target_compile_options(dipc_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-missing-field-initializers)
if(DIPC_WERROR)
  target_compile_options(dipc_warnings INTERFACE -Werror)
endif()

# The sanitizers are for whole builds (one build folder each): a mixture of instrumented and plain code of ours
# would miss errors or invent them. No optimisation, and line numbers only: these builds take the longest to compile, and
# are for their reports. They are best compiled by clang, which takes a third of gcc's time for them.
if(DIPC_SANITIZE)
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O0 -g1")
  set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O0 -g1")
  add_compile_definitions(DIPC_SANITIZED)
endif()
if(DIPC_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(DIPC_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(DIPC_SANITIZE)
  message(FATAL_ERROR "DIPC_SANITIZE is '${DIPC_SANITIZE}'; it can be address, thread or empty")
endif()
# tests/fuzz: our libraries (dipc_library) count what they reach, for libFuzzer.
set(DIPC_FUZZED OFF)
if(DIPC_SANITIZE STREQUAL "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set(DIPC_FUZZED ON)
endif()
