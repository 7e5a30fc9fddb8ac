/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of targets, target_NAME.c, have in common. */
#ifndef PROFILE_TARGET_KIND_H
#define PROFILE_TARGET_KIND_H

#include "profile/decode.h"
#include "profile/target.h"
#include "profile/yaml.h"

/* The row that all their shapes begin with. */
extern const struct word cloud_words[];
#define TARGET_CLOUD                                                                               \
    {                                                                                              \
        .name = "cloud", .type = FIELD_WORD, .required = true, .words = cloud_words,               \
        .help = "aws, openstack or directory"                                                      \
    }

/* Keys that none of them has: shape.others. */
extern const char *const target_others[];

/* Frees COUNT pairs, or texts, and their array. */
void pairs_free(struct pair *pairs, size_t count);
void texts_free(char **texts, size_t count);

#endif
