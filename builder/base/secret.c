/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void secret_wipe(void *data, size_t size)
{
    if (data != NULL) {
        explicit_bzero(data, size);
    }
}

void secret_free(char *text)
{
    if (text != NULL) {
        secret_wipe(text, strlen(text));
        free(text);
    }
}

void secret_add(struct buf *buf, const void *data, size_t size)
{
    struct buf larger = {0};

    if (buf->data == NULL || size >= buf->space - buf->size) {
        (void)buf_reserve(&larger, buf->size + size);
        buf_add(&larger, buf->data, buf->size);
        secret_done(buf);
        *buf = larger;
    }
    buf_add(buf, data, size);
}

void secret_done(struct buf *buf)
{
    secret_wipe(buf->data, buf->space);
    buf_done(buf);
}

void secret_no_core(void)
{
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){.rlim_cur = 1, .rlim_max = 1});
}
