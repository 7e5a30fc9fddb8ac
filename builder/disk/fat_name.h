/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names on FAT: long ones in UTF-16, and the 8.3 name that every file has beside its long one
 * (Microsoft's FAT specification 1.03, "Long Directory Entries"). For fat.c alone.
 */
#ifndef DISK_FAT_NAME_H
#define DISK_FAT_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FAT_SHORT_SIZE = 11, /* "NAME    EXT" */
    FAT_LONG_MAX = 255,  /* UTF-16 units of a long name */
    FAT_LONG_UNITS = 13, /* of them in one directory entry */
};

struct fat_name {
    uint16_t *units; /* UTF-16, owned */
    size_t count;
    bool is_short; /* an 8.3 name once it is in upper case */
    bool is_plain; /* an 8.3 name as it is: needs no long entries */
};

/* Fills *RET from SIZE bytes of TEXT and returns NULL, or what is wrong with the name. */
const char *fat_name_parse(const char *text, size_t size, struct fat_name *ret);

/* Orders names, taking upper and lower case for the same. */
int fat_name_compare(const struct fat_name *a, const struct fat_name *b);

/* The 8.3 name of a name that is_short. */
void fat_name_short(const struct fat_name *name, uint8_t out[FAT_SHORT_SIZE]);

/*
 * The TRY-th 8.3 name, from 1, to be had for a name that is not: "LONGNA~1.TXT". After four the
 * name's checksum comes in ("LO1A2B~1.TXT"), so that thousands of like names find theirs soon.
 */
void fat_name_alias(const struct fat_name *name, unsigned try, uint8_t out[FAT_SHORT_SIZE]);

/* Ties long entries to their 8.3 name. */
uint8_t fat_name_checksum(const uint8_t name[FAT_SHORT_SIZE]);

#endif
