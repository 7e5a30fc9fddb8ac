/* SPDX-License-Identifier: Apache-2.0 */
/* 'cloud: directory': a catalog of images on this machine. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "profile/grammar.h"
#include "profile/target_kind.h"

/* Relative to a profile it would be one place, relative to its bundle another. */
static const char *check_path(const char *text)
{
    if (text[0] != '/' && !text_starts(text, "~/")) {
        return "must be absolute, or begin with '~/'";
    }
    if (text[strspn(text, "/")] == '\0') {
        return "must name a directory below '/'";
    }
    return profile_image_path(text[0] == '~' ? text + 1 : text);
}

static const struct field directory_fields[] = {
    TARGET_CLOUD,
    {.name = "path",
     .type = FIELD_STRING,
     .value = PLACE_OF(struct target_directory, path),
     .check = check_path,
     .standard = "$XDG_DATA_HOME/kiln/images",
     .help = "the directory that keeps the images"},
    {.name = "formats",
     .type = FIELD_WORDS,
     .filled = true,
     .value = PLACE_OF(struct target_directory, formats),
     .words = format_words,
     .standard = "all that the bundle has",
     .help = "the disk files to keep there"},
    {.name = NULL},
};

static const struct shape directory_shape = {
    .noun = "a target of 'cloud: directory'",
    .fields = directory_fields,
    .others = target_others,
    .others_why = "a directory has no server and no account",
};

static void done(struct target *target)
{
    free(target->directory.path);
}

static unsigned takes(const struct target *target)
{
    return target->directory.formats;
}

const struct target_kind target_kind_directory = {
    .name = "directory",
    .summary = "a directory of images on this machine",
    .shape = &directory_shape,
    .done = done,
    .takes = takes,
};
