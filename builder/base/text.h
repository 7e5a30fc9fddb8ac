/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that people read and write: escaping of foreign bytes, sizes, durations, nearest words.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Appends SIZE bytes of TEXT so that a terminal or a log can take them: printable UTF-8 stays,
 * control characters, invalid UTF-8, and format characters that reorder or hide text become \xNN
 * (each byte). A newline stays only if KEEP_NEWLINES.
 */
void text_escape(struct buf *buf, const char *text, size_t size, bool keep_newlines);

/* True when SIZE bytes of TEXT are valid UTF-8 (no surrogates, no overlong forms). */
bool text_is_utf8(const char *text, size_t size);

/* True when text_escape would leave it as it is. */
bool text_is_printable(const char *text, size_t size);

/* True when all of TEXT are letters and digits of ASCII, and characters of EXTRA. */
bool text_is_made_of(const char *text, const char *extra);

/* True when TEXT begins, or ends, so. */
bool text_starts(const char *text, const char *prefix);
bool text_ends(const char *text, const char *suffix);

/* The word of WORDS (NULL-terminated) that WORD most likely meant, or NULL when none is near. */
const char *text_nearest(const char *word, const char *const *words);

/* "4GiB", "512MiB", "64KiB", "10GB", "4096": bytes into *RET; false when it is not a size. */
bool text_parse_size(const char *text, uint64_t *ret);

/* "90s", "30min", "2h": seconds into *RET, at most UINT32_MAX; false when it is not a duration. */
bool text_parse_duration(const char *text, uint32_t *ret);

/* Bytes for people: "1.5 GiB", "12 B". Returns OUT. */
#define TEXT_SIZE_MAX 32
const char *text_size(uint64_t bytes, char out[TEXT_SIZE_MAX]);

/* RFC 3339 UTC ("2026-11-01T00:00:00Z") from and to seconds since 1970. */
#define TEXT_TIME_MAX 32
bool text_parse_time(const char *text, int64_t *ret);
const char *text_time(int64_t seconds, char out[TEXT_TIME_MAX]);

#endif
