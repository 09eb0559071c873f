# The verbs. Each does the set-up it needs; a second run rebuilds nothing it need not.
# Variables: JOBS (parallel jobs), PREFIX and DESTDIR (install), DIPC_CACHE (set-up's cache, ~/.cache/dipc).

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
BUILD := build
NATIVE := $(BUILD)/native
M68K := $(BUILD)/m68k

# Machines of which `make test` builds what a host of the lab needs, and no unit tests.
LAB_MACHINES := s390x i386
# Known too, and built only when asked for.
OTHER_MACHINES := aarch64

# qemu may be one that set-up fetched.
export PATH := $(PATH):$(CURDIR)/$(BUILD)/tools

CMAKE := cmake -S . -G Ninja -DDIPC_WERROR=ON
CLANG := -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++
NINJA := cmake --build
CTEST := ctest --output-on-failure --no-tests=error --timeout 120 -j $(JOBS) --test-dir

SETUPS := $(addprefix setup-,native m68k $(LAB_MACHINES) $(OTHER_MACHINES) tests)

.PHONY: all help setup $(SETUPS) setup-lint native m68k $(LAB_MACHINES) $(OTHER_MACHINES) check test demo lint format sanitize asan tsan fuzz soak bench install clean

all: native m68k

help:
	@echo 'make all       set-up, native and m68k build'
	@echo 'make setup     install what is missing: Debian packages, libraries of other machines (as root if packages are missing)'
	@echo 'make check     unit tests and simulations, natively: the inner loop'
	@echo 'make test      set-up, both builds and $(LAB_MACHINES) hosts for the lab, every test'
	@echo 'make s390x     set-up, what a lab host of that machine needs; so i386 and aarch64'
	@echo 'make demo      set-up, both builds, a cluster of two architectures at work'
	@echo 'make lint      format, clang build, clang-tidy'
	@echo 'make format    settle the layout of the sources'
	@echo 'make sanitize  tests under ASan, UBSan and TSan'
	@echo 'make fuzz      hostile input, FUZZ_SECONDS=60 for each target, under ASan and UBSan'
	@echo 'make soak      a cluster under load and random faults for MINUTES=10 [SEED=s], then litmus tests, as root'
	@echo 'make bench     figures, also into build/bench.json'
	@echo 'make install   PREFIX=/usr/local, DESTDIR='
	@echo 'make clean     remove build/ (set-up keeps its cache)'

setup:
	@scripts/setup

$(SETUPS): setup-%:
	@scripts/setup $*

setup-lint:
	@scripts/setup --lint

# CMake runs only where it has not yet, or ninja finds that a listing changed.
native: setup-native
	@test -f $(NATIVE)/build.ninja || $(CMAKE) -B $(NATIVE)
	@$(NINJA) $(NATIVE) -j $(JOBS)

m68k: setup-m68k
	@test -f $(M68K)/build.ninja || $(CMAKE) -B $(M68K) --toolchain arch/toolchains/m68k.cmake
	@$(NINJA) $(M68K) -j $(JOBS)

$(LAB_MACHINES) $(OTHER_MACHINES): %: setup-%
	@test -f $(BUILD)/$@/build.ninja || $(CMAKE) -B $(BUILD)/$@ --toolchain arch/toolchains/$@.cmake
	@$(NINJA) $(BUILD)/$@ -j $(JOBS) --target lab_host

check: native
	@$(CTEST) $(NATIVE) -L '^(unit|sim)$$'

test: setup-tests all $(LAB_MACHINES)
	@$(CTEST) $(NATIVE)
	@$(CTEST) $(M68K)

demo: all
	@examples/demo

lint: setup-lint
	@JOBS=$(JOBS) scripts/lint

format: setup-lint
	@scripts/lint --format

# Kernels with vm.mmap_rnd_bits above 28 place things where the TSan of clang 14 and gcc 12 does not expect them, and
# its programs stop at start; setarch -R turns that off for the tests, where it may.
FIXED_LAYOUT := $(shell setarch -R true 2>/dev/null && echo setarch -R)
SANITIZED_TESTS := -L '^(unit|sim|shim|kernel|types)$$'
sanitize: asan tsan

asan: setup-lint
	@JOBS=$(JOBS) scripts/lint --build
	@ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(CTEST) $(BUILD)/clang $(SANITIZED_TESTS)

tsan: setup-lint
	@test -f $(BUILD)/tsan/build.ninja || $(CMAKE) -B $(BUILD)/tsan -DDIPC_SANITIZE=thread $(CLANG)
	@$(NINJA) $(BUILD)/tsan -j $(JOBS)
	@TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 $(FIXED_LAYOUT) \
	  $(CTEST) $(BUILD)/tsan $(SANITIZED_TESTS)

# As many at once as there are jobs. Inputs that break something are left in build/clang/fuzz, NAME-crash-...; as a file of
# tests/fuzz/corpus/NAME they become tests.
FUZZ_SECONDS ?= 60
fuzz: setup-lint
	@JOBS=$(JOBS) FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/lint --build run_fuzz

# What broke is shown, and its logs are left in build/soak.
MINUTES ?= 10
SEED ?= $(shell date +%s)
soak: all
	@$(NATIVE)/tests/soak/soak $(MINUTES) $(SEED) $(BUILD)/soak
	@DIPC_LITMUS_ITERATIONS=1000000 $(NATIVE)/tests/litmus/litmus_test

bench: all
	@bench/run

install: native
	@cmake --install $(NATIVE) --prefix $(PREFIX)

clean:
	@rm -rf $(BUILD)
