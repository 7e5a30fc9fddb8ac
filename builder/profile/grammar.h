/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of a profile: its tables, for decoding, for the man page and for the schema. */
#ifndef PROFILE_GRAMMAR_H
#define PROFILE_GRAMMAR_H

#include "profile/decode.h"

/* Of a struct profile. */
extern const struct shape profile_shape;

extern const struct word architecture_words[];
extern const struct word filesystem_words[];
extern const struct word partition_type_words[];
extern const struct word engine_words[];
extern const struct word format_words[];
extern const struct word firmware_words[];

/* The word of a value; it must have one. */
const char *word_name(const struct word *words, unsigned value);

#endif
