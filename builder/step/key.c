/* SPDX-License-Identifier: Apache-2.0 */
#include "step/key.h"

#include <string.h>

#include "base/pack.h"
#include "capture/noise.h"
#include "step/inputs.h"

/* Raised when the same step may give other content than before: runner, environment, capture. */
#define STEP_FORMAT "kiln step 1"

static void pack_text(struct buf *out, const char *text)
{
    pack_bytes(out, text, strlen(text));
}

static void pack_layer(struct buf *out, const struct layer *layer)
{
    uint8_t digest[HASH_SIZE];
    uint64_t size;

    layer_digest(layer, digest, &size);
    pack_text(out, layer_format(layer));
    pack_bytes(out, digest, sizeof(digest));
    pack_u64(out, size);
}

static void pack_left_out(struct buf *out, const struct profile_layer *spec)
{
    const char *const *standard = noise_standard;

    for (size_t i = 0; spec->has_leave_out && i < spec->leave_out_count; i++) {
        pack_text(out, spec->leave_out[i]);
    }
    for (; !spec->has_leave_out && *standard != NULL; standard++) {
        pack_text(out, *standard);
    }
}

void step_key(const struct profile *profile, const struct stack *stack, size_t index, int64_t epoch,
              const uint8_t inputs[HASH_SIZE], uint8_t ret[HASH_SIZE])
{
    const struct profile_layer *spec = &profile->layers[index];
    SCOPED(buf_done) struct buf text = {0};

    pack_text(&text, STEP_FORMAT);
    pack_text(&text, architecture_name(profile->architecture));
    pack_u64(&text, (uint64_t)epoch);
    pack_u64(&text, index);
    for (size_t i = 0; i < index; i++) {
        pack_layer(&text, stack->layers[i]);
    }
    pack_text(&text, layer_format(stack->layers[index]));
    pack_u64(&text, spec->memory_bytes);
    pack_text(&text, spec->path != NULL ? inputs_script_name(spec) : "");
    pack_left_out(&text, spec);
    pack_bytes(&text, inputs, HASH_SIZE);
    hash_bytes(text.data, text.size, ret);
}
