# Two commands: `make run` installs what is missing, builds and starts a broker; `make test` does the
# same and then runs every test. `make help` lists the rest.
# MODE=release|debug|asan|tsan|fuzz, CC=gcc|clang-14, BUILD=where the output goes.
MODE  ?= release
CC    := $(if $(filter default,$(origin CC)),gcc,$(CC))
BUILD ?= build
OUT   := $(BUILD)/$(MODE)-$(notdir $(CC))
PKGS  := libmicrohttpd jansson libsodium libxxhash

VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
  -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough \
  -Wswitch-enum -Werror=return-type -Werror=implicit-function-declaration
CFLAGS_release := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS_debug   := -O0 -DGQ_DEBUG
CFLAGS_asan    := -O1 -DGQ_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan    := -O1 -DGQ_DEBUG -fsanitize=thread
CFLAGS_fuzz    := -O1 -DGQ_DEBUG -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -Isrc -I. -g -fno-omit-frame-pointer -pthread $(WARN) \
  $(CFLAGS_$(MODE)) $(if $(WERROR),-Werror) $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(CFLAGS)
LIBS = $(shell pkg-config --libs $(PKGS)) -lroaring -lm
ALL_LDFLAGS = $(filter -fsanitize=address% -fsanitize=thread,$(ALL_CFLAGS)) -pthread $(LDFLAGS)

# src/main.c and cli/ make the program; everything else in src/ is linked into the tests too.
lib_src   := $(sort $(wildcard src/*/*.c))
main_src  := src/main.c src/serve.c $(sort $(wildcard cli/*.c))
unit_src  := $(sort $(wildcard tests/unit/*.c))
prop_src  := $(sort $(wildcard tests/property/*.c))
fuzz_src  := $(sort $(wildcard tests/fuzz/fuzz_*.c))
bench_src := $(sort $(wildcard bench/*.c))
c_files   := $(lib_src) $(main_src) $(unit_src) $(prop_src) $(fuzz_src) $(bench_src)
obj        = $(patsubst %.c,$(OUT)/%.o,$(1))
fuzzers   := $(patsubst tests/fuzz/%.c,$(OUT)/%,$(fuzz_src))
references := $(patsubst bench/%.c,$(OUT)/%,$(bench_src))

all: $(BUILD)/goqueue ## build/goqueue
$(BUILD)/goqueue: $(OUT)/goqueue
	@ln -sf $(patsubst $(BUILD)/%,%,$<) $@
$(OUT)/goqueue: $(call obj,$(main_src) $(lib_src))
	$(CC) $^ -o $@ $(ALL_LDFLAGS) $(LIBS)
$(OUT)/broker.a: $(call obj,$(lib_src))
	@rm -f $@
	ar rcs $@ $^
$(OUT)/unit: $(call obj,$(unit_src) cli/bench_http.c cli/bench_json.c) $(OUT)/broker.a
	$(CC) $^ -o $@ $(ALL_LDFLAGS) $(LIBS) $(shell pkg-config --libs check)
$(OUT)/property: $(call obj,$(prop_src)) $(OUT)/broker.a
	$(CC) $^ -o $@ $(ALL_LDFLAGS) $(LIBS)
$(fuzzers): $(OUT)/fuzz_%: $(OUT)/tests/fuzz/fuzz_%.o $(OUT)/broker.a
	$(CC) $^ -o $@ -fsanitize=fuzzer,address,undefined -pthread $(LIBS)
$(references): $(OUT)/%: $(OUT)/bench/%.o $(call obj,$(filter src/std/%,$(lib_src)))
	$(CC) $^ -o $@ $(ALL_LDFLAGS) $(LIBS)
$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -DGQ_VERSION='"$(VERSION)"' -DGQ_COMMIT='"$(COMMIT)"' -MMD -MP -c $< -o $@

run: ## install what is missing, build, start a broker on ./data
	@scripts/deps.sh build
	@$(MAKE) -s -j$$(nproc) all
	@scripts/welcome.sh
	@exec $(BUILD)/goqueue serve
test: ## install what is missing, then every check that CI runs
	@scripts/deps.sh test
	@scripts/test.sh
program: $(OUT)/goqueue
unit: $(OUT)/unit ## build and run the unit tests
	$<
property: $(OUT)/property ## build and run the property tests; GQ_SEED= replays
	$<
fuzzers: $(fuzzers) ## build the fuzz targets (MODE=fuzz CC=clang-14)
references: $(references)
bench: $(BUILD)/goqueue $(references) ## measure against a bare echo server and the raw disk
	bench/run.sh $(BUILD)/goqueue $(OUT)
format: ## rewrite every C file with clang-format 14
	clang-format-14 -i $$(git ls-files '*.c' '*.h')
clean: ## remove build/
	rm -rf $(BUILD)
help: ## this list
	@awk -F':.*## ' '/^[a-z].*##/ {split($$1, t, ":"); printf "  make %-10s %s\n", t[1], $$2}' Makefile

.PHONY: all run test program unit property fuzzers references bench format clean help
.DEFAULT_GOAL := all
-include $(patsubst %.o,%.d,$(call obj,$(c_files)))
