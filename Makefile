# SPDX-License-Identifier: Apache-2.0
# kiln: 'make help' says what can be made. Everything made goes to out/.

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
OUT ?= out

CC ?= cc
CFLAGS ?= -O2 -g
PACKAGES := libguestfs libarchive yaml-0.1 libzstd jansson libcrypto
TEST_PACKAGES := cmocka

ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DKILN_VERSION='"$(VERSION)"' \
    -Ibuilder -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
    -Wundef -pthread $(if $(CI),-Werror) $(SAN_FLAGS) $(shell pkg-config --cflags $(PACKAGES)) $(CFLAGS)
ALL_LIBS = $(shell pkg-config --libs $(PACKAGES)) -pthread $(LDFLAGS)
SAN_FLAGS = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)

SOURCES := $(sort $(wildcard builder/*.c builder/*/*.c))
OBJECTS := $(SOURCES:%.c=$(OUT)/obj/%.o)
PARTS := $(filter-out $(OUT)/obj/builder/main.o,$(OBJECTS))
UNITS := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))

.DELETE_ON_ERROR:
.PHONY: all units clean

all: $(OUT)/kiln

$(OUT)/kiln: $(OBJECTS)
	$(CC) $(ALL_CFLAGS) -o $@ $(OBJECTS) $(ALL_LIBS)

$(OUT)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

units: $(UNITS)

$(OUT)/unit/%: tests/unit/%.c $(PARTS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests/unit -MMD -MP -o $@ $< $(PARTS) $(ALL_LIBS) $(shell pkg-config --libs $(TEST_PACKAGES))

clean:
	rm -rf $(OUT)/obj $(OUT)/unit $(OUT)/kiln

-include $(OBJECTS:.o=.d) $(UNITS:=.d)
