# SPDX-License-Identifier: Apache-2.0
# kiln. 'make help' says what can be made; everything made goes to out/.

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
OUT ?= out
FUZZ_SECONDS ?= 5

CC ?= cc
CFLAGS ?= -O2 -g
PACKAGES := libguestfs libarchive yaml-0.1 zlib libzstd jansson libcrypto ext2fs com_err libseccomp \
    libcurl libxml-2.0
HOST_ARCH := $(shell dpkg --print-architecture 2>/dev/null)

# Everything kiln, its tests and its base layer need from Debian 12, in one list. A kernel for the
# appliance is added where the machine has none (a container). OpenStack's two are the libraries
# alone, without the packages that would set up and start services.
DEBIAN_PACKAGES := build-essential pkg-config perl \
    libguestfs-dev libguestfs-tools libguestfs-xfs btrfs-progs xfsprogs libarchive-dev libyaml-dev \
    zlib1g-dev libzstd-dev libjansson-dev libssl-dev libext2fs-dev comerr-dev libseccomp-dev libcurl4-openssl-dev \
    libxml2-dev e2fsprogs qemu-utils \
    mmdebstrap zstd \
    libcmocka-dev busybox-static qemu-system-x86 ovmf mtools dosfstools fdisk gdisk libarchive-tools cpio attr \
    acl strace file genimage xz-utils lz4 bzip2 zip bsdutils python3 clang clang-format clang-tidy umoci skopeo \
    uidmap uuid-runtime procps man-db time git openssh-client faketime python3-yaml busybox-static rpm \
    python3-keystone python3-glance uwsgi-core uwsgi-plugin-python3 python3-botocore curl jq openssl \
    $(if $(wildcard /boot/vmlinuz-*),,linux-image-cloud-$(HOST_ARCH))

COMMON_CFLAGS = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
    -Ibuilder -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
    -Wundef $(CLANG_FLAGS) $(if $(CI),-Werror)
ALL_CFLAGS = $(COMMON_CFLAGS) -DKILN_VERSION='"$(VERSION)"' -pthread $(SAN_FLAGS) \
    $(PACKAGE_CFLAGS) $(CFLAGS)
ALL_LIBS = $(PACKAGE_LIBS) -pthread $(LDFLAGS)
# Messages are built from formats handed on; GCC sees through that, clang warns.
CLANG_FLAGS = $(if $(findstring clang,$(CC)),-Wno-format-nonliteral)
SAN_FLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $$(shell pkg-config --cflags $(PACKAGES)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $$(shell pkg-config --libs $(PACKAGES)))$(PACKAGE_LIBS)

# The runner is a program of its own; the rest is kiln.
RUNNER_SOURCES := $(sort $(wildcard builder/runner/*.c))
SOURCES := $(filter-out $(RUNNER_SOURCES),$(sort $(wildcard builder/*.c builder/*/*.c)))
HEADERS := $(sort $(wildcard builder/*.h builder/*/*.h))
OBJECTS := $(SOURCES:%.c=$(OUT)/obj/%.o)
PARTS := $(filter-out $(OUT)/obj/builder/main.o,$(OBJECTS))
RUNNER_PARTS := $(patsubst %.c,$(OUT)/obj/%.o,$(filter-out builder/runner/main.c,$(RUNNER_SOURCES)))
UNITS := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))
HELPERS := $(OUT)/steps $(OUT)/http $(OUT)/awsclient $(OUT)/inside
FUZZERS := $(patsubst tests/fuzz/%.c,$(OUT)/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
# builder/NAME.pod is a page of section 7, but for these.
SECTION_kiln := 1
SECTION_kiln-profile := 5
MAN := $(foreach page,$(patsubst builder/%.pod,%,$(sort $(wildcard builder/*.pod))), \
    $(OUT)/man/$(page).$(or $(SECTION_$(page)),7))
BASE := out/layers/debian-12.tar.zst
JOBS := -j$(shell nproc)

# V=1 shows the commands themselves.
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)  $@')

.DELETE_ON_ERROR:
.PHONY: all help deps demo base base-11 base-12 base-13 debs check test soak bench units san fuzz tidy format format-check \
    check-headers check-layers man install clean

all: $(OUT)/kiln

help:
	@echo 'make demo      install what is missing, build kiln, a Debian 12 base layer and the demo image'
	@echo 'make           build out/kiln'
	@echo 'make check     unit and fast tests, sanitizers and lint; under a minute, no VM'
	@echo 'make test      all that guards main: check, the appliance, the boot matrix, seconds of fuzzing'
	@echo 'make soak      the full counts; hours with FUZZ_SECONDS=3600'
	@echo 'make bench     time and memory beside other tools, in one run'
	@echo 'make install   program and man pages, to DESTDIR and PREFIX ($(PREFIX))'
	@echo 'make deps      what the above need, from Debian; base: the base layer; man: the man pages'
	@echo 'make base-11 base-13   base layers of other Debian releases'
	@echo 'make debs      the packages that profiles/ install, from Debian'
	@echo 'make tidy format format-check san fuzz clean'

$(OUT)/kiln: $(OUT)/obj/builder/main.o $(OUT)/libkiln.a
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LIBS)

$(OUT)/libkiln.a: $(PARTS)
	$(call say,AR  )
	$(Q)rm -f $@ && ar rcs $@ $^

$(OUT)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Runs in the appliance, where there is no library to find. Never with sanitizers.
$(OUT)/runner: $(RUNNER_SOURCES) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(COMMON_CFLAGS) -O2 -static -o $@ $(RUNNER_SOURCES)

$(OUT)/obj/builder/step/runner.o: ALL_CFLAGS += -DRUNNER_PATH='"$(OUT)/runner"'
$(OUT)/obj/builder/step/runner.o: $(OUT)/runner

# A cached state is for the very code that made it.
CODE := $(shell cat $(SOURCES) $(RUNNER_SOURCES) $(HEADERS) | sha256sum | cut -c1-16)
$(OUT)/obj/builder/disk/state.o: ALL_CFLAGS += -DKILN_CODE='"$(CODE)"'
$(OUT)/obj/builder/disk/state.o: $(SOURCES) $(HEADERS)

# --- what is needed --------------------------------------------------------------------------

deps:
	@missing=$$(for p in $(DEBIAN_PACKAGES); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	    echo "installing:" $$missing; \
	    $$sudo apt-get update -q && \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi

# Not made again when it is there: a base layer is an input, pinned by its digest.
base: $(BASE)
base-11 base-12 base-13: base-%: out/layers/debian-%.tar.zst

out/layers/debian-%.tar.zst:
	layers/debian-$* $@

# The packages of profiles/: a directory for each closure, made anew when the base layer is.
DEBS := nginx nftables ansible-core usr-is-merged
debs: $(DEBS:%=out/debs/%)

out/debs/ansible-core: ALSO := git
$(DEBS:%=out/debs/%): $(BASE)
	layers/debs $(BASE) $@ $(@F) $(ALSO)

demo: deps
	$(MAKE) $(JOBS) all
	$(MAKE) base
	$(OUT)/kiln build profiles/demo.yaml -o out/demo --force
	@echo
	@echo 'The demo image is in out/demo: disk.raw and disk.qcow2. To boot it (ends with Ctrl-A X):'
	@echo '  qemu-system-x86_64 -m 1G -nographic -snapshot -drive file=out/demo/disk.qcow2,if=virtio'
	@echo 'and with UEFI, add: -machine q35 -bios /usr/share/ovmf/OVMF.fd'

# --- tests -----------------------------------------------------------------------------------

units: $(UNITS) $(HELPERS)

$(OUT)/unit/%: tests/unit/%.c $(OUT)/libkiln.a
	@mkdir -p $(@D)
	$(call say,TEST)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(UNIT_PARTS) $(OUT)/libkiln.a $(ALL_LIBS) -lcmocka

# The runner's parts are no part of libkiln.
$(OUT)/unit/test_runner: UNIT_PARTS = $(RUNNER_PARTS)
$(OUT)/unit/test_runner: $(RUNNER_PARTS)

# For tests/vm: see the heads of their sources. What runs inside is static, as the runner is.
$(OUT)/steps $(OUT)/http $(OUT)/awsclient: $(OUT)/%: tests/lib/%.c $(OUT)/libkiln.a
	$(call say,TEST)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(OUT)/libkiln.a $(ALL_LIBS)

$(OUT)/inside: tests/lib/inside.c Makefile
	@mkdir -p $(@D)
	$(call say,TEST)
	$(Q)$(CC) $(COMMON_CFLAGS) -O2 -static -o $@ $<

check: check-headers check-layers format-check
	$(MAKE) $(JOBS) all units man
	tests/run --tier check

test: deps
	$(MAKE) $(JOBS) all units man check-headers check-layers format-check
	$(MAKE) base debs
	$(MAKE) $(JOBS) OUT=out/san SAN=address,undefined CFLAGS='-O1 -g' all units
	$(MAKE) $(JOBS) fuzzers
	tests/run --tier test

soak: deps
	$(MAKE) $(JOBS) all units man
	$(MAKE) base debs
	$(MAKE) $(JOBS) OUT=out/san SAN=address,undefined CFLAGS='-O1 -g' all units
	$(MAKE) $(JOBS) fuzzers
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run --tier soak

bench: deps
	$(MAKE) $(JOBS) all
	$(MAKE) base
	tests/bench

san:
	$(MAKE) $(JOBS) OUT=out/san SAN=address,undefined CFLAGS='-O1 -g' all units
	tests/run --tier check --san

.PHONY: fuzzers
fuzzers:
	$(MAKE) OUT=out/fuzzed CC=clang SAN=fuzzer-no-link,address,undefined CFLAGS='-O1 -g' fuzz-programs

.PHONY: fuzz-programs
fuzz-programs: $(FUZZERS)

$(OUT)/fuzz/%: tests/fuzz/%.c $(OUT)/libkiln.a
	@mkdir -p $(@D)
	$(call say,FUZZ)
	$(Q)$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -o $@ $< $(OUT)/libkiln.a $(ALL_LIBS)

fuzz: fuzzers
	tests/fuzz/run $(FUZZ_SECONDS)

# --- lint ------------------------------------------------------------------------------------

format:
	clang-format -i $(SOURCES) $(RUNNER_SOURCES) $(HEADERS) $(wildcard tests/*/*.[ch])

format-check:
	@clang-format --dry-run -Werror $(SOURCES) $(RUNNER_SOURCES) $(HEADERS) $(wildcard tests/*/*.[ch])

tidy:
	clang-tidy --quiet $(SOURCES) $(RUNNER_SOURCES) -- -std=gnu11 -D_GNU_SOURCE \
	    -D_FILE_OFFSET_BITS=64 -DKILN_VERSION='"$(VERSION)"' -DKILN_CODE='""' \
	    -DRUNNER_PATH='""' -Ibuilder $(PACKAGE_CFLAGS)

# Every header stands alone.
check-headers:
	@for h in $(HEADERS); do \
	    echo "#include \"$${h#builder/}\"" | $(CC) $(ALL_CFLAGS) -fsyntax-only -x c - || exit 1; done

# Includes go one way: see builder/README.md.
check-layers:
	@tests/check-layers

# --- documents and installation --------------------------------------------------------------

man: $(MAN)

.SECONDEXPANSION:
$(MAN): $(OUT)/man/%: builder/$$(basename $$*).pod Makefile
	@mkdir -p $(@D)
	pod2man --utf8 --errors=die --section=$(patsubst .%,%,$(suffix $@)) --release='kiln $(VERSION)' --center='kiln' --date=' ' \
	    --name="$$(echo $(basename $*) | tr a-z A-Z)" $< $@

install: all man
	install -D -m 0755 $(OUT)/kiln $(DESTDIR)$(PREFIX)/bin/kiln
	for page in $(MAN); do \
	    install -D -m 0644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit 1; done

clean:
	rm -rf $(OUT)/obj $(OUT)/unit $(OUT)/man $(OUT)/kiln $(OUT)/libkiln.a $(OUT)/runner $(HELPERS) out/san out/fuzzed

-include $(OBJECTS:.o=.d) $(RUNNER_PARTS:.o=.d) $(UNITS:=.d) $(OUT)/steps.d $(OUT)/http.d $(OUT)/awsclient.d
